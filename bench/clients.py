"""What is measured: clients that call sq(incr(x)), each in its own way, and how long every call took."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.process
import os
import queue
import random
import socket
import struct
import threading
import time
from array import array
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

PROCESSES_MAX = 8
WARM_UP_CALLS = 300

Call = Callable[[int], int]


def arguments() -> List[int]:
    """The arguments of the published experiment's repeat."""
    return random.Random(1).sample(range(-(2**50), 2**50), 100)


def dag_future() -> Call:
    from cloudburst.client.client import CloudburstConnection

    cloud = CloudburstConnection("127.0.0.1", "127.0.0.1", local=True)
    return lambda x: cloud.call_dag("composition", {"incr": [x]}).get()


def dag_direct() -> Call:
    from cloudburst.client.client import CloudburstConnection

    cloud = CloudburstConnection("127.0.0.1", "127.0.0.1", local=True)
    return lambda x: cloud.call_dag("composition", {"incr": [x]}, direct_response=True)


def single_function() -> Call:
    from cloudburst.client.client import CloudburstConnection

    both = CloudburstConnection("127.0.0.1", "127.0.0.1", local=True).get_function("both")
    if both is None:
        raise LookupError("the function 'both' is not registered")
    return lambda x: both(x).get()


def forwarder() -> Call:
    host, _, port = os.environ["BENCH_FORWARDER"].rpartition(":")
    sock = socket.create_connection((host, int(port)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    pack = struct.Struct("<Ib").pack

    def call(x: int) -> int:
        body = x.to_bytes(24, "little", signed=True)
        sock.sendall(pack(1 + len(body), 0) + body)
        return int.from_bytes(sock.recv(65536)[5:], "little", signed=True)

    return call


def local() -> Call:
    def incr(x: int) -> int:
        return x + 1

    def sq(x: int) -> int:
        return x * x

    return lambda x: sq(incr(x))


WAYS: Dict[str, Callable[[], Call]] = {
    "DAG, future": dag_future,
    "DAG, direct": dag_direct,
    "single function": single_function,
    "bare forwarder": forwarder,
    "local call": local,
}


class Run(NamedTuple):
    """All calls of one experiment."""

    nanoseconds: Sequence[int]  # sorted
    seconds: float  # from the first call's start to the last one's end

    def percentile(self, p: float) -> float:
        """In microseconds."""
        return self.nanoseconds[min(len(self.nanoseconds) - 1, int(len(self.nanoseconds) * p / 100))] / 1e3

    @property
    def per_second(self) -> float:
        return len(self.nanoseconds) / self.seconds


def shape(clients: int) -> Tuple[int, int]:
    """How many processes, and threads in each, so many clients are."""
    processes = min(clients, PROCESSES_MAX)
    return processes, clients // processes


def _repeat(way: str, calls: int, started: Callable[[], object]) -> Tuple[array[int], int, int]:
    call, xs = WAYS[way](), arguments()
    expected = [(x + 1) ** 2 for x in xs]
    for i in range(WARM_UP_CALLS):
        if call(xs[i % 100]) != expected[i % 100]:
            raise AssertionError(f"{way}: a wrong answer")
    taken = array("q", bytes(8 * calls))
    clock = time.perf_counter_ns
    started()
    begin = time.monotonic_ns()
    for i in range(calls):
        j = i % 100
        before = clock()
        answer = call(xs[j])
        taken[i] = clock() - before
        if answer != expected[j]:
            raise AssertionError(f"{way}: a wrong answer")
    return taken, begin, time.monotonic_ns()


def _process(way: str, threads: int, calls: int, barrier: threading.Barrier, results: multiprocessing.Queue[object]) -> None:
    def all_there() -> None:
        barrier.wait(120)

    together = threading.Barrier(threads, action=all_there)
    found: List[object] = []

    def client() -> None:
        try:
            found.append(_repeat(way, calls, lambda: together.wait(120)))
        except BaseException as failure:
            together.abort()
            found.append(repr(failure))

    if threads == 1:
        client()
    else:
        running = [threading.Thread(target=client) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    results.put(found)


def _next(results: multiprocessing.Queue[Any], running: Sequence[multiprocessing.process.BaseProcess]) -> List[Any]:
    """What the next process has found; an error when one has ended without finding anything."""
    while True:
        with contextlib.suppress(queue.Empty):
            found: List[Any] = results.get(timeout=1)
            return found
        if any(process.exitcode for process in running):
            raise RuntimeError("a client's process has failed")


def measure(way: str, clients: int, calls: int) -> Run:
    """Run so many calls, shared by the clients, and return how long each took."""
    processes, threads = shape(clients)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.Queue()
    each = max(1, calls // clients)
    running = [
        context.Process(target=_process, args=(way, threads, each, barrier, results), daemon=True) for _ in range(processes)
    ]
    for process in running:
        process.start()
    found = [client for _ in running for client in _next(results, running)]
    for process in running:
        process.join(30)
    failures = [failure for failure in found if isinstance(failure, str)]
    if failures:
        raise RuntimeError(f"{way} with {clients} clients: {failures[0]}")
    taken = sorted(n for client in found for n in client[0])
    return Run(taken, (max(client[2] for client in found) - min(client[1] for client in found)) / 1e9)
