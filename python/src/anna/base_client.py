"""The base of the published clients of Anna."""

from __future__ import annotations

from typing import Any

__all__ = ["BaseAnnaClient"]


class BaseAnnaClient:
    """What a client of Anna can do. :class:`anna.client.AnnaTcpClient` does it; a program may bring classes of its own."""

    def __init__(self) -> None:
        """Raises NotImplementedError: a derived class connects."""
        raise NotImplementedError

    def get(self, keys: Any) -> Any:
        """Return a dictionary of the lattices under keys, with None for an absent one."""
        raise NotImplementedError

    def get_all(self, keys: Any) -> Any:
        """Return the lattices under keys, merged from all replicas."""
        raise NotImplementedError

    def put(self, keys: Any, values: Any) -> Any:
        """Merge lattices into what is stored under keys."""
        raise NotImplementedError

    def put_all(self, key: Any, value: Any) -> Any:
        """Merge a lattice into what is stored under a key, at all replicas, and report whether that succeeded."""
        raise NotImplementedError

    @property
    def response_address(self) -> str:
        """Where servers sent answers."""
        raise NotImplementedError
