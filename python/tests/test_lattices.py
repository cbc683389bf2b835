"""The laws of lattices, for every class, and the published interface of each."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anna import anna_pb2
from anna.lattices import (
    CounterLattice,
    Lattice,
    ListBasedOrderedSet,
    LWWPairLattice,
    MapLattice,
    MaxIntLattice,
    MinIntLattice,
    MultiKeyCausalLattice,
    OrderedSetLattice,
    PriorityLattice,
    SetLattice,
    SingleKeyCausalLattice,
    VectorClock,
)
from cloudburst.errors import InvalidArgumentError
from cloudburst.lattice import Version

# How long an example takes says nothing here.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])

# Small domains make members, writers and priorities meet.
contents = st.sampled_from([b"", b"a", b"b", b"bb"])
integers = st.integers(-3, 3)
numbers = st.sampled_from([float("-inf"), -1.0, -0.0, 0.0, 0.5, float("inf")])
generations = st.sampled_from([(0, 0), (1, 0), (1, 2)])
counts = st.dictionaries(st.integers(0, 2), st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=3)
sets = st.builds(SetLattice, st.sets(contents, max_size=3))
clocks = st.builds(
    lambda mp: VectorClock(mp, deserialize=True), st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=2)
)
plain_clocks = st.dictionaries(st.sampled_from("abc"), st.integers(1, 2), max_size=2)
dependencies = st.dictionaries(st.sampled_from("kl"), plain_clocks, max_size=2)


def _of(lattice: Any, generation: Any) -> Any:
    lattice.generation = generation
    return lattice


def _of_generations(strategy: Any) -> Any:
    return st.builds(_of, strategy, generations)


def _causal(versions: Any, multi: bool) -> Any:
    lattice: Any = (
        MultiKeyCausalLattice(VectorClock({}), MapLattice({}), SetLattice())
        if multi
        else SingleKeyCausalLattice(VectorClock({}), SetLattice())
    )
    lattice.hold(versions)
    return lattice


simple = {
    LWWPairLattice: st.builds(LWWPairLattice, st.integers(0, 3), contents),
    SetLattice: sets,
    OrderedSetLattice: st.builds(
        lambda scores: OrderedSetLattice(ListBasedOrderedSet(), scores), st.dictionaries(contents, numbers, max_size=4)
    ),
    MaxIntLattice: _of_generations(st.builds(MaxIntLattice, integers)),
    MinIntLattice: _of_generations(st.builds(MinIntLattice, integers)),
    CounterLattice: _of_generations(st.builds(CounterLattice, counts)),
    PriorityLattice: _of_generations(st.builds(PriorityLattice, numbers, contents)),
    VectorClock: clocks,
    SingleKeyCausalLattice: _of_generations(
        st.builds(_causal, st.lists(st.builds(Version, plain_clocks, st.just({}), contents), max_size=3), st.just(False))
    ),
    MultiKeyCausalLattice: _of_generations(
        st.builds(_causal, st.lists(st.builds(Version, plain_clocks, dependencies, contents), max_size=3), st.just(True))
    ),
}
maps = st.builds(MapLattice, st.fixed_dictionaries({}, optional={c.__name__: s for c, s in simple.items()}))
kinds = {**simple, MapLattice: maps}


@pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.__name__)
def test_laws(kind: Any) -> None:
    @unhurried
    @given(kinds[kind], kinds[kind], kinds[kind])
    def check(a: Lattice, b: Lattice, c: Lattice) -> None:
        before = copy.deepcopy((a, b, c))

        def merge(x: Lattice, y: Lattice) -> Lattice:
            x = copy.deepcopy(x)
            assert x.merge(y) is x
            return x

        assert merge(a, b) == merge(b, a), "commutative"
        assert merge(merge(a, b), c) == merge(a, merge(b, c)), "associative"
        assert merge(a, a) == a, "idempotent"
        assert merge(merge(a, b), a) == merge(a, b), "inflationary"
        both = merge(merge(a, b), c)
        merge(both, merge(c, a))
        assert (a, b, c) == before, "what is merged stays as it is"

    check()


@pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.__name__)
def test_reveal_and_assign(kind: Any) -> None:
    @unhurried
    @given(kinds[kind])
    def check(lattice: Any) -> None:
        assert str(lattice) == str(lattice.reveal())
        assert kind.__name__ in repr(lattice)
        assert pickle.loads(pickle.dumps(lattice)) == lattice
        with pytest.raises(ValueError):
            lattice.assign(object())
        with pytest.raises(InvalidArgumentError):
            lattice.merge(MaxIntLattice(1) if kind is not MaxIntLattice else MinIntLattice(1))
        with pytest.raises(TypeError):
            hash(lattice)

    check()


def test_published_forms() -> None:
    pair = LWWPairLattice(1, b"a")
    pair.assign((2, b"b"))
    assert (pair.ts, pair.val, pair.reveal()) == (2, b"b", b"b")
    assert pair.merge(LWWPairLattice(1, b"z")).reveal() == b"b"

    some = SetLattice({b"a"})
    some.merge(SetLattice({b"b"}))
    assert some.reveal() == {b"a", b"b"}
    assert SetLattice().reveal() == set()
    SetLattice().reveal().add(b"not shared")
    assert SetLattice().reveal() == set()

    ordered = ListBasedOrderedSet([3, 1, 2, 3])
    ordered.insert(0)
    assert ordered.lst == list(ordered) == [0, 1, 2, 3] and 2 in ordered and 5 not in ordered and len(ordered) == 4
    lattice = OrderedSetLattice(ListBasedOrderedSet([b"b", b"a"]))
    assert lattice.reveal() == [b"a", b"b"] and lattice.val == ListBasedOrderedSet([b"a", b"b"])
    assert lattice.merge(OrderedSetLattice(ListBasedOrderedSet(), {b"c": -1.5})).reveal() == [b"c", b"a", b"b"]
    assert lattice.scored() == [(b"c", -1.5), (b"a", 0.0), (b"b", 0.0)]

    largest = MaxIntLattice(1)
    largest.merge(MaxIntLattice(3))
    largest.merge(MaxIntLattice(2))
    assert largest.reveal() == largest.value == 3

    mp = MapLattice({"a": MaxIntLattice(1)})
    shallow = mp.copy()
    mp.merge(MapLattice({"a": MaxIntLattice(2), "b": SetLattice({1})}))
    assert mp.reveal()["a"].reveal() == 2 and mp.mp["b"].reveal() == {1} and set(shallow.mp) == {"a"}
    with pytest.raises(ValueError):
        MapLattice({"a": 1}).merge(MapLattice({"a": MaxIntLattice(2)}))


def test_vector_clock() -> None:
    clock = VectorClock({"a": 1}, deserialize=True)
    clock.update("a", 3)
    clock.update("a", 2)
    clock.update("b", 1)
    counts: Any = {}
    clock.serialize(counts)
    assert counts == {"a": 3, "b": 1} and clock.reveal()["a"] == MaxIntLattice(3)
    assert clock.covers(VectorClock({"a": 3}, True)) and not VectorClock({"a": 3}, True).covers(clock)
    for wrong in ({"a": 1}, {"a": MinIntLattice(1)}, [1]):
        with pytest.raises(ValueError):
            VectorClock(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        VectorClock({"a": "1"}, deserialize=True)


def _clock(**counts: int) -> VectorClock:
    return VectorClock(dict(counts), deserialize=True)


def test_causal() -> None:
    held = SingleKeyCausalLattice(_clock(a=1), SetLattice({b"x"}))
    held.merge(SingleKeyCausalLattice(_clock(b=1), SetLattice({b"y"})))
    assert held.reveal() == [b"x", b"y"] and held.vector_clock == _clock(a=1, b=1)
    # One clock for both would take this for concurrent with x too.
    held.merge(SingleKeyCausalLattice(_clock(a=2), SetLattice({b"z"})))
    assert held.reveal() == [b"y", b"z"] and held.vector_clock == _clock(a=2, b=1)
    # A writer that has read both increments the joint clock.
    held.vector_clock.update("c", 1)
    held.assign(SetLattice({b"w"}))
    assert held.reveal() == [b"w"] and len(held.versions()) == 1
    held.merge(SingleKeyCausalLattice(_clock(a=2), SetLattice({b"z"})))
    assert held.reveal() == [b"w"]

    multi = MultiKeyCausalLattice(_clock(a=1), MapLattice({"k": _clock(d=1)}), SetLattice({b"x"}))
    multi.merge(MultiKeyCausalLattice(_clock(b=1), MapLattice({"k": _clock(e=1)}), SetLattice({b"y"})))
    assert multi.dependencies == MapLattice({"k": _clock(d=1, e=1)})
    multi.merge(MultiKeyCausalLattice(_clock(a=1, b=1, c=1), MapLattice({}), SetLattice({b"z"})))
    assert multi.dependencies == MapLattice({}) and multi.reveal() == [b"z"]
    with pytest.raises(ValueError):
        MultiKeyCausalLattice(_clock(), MapLattice({"k": MaxIntLattice(1)}), SetLattice())


def test_counter() -> None:
    one, two = CounterLattice().add(5), CounterLattice().add(-2)
    assert copy.deepcopy(one).merge(two).reveal() == 3
    # Put again after an addition, it adds only what is new.
    assert copy.deepcopy(one).merge(one.add(1)).reveal() == 6
    # A copy is another writer, or the two would hide each other's additions.
    other = copy.copy(one).add(10)
    assert one.add(100).merge(other).reveal() == 116
    assert pickle.loads(pickle.dumps(one)).add(1).merge(one).reveal() == 117
    for wrong in (1.5, True, "1"):
        with pytest.raises(ValueError):
            one.add(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        CounterLattice({1: (-1, 0)})
    with pytest.raises(ValueError):
        CounterLattice().add(1 << 64)


def test_priority() -> None:
    assert PriorityLattice(1, b"a").merge(PriorityLattice(0.5, b"b")).reveal() == b"b"
    for wrong in (float("nan"), "1", True):
        with pytest.raises(ValueError):
            PriorityLattice(wrong, b"a")  # type: ignore[arg-type]


def test_messages() -> None:
    clock = _clock(a=2)
    for lattice, name in (
        (LWWPairLattice(3, b"v"), "LWW"),
        (SetLattice({b"b", b"a"}), "SET"),
        (OrderedSetLattice(ListBasedOrderedSet([b"b", b"a"])), "ORDERED_SET"),
        (PriorityLattice(0.5, b"v"), "PRIORITY"),
        (SingleKeyCausalLattice(clock, SetLattice({b"v"})), "SINGLE_CAUSAL"),
        (MultiKeyCausalLattice(clock, MapLattice({"k": _clock(b=1)}), SetLattice({b"v"})), "MULTI_CAUSAL"),
    ):
        message, kind = lattice.serialize()
        assert kind == anna_pb2.LatticeType.Value(name)
        assert type(message).FromString(message.SerializeToString()) == message
    assert (message.vector_clock["a"], message.dependencies[0].key, message.values) == (2, "k", [b"v"])
    with pytest.raises(ValueError):
        SetLattice({"text"}).serialize()
    for without in (MaxIntLattice(1), CounterLattice(), MapLattice({})):
        with pytest.raises(NotImplementedError):
            without.serialize()
