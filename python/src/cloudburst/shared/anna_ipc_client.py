"""The published client of an executor's cache. A function reads and writes through its user library instead."""

from __future__ import annotations

from typing import Any

from anna.base_client import BaseAnnaClient
from cloudburst.errors import UnsupportedError

__all__ = ["AnnaIpcClient"]


class AnnaIpcClient(BaseAnnaClient):
    """Can be named and not be made: a cache has no sockets of ZeroMQ here."""

    def __init__(self, thread_id: int = 0, context: Any = None) -> None:
        """Raises UnsupportedError."""
        raise UnsupportedError(
            "AnnaIpcClient speaks to a cache of the published system; inside a function use its first argument, the user "
            "library, and elsewhere anna.client.AnnaTcpClient"
        )
