"""A lock of the whole program."""

from __future__ import annotations

import os
import threading

__all__ = ["ForkLock"]


class ForkLock:
    """Keeps threads apart, and may be taken again by the thread that holds it. A forked child gets another."""

    def __init__(self) -> None:
        self.held = threading.RLock()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.held = threading.RLock()
