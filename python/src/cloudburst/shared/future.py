"""Futures of the published interface."""

from __future__ import annotations

from typing import Any, Optional

from anna.client import AnnaTcpClient
from cloudburst.codec import sent_as
from cloudburst.connection import Connection
from cloudburst.future import Future, sent
from cloudburst.shared.serializer import Serializer

__all__ = ["CloudburstFuture"]

_serializer = Serializer()


class CloudburstFuture(Future[Any]):
    """The result of a call: ``get()`` waits for it. See :class:`cloudburst.Future`."""

    __slots__ = ()

    def __init__(self, obj_id: str, kvs_client: Any = None, serializer: Any = None) -> None:
        """Return the future of the result under a key. ``serializer`` has no say: values know how they are encoded."""
        connection: Optional[Connection] = getattr(kvs_client, "connection", None)
        super().__init__(obj_id, connection)

    def get(self, timeout: Optional[float] = None) -> Any:
        """Return the result, a set as a list, or raise what the function raised; see :meth:`cloudburst.Future.get`."""
        value = Future.get(self, timeout)  # faster than super()
        return list(value) if type(value) is set else value

    @property
    def obj_id(self) -> str:
        """The key under which the node keeps the result."""
        return self.key

    @property
    def kvs_client(self) -> AnnaTcpClient:
        """A client of the store that keeps the result."""
        return AnnaTcpClient.of_connection(self._owner)

    @property
    def serializer(self) -> Serializer:
        """What loads the values of that store."""
        return _serializer


sent_as(CloudburstFuture, sent)
