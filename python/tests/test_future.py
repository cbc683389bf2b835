"""Futures: as arguments, in other processes, and several at once."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import threading
import time
from typing import Any, List, Tuple

import pytest

import cloudburst
from cloudburst import codec, errors
from cloudburst.v1 import frame_pb2, store_pb2
from frame_server import FrameServer, Peer, serving


@pytest.fixture
def echo(app: cloudburst.App) -> cloudburst.Function[..., Any]:
    return app.function(lambda x: x, name="echo")


class Held:
    """Keeps calls until they are released, each by its argument."""

    def __init__(self, server: FrameServer) -> None:
        self.server = server
        self.calls: List[Tuple[Any, Peer, int]] = []
        server.handler = self.hold

    def hold(self, peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        if not header.HasField("call"):
            return False
        self.calls.append((bytes(values[-1]), peer, header.id))
        return True

    def release(self, value: Any) -> None:
        encoded = codec.encode(value)
        self.server.wait_for(lambda: any(held == encoded for held, _, _ in self.calls), f"the call with {value!r}")
        for held, peer, id in self.calls:
            if held == encoded:
                peer.reply(id, encoded)


def last_argument(server: FrameServer, held: Held, calls: int) -> Any:
    server.wait_for(lambda: len(held.calls) == calls, "the calls")
    return held.calls[-1][0]


def test_as_arguments(server: FrameServer, echo: Any) -> None:
    held = Held(server)
    pending = echo.remote(1)
    echo.remote(pending)
    assert last_argument(server, held, 2) == codec.encode_reference(pending.key), "by reference while it is not here"
    echo.remote([pending, 2])
    reference = codec.encode_reference(pending.key)
    assert last_argument(server, held, 3) == codec.encode_sequence([reference, codec.encode(2)])
    held.release(1)
    assert pending.get() == 1
    echo.remote(pending)
    assert last_argument(server, held, 4) == codec.encode(1), "as itself once it is"
    echo.remote([1, 2])
    assert last_argument(server, held, 5) == codec.encode([1, 2])


def test_large_results_stay_where_they_are(server: FrameServer, echo: Any) -> None:
    future = echo.remote(bytes(100_000))
    assert len(future.get()) == 100_000
    held = Held(server)
    echo.remote(future)
    assert last_argument(server, held, 1) == codec.encode_reference(future.key)


def test_results_that_are_not_stored_travel_themselves(server: FrameServer, echo: Any) -> None:
    assert echo.remote(echo.options(store=False).remote("waited for")).get() == "waited for"
    future = echo.options(store=False).remote("here")
    assert future.get() == "here"
    held = Held(server)
    echo.remote(future)
    assert last_argument(server, held, 1) == codec.encode("here")
    with pytest.raises(errors.InvalidArgumentError, match="store=False"):
        pickle.dumps(future)


def test_failed_futures_as_arguments(server: FrameServer, echo: Any) -> None:
    def fail(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        peer.fail(header.id, ValueError("no"))
        return True

    echo.register()
    server.handler = fail
    failed = echo.remote(1)
    assert isinstance(failed.exception(), errors.ExecutionError)
    direct = echo.options(store=False).remote(1)
    assert direct.exception() is not None
    held = Held(server)
    echo.remote(failed)
    assert last_argument(server, held, 1) == codec.encode_reference(failed.key), "fails as the run that it refers to"
    with pytest.raises(errors.ExecutionError, match="no"):
        server.handler = None
        echo.remote(direct)


def test_repr(server: FrameServer, echo: Any) -> None:
    held = Held(server)
    future = echo.remote(7)
    assert repr(future) == f"<Future {future.key} call echo@1>"
    held.release(7)
    future.get()
    assert repr(future) == f"<Future {future.key} done: 7>"
    assert "another process" in repr(pickle.loads(pickle.dumps(future)))


def test_pickled(server: FrameServer, app: cloudburst.App, echo: Any) -> None:
    future = echo.remote(1)
    app.put(future.key, "stored")
    copy = pickle.loads(pickle.dumps(future))
    assert copy.key == future.key
    assert copy.get() == "stored"
    assert copy.done()


def test_in_another_process(server: FrameServer, app: cloudburst.App, echo: Any) -> None:
    future = echo.remote(1)
    app.put(future.key, {"from": "the store"})
    program = f"import pickle; print(pickle.loads({pickle.dumps(future)!r}).get())"
    environment = {"CLOUDBURST_ADDRESS": server.address, "PATH": "/usr/bin", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "{'from': 'the store'}\n", done.stderr


def test_by_key(server: FrameServer, app: cloudburst.App) -> None:
    future: cloudburst.Future[Any] = cloudburst.Future("key")
    assert not future.done()
    with pytest.raises(errors.DeadlineExceededError, match="'key'"):
        future.get(timeout=0.01)

    async def main() -> Any:
        app.put("key", [1])
        return await future

    assert asyncio.run(main()) == [1]
    assert future.get() == [1]
    with pytest.raises(errors.InvalidArgumentError, match="key"):
        cloudburst.Future("")


def test_a_stored_failure(server: FrameServer, app: cloudburst.App) -> None:
    from cloudburst.v1 import error_pb2

    error = error_pb2.Error(code=error_pb2.CODE_WORKER_DIED, message="it died").SerializeToString()
    server.values["k"] = (
        store_pb2.Cell(key="k", type=store_pb2.LATTICE_TYPE_LWW, values=1),
        [b"\x07" + len(error).to_bytes(4, "little") + error],
    )
    future: cloudburst.Future[Any] = cloudburst.Future("k")
    with pytest.raises(errors.WorkerDiedError, match="it died"):
        future.get()
    assert future.done()
    with pytest.raises(errors.WorkerDiedError):
        app.get("k")


def test_a_set_under_the_key(server: FrameServer) -> None:
    server.values["k"] = (
        store_pb2.Cell(key="k", type=store_pb2.LATTICE_TYPE_SET, values=2),
        [codec.encode(1), codec.encode(2)],
    )
    with cloudburst.connect(server.address):
        future: cloudburst.Future[Any] = cloudburst.Future("k")
        assert future.get() == [1, 2]


def test_a_result_that_does_not_load(server: FrameServer, echo: Any) -> None:
    echo.register()
    server.handler = lambda peer, header, values: peer.reply(header.id, b"\x63nonsense") is None
    future = echo.remote(1)
    with pytest.raises(errors.CodecError, match="codec 99"):
        future.get()
    server.handler = lambda peer, header, values: peer.reply(header.id) is None
    with pytest.raises(errors.FrameError, match="0 values"):
        echo.remote(1).get()
    server.handler = lambda peer, header, values: peer.reply(header.id, keys=frame_pb2.Keys()) is None
    with pytest.raises(errors.FrameError):
        echo.remote(1).get()


def test_wait_for_all(server: FrameServer, echo: Any) -> None:
    futures = [echo.remote(i) for i in range(2000)]
    done, not_done = cloudburst.wait(futures)
    assert done == set(futures)
    assert not not_done
    assert cloudburst.wait([]) == (set(), set())


def test_wait_for_the_first(server: FrameServer, echo: Any) -> None:
    echo.register()
    held = Held(server)
    futures = [echo.remote(i) for i in range(4)]
    done, not_done = cloudburst.wait(futures, timeout=0.05)
    assert (done, not_done) == (set(), set(futures))
    threading.Timer(0.05, held.release, (2,)).start()
    done, not_done = cloudburst.wait([*futures, futures[0]], return_when=cloudburst.FIRST_COMPLETED)
    assert done == {futures[2]}
    assert len(not_done) == 3
    held.release(0)
    assert futures[0].get() == 0
    assert cloudburst.wait(futures, 0.0).done == {futures[0], futures[2]}
    with pytest.raises(errors.InvalidArgumentError, match="ALL_COMPLETED"):
        cloudburst.wait(futures, return_when="SOON")


def test_wait_for_the_first_failure(server: FrameServer, echo: Any) -> None:
    def odd_ones_fail(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        value = codec.decode(bytes(values[-1]))
        if value == 9:
            return True
        if value % 2:
            peer.fail(header.id, errors.WorkerDiedError("odd"))
        return bool(value % 2)

    echo.register()
    server.handler = odd_ones_fail
    futures = [echo.remote(i) for i in (0, 2, 3, 9)]
    done, not_done = cloudburst.wait(futures, return_when=cloudburst.FIRST_EXCEPTION)
    assert futures[2] in done
    assert not_done == {futures[3]}


def test_as_completed(server: FrameServer, echo: Any) -> None:
    echo.register()
    held = Held(server)
    futures = [echo.remote(i) for i in range(4)]
    threading.Thread(target=lambda: [held.release(i) or time.sleep(0.01) for i in (3, 1, 0, 2)]).start()
    assert [future.get() for future in cloudburst.as_completed(futures)] == [3, 1, 0, 2]
    late = echo.remote(5)
    with pytest.raises(TimeoutError, match="1 of 2 futures"):
        list(cloudburst.as_completed([late, futures[0]], timeout=0.05))


def test_waiting_threads_share(server: FrameServer, echo: Any) -> None:
    """The thread that reads the answers tells the others, however they wait."""
    echo.register()

    def later(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        threading.Timer(0.001 * (header.id % 7), peer.reply, (header.id, bytes(values[-1]))).start()
        return True

    server.handler = later
    right: List[bool] = []

    def run(n: int) -> None:
        for i in range(20):
            futures = [echo.remote((n, i, j)) for j in range(5)]
            if n % 3 == 0:
                got = {future.get() for future in cloudburst.as_completed(futures, timeout=30)}
            elif n % 3 == 1:
                got = {future.get() for future in cloudburst.wait(futures, timeout=30).done}
            else:
                got = {future.get(30) for future in futures}
            right.append(got == {(n, i, j) for j in range(5)})

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert right == [True] * 240


def test_wait_over_several_connections(server: FrameServer, echo: Any) -> None:
    with serving() as other, cloudburst.connect(other.address) as second:
        there = second.function(lambda x: x, name="echo")
        there.register()
        echo.register()
        here_held, there_held = Held(server), Held(other)
        futures = [echo.remote("a"), there.remote("b"), echo.remote("c"), there.remote("d")]

        def release() -> None:
            for held, value in ((there_held, "d"), (here_held, "a"), (there_held, "b"), (here_held, "c")):
                time.sleep(0.05)
                held.release(value)

        threading.Thread(target=release, daemon=True).start()
        assert [future.get() for future in cloudburst.as_completed(futures, timeout=30)] == ["d", "a", "b", "c"]


def test_wait_survives_the_server(server: FrameServer, echo: Any) -> None:
    echo.register()
    server.handler = lambda peer, header, values: peer.number == 1
    futures = [echo.remote(i) for i in range(10)]
    server.wait_for(lambda: len(server.calls()) == 10, "the calls")
    threading.Timer(0.05, server.restart).start()
    assert {future.get() for future in cloudburst.wait(futures, timeout=30).done} == set(range(10))
