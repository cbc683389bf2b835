"""What a running function asks of the node: the store and messages. The faces of it are the user library and the context."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from cloudburst import codec
from cloudburst.cells import ack_of, cells_of, few, milliseconds, value_of
from cloudburst.codec import Buffer, Encoded
from cloudburst.errors import FrameError, InvalidArgumentError, UnsupportedError
from cloudburst.v1 import frame_pb2, store_pb2
from cloudburst.worker.channel import Channel
from cloudburst.worker.invocation import Invocation, current

Identity = Tuple[str, int]
"""Where a running function can be sent messages: the node's id among the members, and a number on it."""

REQUEST_SECONDS = 75.0
"""How long an answer may take beyond the wait that the host call itself asks for; the node gives up a little earlier."""

_HEADS_MAX = 256


class Host:
    """The node, as a function sees it. Safe for concurrent use."""

    def __init__(self, channel: Channel, identity: Identity) -> None:
        self._channel = channel
        self._member, self._number = identity
        self._heads: Dict[str, bytes] = {}

    @property
    def identity(self) -> Identity:
        """Where the calling function can be sent messages."""
        return self.identity_of(current())

    def identity_of(self, invocation: Optional[Invocation]) -> Identity:
        """Return where a function can be sent messages."""
        _check_mailbox(invocation)
        return self._member, self._number if invocation is None else invocation.address(self._number)

    def get(
        self,
        keys: Sequence[str],
        wait: float,
        timeout: Optional[float],
        read: Callable[[store_pb2.Cell, Sequence[Buffer]], Any] = value_of,
    ) -> Dict[str, Tuple[bool, Any]]:
        """Return for each key whether something is stored under it, and what ``read`` makes of its cell."""
        reply, values = self._channel.call_host(
            self._get_head(keys, wait), (), _limit(timeout, wait), lambda: f"get {few(keys)}"
        )
        found: Dict[str, Tuple[bool, Any]] = {}
        for cell, stored in cells_of(reply, values):
            if cell.type == store_pb2.LATTICE_TYPE_UNSPECIFIED:
                found[cell.key] = (False, None)
            else:
                found[cell.key] = (True, read(cell, stored))
        return found

    def _get_head(self, keys: Sequence[str], wait: float) -> bytes:
        # What is read once is often read again, so the header of a get is kept.
        known = self._heads.get(keys[0]) if len(keys) == 1 and wait == 0 else None
        if known is not None:
            return known
        header = frame_pb2.Header()
        header.get.wait_milliseconds = milliseconds(wait)
        try:
            header.get.keys.extend(keys)
        except TypeError:
            raise InvalidArgumentError(f"get: keys are str, got {keys!r:.100}") from None
        head = header.SerializeToString()
        if len(keys) == 1 and wait == 0:
            if len(self._heads) >= _HEADS_MAX:
                self._heads.clear()
            self._heads[keys[0]] = head
        return head

    def put(self, cells: Sequence[store_pb2.Cell], values: Sequence[Encoded], ack: str, timeout: Optional[float]) -> None:
        header = frame_pb2.Header()
        header.put.ack = ack_of(ack)
        header.put.cells.extend(cells)
        self._channel.call_host(
            header.SerializeToString(), values, _limit(timeout), lambda: f"put {few([cell.key for cell in cells])}"
        )

    def delete(self, keys: Sequence[str], ack: str, timeout: Optional[float]) -> None:
        header = frame_pb2.Header()
        header.delete.ack = ack_of(ack)
        header.delete.keys.extend(keys)
        self._channel.call_host(header.SerializeToString(), (), _limit(timeout), lambda: f"delete {few(keys)}")

    def send(self, to: Identity, message: Any, timeout: Optional[float]) -> None:
        header = frame_pb2.Header()
        try:
            header.send.member, header.send.number = to
        except (TypeError, ValueError):
            raise InvalidArgumentError(
                f"send: a receiver is the (member, number) that its getid returns, got {to!r:.100}"
            ) from None
        header.send.invocation = _number_of(current())
        self._channel.call_host(
            header.SerializeToString(), (codec.encode_parts(message),), _limit(timeout), lambda: f"send to {to}"
        )

    def recv(self, wait: float, limit: int, timeout: Optional[float]) -> List[Tuple[Identity, Any]]:
        _check_mailbox(current())
        header = frame_pb2.Header()
        header.receive.wait_milliseconds = milliseconds(wait)
        header.receive.limit = limit
        header.receive.invocation = _number_of(current())
        reply, values = self._channel.call_host(header.SerializeToString(), (), _limit(timeout, wait), lambda: "recv")
        senders = reply.messages.senders
        if not reply.HasField("messages") or len(senders) != len(values):
            raise FrameError(f"recv was answered with a {reply.WhichOneof('body')}")
        return [((sender.member, sender.number), codec.decode(value)) for sender, value in zip(senders, values)]


def _check_mailbox(invocation: Optional[Invocation]) -> None:
    if invocation is not None and invocation.beside:
        raise UnsupportedError(
            f"{invocation.function_name!r} is a coroutine function, which has no id that messages could be sent to, since many "
            "invocations of it run in one worker; use a plain function for messages, or keys"
        )


def _number_of(invocation: Optional[Invocation]) -> int:
    return 0 if invocation is None else invocation.number


def _limit(timeout: Optional[float], wait: float = 0) -> float:
    return REQUEST_SECONDS + wait if timeout is None else timeout
