"""Lattices as the ``State`` messages of ``store.proto``, as ``docs/internals/lattices.md`` says under "On the wire".

Bytes in lattices are encoded values where they are a :class:`~cloudburst.cells.StoredValue`, and otherwise become bytes values.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Tuple, Type

from anna.lattices import (
    CounterLattice,
    Lattice,
    ListBasedOrderedSet,
    LWWPairLattice,
    MapLattice,
    MaxIntLattice,
    MinIntLattice,
    MultiKeyCausalLattice,
    OrderedSetLattice,
    PriorityLattice,
    SetLattice,
    SingleKeyCausalLattice,
    VectorClock,
)
from cloudburst.codec import StoredValue
from cloudburst.errors import CodecError, Error, InvalidArgumentError, TooLargeError
from cloudburst.lattice import NEVER, Clock, Version
from cloudburst.states import clock_of, counts_of, fill_version, present, set_stamp, stamp_of
from cloudburst.v1 import store_pb2

__all__ = ["decode", "encode", "type_of"]

_NAME_ERRORS = "surrogateescape"  # names are bytes in the store, and not always UTF-8
_MAP_LEVELS_MAX = 16


def encode(lattice: Lattice) -> store_pb2.State:
    """Return the state that a put of a lattice merges. Raises InvalidArgumentError for contents that do not travel."""
    state = store_pb2.State()
    _fill(state, lattice, 0)
    return state


def decode(state: store_pb2.State) -> Optional[Lattice]:
    """Return the lattice that a state shows, whether it has expired or not; None if it shows nothing."""
    for field, read in _READERS.items():
        if state.HasField(field):
            lattice = read(getattr(state, field))
            if lattice is not None:
                return lattice
    return None


def type_of(lattice: Lattice) -> store_pb2.LatticeType:
    """Return the type that a lattice has in the store. Raises InvalidArgumentError for what cannot be stored."""
    try:
        return _WRITERS[type(lattice)][0]
    except KeyError:
        raise InvalidArgumentError(f"a {type(lattice).__qualname__} is not a lattice that can be stored") from None


def _fill(state: store_pb2.State, lattice: Lattice, level: int) -> None:
    type_of(lattice)
    try:
        _WRITERS[type(lattice)][1](state, lattice, level)
    except ValueError as e:
        if isinstance(e, Error):
            raise
        # Protobuf's own, for an integer out of range.
        raise InvalidArgumentError(f"a {type(lattice).__name__} does not fit into 64 bits: {e}") from None


def _bytes(value: Any, lattice: Lattice) -> bytes:
    if not isinstance(value, bytes):
        raise InvalidArgumentError(f"what a {type(lattice).__name__} stores are bytes, got {value!r:.100}")
    return StoredValue.encoded(value)


def _name(name: Any) -> bytes:
    if not isinstance(name, str):
        raise InvalidArgumentError(f"names in a lattice are strings, got {name!r:.100}")
    return name.encode("utf-8", _NAME_ERRORS)


def _fill_generation(message: Any, lattice: Lattice) -> None:
    if lattice.generation != NEVER:
        set_stamp(message.generation, lattice.generation)


def _fill_lww(state: store_pb2.State, lattice: LWWPairLattice, level: int) -> None:
    state.lww.value = _bytes(lattice.val, lattice)
    state.lww.timestamp.time = lattice.ts
    if lattice.ts == 0:
        state.lww.timestamp.writer = 1  # the first of all stamps: none at all would be stamped by the store


def _fill_set(state: store_pb2.State, lattice: SetLattice, level: int) -> None:
    state.set.SetInParent()
    for value in sorted(_bytes(member, lattice) for member in lattice.val):
        state.set.members.add(value=value)


def _fill_ordered_set(state: store_pb2.State, lattice: OrderedSetLattice, level: int) -> None:
    state.ordered_set.SetInParent()
    for member, score in lattice.scored():
        state.ordered_set.members.add(value=_bytes(member, lattice), score=score)


def _fill_counter(state: store_pb2.State, lattice: CounterLattice, level: int) -> None:
    state.counter.SetInParent()
    _fill_generation(state.counter, lattice)
    for writer, (up, down) in sorted(lattice.counts.items()):
        state.counter.counts.add(writer=writer, up=up, down=down)


def _fill_max(state: store_pb2.State, lattice: MaxIntLattice, level: int) -> None:
    state.max.value = lattice.value
    _fill_generation(state.max, lattice)


def _fill_min(state: store_pb2.State, lattice: MinIntLattice, level: int) -> None:
    state.min.value = lattice.value
    _fill_generation(state.min, lattice)


def _fill_priority(state: store_pb2.State, lattice: PriorityLattice, level: int) -> None:
    state.priority.priority = lattice.priority
    state.priority.value = _bytes(lattice.value, lattice)
    _fill_generation(state.priority, lattice)


def _fill_map(state: store_pb2.State, lattice: MapLattice, level: int) -> None:
    if level == _MAP_LEVELS_MAX:
        raise TooLargeError(f"maps in maps are nested more than {_MAP_LEVELS_MAX} levels deep, the limit")
    state.map.SetInParent()
    for name, held in lattice.mp.items():
        if not isinstance(held, Lattice):
            raise InvalidArgumentError(f"what a MapLattice stores are lattices, got {held!r:.100} under {name!r:.100}")
        _fill(state.map.fields.add(name=_name(name)).state, held, level + 1)


def _fill_causal(state: store_pb2.State, lattice: Any, level: int) -> None:
    state.causal.SetInParent()
    _fill_generation(state.causal, lattice)
    for version in lattice.versions():
        dependencies = {_name(key): _named(clock) for key, clock in version.dependencies.items()}
        message = state.causal.versions.add(value=_bytes(version.value, lattice))
        fill_version(message, Version(_named(version.clock), dependencies, version.value))


def _named(clock: Clock) -> Clock:
    return {_name(writer): count for writer, count in clock.items()}


def _read_lww(message: store_pb2.LWW) -> Lattice:
    return LWWPairLattice(message.timestamp.time, _value(message.value))


def _value(value: bytes) -> bytes:
    if not value:
        raise CodecError("a value has no bytes")
    return StoredValue.of(value)


def _read_set(message: store_pb2.Set) -> Optional[Lattice]:
    members = {_value(value) for value in present(message.members)}
    return SetLattice(members) if members else None


def _read_ordered_set(message: store_pb2.OrderedSet) -> Optional[Lattice]:
    scores = {_value(value): member.score for value, member in present(message.members).items()}
    return OrderedSetLattice(ListBasedOrderedSet(), scores) if scores else None


def _of_generation(lattice: Lattice, message: Any) -> Lattice:
    lattice.generation = stamp_of(message.generation)
    return lattice


def _read_counter(message: store_pb2.Counter) -> Optional[Lattice]:
    if not message.counts:
        return None
    return _of_generation(CounterLattice(counts_of(message)), message)


def _read_max(message: store_pb2.Extreme) -> Lattice:
    return _of_generation(MaxIntLattice(message.value), message)


def _read_min(message: store_pb2.Extreme) -> Lattice:
    return _of_generation(MinIntLattice(message.value), message)


def _read_priority(message: store_pb2.Priority) -> Lattice:
    return _of_generation(PriorityLattice(message.priority, _value(message.value)), message)


def _read_map(message: store_pb2.Map) -> Optional[Lattice]:
    fields: Dict[str, Lattice] = {}
    for field in message.fields:
        lattice = decode(field.state)
        if lattice is not None:
            fields[_text(field.name)] = lattice
    return MapLattice(fields) if fields else None


def _read_causal(message: store_pb2.Causal) -> Optional[Lattice]:
    if not message.versions:
        return None
    versions = [
        Version(
            _read_clock(version.clock),
            {_text(d.key): _read_clock(d.clock) for d in version.dependencies},
            _value(version.value),
        )
        for version in message.versions
    ]
    lattice: Any
    if any(version.dependencies for version in versions):
        lattice = MultiKeyCausalLattice(VectorClock({}), MapLattice({}), SetLattice())
    else:
        lattice = SingleKeyCausalLattice(VectorClock({}), SetLattice())
    lattice.hold(versions)
    return _of_generation(lattice, message)


def _read_clock(message: store_pb2.VectorClock) -> Clock:
    return {_text(writer): count for writer, count in clock_of(message).items()}


def _text(name: bytes) -> str:
    return name.decode("utf-8", _NAME_ERRORS)


_Writer = Callable[[store_pb2.State, Any, int], None]
_WRITERS: Dict[Type[Lattice], Tuple[store_pb2.LatticeType, _Writer]] = {
    LWWPairLattice: (store_pb2.LATTICE_TYPE_LWW, _fill_lww),
    SetLattice: (store_pb2.LATTICE_TYPE_SET, _fill_set),
    OrderedSetLattice: (store_pb2.LATTICE_TYPE_ORDERED_SET, _fill_ordered_set),
    CounterLattice: (store_pb2.LATTICE_TYPE_COUNTER, _fill_counter),
    MaxIntLattice: (store_pb2.LATTICE_TYPE_MAX, _fill_max),
    MinIntLattice: (store_pb2.LATTICE_TYPE_MIN, _fill_min),
    PriorityLattice: (store_pb2.LATTICE_TYPE_PRIORITY, _fill_priority),
    MapLattice: (store_pb2.LATTICE_TYPE_MAP, _fill_map),
    SingleKeyCausalLattice: (store_pb2.LATTICE_TYPE_CAUSAL, _fill_causal),
    MultiKeyCausalLattice: (store_pb2.LATTICE_TYPE_CAUSAL, _fill_causal),
}

# In the order of the types: of several, that of the lowest type that shows something is shown.
_READERS: Dict[str, Callable[[Any], Optional[Lattice]]] = {
    "lww": _read_lww,
    "set": _read_set,
    "ordered_set": _read_ordered_set,
    "counter": _read_counter,
    "max": _read_max,
    "min": _read_min,
    "priority": _read_priority,
    "map": _read_map,
    "causal": _read_causal,
}
