"""A small server that speaks real frames on a real socket: what the tests of the client talk to.

It stores values, echoes the last argument of calls, and does what a test's own handler says.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from cloudburst import codec, frame
from cloudburst.errors import Error, code_of
from cloudburst.v1 import error_pb2, frame_pb2, store_pb2

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: cloudburst/1\r\n\r\n"


class Peer:
    """One client's connection, from the server's side."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number  # 1 for the first connection, …
        self.head = b""
        self.ended = threading.Event()
        self._write = threading.Lock()

    def reply(self, id: int, *values: Any, **body: Any) -> None:
        """Answer with encoded values; done, unless another body is given."""
        if not body:
            body = {"done": frame_pb2.Done()}
        self.send(frame_pb2.Header(id=id, **body), values)

    def result(self, id: int, value: Any) -> None:
        """Answer with a value that is still to be encoded."""
        self.reply(id, codec.encode_parts(value))

    def fail(self, id: int, error: Exception) -> None:
        message = error.message if isinstance(error, Error) else str(error)
        self.reply(id, error=error_pb2.Error(code=code_of(error), message=message))  # type: ignore[arg-type]

    def send(self, header: frame_pb2.Header, values: Sequence[Any] = ()) -> None:
        self.send_raw(b"".join(frame.pack(header, values)))

    def send_raw(self, data: bytes) -> None:
        with self._write, contextlib.suppress(OSError):
            self.sock.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


Handler = Callable[[Peer, frame_pb2.Header, List[Any]], bool]
"""Handles a request; False leaves it to the server."""


class FrameServer:
    """Listens on a port of its own. ``handler`` sees every request first, on the connection's thread."""

    def __init__(self, handler: Optional[Handler] = None, port: int = 0, tls: Optional[ssl.SSLContext] = None) -> None:
        self.handler = handler
        self.tls = tls
        self.refusal = b""  # what is answered instead of the upgrade
        self.values: Dict[str, Tuple[store_pb2.Cell, List[bytes]]] = {}
        self.requests: List[Tuple[int, frame_pb2.Header]] = []  # the number of the connection, and what it asked
        self.peers: List[Peer] = []
        self.functions: Dict[str, Any] = {}
        self.dags: Dict[str, Any] = {}
        self._changed = threading.Condition()
        self._threads: List[threading.Thread] = []
        self._listen(port)

    def _listen(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def calls(self) -> List[frame_pb2.Call]:
        return [header.call for _, header in list(self.requests) if header.HasField("call")]

    def wait_for(self, condition: Callable[[], Any], what: str) -> None:
        """Wait until requests that have come make a condition true."""
        with self._changed:
            assert self._changed.wait_for(condition, 20), f"waited for {what}"

    def close(self) -> None:
        """End everything, as when the process ends."""
        self._listener.close()
        with contextlib.suppress(OSError):  # wakes the accept
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        for peer in list(self.peers):
            peer.close()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(10)

    def restart(self) -> None:
        """End everything and listen on the same port again."""
        self.close()
        self._threads.clear()
        self._listen(self.port)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            if listener.fileno() < 0:
                sock.close()
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(sock, len(self.peers) + 1)
            self.peers.append(peer)
            self._start(self._serve, peer)

    def _serve(self, peer: Peer) -> None:
        try:
            self._speak(peer)
        finally:
            peer.ended.set()

    def _speak(self, peer: Peer) -> None:
        if self.tls is not None:
            try:
                peer.sock = self.tls.wrap_socket(peer.sock, server_side=True)
            except OSError:
                return
        with contextlib.closing(peer), contextlib.suppress(OSError, EOFError, ValueError):
            while b"\r\n\r\n" not in peer.head:
                received = peer.sock.recv(4096)
                if not received:
                    return
                peer.head += received
            if self.refusal:
                peer.send_raw(self.refusal)
                peer.close()
                return
            peer.send_raw(UPGRADED)
            reader = frame.FrameReader(peer.sock)
            while True:
                header, values = reader.read()
                with self._changed:
                    self.requests.append((peer.number, header))
                    self._changed.notify_all()
                if self.handler is None or not self.handler(peer, header, values):
                    self._handle(peer, header, values)

    def _handle(self, peer: Peer, header: frame_pb2.Header, values: List[Any]) -> None:
        body = header.WhichOneof("body")
        if body == "call":
            if values:
                peer.reply(header.id, bytes(values[-1]))
            else:
                peer.result(header.id, None)
        elif body == "put":
            at = 0
            for cell in header.put.cells:
                self.values[cell.key] = (cell, [bytes(value) for value in values[at : at + cell.values]])
                at += cell.values
            peer.reply(header.id)
        elif body == "get":
            self._get(peer, header)
        elif body == "delete":
            for key in header.delete.keys:
                self.values.pop(key, None)
            peer.reply(header.id)
        elif body == "list_keys":
            asked = header.list_keys
            keys = sorted(key for key in self.values if key.startswith(asked.prefix) and key > asked.after)
            peer.reply(header.id, keys=frame_pb2.Keys(keys=keys[: asked.limit], more=len(keys) > asked.limit))
        elif body == "register_function":
            function = header.register_function.function
            versions = self.functions.setdefault(function.name, [])
            function.version = len(versions) + 1
            versions.append((function, bytes(values[0])))
            peer.reply(header.id, functions=frame_pb2.Functions(functions=[function]))
        elif body == "list_functions":
            found = []
            for name, versions in sorted(self.functions.items()):
                if name.startswith(header.list_functions.prefix):
                    found += [f for f, _ in (versions if header.list_functions.versions else versions[-1:])]
            peer.reply(header.id, functions=frame_pb2.Functions(functions=found))
        elif body == "register_dag":
            dag = header.register_dag.dag
            if dag.name in self.dags and not header.register_dag.replace:
                peer.reply(header.id, error=error_pb2.Error(code=error_pb2.CODE_DAG_EXISTS, message=f"dag {dag.name} exists"))
            else:
                self.dags[dag.name] = dag
                peer.reply(header.id)
        elif body == "delete_dag":
            if self.dags.pop(header.delete_dag.name, None) is None:
                peer.reply(header.id, error=error_pb2.Error(code=error_pb2.CODE_DAG_NOT_FOUND, message="no such dag"))
            else:
                peer.reply(header.id)
        elif body == "list_dags":
            found = [dag for name, dag in sorted(self.dags.items()) if name.startswith(header.list_dags.prefix)]
            peer.reply(header.id, dags=frame_pb2.Dags(dags=found))
        else:
            peer.reply(header.id, error=error_pb2.Error(code=error_pb2.CODE_UNSUPPORTED, message=f"no {body} here"))

    def _get(self, peer: Peer, header: frame_pb2.Header) -> None:
        cells, found = [], []
        for key in header.get.keys:
            cell, values = self.values.get(key, (store_pb2.Cell(key=key), []))
            if header.get.states and values and cell.type == store_pb2.LATTICE_TYPE_LWW:
                state = store_pb2.State(lww=store_pb2.LWW(value=values[0], timestamp=cell.timestamp))
                cell, values = store_pb2.Cell(key=key, type=cell.type, values=1), [codec.encode_state(state)]
            cells.append(cell)
            found += values
        peer.reply(header.id, *found, cells=frame_pb2.Cells(cells=cells))


@contextlib.contextmanager
def serving(handler: Optional[Handler] = None, tls: Optional[ssl.SSLContext] = None) -> Iterator[FrameServer]:
    server = FrameServer(handler, tls=tls)
    try:
        yield server
    finally:
        server.close()
