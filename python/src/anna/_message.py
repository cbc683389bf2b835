"""Lattices as messages of the published protocol, for programs that call ``serialize``. What is stored is not these."""

from __future__ import annotations

from typing import Any, Callable, Dict, Tuple

from anna import anna_pb2
from cloudburst.errors import InvalidArgumentError, UnsupportedError

__all__ = ["message_of"]


def message_of(lattice: Any) -> Tuple[Any, int]:
    """Return a lattice as a message, and its LatticeType.

    Raises InvalidArgumentError for contents that are not bytes or do not fit, and UnsupportedError for other lattices.
    """
    kind = type(lattice).__name__
    if kind not in _MESSAGES:
        raise UnsupportedError(f"serialize: there is no message for a {kind}; put it with AnnaTcpClient.put")
    number, write = _MESSAGES[kind]
    try:
        return write(lattice), number
    except (TypeError, ValueError) as e:  # protobuf's own
        raise InvalidArgumentError(f"serialize: a {kind} whose contents do not fit into a message: {e}") from None


def _single(lattice: Any) -> Any:
    message = anna_pb2.SingleKeyCausalValue(values=lattice.reveal())
    lattice.vector_clock.serialize(message.vector_clock)
    return message


def _multi(lattice: Any) -> Any:
    message = anna_pb2.MultiKeyCausalValue(values=lattice.reveal())
    lattice.vector_clock.serialize(message.vector_clock)
    for key, clock in lattice.dependencies.mp.items():
        clock.serialize(message.dependencies.add(key=key).vector_clock)
    return message


# By the names of the classes, which use this module.
_MESSAGES: Dict[str, Tuple[int, Callable[[Any], Any]]] = {
    "LWWPairLattice": (anna_pb2.LWW, lambda lattice: anna_pb2.LWWValue(timestamp=lattice.ts, value=lattice.val)),
    "SetLattice": (anna_pb2.SET, lambda lattice: anna_pb2.SetValue(values=sorted(lattice.val))),
    "OrderedSetLattice": (anna_pb2.ORDERED_SET, lambda lattice: anna_pb2.SetValue(values=lattice.reveal())),
    "PriorityLattice": (
        anna_pb2.PRIORITY,
        lambda lattice: anna_pb2.PriorityValue(priority=lattice.priority, value=lattice.value),
    ),
    "SingleKeyCausalLattice": (anna_pb2.SINGLE_CAUSAL, _single),
    "MultiKeyCausalLattice": (anna_pb2.MULTI_CAUSAL, _multi),
}
