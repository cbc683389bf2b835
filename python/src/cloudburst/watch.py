"""Following keys: what they hold now, and what they hold after each change."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Deque, Dict, Iterator, NamedTuple, Optional, Sequence, Set, Tuple

from cloudburst.cells import check_key, cut, duration, few, value_of
from cloudburst.codec import Buffer, decode_state
from cloudburst.connection import Connection
from cloudburst.errors import DeadlineExceededError, FrameError, InvalidArgumentError
from cloudburst.pushed import FOREVER_SECONDS, pushed
from cloudburst.request import new_request
from cloudburst.v1 import frame_pb2, store_pb2

__all__ = ["Change", "watch", "watch_states"]

# Beyond so many changes, or bytes, that wait for the loop only the last one of each key is kept.
_CHANGES_MAX = 1024
_BYTES_MAX = 16 << 20

_Arrival = Tuple[store_pb2.Cell, Sequence[Buffer], bool]


class Change(NamedTuple):
    """What a key holds after it has changed."""

    key: str
    value: Any  # None when nothing is there
    exists: bool
    lagged: bool  # changes of the key before this one may be missing


class _Arrivals:
    """The changes that the loop has not taken yet."""

    def __init__(self, states: bool) -> None:
        self._states = states
        self._changes: Deque[_Arrival] = deque()
        self._bytes = 0
        self._seen: Set[str] = set()

    def __len__(self) -> int:
        return len(self._changes)

    def put(self, header: frame_pb2.Header, values: Sequence[Buffer]) -> None:
        changed = header.changed
        for cell, own in cut(changed.cells, values):
            self._changes.append((cell, own, changed.whole and cell.key in self._seen))
            self._bytes += sum(map(len, own))
            self._seen.add(cell.key)
        if len(self._changes) > _CHANGES_MAX or self._bytes > _BYTES_MAX:
            last: Dict[str, _Arrival] = {}
            for cell, own, lagged in self._changes:
                before = last.pop(cell.key, None)
                last[cell.key] = (cell, own, lagged or before is not None)
            self._changes = deque(last.values())
            self._bytes = sum(len(value) for _, own, _ in self._changes for value in own)

    def take(self) -> Optional[Change]:
        try:
            cell, own, lagged = self._changes.popleft()
        except IndexError:
            return None
        self._bytes -= sum(map(len, own))
        if self._states:
            return Change(cell.key, decode_state(own[0]) if own else None, bool(own), lagged)
        exists = cell.type != store_pb2.LATTICE_TYPE_UNSPECIFIED
        return Change(cell.key, value_of(cell, own) if exists else None, exists, lagged)


def watch(connection: Connection, keys: Sequence[str], timeout: Optional[float] = None) -> Iterator[Change]:
    """Yield the changes of keys; see :meth:`App.watch`."""
    if not keys:
        raise InvalidArgumentError("watch: name a key, or several")
    for key in keys:
        check_key(key)
    return _watching(connection, keys, FOREVER_SECONDS if timeout is None else duration(timeout, "timeout"))


def watch_states(connection: Connection, key: str, deadline: float) -> Iterator[store_pb2.State]:
    """Yield all that is known of a key, now and after every change. Raises DeadlineExceededError at a time.monotonic."""
    for change in _watching(connection, (key,), max(0.0, deadline - time.monotonic()), states=True):
        yield change.value if change.value is not None else store_pb2.State()
        if time.monotonic() >= deadline:
            raise DeadlineExceededError(f"watch {key!r:.100}: the deadline has passed")


def _watching(connection: Connection, keys: Sequence[str], seconds: float, *, states: bool = False) -> Iterator[Change]:
    header = frame_pb2.Header()
    header.watch.keys.extend(keys)
    header.watch.states = states
    request = new_request(header, (), time.monotonic() + FOREVER_SECONDS, f"watch {few(keys)}")
    arrivals = _Arrivals(states)
    yield from pushed(connection, request, header.id, arrivals, seconds, "change")
    raise FrameError(f"{request.what}: the node ended it")
