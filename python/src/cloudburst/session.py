"""Sessions of the store: reads and writes with promises."""

from __future__ import annotations

import secrets
import threading
import time
from functools import partial
from typing import Any, Dict, Iterable, List, Optional

from cloudburst import codec
from cloudburst.cells import check_increment, decoded, duration, several
from cloudburst.codec import Encoded
from cloudburst.codec._lattice import natural
from cloudburst.connection import Connection
from cloudburst.consistency import View, content, parse
from cloudburst.errors import DeadlineExceededError, InvalidArgumentError, UnsupportedError
from cloudburst.lattice import Stamp
from cloudburst.states import complete, generation, latest, live, merge, set_stamp, stamp_of
from cloudburst.v1 import store_pb2
from cloudburst.watch import watch_states

__all__ = ["Session"]

_AHEAD_MICROSECONDS_MAX = 24 * 3600 * 1_000_000


class Session:
    """Reads and writes with promises; made by :meth:`App.session`. Threads that share one take turns.

    ``with`` commits at the end, and aborts when an exception is raised. A session remembers what it has read and written; at
    65,536 keys it is full, and raises NoResourcesError. ``timeout`` is how many seconds an answer may take, where nothing is
    given as many as :func:`connect` says; then DeadlineExceededError is raised.
    """

    def __init__(self, connection: Connection, level: str) -> None:
        self._connection = connection
        self._promises = parse(level)
        self._writer = secrets.randbits(64) | 1
        self._view = View(self._promises, b"%016x" % self._writer)
        self._last = 0  # time of the last stamp
        self._uncertain: Optional[Dict[str, store_pb2.State]] = None  # a commit that failed and may have arrived
        self._mu = threading.RLock()

    def get(self, key: str, default: Any = None, *, timeout: Optional[float] = None) -> Any:
        """Return the value under a key, or the default. Values read as with :meth:`App.get`."""
        return self.get_many((key,), timeout=timeout).get(key, default)

    def get_many(self, keys: Iterable[str], *, timeout: Optional[float] = None) -> Dict[str, Any]:
        """Return the values under those of the keys that are there. In a causal session they are a causal cut."""
        found: Dict[str, Any] = {}
        for key, state in self._states(several(keys), timeout).items():
            if content(state):
                value = natural(state, partial(decoded, key))
                if value is not None or state.HasField("lww"):
                    found[key] = value
        return found

    def concurrent(self, key: str, *, timeout: Optional[float] = None) -> List[Any]:
        """Return the values of a key that were written concurrently; none when nothing is there."""
        state = self._states([key], timeout)[key]
        return [decoded(key, value) for value in sorted({version.value for version in state.causal.versions})]

    def _states(self, keys: List[str], timeout: Optional[float]) -> Dict[str, store_pb2.State]:
        with self._mu:
            self._check()
            shown: Dict[str, store_pb2.State] = {}
            missing = []
            for key in keys:
                cached = self._view.cached(key)
                if cached is None:
                    missing.append(key)
                else:
                    shown[key] = cached
            while missing:
                for key, found in zip(missing, self._fetch(missing, timeout)):
                    state = self._view.read(key, found)
                    shown[key] = self._await(key, timeout) if state is None else state
                # What was read may depend on something newer than what was read before.
                missing = [key for key in shown if not self._view.covered(key)]
            now = int(time.time() * 1000)
            return {key: live(shown[key], now) or store_pb2.State() for key in keys}

    def _fetch(self, keys: List[str], timeout: Optional[float]) -> List[store_pb2.State]:
        states = self._connection.states(keys, timeout)
        for state in states:
            self._observe(state)
        return states

    def _await(self, key: str, timeout: Optional[float]) -> store_pb2.State:
        """Watch a key until the session may be shown it."""
        seconds = self._connection.timeout if timeout is None else duration(timeout, "timeout")
        deadline = time.monotonic() + seconds
        try:
            for found in watch_states(self._connection, key, deadline):
                self._observe(found)
                state = self._view.read(key, found)
                if state is not None:
                    return state
        except DeadlineExceededError:
            pass
        raise DeadlineExceededError(f"get {key!r:.100}: a version that what was read depends on has not arrived in {seconds} s")

    def _observe(self, state: store_pb2.State) -> None:
        """Make the stamps of the session later than those that it has seen."""
        seen = latest(state)[0]
        if seen >> 12 > time.time_ns() // 1000 + _AHEAD_MICROSECONDS_MAX:
            raise InvalidArgumentError("what was read is stamped more than a day ahead; set the clock of this machine")
        self._last = max(self._last, seen)

    def _stamp(self) -> Stamp:
        self._last = max(self._last + 1, time.time_ns() // 1000 << 12)
        return self._last, self._writer

    def put(self, key: str, value: Any, *, timeout: Optional[float] = None) -> None:
        """Store a value under a key, or merge a lattice into what is there: now, or with read_committed when it is committed.

        In a causal session it becomes a version; a lattice raises UnsupportedError there. Raises UnpicklableError or
        TooLargeError for a value that cannot travel.
        """
        delta = _delta_of(value)
        with self._mu:
            self._check()
            causal = "causal" in self._promises
            if causal and not delta.HasField("lww"):
                raise UnsupportedError(f"put {key!r:.100}: a causal session puts values, and no lattices")
            base = self._base(key, causal or not (delta.HasField("lww") or delta.HasField("set")), timeout)
            if causal:
                self._write(key, self._view.version(key, delta.lww.value, base), timeout)
            else:
                self._write(key, complete(delta, self._stamp(), base), timeout)

    def increment(self, key: str, n: int = 1, *, timeout: Optional[float] = None) -> None:
        """Add n to the counter under a key, or take away from it; a key that is not there counts from 0."""
        check_increment(key, n)
        with self._mu:
            self._check()
            base = self._base(key, True, timeout)
            counts = {count.writer: (count.up, count.down) for count in base.counter.counts}
            up, down = counts.get(self._writer, (0, 0))
            delta = store_pb2.State()
            delta.counter.counts.add(writer=self._writer, up=up + max(n, 0), down=down + max(-n, 0))
            if generation(base, "counter") != (0, 0):
                set_stamp(delta.counter.generation, generation(base, "counter"))
            self._write(key, delta, timeout)

    def delete(self, key: str, *, timeout: Optional[float] = None) -> None:
        """Delete what is stored under a key."""
        with self._mu:
            self._check()
            self._base(key, False, timeout)
            delta = store_pb2.State()
            set_stamp(delta.deleted, self._stamp())
            self._write(key, delta, timeout)

    def _base(self, key: str, reads: bool, timeout: Optional[float]) -> store_pb2.State:
        base = self._view.base(key)
        if reads or not self._view.knows(key):  # what is there is older than what is written now
            base = merge(base, self._fetch([key], timeout)[0])
        return base

    def _write(self, key: str, delta: store_pb2.State, timeout: Optional[float]) -> None:
        sent = self._view.write(key, delta)
        if sent is not None:
            self._send({key: sent}, timeout)

    def _send(self, states: Dict[str, store_pb2.State], timeout: Optional[float]) -> None:
        cells = []
        values: List[Encoded] = []
        for key in sorted(states):
            kinds = content(states[key])
            kind = store_pb2.State.DESCRIPTOR.fields_by_name[kinds[0]].number if kinds else 0
            cells.append(store_pb2.Cell(key=key, type=kind, values=1))  # type: ignore[arg-type]
            values.append(codec.encode_state(states[key]))
        self._connection.put(cells, values, "durable", timeout)

    def commit(self, *, timeout: Optional[float] = None) -> None:
        """End the transaction: send all that was written with one stamp, and return when that is durable.

        If it raises, some of the writes may have arrived; then it can be called again, which sends the same, or :meth:`abort`
        gives up. Until then every other method raises InvalidArgumentError.
        """
        with self._mu:
            if self._uncertain is None:
                if self._view.pending:
                    self._fetch(sorted(self._view.pending), timeout)  # so that the stamp is later than what is there
                deleted = self._stamp()
                self._uncertain = self._view.commit(deleted, self._stamp())
            if self._uncertain:
                self._send(self._uncertain, timeout)
            committed, self._uncertain = self._uncertain, None
            self._view.committed(committed)

    def abort(self) -> None:
        """End the transaction and forget what it has written. What was committed stays."""
        with self._mu:
            self._uncertain = None
            self._view.abort()

    def _check(self) -> None:
        if self._uncertain is not None:
            raise InvalidArgumentError(
                "the commit of this session has failed, and may have happened in part; call commit again, or abort"
            )

    def __reduce__(self) -> Any:
        raise InvalidArgumentError(
            "a session cannot be pickled, since what it promises is about what one process has read; take the app along and "
            "begin another: app.session(...)"
        )

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.abort()


def _delta_of(value: Any) -> store_pb2.State:
    import sys

    lattices = sys.modules.get("anna.lattices")  # a program that has a lattice has loaded them
    if lattices is not None and isinstance(value, lattices.Lattice):
        from anna import _state

        state = _state.encode(value)
        if state.HasField("lww") and stamp_of(state.lww.timestamp) == (0, 1):
            state.lww.ClearField("timestamp")
        return state
    state = store_pb2.State()
    state.lww.value = codec.encode(value)
    return state
