"""What a session of the store may be shown and what its writes carry, given what it has read and written before.

Pure: no clock, no I/O. The same rules as those of the Go package ``lattice/consistency``; see ``docs/consistency.md``.
"""

from __future__ import annotations

from typing import Dict, FrozenSet, List, Optional, Set

from cloudburst.errors import InvalidArgumentError, NoResourcesError
from cloudburst.lattice import Clock, Stamp, covers, join_clocks
from cloudburst.states import causal_clock, clock_of, fill_clock, generation, merge, restamp, set_stamp
from cloudburst.v1 import store_pb2

__all__ = ["DEPENDENCIES_MAX", "KEYS_MAX", "View", "parse"]

KEYS_MAX = 1 << 16
DEPENDENCIES_MAX = 1024

_SESSION = frozenset(("read_your_writes", "monotonic_reads", "monotonic_writes", "writes_follow_reads"))
_LEVELS = _SESSION | {"read_committed", "item_cut", "causal"}

State = store_pb2.State


def parse(level: str) -> FrozenSet[str]:
    """Return the promises of a level: names joined by "+", "session" for the four guarantees, "eventual" for none."""
    promises: Set[str] = set()
    if not isinstance(level, str):
        raise InvalidArgumentError(f"the level of a session is a string, such as 'session', got {level!r:.100}")
    for name in level.split("+"):
        if name == "session":
            promises |= _SESSION
        elif name in _LEVELS:
            promises.add(name)
        elif name != "eventual":
            raise InvalidArgumentError(
                f"consistency {name!r:.100} is not one of eventual, session, {', '.join(sorted(_LEVELS))}"
            )
    return frozenset(promises)


class View:
    """What one session has read and written."""

    def __init__(self, promises: FrozenSet[str], writer: bytes) -> None:
        """``writer`` is the session's name in vector clocks, which no other may have."""
        self._promises = promises
        self._writer = writer
        self._read: Dict[str, State] = {}  # joined: all that was shown
        self._wrote: Dict[str, State] = {}  # joined: all that was written
        self._cut: Dict[str, State] = {}  # what the transaction has been shown
        self.pending: Dict[str, State] = {}  # written and not committed
        self._required: Dict[bytes, Clock] = {}

    def cached(self, key: str) -> Optional[State]:
        """Return what a key has to be shown as whatever the store holds, if that is so."""
        held = self._cut.get(key)
        return None if held is None else self._overlay(key, held)

    def knows(self, key: str) -> bool:
        """Report whether the session has seen a key."""
        return any(key in known for known in (self._read, self._wrote, self._cut, self.pending))

    def base(self, key: str) -> State:
        """Return all that is known of a key, which a write builds on."""
        base = State()
        for known in (self._read, self._wrote, self._cut, self.pending):
            if key in known:
                base = merge(base, known[key])
        return base

    def read(self, key: str, found: State) -> Optional[State]:
        """Take in what the store holds and return what is shown; None while that is older than what was seen depends on."""
        shown = self.cached(key)
        if shown is not None:
            return shown
        self._room(key)
        shown = found
        causal = "causal" in self._promises
        if (causal or "monotonic_reads" in self._promises) and key in self._read:
            shown = merge(shown, self._read[key])
        if (causal or "read_your_writes" in self._promises) and key in self._wrote:
            shown = merge(shown, self._wrote[key])
        if causal:
            if not self._covers(key, shown):
                return None
            self._follow(key, shown)
        if causal or self._promises & {"monotonic_reads", "writes_follow_reads"}:
            _join(self._read, key, shown)
        if "item_cut" in self._promises:
            self._cut[key] = shown
        return self._overlay(key, shown)

    def covered(self, key: str) -> bool:
        """Report whether what was last shown of a key is as new as all that the session has seen by now depends on."""
        return "causal" not in self._promises or key in self._cut or self._covers(key, self.base(key))

    def _covers(self, key: str, state: State) -> bool:
        required = self._required.get(key.encode())
        return required is None or state.HasField("deleted") or covers(causal_clock(state), required)

    def _follow(self, key: str, state: State) -> None:
        if not state.HasField("causal"):
            return
        self._require(key.encode(), causal_clock(state))
        for version in state.causal.versions:
            for dependency in version.dependencies:
                self._require(dependency.key, clock_of(dependency.clock))
        if len(self._required) > DEPENDENCIES_MAX:
            raise NoResourcesError(f"the session depends on more than {DEPENDENCIES_MAX} keys, the limit; begin a new one")

    def _require(self, key: bytes, clock: Clock) -> None:
        self._required[key] = join_clocks(self._required.get(key, {}), clock)

    def version(self, key: str, value: bytes, base: State) -> State:
        """Return the delta of the session's next version of a key: it has seen all that the session has."""
        name = key.encode()
        clock = join_clocks(self._required.get(name, {}), causal_clock(self.base(key)))
        clock[self._writer] = clock.get(self._writer, 0) + 1
        state = State()
        known = generation(base, "causal")
        if known != (0, 0):
            set_stamp(state.causal.generation, known)
        version = state.causal.versions.add(value=value)
        fill_clock(version.clock, clock)
        for other in sorted(self._required):
            if other != name:
                fill_clock(version.dependencies.add(key=other).clock, self._required[other])
        return state

    def write(self, key: str, delta: State) -> Optional[State]:
        """Take a delta in and return what is to be sent; None for one that is kept until the commit."""
        self._room(key)
        if "read_committed" in self._promises:
            _join(self.pending, key, delta)
            return None
        return self._sent(key, delta)

    def _sent(self, key: str, delta: State) -> State:
        carrier = self._carry(key, delta)
        _join(self._wrote, key, delta)
        if key in self._cut:
            _join(self._cut, key, delta)
        if "causal" in self._promises:
            self._follow(key, delta)
        return carrier

    def _carry(self, key: str, delta: State) -> State:
        """Return a delta with what has to come before it."""
        if "monotonic_writes" in self._promises:
            delta = _attached(delta, self._wrote.get(key))
        if "writes_follow_reads" in self._promises:
            delta = _attached(delta, self._read.get(key))
        return delta

    def commit(self, deleted: Stamp, stamp: Stamp) -> Dict[str, State]:
        """Return what is to be sent to commit; the transaction goes on until :meth:`committed` or :meth:`abort`."""
        return {key: self._carry(key, restamp(delta, deleted, stamp)) for key, delta in self.pending.items()}

    def committed(self, deltas: Dict[str, State]) -> None:
        """End the transaction: what :meth:`commit` returned has arrived."""
        self.abort()
        for key, delta in deltas.items():
            self._sent(key, delta)

    def abort(self) -> None:
        """End the transaction and forget what it has written."""
        self.pending.clear()
        self._cut.clear()

    def _overlay(self, key: str, state: State) -> State:
        return merge(state, self.pending[key]) if key in self.pending else state

    def _room(self, key: str) -> None:
        if max(map(len, (self._read, self._wrote, self._cut, self.pending))) >= KEYS_MAX and not self.knows(key):
            raise NoResourcesError(f"the session remembers {KEYS_MAX} keys, the limit; begin a new one")


def content(state: State) -> List[str]:
    """Return the names of the lattices in a state."""
    return [field.name for field, _ in state.ListFields() if field.name not in ("deleted", "expiry")]


def _attached(delta: State, held: Optional[State]) -> State:
    """Add what a write follows, where it is the same lattice: with another type, the write fails at the store anyway."""
    if held is None or not content(delta) or content(held) not in ([], content(delta)):
        return delta
    return merge(delta, held)


def _join(states: Dict[str, State], key: str, state: State) -> None:
    states[key] = merge(states[key], state) if key in states else state
