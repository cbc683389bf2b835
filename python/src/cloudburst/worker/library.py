"""The user library: the first argument of functions that are written for the published interface."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

from cloudburst.cells import raw_of
from cloudburst.shared.objects import new_object, object_of
from cloudburst.worker.host import Host, Identity

__all__ = ["UserLibrary"]


class UserLibrary:
    """State and messages for the function that runs. One object serves a worker for its life, so it may be kept.

    Keys are strings that are not empty. ``timeout`` is how many seconds a request may take, 75 without one; then it raises
    DeadlineExceededError (a TimeoutError). Threads can use it at the same time.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    def get(
        self, ref: Union[str, Sequence[str]], deserialize: bool = True, *, wait: float = 0, timeout: Optional[float] = None
    ) -> Any:
        """Return the value under a key, or for a list of keys a dictionary of their values; None where nothing is stored.

        A set lattice reads as a list, and so does a set that a function has returned. With ``deserialize=False``: the stored
        bytes. ``wait`` is how many seconds to wait for keys that are not there to appear.
        """
        read = object_of if deserialize else raw_of
        if isinstance(ref, str):
            return self._host.get((ref,), wait, timeout, read)[ref][1]
        return {key: value for key, (_, value) in self._host.get(tuple(ref), wait, timeout, read).items()}

    def put(
        self,
        ref: str,
        value: Any,
        *,
        ttl: Optional[float] = None,
        ack: str = "durable",
        timeout: Optional[float] = None,
    ) -> Dict[str, bool]:
        """Store a value under a key, and return ``{key: True}``.

        A ``set`` joins the set lattice that is there; anything else replaces what was there before. A lattice of
        ``anna.lattices`` is kept as a value and read back as the lattice; ``cloudburst.context().put`` merges it. ``ttl`` is
        how many seconds the value is kept. ``ack="memory"`` does not wait for the log.
        """
        cell, values = new_object(ref, value, ttl)
        self._host.put((cell,), values, ack, timeout)
        return {ref: True}

    def delete(self, ref: Union[str, Sequence[str]], *, ack: str = "durable", timeout: Optional[float] = None) -> bool:
        """Delete what is stored under a key or several, and return True. ``ack`` as in :meth:`put`."""
        self._host.delete((ref,) if isinstance(ref, str) else tuple(ref), ack, timeout)
        return True

    def getid(self) -> Identity:
        """Return where other functions can send messages to this one while it runs: (member, number)."""
        return self._host.identity

    def send(self, dest: Identity, bytestr: Any, *, timeout: Optional[float] = None) -> None:
        """Send a message, bytes or any other value, to the function that runs at an id; dropped when none does."""
        self._host.send(dest, bytestr, timeout)

    def recv(self, *, wait: float = 0, limit: int = 0, timeout: Optional[float] = None) -> List[Tuple[Identity, Any]]:
        """Return the messages that have come, as (id of the sender, message); none is an empty list.

        ``wait`` is how many seconds to wait for a first one, ``limit`` how many to return at most, 0 = all.
        """
        return self._host.recv(wait, limit, timeout)

    def close(self) -> None:
        """Drop the messages that have come. The published executor called this at the end of a function."""
        self.recv()
