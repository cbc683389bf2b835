"""Arguments: what stands for a value that is elsewhere, objects that occur twice, names, and values that cannot be read."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, Iterator, NamedTuple

import pytest

import cloudburst
from cloudburst.errors import CodecError, KeyNotFoundError


@pytest.fixture(scope="module")
def app(node: Any) -> Iterator[cloudburst.App]:
    with cloudburst.connect() as connected:
        yield connected


@pytest.fixture(scope="module")
def see(app: cloudburst.App) -> Any:
    return app.function(lambda value: value, name="arguments-see")


@dataclasses.dataclass(frozen=True)
class Pair:
    first: Any
    second: Any = None


class Named(NamedTuple):
    a: Any


class Holder:
    def __init__(self, held: Any) -> None:
        self.held = held


class Unreadable:
    def __getstate__(self) -> Any:
        return {"x": 1}

    def __setstate__(self, state: Any) -> None:
        raise RuntimeError("cannot be read")


def test_futures_and_references_at_any_depth(app: cloudburst.App, see: Any, name: str) -> None:
    app.put(name, {"two": 2})
    ref, one = app.ref(name), see.remote(1)
    for argument, arrives in [
        ([one, ref], [1, {"two": 2}]),
        ((one, ref), (1, {"two": 2})),
        ({"a": one, "b": [{"c": (ref,)}]}, {"a": 1, "b": [{"c": ({"two": 2},)}]}),
        ({one: "key"}, {1: "key"}),
        ({one, 3}, {1, 3}),
        (frozenset({one}), frozenset({1})),
        (Pair(one, [ref]), Pair(1, [{"two": 2}])),
        (Named((one,)), Named((1,))),
        (collections.OrderedDict(q=one), collections.OrderedDict(q=1)),
        (collections.defaultdict(list, q=[one]), {"q": [1]}),
        ([one, object], [1, object]),
        ([[see.remote([9])], Pair(see.remote("x"))], [[[9]], Pair("x")]),
    ]:
        arrived = see.remote(argument).get()
        assert (arrived, type(arrived)) == (arrives, type(argument))
    assert app.function(lambda *a, **k: (a, k), name=name).remote((one,), x={"y": ref}).get() == (
        ((1,),),
        {"x": {"y": {"two": 2}}},
    )


def test_a_run_under_way_in_a_tuple_is_waited_for(app: cloudburst.App, see: Any, name: str) -> None:
    def wait(key: str) -> Any:
        return cloudburst.context().get(key, wait=30)

    slow = app.function(wait, name=name).remote(f"{name}-key")
    total = see.remote({"slow": (slow,)})
    app.put(f"{name}-key", 7)
    assert total.get() == {"slow": (7,)}


def test_a_reference_in_an_object_can_be_asked(app: cloudburst.App, name: str) -> None:
    app.put(name, 2)
    ask = app.function(lambda holder: holder.held.get() + 1, name=name)
    assert ask.remote(Holder(app.ref(name))).get() == 3
    assert ask.remote(Holder(ask.remote(Holder(app.ref(name))))).get() == 4
    assert app.ref(name).get() == 2
    assert app.ref(name, raw=True).get() == b"\x01\x02"
    with pytest.raises(KeyNotFoundError, match="nothing is stored under key 'nowhere'"):
        app.ref("nowhere").get()


def test_what_cannot_be_resolved(app: cloudburst.App, see: Any, name: str) -> None:
    with pytest.raises(KeyNotFoundError, match='"nowhere"'):
        see.remote({"a": (app.ref("nowhere"),)}).get()
    with pytest.raises(CodecError, match=r"argument 1 of arguments-see@\d+ cannot be read: .*unhashable"):
        see.remote({see.remote([1])}).get()


def test_the_same_object_twice(app: cloudburst.App, name: str) -> None:
    same = app.function(lambda pair: pair[0] is pair[1], name=name)
    for shared in ([0], {"a": 1}, {1}, bytearray(b"x")):
        assert same.remote([shared, shared]).get()
        assert same.remote((shared, shared)).get()
        assert same.remote({0: shared, 1: shared}).get()
        assert same.remote([shared, shared, object]).get()
        assert same.remote([shared, shared, app.function(len, name=f"{name}-len").remote("a")]).get()
    assert not same.remote([[0], [0]]).get()
    app.put(name, [shared, shared])
    first, second = app.get(name)
    assert first is second


def test_a_value_that_holds_itself(see: Any) -> None:
    one: Any = see.remote(1)
    cycle: Any = [one]
    cycle.append(cycle)
    arrived = see.remote(cycle).get()
    assert arrived[0] == 1
    assert arrived[1] is arrived


def test_no_name_of_a_parameter_is_taken(app: cloudburst.App, name: str) -> None:
    def every(
        self: Any, key: Any, timeout: Any, name: Any, args: Any, kwargs: Any, library: Any, function: Any, store: Any
    ) -> Any:
        return self, key, timeout, name, args, kwargs, library, function, store

    names = every.__code__.co_varnames
    given = dict(zip(names, range(len(names))))
    function = app.function(every, name=name)
    assert function.remote(**given).get() == function(**given) == tuple(given.values())
    assert function.bind(**given).remote().get() == tuple(given.values())

    class Every:
        def run(self, library: Any, cls: Any) -> Any:
            return library, cls

    stateful: Any = app.function(Every, name=f"{name}-class")
    assert stateful.remote(library=1, cls=2).get() == stateful(library=1, cls=2) == (1, 2)


def test_what_cannot_be_read_is_named(app: cloudburst.App, see: Any, name: str) -> None:
    app.put(name, Unreadable())
    app.put(f"{name}-good", 1)
    with pytest.raises(CodecError, match=f"under key '{name}' cannot be read: .*RuntimeError: cannot be read"):
        app.get_many([f"{name}-good", name])
    with pytest.raises(CodecError, match=f"under key '{name}' cannot be read"):
        app.session().get(name)
    with pytest.raises(CodecError, match=f"under key '{name}' cannot be read"):
        app.function(lambda key: cloudburst.context().get(key), name=name).remote(name).get()
    with pytest.raises(CodecError, match=r"argument 1 of arguments-see@\d+ cannot be read"):
        see.remote(Unreadable()).get()
    with pytest.raises(CodecError, match=rf"argument 'key' of {name}-named@\d+ cannot be read"):
        app.function(lambda x, *, key: x, name=f"{name}-named").remote(1, key=Unreadable()).get()
    with pytest.raises(CodecError, match=rf"call {name}-result@\d+: the result cannot be read"):
        app.function(lambda: Unreadable(), name=f"{name}-result").remote().get()
    returned = rf"what {name}-up@\d+ returned, an argument of {name}-down@\d+, cannot be read"
    with pytest.raises(CodecError, match=returned):
        (app.function(lambda: Unreadable(), name=f"{name}-up") >> app.function(repr, name=f"{name}-down")).remote().get()
    unreadable = Unreadable()
    with pytest.raises(CodecError, match=rf"the definition of {name}-definition@\d+ cannot be read"):
        app.function(lambda: unreadable, name=f"{name}-definition").remote().get()
