"""Calls of DAGs as the published messages say them: what ``dry_run`` returns and ``continuation`` takes."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

from cloudburst.codec import Encoded
from cloudburst.errors import UnsupportedError
from cloudburst.shared.proto.cloudburst_pb2 import MULTI, NORMAL, SINGLE, DagCall
from cloudburst.shared.serializer import Serializer, encoded_of
from cloudburst.v1 import frame_pb2

__all__ = ["check_consistency", "composed", "last_of", "new_dag_call"]

_serializer = Serializer()


def new_dag_call(
    name: str,
    arguments: Dict[str, Sequence[Any]],
    response_address: str,
    output_key: Optional[str],
    client_id: Optional[str],
    continuation: Any,
) -> Any:
    """Return the DagCall of one call. Raises UnpicklableError for an argument that cannot travel, and TooLargeError."""
    call = DagCall(name=name, response_address=response_address, output_key=output_key or "", client_id=client_id or "")
    for function, values in arguments.items():
        call.function_args[function].values.extend(_serializer.dump(value, serialize=False) for value in values)
    if continuation is not None:
        call.continuation.name = continuation.name
        call.continuation.call.CopyFrom(continuation)
    return call


def composed(message: Any) -> Tuple[frame_pb2.Call, List[Encoded]]:
    """Return the call that a DagCall stands for, with its continuations, and the arguments of all of them.

    The result of the last one goes to the output key of the first unless it has one of its own. Raises UnsupportedError for a
    consistency level other than NORMAL.
    """
    check_consistency(message.name, message.consistency)
    call = frame_pb2.Call(dag=message.name, store=True, output_key=message.output_key)
    values: List[Encoded] = []
    for function in sorted(message.function_args):
        arguments = message.function_args[function].values
        call.arguments.add(function=function, positional=len(arguments))
        values += map(encoded_of, arguments)
    if message.HasField("continuation"):
        following, more = composed(message.continuation.call)
        call.continuation.CopyFrom(following)
        values += more
        last = last_of(call)
        if not last.output_key:
            last.output_key, call.output_key = call.output_key, ""
    return call, values


def last_of(call: frame_pb2.Call) -> frame_pb2.Call:
    """Return the last continuation of a call, or the call itself when it has none."""
    while call.HasField("continuation"):
        call = call.continuation
    return call


def check_consistency(name: str, consistency: int) -> None:
    """Raise UnsupportedError for a level that is not there yet."""
    if consistency != NORMAL:
        level = {SINGLE: "SINGLE", MULTI: "MULTI"}.get(consistency, repr(consistency))
        raise UnsupportedError(f"call dag {name!r}: consistency {level} is not there yet; use NORMAL")
