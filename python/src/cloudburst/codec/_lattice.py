"""The lattice codec: a ``State`` of ``store.proto``, and what a program that does not know lattices sees of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, Optional, Tuple, Union

from cloudburst.errors import CodecError

if TYPE_CHECKING:
    from cloudburst.v1 import store_pb2

Buffer = Union[bytes, bytearray, memoryview]
Decode = Callable[[memoryview], Any]

_INT64 = (-(1 << 63), (1 << 63) - 1)


def encode_state(state: store_pb2.State) -> bytes:
    """Return the value that carries a state."""
    return b"\x08" + state.SerializeToString()


def decode_state(data: Buffer) -> store_pb2.State:
    """Return the state that a value carries. Raises CodecError."""
    from cloudburst.v1 import store_pb2  # only programs that meet a lattice need it

    try:
        return store_pb2.State.FromString(bytes(data[1:]))
    except Exception as e:
        raise CodecError(f"the state of a lattice is malformed: {e}") from None


def natural(state: store_pb2.State, decode: Decode) -> Any:
    """Return what a state shows, as the values that ``docs/internals/protocol.md`` says; None for nothing."""
    shown = _shown(state, decode)
    return None if shown is None else shown[0]


def _shown(state: store_pb2.State, decode: Decode) -> Optional[Tuple[Any]]:
    # In the order of the types: the lowest that has something to show is shown.
    if state.HasField("lww"):
        return (decode(memoryview(state.lww.value)),)
    if state.HasField("set"):
        members = present(state.set.members)
        if members:
            return ([decode(memoryview(value)) for value in sorted(members)],)
    if state.HasField("ordered_set"):
        scored = sorted((member.score, value) for value, member in present(state.ordered_set.members).items())
        if scored:
            return ([(decode(memoryview(value)), score) for score, value in scored],)
    if state.HasField("counter") and state.counter.counts:
        counts: Dict[int, Tuple[int, int]] = {}
        for count in state.counter.counts:
            up, down = counts.get(count.writer, (0, 0))
            counts[count.writer] = (max(up, count.up), max(down, count.down))
        total = sum(up - down for up, down in counts.values())
        return (min(max(total, _INT64[0]), _INT64[1]),)
    if state.HasField("max"):
        return (state.max.value,)
    if state.HasField("min"):
        return (state.min.value,)
    if state.HasField("priority"):
        return (decode(memoryview(state.priority.value)),)
    if state.HasField("map"):
        fields: Dict[str, Any] = {}
        for field in state.map.fields:
            shown = _shown(field.state, decode)
            if shown is not None:
                fields[field.name.decode("utf-8", "surrogateescape")] = shown[0]
        if fields:
            return (fields,)
    if state.HasField("causal") and state.causal.versions:
        return (decode(memoryview(min(version.value for version in state.causal.versions))),)
    return None


def present(members: Iterable[Any]) -> Dict[bytes, Any]:
    """Return the members of a set that are there, by their bytes: what happened to each last decides."""
    last: Dict[bytes, Any] = {}
    for member in members:
        held = last.get(member.value)
        if held is None or _happened(held) < _happened(member):
            last[member.value] = member
    return {value: member for value, member in last.items() if not member.removed}


def _happened(member: Any) -> Tuple[int, int, bool, float]:
    return member.timestamp.time, member.timestamp.writer, member.removed, getattr(member, "score", 0.0)
