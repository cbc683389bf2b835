"""What functions print, as it reaches a client."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from typing import Deque, Iterator, NamedTuple, Optional, Sequence, Tuple

from cloudburst.cells import duration
from cloudburst.codec import Buffer
from cloudburst.connection import Connection
from cloudburst.errors import Error, InvalidArgumentError, UnavailableError
from cloudburst.pushed import FOREVER_SECONDS, pushed, start, unwatch
from cloudburst.request import Request, new_request
from cloudburst.v1 import frame_pb2

__all__ = ["LINES_MAX", "LogLine", "Printer", "lines"]

LINES_MAX = 10_000
"""How many lines a node keeps of one run, and sends at once."""

# Beyond so many lines, or bytes, that wait for the loop the oldest are dropped.
_WAITING_MAX = 2 * LINES_MAX
_BYTES_MAX = 16 << 20
_STREAMS = {frame_pb2.STREAM_STDOUT: "stdout", frame_pb2.STREAM_STDERR: "stderr"}
_END_SECONDS = 2.0  # for the last lines, when a program ends
_AGAIN_SECONDS = 0.5  # after a lost connection
_ESCAPED = {c: f"\\x{c:02x}" for c in (*range(9), *range(10, 32), *range(127, 160))}


class LogLine(NamedTuple):
    """A line that a function has printed."""

    at: float  # when the node got it: seconds since 1970
    stream: str  # "stdout", "stderr", or "process" for what a library or a child process has written to descriptor 1 or 2
    text: str  # without the end of the line
    function: str  # empty when it is not known which of the run's functions printed it
    version: int
    run_id: str
    dropped: int = 0  # lines before this one that are missing, because the reader was too slow or the node has forgotten them


class _Arrivals:
    """The lines that the loop has not taken yet."""

    def __init__(self) -> None:
        self._lines: Deque[Tuple[frame_pb2.LogLine, int]] = deque()
        self._bytes = 0
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._lines)

    def put(self, header: frame_pb2.Header, values: Sequence[Buffer]) -> None:
        dropped = header.log_lines.dropped
        for line in header.log_lines.lines:
            self._lines.append((line, dropped))
            self._bytes += len(line.text)
            dropped = 0
        self._dropped += dropped
        while len(self._lines) > _WAITING_MAX or (self._bytes > _BYTES_MAX and len(self._lines) > 1):
            oldest, missing = self._lines.popleft()
            self._bytes -= len(oldest.text)
            self._dropped += 1 + missing

    def take(self) -> Optional[LogLine]:
        try:
            line, dropped = self._lines.popleft()
        except IndexError:
            return None
        self._bytes -= len(line.text)
        dropped, self._dropped = dropped + self._dropped, 0
        return LogLine(
            line.at_microseconds / 1e6,
            _STREAMS.get(line.stream, "process"),
            line.text,
            line.function,
            line.version,
            line.run_id.hex(),
            dropped,
        )


def lines(
    connection: Connection,
    *,
    run_id: bytes = b"",
    prefix: str = "",
    function: str = "",
    own: bool = False,
    follow: bool = False,
    limit: int = 0,
    timeout: Optional[float] = None,
) -> Iterator[LogLine]:
    """Yield lines; see :meth:`App.logs`. ``timeout`` is for each line, for ever without one when they are followed."""
    seconds = FOREVER_SECONDS if timeout is None and follow else connection.timeout
    if timeout is not None:
        seconds = duration(timeout, "timeout")
    request, id = _new_request(run_id, prefix, function, own, follow, limit)
    return pushed(connection, request, id, _Arrivals(), seconds, "line")


def _new_request(run_id: bytes, prefix: str, function: str, own: bool, follow: bool, limit: int) -> Tuple[Request, int]:
    if not isinstance(limit, int) or not 0 <= limit <= LINES_MAX:
        raise InvalidArgumentError(f"logs: the limit is a number of lines up to {LINES_MAX}, got {limit!r:.100}")
    header = frame_pb2.Header()
    header.get_logs.run_id = run_id
    header.get_logs.prefix = prefix
    header.get_logs.function = function
    header.get_logs.own = own
    header.get_logs.follow = follow
    header.get_logs.limit = limit
    what = f"logs of run {run_id.hex()}" if run_id else f"logs of {function}" if function else "logs"
    # It is not asked again on another connection: the lines from before would come again.
    return new_request(header, (), time.monotonic() + FOREVER_SECONDS, what, again=False), header.id


class Printer:
    """Prints on stderr what the runs of a connection print, on a thread of its own, until it is stopped."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stopping = threading.Event()
        self._mu = threading.Lock()
        self._request, self._id = _new_request(b"", "", "", True, True, 0)
        self._arrivals = _Arrivals()
        start(connection, self._request, self._arrivals)  # before the first call, so that no line is missed
        self._thread = threading.Thread(target=self._run, name="cloudburst-logs", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Print what the runs that have ended have printed, and end. Safe to call again."""
        self._stopping.set()
        with self._mu:
            unwatch(self._request, self._id)
        self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        while True:
            try:
                for line in pushed(self._connection, self._request, self._id, self._arrivals, FOREVER_SECONDS, "line"):
                    _show(line)
            except UnavailableError:
                pass  # the connection is lost: there will be another
            except (Error, OSError):
                return
            if self._connection.transport.closed or self._stopping.wait(_AGAIN_SECONDS):
                return
            with self._mu:
                self._request, self._id = _new_request(b"", "", "", True, True, 0)


def _show(line: LogLine) -> None:
    """Print a line with the function that it is from. What it holds cannot steer the terminal."""
    who = line.function or line.run_id[:8]
    if line.dropped:
        print(f"({who}) … {line.dropped} lines are missing", file=sys.stderr)
    print(f"({who}) {line.text.translate(_ESCAPED)}", file=sys.stderr, flush=True)
