"""The context of a running function, for functions that do not take the user library: ``cloudburst.context()``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Optional, Sequence, Tuple, Union

from cloudburst.cells import check_key, increment_cell, new_cell

if TYPE_CHECKING:
    from cloudburst.worker.host import Host, Identity
    from cloudburst.worker.worker import Worker

__all__ = ["Context", "context"]

_current: Optional[Context] = None  # one for the life of a worker; it follows the invocation that runs


def context() -> Context:
    """Return the context of the function that runs. Raises RuntimeError outside of a worker."""
    if _current is None:
        raise RuntimeError("cloudburst.context() is only there while a function runs on a node; here no function runs")
    return _current


def set_context(current: Context) -> None:
    """Make a context the one of this process."""
    global _current
    _current = current


class Context:
    """What a running function knows of its run, and its way to state and messages.

    Every wait is bounded; ``timeout`` (in seconds) bounds it further, with DeadlineExceededError. Safe for concurrent use by
    the threads of the function; between invocations the fields that describe the run are those of the last one.
    """

    def __init__(self, host: Host, worker: Worker) -> None:
        self._host = host
        self._worker = worker

    def __repr__(self) -> str:
        return f"<context of {self.function}@{self.version}, run {self.run_id}>"

    @property
    def id(self) -> Identity:
        """Where other functions can send messages to this one while it runs: (member, number)."""
        return self._host.identity

    @property
    def run_id(self) -> str:
        """The run, in hexadecimal; all functions of a DAG's run share it."""
        return self._worker.run_id.hex()

    @property
    def function(self) -> str:
        """Name of the function."""
        return self._worker.function_name

    @property
    def version(self) -> int:
        """Version of the function."""
        return self._worker.function_version

    @property
    def attempt(self) -> int:
        """1, and one more each time that the invocation is run again because its worker died."""
        return self._worker.attempt

    @property
    def deadline(self) -> float:
        """When the invocation is stopped at the latest, as a reading of ``time.time``."""
        return self._worker.deadline

    @property
    def remaining(self) -> float:
        """How many seconds are left until the deadline."""
        return max(0.0, self.deadline - time.time())

    def get(self, key: str, default: Any = None, *, wait: float = 0, timeout: Optional[float] = None) -> Any:
        """Return the value under a key, or the default. ``wait`` is how many seconds to wait for the key to appear."""
        check_key(key)
        there, value = self._host.get((key,), wait, timeout)[key]
        return value if there else default

    def get_many(self, keys: Iterable[str], *, wait: float = 0, timeout: Optional[float] = None) -> Dict[str, Any]:
        """Return the values under those of the keys that are there."""
        found = self._host.get(tuple(keys), wait, timeout)
        return {key: value for key, (there, value) in found.items() if there}

    def put(
        self, key: str, value: Any, *, ttl: Optional[float] = None, ack: str = "durable", timeout: Optional[float] = None
    ) -> None:
        """Store a value under a key. ``ttl`` is how many seconds it is kept. ``ack="memory"`` does not wait for the log."""
        cell, values = new_cell(key, value, ttl)
        self._host.put((cell,), values, ack, timeout)

    def increment(self, key: str, n: int = 1, *, ack: str = "durable", timeout: Optional[float] = None) -> None:
        """Add n, an integer of 64 bits, to the counter under a key; a key that is not there counts from 0.

        The store counts, so increments of functions that run at the same time all count. When a worker dies its invocation runs
        again, and increments again.
        """
        cell, values = increment_cell(key, n)
        if n:
            self._host.put((cell,), values, ack, timeout)

    def delete(self, key: Union[str, Sequence[str]], *, ack: str = "durable", timeout: Optional[float] = None) -> None:
        """Delete what is stored under a key or several."""
        self._host.delete((key,) if isinstance(key, str) else tuple(key), ack, timeout)

    def send(self, to: Identity, message: Any, *, timeout: Optional[float] = None) -> None:
        """Send a message to the function that runs at an id; dropped when none does."""
        self._host.send(to, message, timeout)

    def recv(self, timeout: float = 0, *, limit: int = 0) -> List[Tuple[Identity, Any]]:
        """Return the messages that have come, as (id of the sender, message), waiting up to timeout for a first one."""
        return self._host.recv(timeout, limit, None)
