"""The lattice codec: a ``State`` of ``store.proto``, and what a program that does not know lattices sees of it."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Tuple, Union

from cloudburst.errors import CodecError
from cloudburst.lattice import total
from cloudburst.states import counts_of, present
from cloudburst.v1 import store_pb2

Buffer = Union[bytes, bytearray, memoryview]
Decode = Callable[[memoryview], Any]

_INT64 = (-(1 << 63), (1 << 63) - 1)


def encode_state(state: store_pb2.State) -> bytes:
    """Return the value that carries a state."""
    return b"\x08" + state.SerializeToString()


def decode_state(data: Buffer) -> store_pb2.State:
    """Return the state that a value carries. Raises CodecError."""
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
        return (min(max(total(counts_of(state.counter)), _INT64[0]), _INT64[1]),)
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
