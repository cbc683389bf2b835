"""States of ``store.proto`` as the lattices that they are: how they merge, what their stamps are, what they show.

Pure: nothing here changes what it is given. ``docs/internals/lattices.md`` says what all of it means.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, Optional

from cloudburst.lattice import (
    NEVER,
    Clock,
    Dependencies,
    Stamp,
    Version,
    join_clocks,
    join_counts,
    last_of_each,
    newest,
)
from cloudburst.v1 import store_pb2

__all__ = [
    "causal_clock",
    "clock_of",
    "complete",
    "counts_of",
    "fill_clock",
    "generation",
    "latest",
    "live",
    "merge",
    "present",
    "restamp",
    "set_stamp",
    "stamp_of",
]

_GENERATIONAL = ("counter", "max", "min", "priority", "causal")


def stamp_of(message: Any) -> Stamp:
    """Return a timestamp message as what compares."""
    return message.time, message.writer


def set_stamp(message: Any, stamp: Stamp) -> None:
    """Make a timestamp message say a stamp."""
    message.time, message.writer = stamp


def merge(a: store_pb2.State, b: store_pb2.State, around: Stamp = NEVER) -> store_pb2.State:
    """Return the join of two states, without what a tombstone around them covers."""
    out = store_pb2.State()
    own = max(stamp_of(a.deleted), stamp_of(b.deleted))
    if own != NEVER:
        set_stamp(out.deleted, own)
    deleted = max(own, around)
    expiries = [s.expiry for s in (a, b) if s.HasField("expiry") and stamp_of(s.expiry.timestamp) > deleted]
    if expiries:
        out.expiry.CopyFrom(max(expiries, key=lambda e: (stamp_of(e.timestamp), e.at_milliseconds)))
    values = [s.lww for s in (a, b) if s.HasField("lww") and stamp_of(s.lww.timestamp) > deleted]
    if values:
        out.lww.CopyFrom(max(values, key=lambda v: (stamp_of(v.timestamp), v.value)))
    members = _last((*a.set.members, *b.set.members), deleted)
    if members:
        out.set.members.extend(members)
    scored = _last((*a.ordered_set.members, *b.ordered_set.members), deleted)
    if scored:
        out.ordered_set.members.extend(scored)
    for field in _GENERATIONAL:
        held = [getattr(s, field) for s in (a, b) if s.HasField(field) and stamp_of(getattr(s, field).generation) >= deleted]
        if held:
            newest = max(stamp_of(content.generation) for content in held)
            _join(field, getattr(out, field), [content for content in held if stamp_of(content.generation) == newest])
            if newest != NEVER:
                set_stamp(getattr(out, field).generation, newest)
    fields: Dict[bytes, store_pb2.State] = {}
    for named in (*a.map.fields, *b.map.fields):
        fields[named.name] = merge(fields.get(named.name, store_pb2.State()), named.state, deleted)
    for name in sorted(fields):
        if fields[name].ByteSize():
            out.map.fields.add(name=name, state=fields[name])
    return out


def _happened(member: Any) -> Any:
    return member.timestamp.time, member.timestamp.writer, member.removed, getattr(member, "score", 0.0)


def _last(members: Iterable[Any], deleted: Stamp) -> List[Any]:
    last = last_of_each((m for m in members if stamp_of(m.timestamp) > deleted), lambda m: m.value, _happened)
    return [last[value] for value in sorted(last)]


def present(members: Iterable[Any]) -> Dict[bytes, Any]:
    """Return the members of a set that are there, by their bytes: what happened to each last decides."""
    last = last_of_each(members, lambda m: bytes(m.value), _happened)
    return {value: member for value, member in last.items() if not member.removed}


def _join(field: str, out: Any, held: List[Any]) -> None:
    if field == "counter":
        counts: Dict[int, Any] = {}
        for content in held:
            counts = join_counts(counts, counts_of(content))
        out.SetInParent()
        for writer in sorted(counts):
            out.counts.add(writer=writer, up=counts[writer][0], down=counts[writer][1])
    elif field in ("max", "min"):
        out.value = (max if field == "max" else min)(content.value for content in held)
        out.SetInParent()
    elif field == "priority":
        out.CopyFrom(min(held, key=lambda content: (content.priority, content.value)))
    else:
        out.SetInParent()
        for version in newest(_version(message) for content in held for message in content.versions):
            fill_version(out.versions.add(value=version.value), version)


def counts_of(content: store_pb2.Counter) -> Dict[int, Any]:
    """Return what each writer of a counter has added and taken away."""
    counts: Dict[int, Any] = {}
    for count in content.counts:
        counts = join_counts(counts, {count.writer: (count.up, count.down)})
    return counts


def _version(message: store_pb2.Version) -> Version:
    dependencies: Dependencies = {d.key: clock_of(d.clock) for d in message.dependencies}
    return Version(clock_of(message.clock), dependencies, message.value)


def fill_version(message: store_pb2.Version, version: Version) -> None:
    """Make a message say the clock and the dependencies of a version."""
    fill_clock(message.clock, version.clock)
    for key in sorted(version.dependencies):
        fill_clock(message.dependencies.add(key=key).clock, version.dependencies[key])


def clock_of(message: store_pb2.VectorClock) -> Clock:
    """Return a vector clock as a dictionary."""
    clock: Clock = {}
    for entry in message.entries:
        if entry.count:
            clock[entry.writer] = max(entry.count, clock.get(entry.writer, 0))
    return clock


def fill_clock(message: store_pb2.VectorClock, clock: Clock) -> None:
    """Make a message say a vector clock."""
    message.SetInParent()
    for writer in sorted(clock):
        message.entries.add(writer=writer, count=clock[writer])


def causal_clock(state: store_pb2.State) -> Clock:
    """Return the clock that has seen every version in a state."""
    clock: Clock = {}
    for version in state.causal.versions:
        clock = join_clocks(clock, clock_of(version.clock))
    return clock


def _stamps(state: store_pb2.State) -> Iterator[Any]:
    """Yield the timestamps of content."""
    if state.HasField("lww"):
        yield state.lww.timestamp
    for member in state.set.members:
        yield member.timestamp
    for scored in state.ordered_set.members:
        yield scored.timestamp
    for field in state.map.fields:
        yield from _stamps(field.state)


def latest(state: store_pb2.State) -> Stamp:
    """Return the latest stamp in a state. A writer that has seen it must use a later one."""
    inner = [latest(field.state) for field in state.map.fields]
    return max([stamp_of(state.deleted), stamp_of(state.expiry.timestamp), *map(stamp_of, _stamps(state)), *inner])


def generation(state: store_pb2.State, field: str) -> Stamp:
    """Return the generation that new content belongs to."""
    return max(stamp_of(state.deleted), stamp_of(getattr(state, field).generation))


def complete(delta: store_pb2.State, stamp: Stamp, base: store_pb2.State) -> store_pb2.State:
    """Return a delta with the stamps and generations that its writer left out."""
    out = store_pb2.State()
    out.CopyFrom(delta)
    for message in _stamps(out):
        if stamp_of(message) == NEVER:
            set_stamp(message, stamp)
    for field in _GENERATIONAL:
        if out.HasField(field) and stamp_of(getattr(out, field).generation) == NEVER:
            known = generation(base, field)
            if known != NEVER:
                set_stamp(getattr(out, field).generation, known)
    held = {field.name: field.state for field in base.map.fields}
    for named in out.map.fields:
        inner = store_pb2.State()
        inner.CopyFrom(held.get(named.name, store_pb2.State()))
        set_stamp(inner.deleted, max(stamp_of(inner.deleted), stamp_of(base.deleted)))
        named.state.CopyFrom(complete(named.state, stamp, inner))
    return out


def restamp(delta: store_pb2.State, deleted: Stamp, stamp: Stamp) -> store_pb2.State:
    """Return a delta with other stamps, tombstones with the first and the rest with the second, which must be later."""
    out = store_pb2.State()
    out.CopyFrom(delta)
    for message in _stamps(out):
        set_stamp(message, stamp)
    if out.HasField("deleted"):
        own = stamp_of(out.deleted)
        for field in _GENERATIONAL:
            if out.HasField(field) and stamp_of(getattr(out, field).generation) == own:
                set_stamp(getattr(out, field).generation, deleted)
        set_stamp(out.deleted, deleted)
    return out


def live(state: store_pb2.State, now_milliseconds: int) -> Optional[store_pb2.State]:
    """Return what a state shows at a time; None where it has expired altogether."""
    at = state.expiry.at_milliseconds
    if at == 0 or at > now_milliseconds:
        return state
    if state.HasField("lww") and stamp_of(state.lww.timestamp) > stamp_of(state.expiry.timestamp):
        return store_pb2.State(lww=state.lww)
    return None
