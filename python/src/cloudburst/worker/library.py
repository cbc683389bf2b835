"""The user library: the first argument of functions that are written for the published interface."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

from cloudburst.cells import new_cell
from cloudburst.worker.host import Host, Identity

__all__ = ["UserLibrary"]


class UserLibrary:
    """State and messages for the function that runs. Every method waits for a bounded time; ``timeout`` (in seconds) bounds it
    further, with DeadlineExceededError. One object serves a worker for its life, so it may be kept. Safe for concurrent use.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    def get(
        self, ref: Union[str, Sequence[str]], deserialize: bool = True, *, wait: float = 0, timeout: Optional[float] = None
    ) -> Any:
        """Return the value under a key, or for a list of keys a dictionary of their values; None where nothing is stored.

        A set lattice reads as a list. With ``deserialize=False``: the stored bytes. ``wait`` is how many seconds to wait for
        keys that are not there to appear.
        """
        if isinstance(ref, str):
            return self._host.get((ref,), wait, timeout, deserialize)[ref][1]
        found: Dict[str, Any] = {
            key: value for key, (_, value) in self._host.get(tuple(ref), wait, timeout, deserialize).items()
        }
        return found

    def put(
        self,
        ref: str,
        value: Any,
        *,
        ttl: Optional[float] = None,
        ack: str = "durable",
        timeout: Optional[float] = None,
    ) -> bool:
        """Store a value under a key and return True.

        A ``set`` joins the set lattice there, a lattice of ``anna.lattices`` is merged as what it is, anything else replaces
        what was there before. ``ttl`` is how many seconds it is kept. ``ack="memory"`` does not wait for the log.
        """
        cell, values = new_cell(ref, value, sets=True, ttl=ttl)
        self._host.put((cell,), values, ack, timeout)
        return True

    def delete(self, ref: Union[str, Sequence[str]], *, ack: str = "durable", timeout: Optional[float] = None) -> bool:
        """Delete what is stored under a key or several, and return True."""
        self._host.delete((ref,) if isinstance(ref, str) else tuple(ref), ack, timeout)
        return True

    def getid(self) -> Identity:
        """Return where other functions can send messages to this one while it runs: (member, number)."""
        return self._host.identity

    def send(self, dest: Identity, message: Any, *, timeout: Optional[float] = None) -> None:
        """Send a message, bytes or any other value, to the function that runs at an id; dropped when none does."""
        self._host.send(dest, message, timeout)

    def recv(self, *, wait: float = 0, limit: int = 0, timeout: Optional[float] = None) -> List[Tuple[Identity, Any]]:
        """Return the messages that have come, as (id of the sender, message); with ``wait``, after at most as many seconds."""
        return self._host.recv(wait, limit, timeout)
