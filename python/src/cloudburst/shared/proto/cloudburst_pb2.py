"""Errors, levels and messages of the published interface, by their published names."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import List, Optional, Sequence

from cloudburst import frame
from cloudburst.codec import Encoded
from cloudburst.errors import FrameError, InvalidArgumentError
from cloudburst.v1 import frame_pb2

__all__ = [
    "DAG_ALREADY_EXISTS",
    "EXECUTION_ERROR",
    "FUNC_NOT_FOUND",
    "MULTI",
    "MULTIEXEC",
    "NORMAL",
    "NOT_PINNED",
    "NO_ERROR",
    "NO_RESOURCES",
    "NO_SUCH_DAG",
    "SINGLE",
    "CloudburstError",
    "ConsistencyType",
    "DagCall",
    "Failure",
]

NO_ERROR = 0
FUNC_NOT_FOUND = 1
NOT_PINNED = 2
EXECUTION_ERROR = 3
NO_SUCH_DAG = 4
NO_RESOURCES = 5
DAG_ALREADY_EXISTS = 6

NORMAL = 0
SINGLE = 1
MULTI = 2

MULTIEXEC = 1


class CloudburstError(IntEnum):
    """What went wrong, as ``register_dag`` and ``delete_dag`` report it."""

    NO_ERROR = NO_ERROR
    FUNC_NOT_FOUND = FUNC_NOT_FOUND
    NOT_PINNED = NOT_PINNED
    EXECUTION_ERROR = EXECUTION_ERROR
    NO_SUCH_DAG = NO_SUCH_DAG
    NO_RESOURCES = NO_RESOURCES
    DAG_ALREADY_EXISTS = DAG_ALREADY_EXISTS

    @classmethod
    def Name(cls, number: int) -> str:
        """Return the name of an error."""
        return cls(number).name

    @classmethod
    def Value(cls, name: str) -> int:
        """Return an error by its name."""
        return cls[name].value


class ConsistencyType(IntEnum):
    """How the reads of one call fit together."""

    NORMAL = NORMAL
    SINGLE = SINGLE
    MULTI = MULTI


class Failure(int):
    """A :class:`CloudburstError` with what there is to say about it. Equal to its number, and shown as it."""

    message: str

    def __new__(cls, number: int, message: str) -> Failure:
        failure = super().__new__(cls, number)
        failure.message = message
        return failure


class DagCall:
    """A call of a DAG that has not been made: ``dry_run`` gives one, and ``continuation`` takes one.

    ``call`` is the request without the id of a run, ``values`` are the encoded arguments.
    """

    def __init__(
        self, call: Optional[frame_pb2.Call] = None, values: Sequence[Encoded] = (), client_id: str = ""
    ) -> None:
        self.call = call if call is not None else frame_pb2.Call()
        self.values: List[Encoded] = list(values)
        self.client_id = client_id

    @property
    def name(self) -> str:
        """Name of the DAG."""
        return self.call.dag

    @property
    def output_key(self) -> str:
        """The key under which the result is kept; empty = one of its own."""
        return self.call.output_key

    @output_key.setter
    def output_key(self, key: str) -> None:
        self.call.output_key = key

    @property
    def consistency(self) -> int:
        """NORMAL, the only level that there is yet."""
        return NORMAL

    def SerializeToString(self) -> bytes:
        """Return the call as bytes."""
        return b"".join(frame.pack(frame_pb2.Header(call=self.call), self.values))

    def ParseFromString(self, data: bytes) -> None:
        """Become the call that ``SerializeToString`` has made bytes of. Raises InvalidArgumentError for other bytes."""
        try:
            header, values = frame.parse(data)
        except (FrameError, struct.error) as e:
            raise InvalidArgumentError(f"these bytes are no DagCall: {e}") from None
        if not header.HasField("call") or any(len(v) != n for v, n in zip(values, header.sizes)):
            raise InvalidArgumentError("these bytes are no DagCall, or only a part of one")
        self.call = header.call
        self.values = [bytes(value) for value in values]

    def CopyFrom(self, other: DagCall) -> None:
        """Become another call."""
        self.ParseFromString(other.SerializeToString())
        self.client_id = other.client_id

    def __repr__(self) -> str:
        return f"<DagCall {self.name}>"
