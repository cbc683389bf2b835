"""The rules of sessions, over replicas that gossip when it pleases them."""

from __future__ import annotations

import random
from typing import Dict, List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudburst.consistency import View, parse
from cloudburst.errors import InvalidArgumentError
from cloudburst.lattice import Stamp, covers, join_clocks
from cloudburst.states import causal_clock, clock_of, latest, merge, restamp, set_stamp
from cloudburst.v1.store_pb2 import State

STAMPS = st.tuples(st.integers(1, 5), st.integers(1, 2))
VALUES = st.sampled_from([b"\x04a", b"\x04b", b"\x04c"])


def canonical(state: State) -> bytes:
    return state.SerializeToString(deterministic=True)


@st.composite
def states(draw: st.DrawFn, level: int = 0) -> State:
    state = State()
    for part in draw(
        st.sets(st.sampled_from(["lww", "set", "ordered", "counter", "max", "min", "priority", "map", "causal"]), max_size=2)
    ):
        generation = draw(st.sampled_from([(0, 0), (2, 1), (4, 1)]))
        if part == "lww":
            set_stamp(state.lww.timestamp, draw(STAMPS))
            state.lww.value = draw(VALUES)
        elif part == "set":
            for value in draw(st.sets(VALUES, min_size=1)):
                set_stamp(state.set.members.add(value=value, removed=draw(st.booleans())).timestamp, draw(STAMPS))
        elif part == "ordered":
            member = state.ordered_set.members.add(value=draw(VALUES), score=draw(st.sampled_from([0.0, 1.5])))
            set_stamp(member.timestamp, draw(STAMPS))
        elif part == "counter":
            for writer in draw(st.sets(st.integers(1, 3), min_size=1)):
                state.counter.counts.add(writer=writer, up=draw(st.integers(0, 3)), down=draw(st.integers(0, 3)))
        elif part == "priority":
            state.priority.priority = draw(st.sampled_from([1.0, 2.0]))
            state.priority.value = draw(VALUES)
        elif part == "map":
            if level == 0:
                for name in draw(st.sets(st.sampled_from([b"x", b"y"]), min_size=1)):
                    state.map.fields.add(name=name, state=draw(states(1)))
        elif part == "causal":
            version = state.causal.versions.add(value=draw(VALUES))
            for author in draw(st.sets(st.sampled_from([b"a", b"b"]), min_size=1)):
                version.clock.entries.add(writer=author, count=draw(st.integers(1, 3)))
        else:
            getattr(state, part).value = draw(st.integers(-3, 3))
        if generation != (0, 0) and part in ("counter", "max", "min", "priority", "causal"):
            set_stamp(getattr(state, part).generation, generation)
    if draw(st.integers(0, 2)) == 0:
        set_stamp(state.deleted, draw(STAMPS))
    if draw(st.integers(0, 3)) == 0:
        set_stamp(state.expiry.timestamp, draw(STAMPS))
        state.expiry.at_milliseconds = draw(st.integers(1, 3))
    return merge(State(), state)


@given(states(), states(), states())
def test_merging_is_a_join(a: State, b: State, c: State) -> None:
    assert canonical(merge(a, b)) == canonical(merge(b, a))
    assert canonical(merge(merge(a, b), c)) == canonical(merge(a, merge(b, c)))
    assert canonical(merge(a, a)) == canonical(a)


def test_a_commit_has_one_stamp() -> None:
    view = View(parse("read_committed"), b"w")
    for time, (added, removed) in enumerate([(b"x", None), (None, b"x"), (b"y", None)], 1):
        delta = State()
        member = delta.set.members.add(value=added or removed, removed=added is None)
        set_stamp(member.timestamp, (time, 1))
        assert view.write("k", delta) is None
    committed = view.commit((8, 1), (9, 1))["k"]
    assert [(m.value, m.removed, m.timestamp.time) for m in committed.set.members] == [(b"x", True, 9), (b"y", False, 9)]
    deleted = State()
    set_stamp(deleted.deleted, (3, 1))
    assert latest(restamp(deleted, (8, 1), (9, 1))) == (8, 1)


def test_levels_have_names() -> None:
    assert parse("eventual") == frozenset()
    assert parse("session+item_cut") == parse("item_cut") | parse("session")
    with pytest.raises(InvalidArgumentError, match="serializable"):
        parse("serializable")


def seen(by: State, state: State) -> bool:
    return canonical(merge(by, state)) == canonical(by)


class World:
    """Replicas, sessions, and a checker that knows nothing of how sessions keep their promises."""

    def __init__(self, promised: str, kept: str, choose: random.Random) -> None:
        self.promised, self.choose = parse(promised), choose
        self.views = [View(parse(kept), b"s%d" % i) for i in range(3)]
        self.replicas: List[Dict[str, State]] = [{}, {}, {}]
        self.time = 0
        self.read: Dict[Tuple[int, str], State] = {}
        self.wrote: Dict[Tuple[int, str], State] = {}
        self.cut: Dict[Tuple[int, str], State] = {}
        self.required: Dict[Tuple[int, str], Dict[bytes, int]] = {}
        self.orders: List[Tuple[str, State, State]] = []
        self.reads: List[Tuple[str, State]] = []
        self.faults: List[str] = []

    def stamp(self, session: int) -> Stamp:
        self.time += 1
        return self.time, session + 1

    def at(self, replica: int, key: str) -> State:
        return self.replicas[replica].get(key, State())

    def run(self, steps: int) -> List[str]:
        for _ in range(steps):
            session, replica, key = self.choose.randrange(3), self.choose.randrange(3), f"k{self.choose.randrange(3)}"
            action = self.choose.randrange(6)
            if action < 2:
                self.do_read(session, replica, key)
            elif action < 4:
                self.do_write(session, replica, key)
            elif action == 4:
                self.views[session].abort()
                self.cut = {at: s for at, s in self.cut.items() if at[0] != session}
            else:
                other = self.choose.randrange(3)
                self.replicas[other][key] = merge(self.at(other, key), self.at(replica, key))
        for key, shown in self.reads:
            for of, before, after in self.orders:
                if of == key and self.shows(shown, after) and not seen(shown, before):
                    self.faults.append(f"order of {key}")
        return self.faults

    @staticmethod
    def shows(shown: State, write: State) -> bool:
        members = {(m.value, m.timestamp.time) for m in shown.set.members}
        return any((m.value, m.timestamp.time) in members for m in write.set.members)

    def do_read(self, session: int, replica: int, key: str) -> None:
        shown = self.views[session].read(key, self.at(replica, key))
        for other in range(3):
            if shown is None:  # wait: the others will have it
                self.replicas[replica][key] = merge(self.at(replica, key), self.at(other, key))
                shown = self.views[session].read(key, self.at(replica, key))
        assert shown is not None
        at = (session, key)
        if "read_your_writes" in self.promised and not seen(shown, self.wrote.get(at, State())):
            self.faults.append("read your writes")
        if "monotonic_reads" in self.promised and not seen(shown, self.read.get(at, State())):
            self.faults.append("monotonic reads")
        if "item_cut" in self.promised and canonical(self.cut.setdefault(at, shown)) != canonical(shown):
            self.faults.append("item cut")
        if "causal" in self.promised:
            if not covers(causal_clock(shown), self.required.get(at, {})):
                self.faults.append("causal")
            self.require(session, key, shown)
        self.read[at] = merge(self.read.get(at, State()), shown)
        self.reads.append((key, shown))

    def require(self, session: int, key: str, state: State) -> None:
        at = (session, key)
        self.required[at] = join_clocks(self.required.get(at, {}), causal_clock(state))
        for dependency in (d for version in state.causal.versions for d in version.dependencies):
            on = (session, dependency.key.decode())
            self.required[on] = join_clocks(self.required.get(on, {}), clock_of(dependency.clock))

    def do_write(self, session: int, replica: int, key: str) -> None:
        stamp, at = self.stamp(session), (session, key)
        if "causal" in self.promised:
            delta = self.views[session].version(key, b"\x04%d" % self.time, State())
            self.require(session, key, delta)
        else:
            delta = State()
            set_stamp(delta.set.members.add(value=b"\x04%d" % self.time).timestamp, stamp)
        sent = self.views[session].write(key, delta)
        assert sent is not None
        self.replicas[replica][key] = merge(self.at(replica, key), sent)
        if "monotonic_writes" in self.promised and at in self.wrote:
            self.orders.append((key, self.wrote[at], delta))
        if "writes_follow_reads" in self.promised and at in self.read:
            self.orders.append((key, self.read[at], delta))
        self.wrote[at] = merge(self.wrote.get(at, State()), delta)
        if at in self.cut:
            self.cut[at] = merge(self.cut[at], delta)


PROMISES = [
    "item_cut",
    "read_your_writes",
    "monotonic_reads",
    "monotonic_writes",
    "writes_follow_reads",
    "session",
    "session+item_cut",
    "causal",
]


@pytest.mark.parametrize("level", PROMISES)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_promises_are_kept(level: str, seed: int) -> None:
    assert World(level, level, random.Random(seed)).run(60) == []


@pytest.mark.parametrize("level", PROMISES)
def test_broken_promises_are_caught(level: str) -> None:
    assert any(World(level, "eventual", random.Random(seed)).run(60) for seed in range(100))
