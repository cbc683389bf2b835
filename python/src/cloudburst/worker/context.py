"""The context of a running function, for functions that do not take the user library: ``cloudburst.context()``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Optional, Sequence, Tuple, Union

from cloudburst.cells import check_key, increment_cell, new_cell, several
from cloudburst.worker.invocation import Invocation, current

if TYPE_CHECKING:
    from cloudburst.worker.host import Host, Identity

__all__ = ["Context", "context"]

_host: Optional[Host] = None  # of a worker, for its life


def context() -> Context:
    """Return the context of the function that runs. Raises RuntimeError outside of a worker.

    The threads that a function starts, and what it submits to a ``ThreadPoolExecutor``, have the function's context.
    """
    invocation = current()
    if _host is None or invocation is None:
        raise RuntimeError("cloudburst.context() is only there while a function runs on a node; here no function runs")
    if invocation._context is None:
        invocation._context = Context(_host, invocation)
    return invocation._context


def set_host(host: Host) -> None:
    """Make this process a worker whose functions ask a host."""
    global _host
    _host = host


class Context:
    """What a running function knows of its run, and its way to state and messages.

    It belongs to one invocation, also after its end. The threads of a function can use it at the same time.

    Keys are strings that are not empty. Values are what pickle can take, and at most 64 MiB. ``timeout`` is how many seconds a
    request may take, 75 without one; then it raises DeadlineExceededError (a TimeoutError). ``ack`` is "durable", which returns
    once the write is in the log, or "memory", once the node has it. Arguments that make no sense raise InvalidArgumentError (a
    ValueError) and change nothing.
    """

    def __init__(self, host: Host, invocation: Invocation) -> None:
        self._host = host
        self._invocation = invocation

    def __repr__(self) -> str:
        return f"<context of {self.function}@{self.version}, run {self.run_id}>"

    @property
    def id(self) -> Identity:
        """Where other functions can send messages to this one while it runs: (member, number)."""
        return self._host.identity_of(self._invocation)

    @property
    def run_id(self) -> str:
        """The id of the run, 32 hexadecimal digits; all functions of a DAG's run share it."""
        return self._invocation.run_id.hex()

    @property
    def function(self) -> str:
        """Name of the function."""
        return self._invocation.function_name

    @property
    def version(self) -> int:
        """Version of the function."""
        return self._invocation.function_version

    @property
    def attempt(self) -> int:
        """1, and one more for each attempt before that counts: one that raised, or whose worker was lost."""
        return self._invocation.attempt

    @property
    def deadline(self) -> float:
        """When the invocation is stopped at the latest: seconds since 1970, a reading of ``time.time``."""
        return self._invocation.deadline

    @property
    def remaining(self) -> float:
        """How many seconds are left until the deadline."""
        return max(0.0, self.deadline - time.time())

    def get(self, key: str, default: Any = None, *, wait: float = 0, timeout: Optional[float] = None) -> Any:
        """Return the value under a key, or the default. ``wait`` is how many seconds to wait for the key to appear.

        A counter reads as its number, a set lattice as a list. Raises what a run failed with, when the key is that of its
        result.
        """
        check_key(key)
        there, value = self._host.get((key,), wait, timeout)[key]
        return value if there else default

    def get_many(self, keys: Iterable[str], *, wait: float = 0, timeout: Optional[float] = None) -> Dict[str, Any]:
        """Return the values under those of the keys that are there, by key; ``wait`` as in :meth:`get`."""
        found = self._host.get(tuple(several(keys)), wait, timeout)
        return {key: value for key, (there, value) in found.items() if there}

    def put(
        self, key: str, value: Any, *, ttl: Optional[float] = None, ack: str = "durable", timeout: Optional[float] = None
    ) -> None:
        """Store a value under a key; the last writer wins. A lattice of ``anna.lattices`` is merged into what is there.

        ``ttl`` is how many seconds it is kept. Raises UnpicklableError, naming what in the value cannot travel,
        TooLargeError, and LatticeMismatchError when the key holds a lattice of another type.
        """
        cell, values = new_cell(key, value, ttl)
        self._host.put((cell,), values, ack, timeout)

    def increment(self, key: str, n: int = 1, *, ack: str = "durable", timeout: Optional[float] = None) -> None:
        """Add n, an integer of 64 bits, to the counter under a key; a key that is not there counts from 0.

        The store counts, so increments of functions that run at the same time all count. When a worker dies its invocation runs
        again, and increments again. Raises LatticeMismatchError when the key holds something that ``put`` has stored: delete it
        first, or count under another key.
        """
        cell, values = increment_cell(key, n)
        if n:
            self._host.put((cell,), values, ack, timeout)

    def delete(self, key: Union[str, Sequence[str]], *, ack: str = "durable", timeout: Optional[float] = None) -> None:
        """Delete what is stored under a key or several. One that is not there makes no difference."""
        self._host.delete((key,) if isinstance(key, str) else tuple(key), ack, timeout)

    def send(self, to: Identity, message: Any, *, timeout: Optional[float] = None) -> None:
        """Send a message, any value, to the function that runs at an id; it is dropped when none does."""
        self._host.send(to, message, timeout)

    def recv(self, timeout: float = 0, *, limit: int = 0) -> List[Tuple[Identity, Any]]:
        """Return the messages that have come, as (id of the sender, message); none is an empty list.

        ``timeout`` is how many seconds to wait for a first one, ``limit`` how many to return at most, 0 = all.
        """
        return self._host.recv(timeout, limit, None)
