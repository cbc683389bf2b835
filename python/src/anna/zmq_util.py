"""Sockets of ZeroMQ, as the published client used them. Nothing here speaks ZeroMQ: the names import, and raise when used."""

from __future__ import annotations

from typing import Any, NoReturn, Sequence

from cloudburst.errors import UnsupportedError

__all__ = ["SocketCache", "recv_response", "send_request"]

_INSTEAD = "a node of Cloudburst does not speak ZeroMQ; use anna.client.AnnaTcpClient, whose get and put do the whole exchange"


def send_request(req_obj: Any, send_sock: Any) -> NoReturn:
    """Raises UnsupportedError."""
    raise UnsupportedError(f"send_request: {_INSTEAD}")


def recv_response(req_ids: Sequence[str], rcv_sock: Any, resp_class: Any) -> NoReturn:
    """Raises UnsupportedError."""
    raise UnsupportedError(f"recv_response: {_INSTEAD}")


class SocketCache:
    """Can be made; has no sockets."""

    def __init__(self, context: Any, zmq_type: Any) -> None:
        self.context = context
        self.zmq_type = zmq_type

    def get(self, addr: str) -> NoReturn:
        """Raises UnsupportedError."""
        raise UnsupportedError(f"SocketCache.get: {_INSTEAD}")
