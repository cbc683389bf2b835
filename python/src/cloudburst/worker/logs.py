"""What user code prints: ``sys.stdout`` and ``sys.stderr`` of a worker.

Whole lines are passed on as they are written, with the function and the run that they belong to; a line without an end when
the stream is flushed, at the latest when the invocation ends. Code that writes to the descriptors 1 and 2 directly, and
child processes, reach the executor through a pipe instead.
"""

from __future__ import annotations

import io
import os
import threading
from typing import Callable, Dict, List, Optional, Tuple

TEXT_MAX = 64 << 10
"""The longest text that is passed on at once, in characters; a longer line is cut."""

Owner = Callable[[], object]
Emit = Callable[[int, str], bool]
"""Passes a string on; False when that is not possible, and the string goes to the descriptor instead."""


class LogStream(io.TextIOBase):
    """A text stream that passes on what is written to it. Safe for concurrent use. User code cannot close it."""

    def __init__(self, name: str, stream: int, fd: int, emit: Emit, owner: Owner = lambda: None) -> None:
        """``owner`` returns whose the calling code is, where several run beside each other: each has a line of its own."""
        super().__init__()
        self.name = name
        self.pending: List[str] = []
        """What has been written and not yet passed on, in pieces."""
        self._size = 0
        self._owner = owner
        self._of: object = None  # whose the pending pieces are
        self._aside: Dict[object, Tuple[List[str], int]] = {}  # those of others
        self._stream = stream
        self._fd = fd
        self._emit: Optional[Emit] = emit
        self._lock = threading.RLock()
        self._binary: Optional[io.BufferedWriter] = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"

    @property
    def buffer(self) -> io.BufferedWriter:
        """The descriptor below, for code that writes bytes."""
        if self._binary is None:
            self._binary = io.BufferedWriter(io.FileIO(self._fd, "w", closefd=False))
        return self._binary

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def close(self) -> None:
        self.flush()

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            self._turn_to_owner()
            lines, end, rest = text.rpartition("\n")
            if end:
                self.pending.append(lines)
                self._pass_on_pending()
            if rest:
                self.pending.append(rest)
                self._size += len(rest)
                if self._size > TEXT_MAX:
                    self._pass_on_pending()
        return len(text)

    def flush(self) -> None:
        with self._lock:
            self._turn_to_owner()
            if self.pending:
                self._pass_on_pending()
            if self._binary is not None:
                self._binary.flush()

    def leave_to_descriptor(self) -> None:
        """Write to the descriptor from now on, and forget what is pending: in a forked child it is the parent's."""
        self._emit = None
        self._lock = threading.RLock()
        self.pending = []
        self._aside = {}

    def _turn_to_owner(self) -> None:
        owner = self._owner()
        if owner is not self._of:
            if self.pending:
                self._aside[self._of] = (self.pending, self._size)
            self.pending, self._size = self._aside.pop(owner, ([], 0))
            self._of = owner

    def _pass_on_pending(self) -> None:
        text = "".join(self.pending)
        self.pending, self._size = [], 0
        self._pass_on(text)

    def _pass_on(self, text: str) -> None:
        for at in range(0, len(text) or 1, TEXT_MAX):
            part = text[at : at + TEXT_MAX]
            if self._emit is None or not self._emit(self._stream, part):
                self._write_raw(part + "\n")

    def _write_raw(self, text: str) -> None:
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except OSError:  # closed by user code, or without a reader
                return
