"""What a call costs its client: processor time of the calling thread, beside that of a bare send and receive.

    python tests/bench_client.py [calls]

A server in another process echoes the last argument of each call, so nothing of a node is in these figures.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from multiprocessing.connection import Connection
from typing import Any, Callable, Dict, List, Tuple

import cloudburst
from cloudburst.client.client import CloudburstConnection
from cloudburst.v1 import frame_pb2
from frame_server import FrameServer, Peer

ROUNDS = 5


def serve(pipe: Connection) -> None:
    def echo(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        server.requests.clear()
        if not header.HasField("call"):
            return False
        peer.send(frame_pb2.Header(id=header.id, done=frame_pb2.Done()), [bytes(values[-1])])
        return True

    server = FrameServer(echo)
    pipe.send(server.address)
    pipe.recv()


def ways(address: str) -> Dict[str, Callable[[int], Any]]:
    app = cloudburst.connect(address)
    echo = app.function(lambda x: x, name="echo")
    echo.register()
    os.environ["CLOUDBURST_ADDRESS"] = address
    cloud = CloudburstConnection("127.0.0.1", "127.0.0.1")
    published = cloud.register(lambda _, x: x, "published")
    cloud.register_dag("dag", ["published"], [])
    data = echo._new_head(("", 1, ())).request(bytes(16), [b"\x01\x00"], 0.0).frame
    other = cloudburst.connect(address)
    other.get("key")
    bare = other._connection.transport._channel._sock  # type: ignore[union-attr]

    def send_and_receive(x: int) -> None:
        bare.send(data)  # type: ignore[arg-type]
        bare.recv(65536)

    send_and_receive.app = other  # type: ignore[attr-defined]
    return {
        "bare send and receive": send_and_receive,
        "f.remote(x).get()": lambda x: echo.remote(x).get(),
        "f(x).get(), published": lambda x: published(x).get(),
        "call_dag(...).get()": lambda x: cloud.call_dag("dag", {"published": [x]}).get(),
        "call_dag(..., direct_response)": lambda x: cloud.call_dag("dag", {"published": [x]}, direct_response=True),
        "put_object": lambda x: cloud.put_object("key", x),
        "get_object": lambda x: cloud.get_object("key"),
    }


def measured(call: Callable[[int], Any], calls: int) -> Tuple[float, float]:
    """Microseconds of this thread's processor time, in the kernel as well, and of the clock, per call."""
    before, begin = time.thread_time_ns(), time.perf_counter_ns()
    for i in range(calls):
        call(i << 30)
    after, end = time.thread_time_ns(), time.perf_counter_ns()
    return (after - before) / calls / 1e3, (end - begin) / calls / 1e3


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    best: Dict[str, Tuple[float, float]] = {}
    try:
        called = ways(ours.recv())
        for _ in range(ROUNDS):
            for name, call in called.items():
                measured(call, 200)
                found = measured(call, calls)
                best[name] = min(best.get(name, found), found)
    finally:
        process.kill()
    print(f"{'µs per call, best of ' + str(ROUNDS):32} {'processor':>9} {'clock':>9}")
    for name, (processor, clock) in best.items():
        print(f"{name:32} {processor:9.1f} {clock:9.1f}")


if __name__ == "__main__":
    main()
