"""Functions of the published interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudburst.shared.future import CloudburstFuture

if TYPE_CHECKING:
    from cloudburst.client.client import CloudburstConnection

__all__ = ["CloudburstFunction"]


class CloudburstFunction:
    """A registered function. Called with its arguments, without the user library, it returns a future at once."""

    def __init__(self, name: str, conn: CloudburstConnection, kvs_client: Any = None) -> None:
        self.name = name
        self._conn = conn
        self._kvs_client = kvs_client

    def __call__(self, *args: Any) -> CloudburstFuture:
        """Call the latest version of the function. An argument may be a reference or a future, also inside a list; a tuple
        is spread over several."""
        return self._conn._call_function(self.name, args)

    def get_name(self) -> str:
        """Return the name under which the function is registered."""
        return self.name

    def __repr__(self) -> str:
        return f"<CloudburstFunction {self.name}>"
