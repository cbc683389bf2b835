"""Frames over a socket, which the client and the worker both speak: see "Frames" in ``docs/internals/protocol.md``.

A small frame costs one system call in each direction and is cut out of one buffer; the values of a large one are received
straight into memory of their own, so that an array is decoded where it arrived. Nothing that a peer sends does more than
raise :class:`~cloudburst.errors.FrameError`, after which the socket must be closed.
"""

from __future__ import annotations

import os
import select
import socket
import time
from struct import Struct
from typing import List, Optional, Sequence, Tuple, Union

from google.protobuf.message import DecodeError

from cloudburst.codec import VALUE_BYTES_MAX, VALUE_OVERHEAD_MAX, Encoded
from cloudburst.errors import FrameError, TooLargeError
from cloudburst.v1 import frame_pb2

__all__ = ["HEADER_BYTES_MAX", "PAYLOAD_BYTES_MAX", "Buffer", "FrameReader", "pack", "pack_raw", "parse", "send", "varint"]

Buffer = Union[bytes, bytearray, memoryview]

HEADER_BYTES_MAX = 1 << 20
"""The largest header of one frame."""
PAYLOAD_BYTES_MAX = 128 << 20
"""The most that all values of one frame are together."""

_PREFIX_BYTES = 8
_READ_BYTES = 64 << 10  # what one receive may take: room for many small frames
_GATHER_BYTES = 32 << 10  # payload from which a frame is written as a vector instead of being copied together
_OWN_BYTES = 32 << 10  # value from which it is received into memory of its own
_VECTOR_MAX = min(os.sysconf("SC_IOV_MAX"), 1024)

_prefix = Struct("<II")
_pack_prefix = _prefix.pack
_unpack_prefix = _prefix.unpack_from
_parse = frame_pb2.Header.FromString


def pack(header: frame_pb2.Header, values: Sequence[Encoded] = ()) -> List[Buffer]:
    """Return a frame as the pieces to be sent, and set ``header.sizes``. Large values are not copied.

    Raises TooLargeError, stating size and limit.
    """
    payload, sizes, total = _gathered(values)
    del header.sizes[:]
    header.sizes.extend(sizes)
    return _pieces(header.SerializeToString(), payload, total)


def pack_raw(head: bytes, values: Sequence[Encoded] = ()) -> List[Buffer]:
    """Like :func:`pack` for a header that has been serialised already, without sizes."""
    payload, sizes, total = _gathered(values)
    if sizes:
        packed = b"".join([varint(size) for size in sizes])
        head += b"\x12" + varint(len(packed)) + packed
    return _pieces(head, payload, total)


def varint(n: int) -> bytes:
    """Return a number that is not negative as protobuf writes it."""
    if n < 0x80:
        return _ONE_BYTE[n]
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


_ONE_BYTE = [bytes((n,)) for n in range(0x80)]


def _gathered(values: Sequence[Encoded]) -> Tuple[List[Buffer], List[int], int]:
    payload: List[Buffer] = []
    sizes: List[int] = []
    total = 0
    for value in values:
        if isinstance(value, bytes):
            size = len(value)
            payload.append(value)
        else:
            size = sum(map(len, value))
            payload += value
        sizes.append(size)
        total += size
    if total > PAYLOAD_BYTES_MAX:
        raise TooLargeError(f"the values of one message are {total} bytes together; the limit is {PAYLOAD_BYTES_MAX} (128 MiB)")
    return payload, sizes, total


def _pieces(head: bytes, payload: List[Buffer], total: int) -> List[Buffer]:
    if len(head) > HEADER_BYTES_MAX:
        raise TooLargeError(f"the header of one message is {len(head)} bytes; the limit is {HEADER_BYTES_MAX} (1 MiB)")
    first = _pack_prefix(len(head), total) + head
    if not payload:
        return [first]
    if total < _GATHER_BYTES:
        return [b"".join((first, *payload))]
    return [first, *payload]


def send(sock: socket.socket, parts: Sequence[Buffer], deadline: Optional[float] = None) -> None:
    """Send the pieces of a frame, in as few system calls as there can be.

    Without a deadline (a reading of ``time.monotonic``) the socket's own timeout holds. Raises TimeoutError or another
    OSError, after which part of the frame may have been sent: the socket must be closed.
    """
    if len(parts) == 1 and deadline is None:
        sock.sendall(parts[0])
        return
    rest = [part for part in parts if len(part)]
    flags = 0 if deadline is None else socket.MSG_DONTWAIT
    while rest:
        try:
            sent = sock.sendmsg(rest[:_VECTOR_MAX], (), flags)
        except BlockingIOError:
            if deadline is None:  # a socket that does not block and takes nothing: its owner's affair
                raise
            poll = select.poll()
            poll.register(sock, select.POLLOUT)
            _wait(poll, deadline, "sent")
            continue
        done = 0
        while done < len(rest) and sent >= len(rest[done]):
            sent -= len(rest[done])
            done += 1
        del rest[:done]
        if sent:
            rest[0] = memoryview(rest[0])[sent:]


class FrameReader:
    """Reads the frames that arrive on a socket. Used by one thread at a time.

    A read that times out, or finds nothing on a socket that does not block, loses nothing: the next one goes on where it
    stopped. ``initial`` is what has been received from the stream already, as after an HTTP upgrade.
    """

    def __init__(self, sock: socket.socket, initial: bytes = b"") -> None:
        self._sock = sock
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._data = initial  # received and not yet returned, from _at on
        self._at = 0
        self._large: Optional[_Large] = None  # the frame whose values are being received into memory of their own
        self._poll: Optional[select.poll] = None

    def read(self, deadline: Optional[float] = None) -> Tuple[frame_pb2.Header, List[Buffer]]:
        """Return the next frame: its header and its values. Nothing else refers to their memory.

        Without a deadline (a reading of ``time.monotonic``) the socket's own timeout holds. Raises EOFError at the end
        between two frames, FrameError when the stream breaks the protocol, TimeoutError or another OSError.
        """
        if self._large is not None:
            return self._receive_large(deadline)
        while True:
            at = self._at
            available = len(self._data) - at
            if available >= _PREFIX_BYTES:
                header_bytes, payload_bytes = _unpack_prefix(self._data, at)
                if header_bytes > HEADER_BYTES_MAX:
                    raise FrameError(f"a header of {header_bytes} bytes; the limit is {HEADER_BYTES_MAX}")
                if payload_bytes > PAYLOAD_BYTES_MAX:
                    raise FrameError(f"a payload of {payload_bytes} bytes; the limit is {PAYLOAD_BYTES_MAX}")
                at += _PREFIX_BYTES
                start = at + header_bytes
                if available >= _PREFIX_BYTES + header_bytes + payload_bytes:
                    header = _header(self._data[at:start])
                    values = _cut(self._data, start, payload_bytes, header)
                    self._consume(start + payload_bytes)
                    return header, values
                if payload_bytes >= _OWN_BYTES and available >= _PREFIX_BYTES + header_bytes:
                    header = _header(self._data[at:start])
                    self._large = _Large(header, payload_bytes, memoryview(self._data)[start:])
                    self._consume(len(self._data))
                    return self._receive_large(deadline)
            self._receive(deadline)

    def read_whole(self) -> Optional[bytes]:
        """Return the next frame as it is, prefix and all, when one receive brings exactly that; otherwise None, and ``read``
        goes on from there. For a caller that knows its frames by their bytes; :func:`parse` takes those it does not.
        """
        if self._data or self._large is not None:
            return None
        self._receive(None)
        data = self._data
        if len(data) >= _PREFIX_BYTES:
            header_bytes, payload_bytes = _unpack_prefix(data)
            if len(data) == _PREFIX_BYTES + header_bytes + payload_bytes and header_bytes <= HEADER_BYTES_MAX:
                self._data = b""
                return data
        return None

    @property
    def buffered(self) -> int:
        """How many bytes have been received and not yet returned. While it is not 0, poll the reader, not only the socket."""
        return len(self._data) - self._at

    def _consume(self, to: int) -> None:
        if to >= len(self._data):
            self._data, self._at = b"", 0
        else:
            self._at = to

    def _wait(self, deadline: float) -> None:
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._sock, select.POLLIN)
        _wait(self._poll, deadline, "received")

    def _receive(self, deadline: Optional[float]) -> None:
        if deadline is not None:
            self._wait(deadline)
        n = self._sock.recv_into(self._buffer)
        if n == 0:
            if self.buffered:
                raise FrameError("the stream ended inside a frame")
            raise EOFError("the stream ended")
        received = bytes(self._buffer[:n])
        self._data = self._data[self._at :] + received if self._data else received
        self._at = 0

    def _receive_large(self, deadline: Optional[float]) -> Tuple[frame_pb2.Header, List[Buffer]]:
        large = self._large
        assert large is not None
        for target in large.targets:
            while large.filled < len(target):
                if deadline is not None:
                    self._wait(deadline)
                n = self._sock.recv_into(target[large.filled :])
                if n == 0:
                    raise FrameError("the stream ended inside a frame")
                large.filled += n
            large.complete()
        self._large = None
        return large.header, large.values()


def parse(whole: bytes) -> Tuple[frame_pb2.Header, List[Buffer]]:
    """Return the header and the values of a frame that ``FrameReader.read_whole`` has returned."""
    header_bytes, payload_bytes = _unpack_prefix(whole)
    start = _PREFIX_BYTES + header_bytes
    header = _header(whole[_PREFIX_BYTES:start])
    return header, _cut(whole, start, payload_bytes, header)


class _Large:
    """A frame on its way in: each large value has memory of its own, small ones in a row share some."""

    def __init__(self, header: frame_pb2.Header, payload_bytes: int, received: memoryview) -> None:
        self.header = header
        self.sizes = _checked_sizes(header, payload_bytes)
        runs: List[int] = []
        shared = False
        for size in self.sizes:
            own = size >= _OWN_BYTES
            if own or not shared:
                runs.append(size)
            else:
                runs[-1] += size
            shared = not own
        self.memory = [memoryview(bytearray(n)) for n in runs]
        self.filled = 0  # bytes of the first memory that is not complete
        self._complete = 0
        at = 0
        for memory in self.memory:
            n = min(len(memory), len(received) - at)
            memory[:n] = received[at : at + n]
            at += n
            if n < len(memory):
                self.filled = n
                break
            self._complete += 1

    @property
    def targets(self) -> List[memoryview]:
        return self.memory[self._complete :]

    def complete(self) -> None:
        self._complete += 1
        self.filled = 0

    def values(self) -> List[Buffer]:
        values: List[Buffer] = []
        memories = iter(self.memory)
        shared: Optional[memoryview] = None
        at = 0
        for size in self.sizes:
            if size >= _OWN_BYTES:
                values.append(next(memories))
                shared = None
                continue
            if shared is None:
                shared, at = next(memories), 0
            values.append(bytes(shared[at : at + size]))
            at += size
        return values


def _header(raw: bytes) -> frame_pb2.Header:
    try:
        return _parse(raw)
    except DecodeError as e:
        raise FrameError(f"a header that cannot be parsed: {e}") from None


def _cut(data: bytes, at: int, payload_bytes: int, header: frame_pb2.Header) -> List[Buffer]:
    values: List[Buffer] = []
    for size in _checked_sizes(header, payload_bytes):
        end = at + size
        values.append(data[at:end])
        at = end
    return values


def _checked_sizes(header: frame_pb2.Header, payload_bytes: int) -> List[int]:
    sizes = list(header.sizes)
    total = sum(sizes)
    if total != payload_bytes:
        raise FrameError(f"the values of a frame are {total} bytes together, its payload is {payload_bytes}")
    if total > VALUE_BYTES_MAX and max(sizes) > VALUE_BYTES_MAX + VALUE_OVERHEAD_MAX:
        raise FrameError(f"a value of {max(sizes)} bytes; the limit is {VALUE_BYTES_MAX} (64 MiB)")
    return sizes


def _wait(poll: select.poll, deadline: float, what: str) -> None:
    """Wait until the socket is ready. Raises TimeoutError at the deadline."""
    left = deadline - time.monotonic()
    # Rounded up: a wait of less than a millisecond must not become a busy loop.
    if not poll.poll(int(left * 1000) + 1 if left > 0 else 0):
        raise TimeoutError(f"nothing could be {what} before the deadline")
