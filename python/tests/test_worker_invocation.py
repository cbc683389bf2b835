"""What belongs to an invocation, also on threads and after its end."""

from __future__ import annotations

from typing import Any, Iterator, List, Tuple

import pytest

from cloudburst.errors import CancelledError
from cloudburst.v1 import frame_pb2, function_pb2
from worker_process import WorkerProcess, one_worker

PLAIN = function_pb2.CONVENTION_PLAIN


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerProcess]:
    with one_worker() as worker:
        yield worker


def test_threads_and_tasks_belong_to_the_function_that_starts_them(worker: WorkerProcess) -> None:
    def starts(kind: str) -> List[Any]:
        import sys
        import threading
        from concurrent.futures import ThreadPoolExecutor

        import cloudburst

        class Own(threading.Thread):
            def run(self) -> None:
                tell()

        seen: List[Any] = []

        def tell() -> None:
            print("told")
            sys.stderr.write("warned\n")
            seen.append((cloudburst.context().function, cloudburst.context() is mine))

        mine = cloudburst.context()
        if kind == "pool":
            with ThreadPoolExecutor(1) as pool:
                pool.submit(pool.submit, tell).result(60).result(60)
        else:
            thread = Own() if kind == "subclass" else threading.Thread(target=tell)
            thread.start()
            thread.join()
        return seen

    worker.load("starts", starts, PLAIN)
    for kind in ("thread", "subclass", "pool"):
        worker.printed.clear()
        assert worker.call(("starts", kind)) == [("starts", True)], kind
        assert worker.printed == [(1, "starts", "told"), (2, "starts", "warned")], kind


def test_a_pool_that_outlives_a_function_works_for_the_next(worker: WorkerProcess) -> None:
    def first() -> str:
        import builtins
        from concurrent.futures import ThreadPoolExecutor

        import cloudburst

        builtins.pool = ThreadPoolExecutor(1)  # type: ignore[attr-defined]
        return str(builtins.pool.submit(lambda: cloudburst.context().function).result(60))  # type: ignore[attr-defined]

    def second() -> Tuple[str, str]:
        import builtins

        import cloudburst

        name = builtins.pool.submit(lambda: cloudburst.context().function).result(60)  # type: ignore[attr-defined]
        builtins.pool.shutdown()  # type: ignore[attr-defined]
        return name, cloudburst.context().function

    for function in (first, second):
        worker.load(function.__name__, function, PLAIN)
    assert worker.call(("first",)) == "first"
    assert worker.call(("second",)) == ("second", "second")


def test_a_thread_that_outlives_its_function_keeps_its_context(worker: WorkerProcess) -> None:
    def leaves() -> str:
        import builtins
        import queue
        import threading

        import cloudburst

        go: Any = queue.Queue()
        builtins.asked, builtins.told = go, queue.Queue()  # type: ignore[attr-defined]

        def later() -> None:
            go.get()
            print("still here")
            try:
                cloudburst.context().recv()
            except Exception as e:
                failure = e
            builtins.told.put((cloudburst.context().run_id, failure))  # type: ignore[attr-defined]

        threading.Thread(target=later, daemon=True).start()
        return cloudburst.context().run_id

    def looks() -> Any:
        import builtins

        builtins.asked.put(None)  # type: ignore[attr-defined]
        run_id, failure = builtins.told.get(timeout=60)  # type: ignore[attr-defined]
        return run_id, type(failure).__name__, str(failure)

    for function in (leaves, looks):
        worker.load(function.__name__, function, PLAIN)
    run_id = worker.call(("leaves",))
    first = worker.ids
    worker.printed.clear()
    worker.invoke(("looks",))
    header, _ = worker.read()
    assert header.receive.invocation == first, "the node knows that this one has ended"
    refused = frame_pb2.Header(id=header.id)
    refused.error.code = CancelledError.code
    refused.error.message = "it has ended"
    worker.send(refused)
    assert worker.result() == (run_id, "CancelledError", "it has ended")
    assert worker.printed == [(1, "leaves", "still here")]
