"""Futures of the published interface."""

from __future__ import annotations

from typing import Any, Optional

from cloudburst.connection import Connection
from cloudburst.future import Future

__all__ = ["CloudburstFuture"]


class CloudburstFuture(Future[Any]):
    """The result of a call: ``get()`` waits for it. See :class:`cloudburst.Future`."""

    __slots__ = ()

    def __init__(self, obj_id: str, kvs_client: Any = None, serializer: Any = None) -> None:
        """Return the future of the result under a key. ``serializer`` has no say: values know how they are encoded."""
        connection: Optional[Connection] = getattr(kvs_client, "connection", None)
        super().__init__(obj_id, connection)

    @property
    def obj_id(self) -> str:
        """The key under which the node keeps the result."""
        return self.key
