"""Functions and pipelines of the modern face: what they do here, and what they send."""

from __future__ import annotations

import pickle
import threading
from typing import Any, List

import cloudpickle
import pytest

import cloudburst
from cloudburst import codec, errors
from cloudburst.v1 import function_pb2
from frame_server import FrameServer


def definition(server: FrameServer, name: str, version: int = 1) -> Any:
    return codec.decode(server.functions[name][version - 1][1])


def arguments(server: FrameServer, call: int = -1) -> List[Any]:
    """For each function that a call gave arguments: its name, their number and the keywords."""
    return [(a.function, a.positional, list(a.keywords)) for a in server.calls()[call].arguments]


def test_a_plain_call_stays_here(server: FrameServer, app: cloudburst.App) -> None:
    @app.function
    def sq(x: int) -> int:
        """Square a number.

        And more about it.
        """
        return x * x

    assert sq(3) == 9
    assert sq.__doc__ is not None
    assert sq.__name__ == sq.name == "sq"
    assert repr(sq) == "<Function sq(x: 'int') -> 'int'>"
    assert server.requests == [], "nothing is registered before it is needed"
    assert sq.remote(3).get() == 3, "the server echoes"
    registered = server.functions["sq"][0][0]
    assert (registered.convention, registered.runtime) == (function_pb2.CONVENTION_PLAIN, function_pb2.RUNTIME_PYTHON)
    assert registered.doc == "Square a number."
    assert definition(server, "sq")(5) == 25
    assert repr(sq) == "<Function sq(x: 'int') -> 'int' = sq@1>"


def test_options_of_the_decorator(server: FrameServer, app: cloudburst.App) -> None:
    app.function(lambda: None, name="f", retries=3, timeout=1.5).remote().get()
    registered = server.functions["f"][0][0]
    assert (registered.retries, registered.timeout_milliseconds) == (3, 1500)


def test_arguments(server: FrameServer, app: cloudburst.App) -> None:
    f = app.function(lambda *args, **kwargs: None, name="f")
    f.remote().get()
    f.remote(1, 2, z=3, a=4).get()
    assert arguments(server, 0) == [("", 0, [])]
    assert arguments(server, 1) == [("", 2, ["z", "a"])]
    bound = f.bind(1, z=2).bind(5)
    bound.remote(3, y=4).get()
    assert arguments(server, 2) == [("", 3, ["z", "y"])]
    assert repr(bound).endswith("= f@1.bind(1, 5, z=2)>")
    assert len({call.run_id for call in server.calls()}) == 3
    assert len(server.functions["f"]) == 1, "copies share the registration"


def test_a_version_is_kept_until_it_is_made_anew(server: FrameServer, app: cloudburst.App) -> None:
    f = app.function(lambda: 1, name="f")
    f.remote().get()
    app.function(lambda: 2, name="f").remote().get()
    f.remote().get()
    assert [call.function for call in server.calls()] == ["f@1", "f@2", "f@1"]
    twin = f.options(timeout=5)
    assert f.register() == "f@3"
    f.remote().get()
    twin.remote().get()
    assert [call.function for call in server.calls()][3:] == ["f@3", "f@3"]


def test_threads_register_once(server: FrameServer, app: cloudburst.App) -> None:
    f = app.function(lambda x: x, name="f")
    threads = [threading.Thread(target=lambda i=i: f.remote(i).get()) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.functions["f"]) == 1


def test_options_of_a_call(server: FrameServer, app: cloudburst.App) -> None:
    f = app.function(lambda: None, name="f")
    f.remote().get()
    f.options(timeout=2.5, key="kept").remote().get()
    f.options(store=False).remote().get()
    plain, kept, direct = server.calls()
    assert (plain.store, plain.timeout_milliseconds, plain.output_key) == (True, 0, "")
    assert (kept.store, kept.timeout_milliseconds, kept.output_key) == (True, 2500, "kept")
    assert not direct.store
    with pytest.raises(errors.UnsupportedError, match="causal"):
        f.options(consistency="causal")
    with pytest.raises(errors.InvalidArgumentError, match="lww"):
        f.options(consistency="strong")
    with pytest.raises(errors.InvalidArgumentError, match="timeout"):
        f.options(timeout=0)
    with pytest.raises(errors.InvalidArgumentError, match="contradict"):
        f.options(store=False, key="k")
    assert f.options(consistency="lww").remote().get() is None


def test_classes(server: FrameServer, app: cloudburst.App) -> None:
    @app.function(init=(100,))
    class Account:
        """An account."""

        def __init__(self, balance: int) -> None:
            self.balance = balance

        def run(self, amount: int) -> int:
            self.balance += amount
            return self.balance

    assert [Account(1), Account(2)] == [101, 103], "here too it is one object"
    assert "Account(amount" in repr(Account)
    Account.remote(5).get()
    registered = server.functions["Account"][0][0]
    assert (registered.convention, registered.doc) == (function_pb2.CONVENTION_CLASS, "An account.")
    cls, init = definition(server, "Account")
    there = cls("library", *init)
    assert [there.run("library", 1), there.run("library", amount=1)] == [101, 102]


@pytest.mark.parametrize(
    ("target", "options", "match"),
    [
        (3, {}, "cannot be called"),
        (type("NoRun", (), {}), {}, "no method run"),
        (print, {"init": (1,)}, "init is what a class"),
        (print, {"retries": -1}, "retries"),
        (print, {"timeout": -1}, "a number of seconds"),
        (print, {"name": 3}, "name"),
    ],
)
def test_what_is_no_function(app: cloudburst.App, target: Any, options: Any, match: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=match):
        app.function(target, **options)


def test_a_function_of_a_function(app: cloudburst.App) -> None:
    f = app.function(lambda: None, name="f")
    with pytest.raises(errors.InvalidArgumentError, match="one already"):
        app.function(f)


def test_what_cannot_travel_is_named(app: cloudburst.App) -> None:
    the_culprit = threading.Lock()

    @app.function
    def guarded() -> bool:
        return the_culprit.locked()

    assert guarded() is False
    with pytest.raises(errors.UnpicklableError, match="the_culprit"):
        guarded.remote()
    with pytest.raises(errors.UnpicklableError, match="lock"):
        app.function(lambda x: x, name="f").remote({"a": the_culprit})


def test_functions_that_refer_to_each_other_and_to_the_app(server: FrameServer, app: cloudburst.App) -> None:
    """Their own code goes along, and a connection is made where it is used."""

    @app.function
    def even(n: int) -> bool:
        return n == 0 or odd(n - 1)

    @app.function
    def odd(n: int) -> bool:
        return n > 0 and even(n - 1)

    @app.function
    def stores(n: int) -> Any:
        return app.put, n

    even.remote(4).get()
    assert definition(server, "even")(10) is True
    stores.remote(1).get()
    put, _ = definition(server, "stores")(1)
    assert isinstance(put.__self__, cloudburst.App)


def test_a_pickled_function(app: cloudburst.App) -> None:
    f = app.function(lambda x: x + 1, name="f").bind(1)
    assert cloudpickle.loads(cloudpickle.dumps(f))() == 2
    assert cloudpickle.loads(cloudpickle.dumps(f >> app.function(lambda x: -x, name="g")))() == -2


def test_lookup(server: FrameServer, app: cloudburst.App) -> None:
    app.function(lambda: 1, name="f").remote().get()
    app.function(lambda: 1, name="f").remote().get()
    app.lookup("f").remote(1).get()
    app.lookup("f@1").remote(1).get()
    assert [call.function for call in server.calls()][2:] == ["f", "f@1"]
    with pytest.raises(TypeError, match="remote"):
        app.lookup("f")()
    for missing in ("g", "f@3", "f@x"):
        with pytest.raises(errors.FunctionNotFoundError, match=missing):
            app.lookup(missing)


def test_map(app: cloudburst.App) -> None:
    f = app.function(lambda x, y: y, name="f")
    assert [future.get() for future in f.map([1, 2, 3], "abcd")] == ["a", "b", "c"]


# Pipelines.


@pytest.fixture
def parts(app: cloudburst.App) -> Any:
    def make(name: str, run: Any) -> Any:
        return app.function(run, name=name)

    class Parts:
        incr = make("incr", lambda x: x + 1)
        sq = make("sq", lambda x: x * x)
        cube = make("cube", lambda x: x**3)
        add = make("add", lambda x, y: x + y)
        scale = make("scale", lambda factor, x: factor * x)
        pair = make("pair", lambda x: (x, 10 * x))

    return Parts


def test_a_chain(server: FrameServer, app: cloudburst.App, parts: Any) -> None:
    chain = parts.incr >> parts.sq
    assert chain(3) == 16
    assert repr(chain) == "<Pipeline incr >> sq>"
    chain.remote(3).get()
    (dag,) = server.dags.values()
    assert list(dag.functions) == ["incr@1", "sq@1"]
    assert [(link.source, link.sink) for link in dag.links] == [("incr@1", "sq@1")]
    assert server.calls()[-1].dag == dag.name == chain.name
    assert arguments(server) == [("incr@1", 1, [])]
    assert dag.name.startswith("incr>sq:")
    (parts.incr >> parts.sq).remote(4).get()
    assert len(server.dags) == 1, "an equal one is the same"


def test_a_diamond(server: FrameServer, parts: Any) -> None:
    diamond = parts.incr >> (parts.sq, parts.cube) >> parts.add
    assert diamond(1) == 4 + 8
    diamond.remote(1).get()
    (dag,) = server.dags.values()
    assert list(dag.functions) == ["incr@1", "sq@1", "cube@1", "add@1"]
    assert [(link.source, link.sink) for link in dag.links] == [
        ("incr@1", "sq@1"),
        ("incr@1", "cube@1"),
        ("sq@1", "add@1"),
        ("cube@1", "add@1"),
    ]
    assert repr(diamond).count(">>") == 4
    same = (parts.incr >> parts.sq, parts.incr >> parts.cube) >> parts.add
    assert same(1) == 12


def test_several_sources_and_bound_arguments(server: FrameServer, parts: Any) -> None:
    both = (parts.sq, parts.cube) >> parts.add >> parts.scale.bind(10)
    assert both(2) == 120
    both.remote(2).get()
    assert arguments(server) == [("sq@1", 1, []), ("cube@1", 1, []), ("scale@1", 1, [])]
    assert (parts.pair >> parts.add)(1) == 11, "a tuple is spread"


def test_names_of_pipelines(server: FrameServer, parts: Any) -> None:
    named = (parts.incr >> parts.sq).named("f")
    assert named.name == "f"
    named.remote(1).get()
    assert "f" in server.dags
    named.options(key="k").remote(1).get()
    assert (server.calls()[-1].dag, server.calls()[-1].output_key) == ("f", "k")
    assert list(server.dags["f"].functions) == ["incr", "sq"], "others get the latest versions"
    parts.sq.register()
    (parts.incr >> parts.sq).named("f").remote(1).get()
    (parts.incr >> parts.cube).named("f").remote(1).get()
    assert list(server.dags["f"].functions) == ["incr", "cube"], "the one that was deployed last"
    assert [dag.anonymous for dag in server.dags.values()] == [False]
    (parts.incr >> parts.cube).remote(1).get()
    assert [dag.anonymous for dag in server.dags.values()] == [False, True]


def test_lookup_dag(server: FrameServer, app: cloudburst.App, parts: Any) -> None:
    ((parts.sq, parts.cube) >> parts.add).named("f").register()
    found = app.lookup_dag("f")
    assert repr(found) == "<Pipeline f: known to the node>"
    found.remote(1, k=2).get()
    assert arguments(server) == [("sq", 1, ["k"]), ("cube", 1, ["k"])]
    (app.lookup("sq@1") >> parts.incr).named("pinned").register()
    assert list(server.dags["pinned"].functions) == ["sq@1", "incr"]
    with pytest.raises(TypeError, match="remote"):
        found(1)
    with pytest.raises(errors.DagNotFoundError, match="cloudburst dag ls"):
        app.lookup_dag("g")


def test_what_is_no_pipeline(app: cloudburst.App, parts: Any) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="feed itself"):
        parts.incr >> parts.sq >> parts.incr
    with pytest.raises(errors.InvalidArgumentError, match=r"two functions .* name 'scale'"):
        parts.scale.bind(1) >> parts.scale.bind(2)
    with pytest.raises(errors.InvalidArgumentError, match="ends in sq, cube"):
        (parts.incr >> (parts.sq, parts.cube)).remote(1)
    with pytest.raises(errors.InvalidArgumentError, match="made of functions"):
        parts.incr >> print
    with pytest.raises(errors.InvalidArgumentError, match="made of functions"):
        parts.incr >> ()


def test_pipelines_over_several_connections(server: FrameServer, app: cloudburst.App, parts: Any) -> None:
    with cloudburst.connect(server.address) as other, pytest.raises(errors.InvalidArgumentError, match="one connection"):
        parts.incr >> other.function(print)


# State, and the app itself.


def test_state(server: FrameServer, app: cloudburst.App) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="at least a millisecond"):  # and is not rounded to for ever
        app.put("a", {1, 2}, ttl=0.0004)
    app.put("a", {1, 2}, ttl=0.001)
    cell = server.values["a"][0]
    assert cell.ttl_milliseconds == 1
    assert app.get("a") == {1, 2}
    assert app.get("b") is None
    assert app.get("b", "default") == "default"
    app.put("b", None, ack="memory")
    assert app.get("b", "default") is None
    assert app.get_many(["a", "b", "c"]) == {"a": {1, 2}, "b": None}
    app.delete("a")
    app.delete(["b", "c"])
    assert app.get_many(["a", "b"]) == {}
    for wrong in ("", 3, None):
        with pytest.raises(errors.InvalidArgumentError, match="key"):
            app.put(wrong, 1)  # type: ignore[arg-type]
        with pytest.raises(errors.InvalidArgumentError, match="key"):
            app.get(wrong)  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidArgumentError, match="durable"):
        app.put("a", 1, ack="perhaps")
    with pytest.raises(errors.InvalidArgumentError, match="ttl is a number of seconds"):
        app.put("a", 1, ttl=-1)


def test_keys_come_in_pages(server: FrameServer, app: cloudburst.App) -> None:
    for i in range(2500):
        app._connection.transport.start(app._connection.new_put((_cell(f"k{i:04}"),), [codec.encode(i)]))
    assert list(app.keys("k1")) == [f"k1{i:03}" for i in range(1000)]
    assert len(list(app.keys())) == 2500


def _cell(key: str) -> Any:
    from cloudburst.cells import new_cell

    return new_cell(key, 0)[0]


def test_references(app: cloudburst.App) -> None:
    assert app.ref("k") == cloudburst.Ref("k")
    assert app.ref("k", raw=True) != app.ref("k")
    assert repr(app.ref("k", raw=True)) == "Ref('k', deserialize=False)"
    assert pickle.loads(pickle.dumps(app.ref("k"))) == app.ref("k")
    assert len({app.ref("k"), app.ref("k")}) == 1
    with pytest.raises(errors.InvalidArgumentError, match="key"):
        app.ref("")


def test_repr_of_the_app(server: FrameServer, app: cloudburst.App) -> None:
    assert repr(app) == f"<App on {server.address}>"
    app.close()
    assert repr(app) == f"<App on {server.address} (closed)>"
