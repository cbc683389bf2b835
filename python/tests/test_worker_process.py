"""The process around the functions: what it prints, asks for, forks, and how it ends."""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

from cloudburst.v1 import frame_pb2
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
        for pid in children:  # no process is left that knows of them
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
