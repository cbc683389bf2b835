"""What a thread does while it waits for runs, in a process that runs functions itself: see ``cloudburst.worker.waiting``."""

from __future__ import annotations

from typing import TYPE_CHECKING, List, Optional, Protocol

if TYPE_CHECKING:
    from cloudburst.channel import Channel
    from cloudburst.request import Waiter

__all__ = ["Awaited", "Strategy", "set_strategy", "strategy"]


class Awaited(Protocol):
    """What a thread waits for."""

    def runs(self) -> List[bytes]:
        """Return the ids of the runs, as far as they are known."""

    def succeeded(self) -> bool:
        """Report whether all of them have succeeded, and nothing is left to be done for them."""

    @property
    def patient(self) -> bool:
        """Whether the wait ends with the end of all of them, and not before."""

    @property
    def first(self) -> bool:
        """Whether the wait ends with the end of one of them."""


class Strategy(Protocol):
    def wait(self, channel: Channel, waiter: Waiter, deadline: float, awaited: Awaited) -> None:
        """Wait as ``channel.wait`` does, while the process does what the wait needs."""


_strategy: Optional[Strategy] = None


def strategy() -> Optional[Strategy]:
    """Return how threads of this process wait for runs; None = by reading answers alone."""
    return _strategy


def set_strategy(strategy: Strategy) -> None:
    """Have the threads of this process wait in a way."""
    global _strategy
    _strategy = strategy
