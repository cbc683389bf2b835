"""The process around the functions: what it prints, asks for, forks, and how it ends."""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

from cloudburst import codec
from cloudburst.errors import DeadlineExceededError, InvalidArgumentError, KeyNotFoundError, NoResourcesError
from cloudburst.v1 import error_pb2, frame_pb2, function_pb2, store_pb2
from worker_process import RUN_ID, SECONDS, WorkerProcess, ZygoteProcess, one_worker

OUT, ERR = frame_pb2.STREAM_STDOUT, frame_pb2.STREAM_STDERR


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


@pytest.fixture
def zygote() -> Iterator[ZygoteProcess]:
    process = ZygoteProcess()
    yield process
    process.end()


def gone(pid: int) -> bool:
    """Report whether a process has ended; it may still wait to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# Printing.


def test_prints_are_passed_on_line_by_line(worker: WorkerProcess) -> None:
    def talk(_: Any) -> None:
        import sys

        print("one", 1)
        print("two\nthree", file=sys.stderr)
        print("no end", end="")

    worker.run(talk)
    assert worker.printed == [(OUT, "talk", "one 1"), (ERR, "talk", "two"), (ERR, "talk", "three"), (OUT, "talk", "no end")]
    assert worker.heads[0].run_id == RUN_ID
    assert worker.heads[0].version == 1


def test_prints_of_a_function_that_raises(worker: WorkerProcess) -> None:
    def talk(_: Any) -> None:
        print("before", end="")
        raise ValueError

    with pytest.raises(ValueError):
        worker.run(talk)
    assert worker.printed == [(OUT, "talk", "before")]


def test_a_line_is_there_before_the_function_ends(worker: WorkerProcess) -> None:
    def talk(library: Any) -> None:
        print("at once")
        print("flushed", end="", flush=True)
        library.recv()

    worker.load("talk", talk)
    worker.invoke(("talk",))
    header, _ = worker.read()
    assert worker.printed == [(OUT, "talk", "at once"), (OUT, "talk", "flushed")]
    worker.send(frame_pb2.Header(id=header.id, messages=frame_pb2.Messages()))
    assert worker.result() is None


def test_a_long_line_is_cut(worker: WorkerProcess) -> None:
    worker.run(lambda _: print("x" * 1_000_000) or print("\udc80"))
    texts = [text for _, _, text in worker.printed]
    assert max(map(len, texts)) <= 64 << 10
    assert "".join(texts) == "x" * 1_000_000 + "\\udc80"


def test_a_line_in_many_pieces_is_one(worker: WorkerProcess) -> None:
    def talk(_: Any) -> None:
        import sys

        for i in range(100_000):
            sys.stdout.write("x" if i % 1000 else "\n")
        sys.stdout.write("")

    worker.run(talk)
    assert worker.printed == [(OUT, "talk", "")] + 100 * [(OUT, "talk", "x" * 999)]


def test_what_passes_python_by_goes_to_the_pipe(worker: WorkerProcess) -> None:
    def talk(_: Any) -> None:
        import os
        import subprocess
        import sys

        os.write(1, b"written\n")
        sys.stdout.buffer.write(b"binary\n")
        sys.stdout.flush()
        subprocess.run(["echo", "from a child"], check=True)
        subprocess.run(["echo", "to stdout"], check=True, stdout=sys.stdout)

    worker.run(talk)
    assert worker.raw_log(b"to stdout") == b"written\nbinary\nfrom a child\nto stdout\n"


def test_user_code_cannot_close_the_streams(worker: WorkerProcess) -> None:
    def close(_: Any) -> str:
        import sys

        sys.stdout.close()
        try:
            return input()
        except EOFError:
            return "no input"
        finally:
            sys.stdout = None  # type: ignore[assignment]

    assert worker.run(close) == "no input"
    worker.run(lambda _: print("still there"))
    assert worker.printed == [(OUT, "<lambda>", "still there")]


def test_closing_the_low_descriptors_does_no_harm(worker: WorkerProcess) -> None:
    def close(_: Any) -> None:
        import os

        os.closerange(0, 256)

    with one_worker() as other:
        other.run(close)
        assert other.run(lambda _: 1) == 1


# Children of user code.


def test_a_forked_child_does_not_answer(worker: WorkerProcess) -> None:
    def fork(library: Any) -> Any:
        import os

        pid = os.fork()
        if pid == 0:
            print("in the child")
            try:
                library.get("k")
            except NotImplementedError as e:
                print(e)
            return "an answer of the child's"
        return os.waitpid(pid, 0)[1]

    assert worker.run(fork) == 0
    log = worker.raw_log(b"forked")
    assert b"in the child\n" in log
    assert b"get 'k': a process that a function has forked cannot do this" in log
    assert worker.printed == []


@pytest.mark.parametrize(("ending", "status"), [("exit(7)", 7), ("exit()", 0), ("exit('words')", 1), ("1/0", 1)])
def test_the_end_of_a_forked_child(worker: WorkerProcess, ending: str, status: int) -> None:
    def fork(_: Any, ending: str) -> int:
        import os
        import sys

        pid = os.fork()
        if pid == 0:
            eval(ending, {"exit": sys.exit})
        return os.WEXITSTATUS(os.waitpid(pid, 0)[1])

    assert worker.run(fork, ending) == status


def test_multiprocessing(worker: WorkerProcess) -> None:
    def many(_: Any) -> Any:
        import multiprocessing

        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()

        def work(i: int) -> None:
            print("working")
            queue.put(i * i)

        processes = [context.Process(target=work, args=(i,)) for i in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        return sorted(queue.get() for _ in processes)

    assert worker.run(many) == [0, 1, 4, 9]


def test_multiprocessing_by_spawning(worker: WorkerProcess) -> None:
    def spawn(_: Any) -> int:
        import math
        import multiprocessing

        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(math.factorial, (5,))

    assert worker.run(spawn) == 120


# What functions ask for.


def answer(worker: WorkerProcess, body: frame_pb2.Header, values: List[bytes]) -> frame_pb2.Header:
    """Read a request and answer it."""
    header, _ = worker.read()
    body.id = header.id
    worker.send(body, values)
    return header


def cells(*cells: store_pb2.Cell) -> frame_pb2.Header:
    return frame_pb2.Header(cells=frame_pb2.Cells(cells=cells))


LWW, SET = store_pb2.LATTICE_TYPE_LWW, store_pb2.LATTICE_TYPE_SET


def test_get(worker: WorkerProcess) -> None:
    worker.load("get", lambda library, keys, deserialize: library.get(keys, deserialize, wait=1.5))
    there = cells(
        store_pb2.Cell(key="a", type=LWW, values=1), store_pb2.Cell(key="s", type=SET, values=2), store_pb2.Cell(key="n")
    )
    stored = [codec.encode(v) for v in [b"raw", 1, 2]]
    for deserialize, expected in [
        (True, {"a": b"raw", "s": [1, 2], "n": None}),
        (False, {"a": b"raw", "s": [b"\x01\x01", b"\x01\x02"], "n": None}),
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
        assert worker.result() is True
    with pytest.raises(InvalidArgumentError, match="a key is a text"):
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
    assert (asked.send.address, asked.send.number) == ("here", 1)
    senders = [frame_pb2.Sender(address="there", number=5), frame_pb2.Sender(address="here", number=1)]
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


# Ends.


def test_the_end_of_the_socket_ends_a_worker(zygote: ZygoteProcess, tmp_path: Path) -> None:
    worker = zygote.fork()

    def at_exit(_: Any, path: str) -> None:
        import atexit
        from pathlib import Path

        atexit.register(lambda: Path(path).write_text("handler ran") and None)

    worker.run(at_exit, str(tmp_path / "ended"))
    worker.close()
    assert zygote.notice() == {"exited": 1, "pid": worker.pid, "code": 0}
    assert (tmp_path / "ended").read_text() == "handler ran"


def test_how_a_worker_ends_is_told(zygote: ZygoteProcess) -> None:
    def die(_: Any, how: str) -> None:
        import ctypes
        import os

        if how == "exit":
            os._exit(3)
        ctypes.string_at(0)

    one, two, three = zygote.fork(), zygote.fork(), zygote.fork()
    for worker, how in [(one, "exit"), (two, "segfault")]:
        worker.load("die", die)
        worker.invoke(("die", how))
        with pytest.raises(EOFError):
            worker.read()
    notices = sorted([zygote.notice(), zygote.notice()], key=lambda n: int(n["exited"]))
    assert notices[0] == {"exited": 1, "pid": one.pid, "code": 3}
    assert notices[1] == {"exited": 2, "pid": two.pid, "signal": signal.SIGSEGV}
    assert b"Segmentation fault" in two.raw_log(b"ctypes")
    os.kill(three.pid, signal.SIGKILL)
    assert zygote.notice() == {"exited": 3, "pid": three.pid, "signal": signal.SIGKILL}
    for worker in (one, two, three):
        worker.close()


def start_children(_: Any) -> List[int]:
    """One child in the worker's process group, and one that has left it."""
    import subprocess

    return [subprocess.Popen(["sleep", "1000"], start_new_session=apart).pid for apart in (False, True)]


def test_a_worker_is_killed_with_its_children(zygote: ZygoteProcess) -> None:
    worker = zygote.fork()
    near, far = worker.run(start_children)
    zygote.control.send(b'{"kill": 1}')
    assert zygote.notice() == {"exited": 1, "pid": worker.pid, "signal": signal.SIGKILL}
    wait_until(lambda: gone(near))
    worker.close()
    zygote.end()
    assert gone(far)


@pytest.mark.parametrize("how", ["end", "kill"])
def test_no_worker_outlives_its_zygote(how: str) -> None:
    zygote = ZygoteProcess()
    workers = [zygote.fork() for _ in range(3)]
    pids = [worker.pid for worker in workers]
    workers[1].load("spin", lambda _: [0 for _ in iter(int, 1)])
    workers[1].invoke(("spin",))
    children = workers[0].run(start_children)
    if how == "end":
        assert zygote.end() == ""
        assert all(map(gone, pids + children))
    else:
        zygote.process.kill()
        zygote.end()
        wait_until(lambda: all(map(gone, pids)))
        for pid in children:  # nobody is left who knows of them
            os.kill(pid, signal.SIGKILL)
    for worker in workers:
        worker.close()


def test_bytes_that_are_no_frames_end_a_worker(zygote: ZygoteProcess) -> None:
    streams = [
        b"\xff" * 8,
        b"\x05\0\0\0\0\0\0\0\xff\xff\xff\xff\xff",
        b"\x02\0\0\0\0\0\0\0\x08\x01",
        b"\x28\0\0\0\0\0\0\0" + b"\x08" * 40,
    ]
    for stream in streams:
        worker = zygote.fork()
        worker.sock.sendall(stream)
        with pytest.raises(EOFError):
            worker.read()
        assert zygote.notice() == {"exited": worker.number, "pid": worker.pid, "code": 70}
        assert b"FrameError" in worker.raw_log(b"FrameError")
        worker.close()


def test_random_bytes_end_a_worker(zygote: ZygoteProcess) -> None:
    for _ in range(20):
        worker = zygote.fork()
        stream = os.urandom(3) + b"\0" + os.urandom(2) + b"\0\0" + os.urandom(200)
        worker.sock.sendall(stream)
        worker.sock.shutdown(1)
        assert zygote.notice()["exited"] == worker.number
        worker.close()


def test_what_is_preloaded(tmp_path: Path) -> None:
    (tmp_path / "preloaded_module.py").write_text("value = 5\n")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    zygote = ZygoteProcess({"CLOUDBURST_PRELOAD": "preloaded_module,no_such_module", "PYTHONPATH": path})
    worker = zygote.fork()

    def look(_: Any) -> Any:
        import os
        import sys

        names = ("CLOUDBURST_PRELOAD", "OPENBLAS_NUM_THREADS")
        return [
            sys.modules["preloaded_module"].value,
            len(vars(sys.modules["__main__"])) < 10,
            [n in os.environ for n in names],
        ]

    assert worker.run(look) == [5, True, [False, False]]
    worker.close()
    assert zygote.end() == "cannot preload no_such_module: No module named 'no_such_module'\n"


def test_the_working_directory_has_no_modules(tmp_path: Path) -> None:
    (tmp_path / "colorsys.py").write_text("raise SystemExit('this is not the one')\n")
    zygote = ZygoteProcess({"CLOUDBURST_UNSET": "SOMETHING", "SOMETHING": "1"}, directory=str(tmp_path))
    worker = zygote.fork()

    def look(_: Any) -> Any:
        import colorsys
        import os

        return [colorsys.rgb_to_hsv(0, 0, 0), os.environ.get("SOMETHING"), os.environ.get("CLOUDBURST_UNSET")]

    assert worker.run(look) == [(0.0, 0.0, 0), None, None]
    worker.close()
    assert zygote.end() == ""


def test_a_signal_to_all_processes_ends_none(zygote: ZygoteProcess) -> None:
    worker = zygote.fork()

    def signalled(_: Any) -> Any:
        import multiprocessing
        import os
        import signal
        import subprocess
        import time

        for pid in (os.getpid(), os.getppid()):
            os.kill(pid, signal.SIGTERM)
        # What the function starts can be ended so.
        sleeper = subprocess.Popen(["sleep", "1000"])
        sleeper.terminate()
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,))
        process.start()
        process.terminate()
        process.join()
        return [sleeper.wait(), process.exitcode]

    assert worker.run(signalled) == [-signal.SIGTERM, -signal.SIGTERM]
    assert worker.run(lambda _: 1) == 1
    worker.close()


def test_a_worker_waits_without_work(zygote: ZygoteProcess) -> None:
    worker = zygote.fork()
    assert worker.run(lambda _: 1) == 1

    def times_it_ran() -> str:
        return Path(f"/proc/{worker.pid}/schedstat").read_text().split()[2]

    def rests() -> bool:
        before = times_it_ran()
        assert select.select([worker.sock], [], [], 0.2)[0] == []
        return times_it_ran() == before

    wait_until(rests)
    worker.close()
