"""States of ``store.proto`` as the lattices that they are: how they merge, what their stamps are, what they show.

Pure: nothing here changes what it is given. ``docs/internals/lattices.md`` says what all of it means.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

from cloudburst.v1 import store_pb2

__all__ = [
    "Stamp",
    "causal_clock",
    "clock_of",
    "complete",
    "covers",
    "generation",
    "latest",
    "live",
    "merge",
    "restamp",
    "set_stamp",
    "stamp_of",
]

Stamp = Tuple[int, int]
Clock = Dict[bytes, int]

_NEVER: Stamp = (0, 0)
_GENERATIONAL = ("counter", "max", "min", "priority", "causal")


def stamp_of(message: Any) -> Stamp:
    """Return a timestamp message as what compares."""
    return message.time, message.writer


def set_stamp(message: Any, stamp: Stamp) -> None:
    """Make a timestamp message say a stamp."""
    message.time, message.writer = stamp


def merge(a: store_pb2.State, b: store_pb2.State, around: Stamp = _NEVER) -> store_pb2.State:
    """Return the join of two states, of which a tombstone around them has cut off what it covers."""
    out = store_pb2.State()
    own = max(stamp_of(a.deleted), stamp_of(b.deleted))
    if own != _NEVER:
        set_stamp(out.deleted, own)
    deleted = max(own, around)
    expiries = [s.expiry for s in (a, b) if s.HasField("expiry") and stamp_of(s.expiry.timestamp) > deleted]
    if expiries:
        out.expiry.CopyFrom(max(expiries, key=lambda e: (stamp_of(e.timestamp), e.at_milliseconds)))
    values = [s.lww for s in (a, b) if s.HasField("lww") and stamp_of(s.lww.timestamp) > deleted]
    if values:
        out.lww.CopyFrom(max(values, key=lambda v: (stamp_of(v.timestamp), v.value)))
    members = _last((*a.set.members, *b.set.members), deleted, lambda m: (stamp_of(m.timestamp), m.removed))
    if members:
        out.set.members.extend(members)
    scored = _last(
        (*a.ordered_set.members, *b.ordered_set.members), deleted, lambda m: (stamp_of(m.timestamp), m.removed, m.score)
    )
    if scored:
        out.ordered_set.members.extend(scored)
    for field in _GENERATIONAL:
        held = [getattr(s, field) for s in (a, b) if s.HasField(field) and stamp_of(getattr(s, field).generation) >= deleted]
        if held:
            newest = max(stamp_of(content.generation) for content in held)
            _join(field, getattr(out, field), [content for content in held if stamp_of(content.generation) == newest])
            if newest != _NEVER:
                set_stamp(getattr(out, field).generation, newest)
    fields: Dict[bytes, store_pb2.State] = {}
    for named in (*a.map.fields, *b.map.fields):
        fields[named.name] = merge(fields.get(named.name, store_pb2.State()), named.state, deleted)
    for name in sorted(fields):
        if fields[name].ByteSize():
            out.map.fields.add(name=name, state=fields[name])
    return out


def _last(members: Iterable[Any], deleted: Stamp, order: Callable[[Any], Any]) -> List[Any]:
    last: Dict[bytes, Any] = {}
    for member in members:
        held = last.get(member.value)
        if stamp_of(member.timestamp) > deleted and (held is None or order(member) > order(held)):
            last[member.value] = member
    return [last[value] for value in sorted(last)]


def _join(field: str, out: Any, held: List[Any]) -> None:
    if field == "counter":
        counts: Dict[int, Tuple[int, int]] = {}
        for count in (count for content in held for count in content.counts):
            up, down = counts.get(count.writer, (0, 0))
            counts[count.writer] = (max(up, count.up), max(down, count.down))
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
        out.versions.extend(_newest([version for content in held for version in content.versions]))


def _newest(versions: List[store_pb2.Version]) -> List[store_pb2.Version]:
    kept: List[Tuple[Clock, store_pb2.Version]] = []
    for version in versions:
        clock = clock_of(version.clock)
        same = next((v for c, v in kept if c == clock and v.value == version.value), None)
        if same is None:
            copied = store_pb2.Version()
            copied.CopyFrom(version)
            kept.append((clock, copied))
        else:
            dependencies = {d.key: clock_of(d.clock) for d in same.dependencies}
            for d in version.dependencies:
                dependencies[d.key] = joined(dependencies.get(d.key, {}), clock_of(d.clock))
            del same.dependencies[:]
            for key in sorted(dependencies):
                fill_clock(same.dependencies.add(key=key).clock, dependencies[key])
    newest = [(c, v) for c, v in kept if not any(covers(other, c) and not covers(c, other) for other, _ in kept)]
    return [v for _, v in sorted(newest, key=lambda item: (item[1].value, sorted(item[0].items())))]


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


def covers(a: Clock, b: Clock) -> bool:
    """Report whether a has seen all that b has."""
    return all(a.get(writer, 0) >= count for writer, count in b.items())


def joined(a: Clock, b: Clock) -> Clock:
    """Return the clock that has seen what either has."""
    return {writer: max(a.get(writer, 0), b.get(writer, 0)) for writer in (*a, *b)}


def causal_clock(state: store_pb2.State) -> Clock:
    """Return the clock that has seen every version in a state."""
    clock: Clock = {}
    for version in state.causal.versions:
        clock = joined(clock, clock_of(version.clock))
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
    """Return the latest stamp in a state. Whoever writes after having seen it must use a later one."""
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
        if stamp_of(message) == _NEVER:
            set_stamp(message, stamp)
    for field in _GENERATIONAL:
        if out.HasField(field) and stamp_of(getattr(out, field).generation) == _NEVER:
            known = generation(base, field)
            if known != _NEVER:
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
