"""TLS for a connection whose reader and writers are different threads.

An ``ssl.SSLSocket`` must not be read and written at the same time, and a read that waits would keep writers out. So the
encryption happens in memory, guarded by a lock, and the waiting outside of it.
"""

from __future__ import annotations

import socket
import ssl
from threading import Lock
from typing import Any, Optional, Sequence, Tuple, Union, cast

__all__ = ["SecureSocket"]

_READ_BYTES = 64 << 10
_WRITE_BYTES = 256 << 10  # what is encrypted at once

Buffer = Union[bytes, bytearray, memoryview]


class SecureSocket:
    """What a connection uses of a socket, over TLS. One thread may read while another writes."""

    def __init__(self, sock: socket.socket, tls: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        self._sock = sock
        self._tls = tls
        self._incoming = incoming
        self._outgoing = outgoing
        self._unsent = b""
        self._mu = Lock()
        self.patient = True
        """Whether a read waits. Set by the one that reads."""

    @classmethod
    def handshake(cls, sock: socket.socket, host: str, timeout: float) -> SecureSocket:
        """Return a secured socket. The node's certificate must be for the host, and of an authority that the system trusts."""
        context = ssl.create_default_context()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname=host)
        sock.settimeout(timeout)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                received = sock.recv(_READ_BYTES)
                if received:
                    incoming.write(received)
                else:
                    incoming.write_eof()
                continue
            sock.sendall(outgoing.read())
            return cls(sock, tls, incoming, outgoing)

    @property
    def received(self) -> bool:
        """Whether something has been received that no read has returned: the socket itself would not tell."""
        with self._mu:
            return bool(self._incoming.pending or self._tls.pending())

    @property
    def unsent(self) -> bool:
        """Whether something that was sent has not been taken by the network yet."""
        return bool(self._unsent)

    def recv_into(self, target: memoryview) -> int:
        while True:
            with self._mu:
                filled = 0
                try:
                    while filled < len(target):
                        n = cast(int, self._tls.read(len(target) - filled, target[filled:]))  # type: ignore[arg-type]
                        if n == 0:
                            break
                        filled += n
                    return filled
                except ssl.SSLWantReadError:
                    self._flush()  # reading may have something to say, as when keys are updated
                    if filled:
                        return filled
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    return filled
            received = self._sock.recv(_READ_BYTES, 0 if self.patient else socket.MSG_DONTWAIT)
            with self._mu:
                if received:
                    self._incoming.write(received)
                else:
                    self._incoming.write_eof()

    def recv(self, size: int) -> bytes:
        target = bytearray(size)
        return bytes(target[: self.recv_into(memoryview(target))])

    def send(self, data: Buffer, flags: int = socket.MSG_DONTWAIT) -> int:
        """Send the beginning of data, and return how much of it. Raises BlockingIOError when nothing can be sent now."""
        with self._mu:
            if not self._flush():
                raise BlockingIOError
            n = self._tls.write(memoryview(data)[:_WRITE_BYTES])
            self._flush()
            return n

    def sendmsg(self, parts: Sequence[Buffer], ancillary: Tuple[()] = (), flags: int = socket.MSG_DONTWAIT) -> int:
        total = 0
        for part in parts:
            if not len(part):
                continue
            try:
                sent = self.send(part)
            except BlockingIOError:
                break
            total += sent
            if sent < len(part):
                break
        with self._mu:
            if total == 0 and not self._flush():
                raise BlockingIOError
        return total

    def sendall(self, data: bytes) -> None:
        """Send everything, waiting for it; for the time before frames."""
        with self._mu:
            self._tls.write(data)
            self._sock.sendall(self._outgoing.read())

    def _flush(self) -> bool:
        """Hand what is encrypted to the network; False when it does not take it all. Called with _mu held."""
        self._unsent += self._outgoing.read()
        try:
            while self._unsent:
                self._unsent = self._unsent[self._sock.send(self._unsent, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            return False
        return True

    def fileno(self) -> int:
        return self._sock.fileno()

    def settimeout(self, timeout: Optional[float]) -> None:
        self._sock.settimeout(timeout)

    def setsockopt(self, *args: Any) -> None:
        self._sock.setsockopt(*args)

    def shutdown(self, how: int) -> None:
        self._sock.shutdown(how)

    def close(self) -> None:
        self._sock.close()
