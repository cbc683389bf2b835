"""What a running function asks of the node: the store and messages. The faces of it are the user library and the context."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

from cloudburst import codec
from cloudburst.codec import Buffer, Encoded
from cloudburst.errors import FrameError, InvalidArgumentError
from cloudburst.v1 import frame_pb2, store_pb2
from cloudburst.worker.channel import Channel

Identity = Tuple[str, int]
"""Where a running function can be sent messages: the node's address, and a number on it."""

REQUEST_SECONDS = 75.0
"""How long an answer may take beyond what the request itself says; the node gives up a little earlier."""

_ACKS = {"durable": store_pb2.ACK_DURABLE, "memory": store_pb2.ACK_MEMORY}


class Host:
    """The node, as a function sees it. Safe for concurrent use."""

    def __init__(self, channel: Channel, identity: Identity) -> None:
        self._channel = channel
        self.identity = identity

    def get(
        self, keys: Sequence[str], wait: float, timeout: Optional[float], deserialize: bool = True
    ) -> Dict[str, Tuple[bool, Any]]:
        """Return for each key whether something is stored under it, and its value."""
        header = frame_pb2.Header()
        header.get.wait_milliseconds = _milliseconds(wait)
        try:
            header.get.keys.extend(keys)
        except TypeError:
            raise InvalidArgumentError(f"get: keys are str, got {keys!r:.100}") from None
        reply, values = self._channel.request(header, (), _limit(timeout, wait), f"get {_few(keys)}")
        if not reply.HasField("cells"):
            raise FrameError(f"get was answered with a {reply.WhichOneof('body')}")
        found: Dict[str, Tuple[bool, Any]] = {}
        at = 0
        for cell in reply.cells.cells:
            stored = values[at : at + cell.values]
            at += cell.values
            if cell.type == store_pb2.LATTICE_TYPE_UNSPECIFIED:
                found[cell.key] = (False, None)
            elif cell.type == store_pb2.LATTICE_TYPE_SET:  # reads as a list
                found[cell.key] = (True, [_value(element, deserialize) for element in stored])
            else:
                found[cell.key] = (True, _value(stored[0], deserialize))
        return found

    def put(self, cells: Sequence[store_pb2.Cell], values: Sequence[Encoded], ack: str, timeout: Optional[float]) -> None:
        header = frame_pb2.Header()
        header.put.ack = _ack(ack)
        header.put.cells.extend(cells)
        self._channel.request(header, values, _limit(timeout), f"put {_few([cell.key for cell in cells])}")

    def delete(self, keys: Sequence[str], ack: str, timeout: Optional[float]) -> None:
        header = frame_pb2.Header()
        header.delete.ack = _ack(ack)
        header.delete.keys.extend(keys)
        self._channel.request(header, (), _limit(timeout), f"delete {_few(keys)}")

    def send(self, to: Identity, message: Any, timeout: Optional[float]) -> None:
        header = frame_pb2.Header()
        try:
            header.send.address, header.send.number = to
        except (TypeError, ValueError):
            raise InvalidArgumentError(
                f"send: a receiver is the (address, number) that its getid returns, got {to!r:.100}"
            ) from None
        self._channel.request(header, (codec.encode_parts(message),), _limit(timeout), f"send to {to}")

    def recv(self, wait: float, limit: int, timeout: Optional[float]) -> List[Tuple[Identity, Any]]:
        header = frame_pb2.Header()
        header.receive.wait_milliseconds = _milliseconds(wait)
        header.receive.limit = limit
        reply, values = self._channel.request(header, (), _limit(timeout, wait), "recv")
        senders = reply.messages.senders
        if not reply.HasField("messages") or len(senders) != len(values):
            raise FrameError(f"recv was answered with a {reply.WhichOneof('body')}")
        return [((sender.address, sender.number), codec.decode(value)) for sender, value in zip(senders, values)]


def cell(key: str, value: Any, ttl: Optional[float], sets: bool) -> Tuple[store_pb2.Cell, List[Encoded]]:
    """Return what a put of one key sends. With ``sets`` a Python set becomes a set lattice, of which puts add members."""
    if not isinstance(key, str):
        raise InvalidArgumentError(f"put: a key is a str, got {key!r:.100}")
    head = store_pb2.Cell(key=key, ttl_milliseconds=_milliseconds(ttl or 0))
    if sets and type(value) is set:
        head.type = store_pb2.LATTICE_TYPE_SET
        head.values = len(value)
        return head, [codec.encode_parts(element) for element in value]
    head.type = store_pb2.LATTICE_TYPE_LWW
    head.values = 1
    return head, [codec.encode_parts(value)]


def _value(stored: Buffer, deserialize: bool) -> Any:
    if deserialize:
        return codec.decode(stored)
    return bytes(stored[1:] if stored[0] == codec.BYTES else stored)


def _ack(ack: str) -> store_pb2.Ack:
    try:
        return _ACKS[ack]
    except KeyError:
        raise InvalidArgumentError(f"ack={ack!r:.100}: is 'durable' or 'memory'") from None


def _milliseconds(seconds: float) -> int:
    if not 0 <= seconds < 1e9:
        raise InvalidArgumentError(f"{seconds!r:.100} s: is not a time to wait")
    return int(seconds * 1000)


def _limit(timeout: Optional[float], wait: float = 0) -> float:
    return REQUEST_SECONDS + wait if timeout is None else timeout


def _few(keys: Union[Sequence[str], Sequence[Any]]) -> str:
    names = ", ".join(f"{key!r:.100}" for key in keys[:3])
    return names if len(keys) <= 3 else f"{names} and {len(keys) - 3} more"
