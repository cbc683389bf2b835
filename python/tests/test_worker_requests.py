"""What functions ask of the node, with the test as the node."""

from __future__ import annotations

from typing import Any, Iterator, List

import pytest

from anna.cells import cell_of
from anna.lattices import ListBasedOrderedSet, OrderedSetLattice, SetLattice
from cloudburst import Future, Ref, codec
from cloudburst.errors import DeadlineExceededError, InvalidArgumentError, KeyNotFoundError, NoResourcesError
from cloudburst.shared.reference import CloudburstReference
from cloudburst.v1 import error_pb2, frame_pb2, function_pb2, store_pb2
from worker_process import WorkerProcess, one_worker

LWW, SET = store_pb2.LATTICE_TYPE_LWW, store_pb2.LATTICE_TYPE_SET


@pytest.fixture(scope="module")
def shared() -> Iterator[WorkerProcess]:
    with one_worker() as worker:
        yield worker


@pytest.fixture
def worker(shared: WorkerProcess) -> WorkerProcess:
    """A worker that other tests have used, and that must be none the worse for it."""
    return shared


def answer(worker: WorkerProcess, body: frame_pb2.Header, values: List[bytes]) -> frame_pb2.Header:
    """Read a request and answer it."""
    header, _ = worker.read()
    body.id = header.id
    worker.send(body, values)
    return header


def cells(*cells: store_pb2.Cell) -> frame_pb2.Header:
    return frame_pb2.Header(cells=frame_pb2.Cells(cells=cells))


def test_get(worker: WorkerProcess) -> None:
    worker.load("get", lambda library, keys, deserialize: library.get(keys, deserialize, wait=1.5))
    there = cells(
        store_pb2.Cell(key="a", type=LWW, values=1), store_pb2.Cell(key="s", type=SET, values=2), store_pb2.Cell(key="n")
    )
    stored = [codec.encode(v) for v in [b"raw", 1, 2]]
    for deserialize, expected in [
        (True, {"a": b"raw", "s": [1, 2], "n": None}),
        (False, {"a": b"raw", "s": {b"\x01\x01", b"\x01\x02"}, "n": None}),
    ]:
        worker.invoke(("get", ["a", "s", "n"], deserialize))
        asked = answer(worker, there, stored)
        assert list(asked.get.keys) == ["a", "s", "n"]
        assert asked.get.wait_milliseconds == 1500
        assert worker.result() == expected
    worker.invoke(("get", "a", True))
    answer(worker, cells(store_pb2.Cell(key="a", type=LWW, values=1)), [codec.encode({"x": 1})])
    assert worker.result() == {"x": 1}


def test_put(worker: WorkerProcess) -> None:
    worker.load("put", lambda library, key, value: library.put(key, value, ttl=2, ack="memory"))
    for value, kind, expected in [(7, LWW, [b"\x01\x07"]), ({1, 2}, SET, [b"\x01\x01", b"\x01\x02"]), (set(), SET, [])]:
        worker.invoke(("put", "k", value))
        header, values = worker.read()
        (cell,) = header.put.cells
        assert (cell.key, cell.type, cell.values, cell.ttl_milliseconds) == ("k", kind, len(expected), 2000)
        assert header.put.ack == store_pb2.ACK_MEMORY
        assert sorted(bytes(v) for v in values) == expected
        worker.send(frame_pb2.Header(id=header.id, done=frame_pb2.Done()))
        assert worker.result() == {"k": True}
    with pytest.raises(InvalidArgumentError, match="a key is a string"):
        worker.call(("put", 5, 5))


def test_delete_send_and_recv(worker: WorkerProcess) -> None:
    def all_of_them(library: Any) -> Any:
        library.delete(["a", "b"])
        library.send(library.getid(), b"to myself")
        return library.recv(wait=3)

    worker.load("all", all_of_them)
    worker.invoke(("all",))
    done = frame_pb2.Header(done=frame_pb2.Done())
    asked = answer(worker, done, [])
    assert list(asked.delete.keys) == ["a", "b"]
    assert asked.delete.ack == store_pb2.ACK_DURABLE
    asked = answer(worker, done, [])
    assert (asked.send.member, asked.send.number) == ("here", 1)
    senders = [frame_pb2.Sender(member="there", number=5), frame_pb2.Sender(member="here", number=1)]
    messages = frame_pb2.Header(messages=frame_pb2.Messages(senders=senders))
    asked = answer(worker, messages, [codec.encode(b"to myself"), codec.encode([1])])
    assert asked.receive.wait_milliseconds == 3000
    assert worker.result() == [(("there", 5), b"to myself"), (("here", 1), [1])]


def test_the_context_asks_alike(worker: WorkerProcess) -> None:
    def ask() -> Any:
        from cloudburst.worker.context import context

        c = context()
        c.put("k", {1})
        return [c.get("k"), c.get("missing", 5), c.get_many(["k", "missing"])]

    worker.load("ask", ask, function_pb2.CONVENTION_PLAIN)
    worker.invoke(("ask",))
    asked = answer(worker, frame_pb2.Header(done=frame_pb2.Done()), [])
    assert asked.put.cells[0].type == LWW
    k, missing = store_pb2.Cell(key="k", type=LWW, values=1), store_pb2.Cell(key="missing")
    answer(worker, cells(k), [codec.encode({1})])
    answer(worker, cells(missing), [])
    answer(worker, cells(k, missing), [codec.encode({1})])
    assert worker.result() == [{1}, 5, {"k": {1}}]


def test_an_error_in_reply_is_raised(worker: WorkerProcess) -> None:
    def careful(library: Any) -> str:
        try:
            library.put("k", 1)
        except RuntimeError as e:
            return f"{type(e).__name__}: {e}"
        return "no error"

    worker.load("careful", careful)
    worker.load("careless", lambda library: library.get("k"))
    full = error_pb2.Error(code=error_pb2.CODE_NO_RESOURCES, message="full")
    worker.invoke(("careful",))
    answer(worker, frame_pb2.Header(error=full), [])
    assert worker.result() == f"{NoResourcesError.__name__}: full"
    worker.invoke(("careless",))
    answer(worker, frame_pb2.Header(error=error_pb2.Error(code=error_pb2.CODE_KEY_NOT_FOUND, message="none")), [])
    with pytest.raises(KeyNotFoundError):
        worker.result()


def test_an_answer_that_comes_late_reaches_nobody(worker: WorkerProcess) -> None:
    def impatient(library: Any) -> Any:
        try:
            library.get("slow", timeout=0.01)
        except TimeoutError as e:
            return [str(e), library.get("fast")]

    assert issubclass(DeadlineExceededError, TimeoutError)
    worker.load("impatient", impatient)
    worker.invoke(("impatient",))
    late, _ = worker.read()
    fast, _ = worker.read()
    assert list(fast.get.keys) == ["fast"]
    for header, value in [(late, 1), (fast, 2)]:
        body = cells(store_pb2.Cell(key=header.get.keys[0], type=LWW, values=1))
        body.id = header.id
        worker.send(body, [codec.encode(value)])
    assert worker.result() == ["get 'slow': no answer after 0.01 s", 2]
    worker.send(body, [codec.encode(3)])  # and one when nothing runs
    assert worker.run(lambda _: 1) == 1


def test_threads_of_a_function_each_get_their_own_reply(worker: WorkerProcess) -> None:
    def threads(library: Any) -> Any:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(library.get, [str(i) for i in range(200)]))

    worker.load("threads", threads)
    worker.invoke(("threads",))
    waiting: List[frame_pb2.Header] = []
    for n in range(200):
        header, _ = worker.read()
        waiting.append(header)
        if len(waiting) == 8 or n == 199:  # not in the order of the requests
            for header in reversed(waiting):
                body = cells(store_pb2.Cell(key=header.get.keys[0], type=LWW, values=1))
                body.id = header.id
                worker.send(body, [codec.encode(int(header.get.keys[0]))])
            waiting.clear()
    assert worker.result() == list(range(200))


def test_a_thread_that_outlives_its_function(worker: WorkerProcess) -> None:
    def leave_behind(library: Any) -> None:
        import builtins
        import threading

        def ask() -> None:
            builtins.found = library.get("k")  # type: ignore[attr-defined]

        thread = builtins.left = threading.Thread(target=ask)  # type: ignore[attr-defined]
        thread.start()

    def collect(_: Any) -> Any:
        import builtins

        builtins.left.join(60)  # type: ignore[attr-defined]
        return builtins.found  # type: ignore[attr-defined]

    worker.load("collect", collect)
    worker.load("other", lambda _, x: x)
    worker.load("leave", leave_behind)
    worker.invoke(("leave",))
    first, second = worker.read(), worker.read()
    request = next(header for header, _ in (first, second) if header.HasField("get"))
    # While it waits the worker runs other things, one after another.
    for i in range(20):
        assert worker.call(("other", i)) == i
    worker.invoke(("collect",))
    body = cells(store_pb2.Cell(key="k", type=LWW, values=1))
    body.id = request.id
    worker.send(body, [codec.encode("late")])
    assert worker.result() == "late"


def test_references_that_upstream_functions_return(worker: WorkerProcess) -> None:
    """Downstream gets the values, whichever worker the upstream function ran in."""
    worker.load("given", lambda _: CloudburstReference("a", True))
    worker.load("listed", lambda _: ([1, {"a": CloudburstReference("a", False)}, Future("b")], 2))
    worker.load("all", lambda _, *arguments: arguments)
    one = cells(store_pb2.Cell(key="a", type=LWW, values=1))
    other = cells(store_pb2.Cell(key="b", type=LWW, values=1))
    worker.invoke(("given",), ("all", 0))
    asked = answer(worker, one, [codec.encode({"x": 1})])
    assert asked.get.wait_milliseconds == 10_000, "as long as the node waits for an argument"
    assert worker.result() == (0, {"x": 1})
    worker.invoke(("listed",), ("all",))
    assert list(answer(worker, other, [codec.encode(5)]).get.keys) == ["b"]
    assert list(answer(worker, one, [codec.encode(b"raw")]).get.keys) == ["a"]
    assert worker.result() == ([1, {"a": b"raw"}, 5], 2)
    worker.invoke_encoded([("all", [codec.encode(0), codec.encode(Ref("a"))])], spread=[1])
    answer(worker, one, [codec.encode("value")])
    assert worker.result() == (0, "value")
    worker.invoke(("given",), ("all",))
    answer(worker, cells(store_pb2.Cell(key="a")), [])
    with pytest.raises(KeyNotFoundError, match="'a'"):
        worker.result()


def test_lattices_as_objects(worker: WorkerProcess) -> None:
    """The published put keeps a lattice as a value, and hands it back as the lattice."""
    worker.load("put", lambda library, lattice: library.put("l", lattice))
    worker.load("get", lambda library: library.get(["l"])["l"].reveal())
    worker.invoke(("put", SetLattice({b"a"})))
    header, values = worker.read()
    assert (header.put.cells[0].type, header.put.cells[0].values) == (LWW, 1)
    worker.send(frame_pb2.Header(id=header.id, done=frame_pb2.Done()))
    assert worker.result() == {"l": True}
    worker.invoke(("get",))
    answer(worker, cells(store_pb2.Cell(key="l", type=LWW, values=1)), [bytes(values[0])])
    assert worker.result() == {b"a"}


def test_what_the_published_get_makes_of_lattices(worker: WorkerProcess) -> None:
    worker.load("read", lambda library: library.get("k"))
    ordered = OrderedSetLattice(ListBasedOrderedSet([b"b", b"a"]), {b"c": -1.0})
    cell, values = cell_of("k", ordered)
    worker.invoke(("read",))
    answer(worker, cells(cell), [codec.join(value) for value in values])
    assert worker.result() == [b"c", b"a", b"b"], "members without scores"
    worker.invoke(("read",))
    answer(worker, cells(store_pb2.Cell(key="k", type=LWW, values=1)), [codec.encode({1})])
    assert worker.result() == [1], "the set that a function returned"
