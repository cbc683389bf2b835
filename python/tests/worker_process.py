"""A real zygote and real workers, with the test in the executor's place."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from cloudburst import codec, frame
from cloudburst.errors import exception_from
from cloudburst.v1 import frame_pb2, function_pb2

SECONDS = 60.0
RUN_ID = bytes(range(16))
DEADLINE_MILLISECONDS = 1_900_000_000_000


class ZygoteProcess:
    """A zygote's process and its control socket."""

    def __init__(self, environment: Optional[Dict[str, str]] = None, directory: Optional[str] = None) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(SECONDS)
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"import os; os.dup2({theirs.fileno()}, 3); os.execv({sys.executable!r}, {_COMMAND!r})"],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            cwd=directory,
        )
        theirs.close()
        self.ready = self.notice()
        self.numbers = 0

    def notice(self) -> Dict[str, Any]:
        packet = self.control.recv(65536)
        if not packet:
            raise EOFError
        notice = json.loads(packet)
        assert isinstance(notice, dict)
        return notice

    def fork(self) -> WorkerProcess:
        self.numbers += 1
        ours, theirs = socket.socketpair()
        logs, logs_in = os.pipe()
        self.clients, clients = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        socket.send_fds(
            self.control,
            [json.dumps({"fork": self.numbers, "member": "here"}).encode()],
            [theirs.fileno(), logs_in, clients.fileno()],
        )
        theirs.close()
        clients.close()
        os.close(logs_in)
        forked = self.notice()
        assert forked["forked"] == self.numbers
        return WorkerProcess(ours, logs, forked["pid"], self.numbers)

    def end(self) -> str:
        """End the zygote as the executor does, and return what it has printed."""
        self.control.close()
        _, printed = self.process.communicate(timeout=SECONDS)
        return printed.decode()


_COMMAND = [sys.executable, "-m", "cloudburst.worker.zygote"]


class WorkerProcess:
    """One worker: what the executor can say to it, and what it says."""

    def __init__(self, sock: socket.socket, logs: int, pid: int, number: int) -> None:
        self.sock = sock
        self.pid = pid
        self.number = number
        self.ids = 0
        self.printed: List[Tuple[int, str, str]] = []  # stream, function and text of the Log frames
        self.heads: List[frame_pb2.Log] = []
        self._logs = logs
        self._reader = frame.FrameReader(sock)

    def close(self) -> None:
        self.sock.close()
        os.close(self._logs)

    def send(self, header: frame_pb2.Header, values: Sequence[codec.Encoded] = ()) -> None:
        frame.send(self.sock, frame.pack(header, values), time.monotonic() + SECONDS)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What is sent meanwhile goes out in one piece afterwards."""
        pieces: List[bytes] = []
        self.send = lambda header, values=(): pieces.append(b"".join(frame.pack(header, values)))  # type: ignore[method-assign,misc]
        try:
            yield
        finally:
            del self.send  # type: ignore[method-assign]
        self.sock.sendall(b"".join(pieces))

    def cancel(self, number: int) -> None:
        """Send what cancels an invocation, without the signal."""
        header = frame_pb2.Header()
        header.cancel.id, header.cancel.run_id = number, RUN_ID
        self.send(header)

    def read(self) -> Tuple[frame_pb2.Header, List[frame.Buffer]]:
        """Return the next frame that is no Log."""
        while True:
            header, values = self._reader.read(time.monotonic() + SECONDS)
            if not header.HasField("log"):
                return header, values
            self.printed.append((header.log.stream, header.log.function, header.log.text))
            self.heads.append(header.log)

    def load(
        self,
        name: str,
        definition: Any,
        convention: int = function_pb2.CONVENTION_LIBRARY,
        version: int = 1,
        coroutine: bool = False,
    ) -> None:
        header = frame_pb2.Header()
        header.load.function.coroutine = coroutine
        header.load.function.name = name
        header.load.function.version = version
        header.load.function.convention = convention  # type: ignore[assignment]
        raw = isinstance(definition, bytes)
        self.send(header, [definition if raw else codec.encode_pickle(definition)])

    def unload(self, name: str, version: int = 1) -> None:
        header = frame_pb2.Header()
        header.unload.name = name
        header.unload.version = version
        self.send(header)

    def invoke(self, *steps: Tuple[Any, ...], **keywords: Any) -> None:
        """Send an Invoke of steps, each the name of a function and its arguments."""
        self.invoke_encoded([(step[0], [codec.encode(v) for v in step[1:]]) for step in steps], **keywords)

    def invoke_encoded(
        self,
        steps: Sequence[Tuple[str, List[bytes]]],
        keywords: Optional[Dict[str, Any]] = None,
        spread: Sequence[int] = (),
        version: int = 1,
    ) -> None:
        self.ids += 1
        header = frame_pb2.Header(id=self.ids)
        header.invoke.run_id = RUN_ID
        values: List[codec.Encoded] = []
        for name, arguments in steps:
            step = header.invoke.steps.add(function=name, version=version, positional=len(arguments), spread=spread)
            values += arguments
            if keywords:
                step.keywords.extend(keywords)
                values += [codec.encode(v) for v in keywords.values()]
        header.invoke.deadline_milliseconds = DEADLINE_MILLISECONDS
        header.invoke.attempt = 1
        self.send(header, values)

    def result(self) -> Any:
        """Return the result of the last invocation, or raise its error."""
        header, values = self.read()
        assert header.id == self.ids, header
        if header.HasField("error"):
            raise exception_from(header.error, values)
        assert header.HasField("done"), header
        assert len(values) == 1
        return codec.decode(values[0])

    def call(self, *steps: Tuple[Any, ...], **keywords: Any) -> Any:
        self.invoke(*steps, **keywords)
        return self.result()

    def error(self, *steps: Tuple[Any, ...]) -> frame_pb2.Header:
        """Return the Error header that an invocation ends with."""
        self.invoke(*steps)
        header, _ = self.read()
        assert header.HasField("error"), header
        return header

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Load a function under its name and call it."""
        self.load(function.__name__, function)
        return self.call((function.__name__, *arguments))

    def raw_log(self, until: bytes) -> bytes:
        """Return what has come through the log pipe, once it contains something."""
        received = b""
        while until not in received:
            ready, _, _ = select.select([self._logs], [], [], SECONDS)
            assert ready, received
            received += os.read(self._logs, 65536)
        return received


@contextmanager
def one_worker() -> Iterator[WorkerProcess]:
    zygote = ZygoteProcess()
    worker = zygote.fork()
    try:
        yield worker
    finally:
        worker.close()
        zygote.end()
