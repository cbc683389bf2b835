"""Functions in a real worker: how they are called, and what comes back when they fail."""

from __future__ import annotations

import pickle
import sys
import threading
from typing import Any, Iterator, List, Tuple

import pytest

from cloudburst import codec
from cloudburst.errors import CodecError, ExecutionError, InternalError, RemoteTraceback, TooLargeError, UnpicklableError
from cloudburst.v1 import error_pb2, function_pb2
from worker_process import DEADLINE_MILLISECONDS, RUN_ID, WorkerProcess, one_worker

PLAIN = function_pb2.CONVENTION_PLAIN
CLASS = function_pb2.CONVENTION_CLASS


@pytest.fixture(scope="module")
def shared() -> Iterator[WorkerProcess]:
    with one_worker() as worker:
        yield worker


@pytest.fixture
def worker(shared: WorkerProcess) -> WorkerProcess:
    """A worker that other tests have used, and that must be none the worse for it."""
    shared.printed.clear()
    shared.heads.clear()
    return shared


def test_chain(worker: WorkerProcess) -> None:
    worker.load("incr", lambda _, x: x + 1)
    worker.load("sq", lambda _, x: x * x)
    for x in [1, -5, 2**49, -(2**50), 2**200, 1.5, True] * 3:  # over and over, so that known headers are met
        assert worker.call(("incr", x), ("sq",)) == (x + 1) ** 2


def test_a_tuple_is_spread_over_arguments(worker: WorkerProcess) -> None:
    worker.load("two", lambda _, x: (x, x + 1))
    worker.load("three", lambda _, a, b, c: [a, b, c])
    assert worker.call(("two", 1), ("three", "first")) == ["first", 1, 2]


def test_results_of_upstream_functions_are_spread_where_the_step_says_so(worker: WorkerProcess) -> None:
    worker.load("all", lambda _, *arguments: list(arguments))
    encoded = [codec.encode(v) for v in [(1, 2), (3, 4), 5, (6,)]]
    worker.invoke_encoded([("all", encoded)], spread=[1, 2])
    assert worker.result() == [(1, 2), 3, 4, 5, (6,)]


def test_what_passes_between_steps_is_a_copy(worker: WorkerProcess) -> None:
    kept = [1]
    worker.load("give", lambda _: kept)
    worker.load("spoil", lambda _, values: values.append(2) or values)
    assert worker.call(("give",), ("spoil",)) == [1, 2]
    assert worker.call(("give",)) == [1]


def test_keywords(worker: WorkerProcess) -> None:
    worker.load("plain", lambda a, b=0, *, c=0: [a, b, c], PLAIN)
    for _ in range(3):
        assert worker.call(("plain", 1), keywords={"c": 3, "b": 2}) == [1, 2, 3]


def test_values_of_every_codec(worker: WorkerProcess) -> None:
    numpy = pytest.importorskip("numpy")
    worker.load("same", lambda _, x: x)
    array = numpy.arange(6, dtype="<i4").reshape(2, 3, order="F")
    large = numpy.random.default_rng(1).random((300, 1000))
    for value in [b"", b"x" * 100_000, "ü", None, {"a": [1, (2,)]}, {1}, frozenset((1,)), 2**3000, complex(1, 2)]:
        assert worker.call(("same", value)) == value
    for value in [array, large, large.T, numpy.zeros(0)]:
        back = worker.call(("same", value))
        assert back.dtype == value.dtype
        assert (back == value).all()
    assert worker.call(("same", lambda x: x + 1))(1) == 2


def test_a_large_array_is_writable_in_the_function(worker: WorkerProcess) -> None:
    numpy = pytest.importorskip("numpy")

    def fill(_: Any, small: int, array: Any) -> Any:
        array[:] = small
        return array.sum()

    assert worker.run(fill, 2, numpy.zeros(100_000)) == 200_000


def counter() -> Any:
    class Counter:
        def __init__(self, library: Any, start: int, step: int = 1) -> None:
            self.library, self.n, self.step = library, start, step

        def run(self, library: Any, *more: int) -> int:
            assert library is self.library
            self.n += self.step + sum(more)
            return self.n

    return Counter


def test_a_class_is_built_once(worker: WorkerProcess) -> None:
    worker.load("counter", (counter(), (10, 2)), CLASS)
    assert [worker.call(("counter",)) for _ in range(3)] == [12, 14, 16]
    assert worker.call(("counter", 100)) == 118
    worker.load("counter", (counter(), 0), CLASS, version=2)
    worker.invoke_encoded([("counter", [])], version=2)
    assert worker.result() == 1
    assert worker.call(("counter",)) == 120  # the version before is still there, until it is unloaded


def test_a_class_that_cannot_be_built_is_tried_again(worker: WorkerProcess) -> None:
    class Late:
        def __init__(self, library: Any, attempts: List[int]) -> None:
            import builtins

            builtins.attempts = attempts = [*getattr(builtins, "attempts", attempts), 1]  # type: ignore[attr-defined]
            if len(attempts) < 3:
                raise OSError("not yet")

        def run(self, library: Any) -> str:
            return "built"

    worker.load("late", (Late, ([],)), CLASS)
    for _ in range(2):
        with pytest.raises(OSError, match="not yet"):
            worker.call(("late",))
    assert worker.call(("late",)) == "built"


def test_context(worker: WorkerProcess) -> None:
    def describe() -> Any:
        from cloudburst.worker.context import context

        c = context()
        return [c.run_id, c.function, c.version, c.attempt, c.deadline, list(c.id), c.remaining > 0, repr(c)]

    worker.load("describe", describe, PLAIN)
    for _ in range(3):
        run = RUN_ID.hex()
        expected = [
            run,
            "describe",
            1,
            1,
            DEADLINE_MILLISECONDS / 1000,
            ["here", 1],
            True,
            f"<context of describe@1, run {run}>",
        ]
        assert worker.call(("describe",)) == expected


def test_context_outside_of_a_function() -> None:
    from cloudburst.worker.context import context

    with pytest.raises(RuntimeError, match="no function runs"):
        context()


# Failures.


class OtherArguments(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


def boom(_: Any, x: int) -> int:
    return x // 0


def test_an_exception_comes_back_as_itself(worker: WorkerProcess) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        worker.run(boom, 1)
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert "in boom" in str(cause)
    assert "worker.py" not in str(cause)
    error = worker.error(("boom", 1)).error
    assert error.code == error_pb2.CODE_EXECUTION
    assert error.exception.type == "ZeroDivisionError"
    assert (error.exception.function, error.exception.version) == ("boom", 1)
    assert error.message.startswith("function boom@1 raised ZeroDivisionError: ")


def test_the_step_that_failed_is_named(worker: WorkerProcess) -> None:
    worker.load("ok", lambda _, x: x)
    worker.load("bad", lambda _, x: x["no"])
    for _ in range(2):
        assert worker.error(("ok", 1), ("bad",)).error.exception.function == "bad"


def test_wrong_arguments(worker: WorkerProcess) -> None:
    worker.load("boom", boom)
    for arguments in [(), (1, 2)]:
        with pytest.raises(TypeError, match=r"boom\(\)"):
            worker.call(("boom", *arguments))


def test_causes_travel_in_the_traceback(worker: WorkerProcess) -> None:
    def chained(_: Any) -> None:
        try:
            raise KeyError("inner")
        except KeyError as e:
            raise ValueError("outer") from e

    with pytest.raises(ValueError, match="outer") as caught:
        worker.run(chained)
    cause = caught.value.__cause__
    assert isinstance(cause, KeyError), "as where it was raised"
    assert isinstance(cause.__cause__, RemoteTraceback), "the traceback is at the end of the causes"
    assert "KeyError: 'inner'" in str(cause.__cause__)


def raise_(exception: BaseException) -> Any:
    def raises(_: Any) -> None:
        raise exception

    return raises


@pytest.mark.parametrize("exception", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_what_would_end_a_program_is_an_error(worker: WorkerProcess, exception: BaseException) -> None:
    with pytest.raises(ExecutionError) as caught:
        worker.run(raise_(exception))
    assert caught.value.type == type(exception).__name__


def test_a_class_of_the_users_own(worker: WorkerProcess) -> None:
    class OwnError(Exception):
        pass

    with pytest.raises(OwnError, match="mine"):
        worker.run(raise_(OwnError("mine")))


def test_an_exception_is_rebuilt_without_its_constructor(worker: WorkerProcess) -> None:
    with pytest.raises(OtherArguments, match="1 and 2"):
        worker.run(lambda _: (_ for _ in ()).throw(OtherArguments(1, 2)))


def test_an_exception_that_cannot_be_rebuilt(worker: WorkerProcess) -> None:
    def raises(_: Any) -> None:
        class Unrebuildable(Exception):
            def __reduce__(self) -> Any:
                return int, ("no number",)

        raise Unrebuildable("1 and 2")

    with pytest.raises(ExecutionError, match=r"1 and 2 \(it is described here.*: ValueError: .*'no number'") as caught:
        worker.run(raises)
    assert caught.value.type.endswith("Unrebuildable")


def test_an_exception_that_cannot_be_pickled(worker: WorkerProcess) -> None:
    def raises(_: Any) -> None:
        raise ValueError(threading.Lock())

    with pytest.raises(ExecutionError, match=r"cannot travel itself: .*argument 0 is a _thread\.lock") as caught:
        worker.run(raises)
    assert caught.value.type == "ValueError"


@pytest.mark.parametrize("method", ["__str__", "__reduce__", "__class__"])
def test_an_exception_whose_methods_raise(worker: WorkerProcess, method: str) -> None:
    def raises(_: Any, method: str) -> None:
        def broken(self: Any, *_: Any) -> Any:
            raise SystemExit(1)

        raise type("BadError", (Exception,), {method: property(broken) if method == "__class__" else broken})("x")

    with pytest.raises(ExecutionError) as caught:
        worker.run(raises, method)
    assert caught.value.type == "BadError"


def test_no_stack_left(worker: WorkerProcess) -> None:
    def deeper(_: Any, n: int = 0) -> Any:
        return deeper(_, n + 1)

    with pytest.raises(RecursionError):
        worker.run(deeper)

    def chain(_: Any) -> None:
        cause: Any = None
        for i in range(5000):
            error = ValueError(i)
            error.__cause__ = cause
            cause = error
        raise cause

    with pytest.raises(ValueError, match="4999"):
        worker.run(chain)


def test_no_memory_left(worker: WorkerProcess) -> None:
    def greedy(_: Any) -> Any:
        return bytearray(1 << 60)

    with pytest.raises(MemoryError):
        worker.run(greedy)


def test_a_long_message_is_cut(worker: WorkerProcess) -> None:
    worker.load("raises", raise_(ValueError("\udc80" + "x" * 10_000_000)))
    error = worker.error(("raises",)).error
    assert len(error.exception.message) < 100_000
    assert "10000001 characters in all" in error.exception.message


def test_a_result_that_cannot_be_pickled(worker: WorkerProcess) -> None:
    def locked(_: Any) -> Any:
        return {"fine": 1, "lock": threading.Lock()}

    with pytest.raises(UnpicklableError, match=r"the result of locked@1: .*'lock'"):
        worker.run(locked)


def test_a_value_between_steps_that_cannot_be_pickled(worker: WorkerProcess) -> None:
    worker.load("generator", lambda _: (i for i in range(3)))
    worker.load("same", lambda _, x: x)
    with pytest.raises(UnpicklableError, match="the result of generator@1: "):
        worker.call(("generator",), ("same",))


def test_a_result_that_is_too_large(worker: WorkerProcess) -> None:
    with pytest.raises(TooLargeError, match="the result of large@1: a byte string is 67112962 bytes; the limit is 67108864"):
        worker.load("large", lambda _: bytes((64 << 20) + (4 << 10) + 1))
        worker.call(("large",))


def test_a_definition_that_does_not_load(worker: WorkerProcess) -> None:
    worker.load("broken", b"\x03not a pickle")
    worker.load("other", b"\x01\x05")
    absent = pickle.dumps(sys.modules[__name__].boom, protocol=0).replace(__name__.encode(), b"no_such_module")
    worker.load("absent", b"\x03" + absent)
    for name, reason in [
        ("broken", "cannot be loaded"),
        ("other", "a int, which cannot be called"),
        ("absent", "no_such_module"),
    ]:
        for _ in range(2):
            with pytest.raises(CodecError, match=reason):
                worker.call((name,))
    error = worker.error(("broken",)).error
    assert error.exception.function == "broken"
    assert "UnpicklingError" in error.exception.traceback


def test_an_argument_that_does_not_decode(worker: WorkerProcess) -> None:
    worker.load("same", lambda _, x: x)
    for argument in [b"", b"\x63", b"\x03garbage", b"\x01\xff", b"\x02\xff\xff\xff\xff"]:
        worker.invoke_encoded([("same", [argument])])
        with pytest.raises(CodecError):
            worker.result()


def test_unload(worker: WorkerProcess) -> None:
    worker.load("gone", lambda _: 1)
    assert worker.call(("gone",)) == 1
    worker.unload("gone")
    with pytest.raises(InternalError, match="gone@1"):
        worker.call(("gone",))
    worker.load("gone", lambda _: 2)
    assert worker.call(("gone",)) == 2


def test_many_kinds_of_invocation(worker: WorkerProcess) -> None:
    """More than are kept by their bytes, and every size around the borders of the encoding."""
    worker.load("same", lambda _, *x: list(x))
    for n in [*range(300), 16383, 16384, 70_000]:
        for values in ([b"x" * n], [b"x" * n, n], [n] * (n % 40)):
            assert worker.call(("same", *values)) == values
            assert worker.call(("same", *values)) == values


def test_frames_that_wait_in_one_receive(worker: WorkerProcess) -> None:
    worker.load("same", lambda _, x: x)
    for i in range(50):
        worker.invoke(("same", i))
    worker.ids -= 50
    for i in range(50):
        worker.ids += 1
        assert worker.result() == i


def test_random_numbers_differ_between_workers() -> None:
    def draw(_: Any) -> Any:
        import random

        drawn: Tuple[float, ...] = (random.random(),)
        try:
            import numpy.random
        except ImportError:
            return drawn
        return (*drawn, float(numpy.random.random()))

    drawn: List[float] = []
    with one_worker() as one, one_worker() as other:
        for worker in (one, other):
            drawn += worker.run(draw)
    assert len(set(drawn)) == len(drawn)
