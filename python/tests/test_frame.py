"""Frames: what is packed is read again, and nothing that arrives does more than end the stream."""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import Iterator, List, Tuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloudburst import frame
from cloudburst.errors import FrameError, TooLargeError
from cloudburst.v1 import frame_pb2


@pytest.fixture
def pair() -> Iterator[Tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def sent(parts: List[frame.Buffer]) -> bytes:
    return b"".join(parts)


def done(id: int = 7) -> frame_pb2.Header:
    header = frame_pb2.Header(id=id)
    header.done.SetInParent()
    return header


def as_bytes(values: List[frame.Buffer]) -> List[bytes]:
    return [bytes(v) for v in values]


@given(st.lists(st.binary(max_size=100), max_size=20), st.integers(0, 2**64 - 1))
def test_what_is_packed_is_read_again(values: List[bytes], id: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        frame.send(ours, frame.pack(done(id), values))
        header, read = frame.FrameReader(theirs).read()
        assert header.id == id
        assert header.WhichOneof("body") == "done"
        assert as_bytes(read) == values


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(0, 2**64 - 1))
def test_a_header_that_is_serialised_already(values: List[bytes], id: int) -> None:
    raw = sent(frame.pack_raw(b"\x08" + frame.varint(id) + done(0).SerializeToString(), values))
    header, read = frame.parse(raw)
    assert (header.id, header.WhichOneof("body"), as_bytes(read)) == (id, "done", values)


@pytest.mark.parametrize(
    "sizes",
    [
        [0],
        [0, 0, 0],
        [32 << 10],
        [5, 40 << 10, 3, 4],
        [40 << 10, 40 << 10],
        [1, 2, 100 << 10, 0, 70 << 10, 9],
        [3 << 20, 1, 3 << 20],
        [1000] * 2000,
        [10 << 20],
    ],
    ids=str,
)
def test_large_values_arrive_whole(pair: Tuple[socket.socket, socket.socket], sizes: List[int]) -> None:
    ours, theirs = pair
    values = [bytes([i % 256]) * n for i, n in enumerate(sizes)]
    # Twice, so that what one frame leaves behind would show in the next.

    def write() -> None:
        for i in (1, 2):
            frame.send(ours, frame.pack(done(i), values))

    writer = threading.Thread(target=write)
    writer.start()
    reader = frame.FrameReader(theirs)
    for i in (1, 2):
        header, read = reader.read()
        assert header.id == i
        assert as_bytes(read) == values
        for value in read:
            if len(value) >= 64 << 10:  # memory of its own that can be written, so that an array can lie over it
                assert isinstance(value, memoryview)
                assert not value.readonly
    writer.join()
    assert reader.buffered == 0


def test_values_in_pieces_are_gathered(pair: Tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    pieces: List[frame.Buffer] = [b"\x02", bytearray(40_000), memoryview(b"end")]
    parts = frame.pack(done(), [b"\x01\x05", pieces])
    assert any(part is pieces[1] for part in parts)
    writer = threading.Thread(target=frame.send, args=(ours, parts))
    writer.start()
    _, read = frame.FrameReader(theirs).read()
    writer.join()
    assert as_bytes(read) == [b"\x01\x05", sent(pieces)]


def test_more_pieces_than_one_vector_takes(pair: Tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    values = [b"%6d" % i for i in range(10_000)]
    writer = threading.Thread(target=frame.send, args=(ours, frame.pack(done(), values)))
    writer.start()
    _, read = frame.FrameReader(theirs).read()
    writer.join()
    assert as_bytes(read) == values


def test_many_frames_in_one_receive(pair: Tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.sendall(b"".join(sent(frame.pack(done(i), [b"\x01\x05"])) for i in range(100)))
    reader = frame.FrameReader(theirs)
    assert [reader.read()[0].id for _ in range(100)] == list(range(100))
    ours.close()
    with pytest.raises(EOFError):
        reader.read()


def test_what_was_received_before_belongs_to_the_stream(pair: Tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    whole = sent(frame.pack(done(1), [b"\x01\x05"])) + sent(frame.pack(done(2), [b"\x01\x06"]))
    ours.sendall(whole[30:])
    reader = frame.FrameReader(theirs, whole[:30])
    assert reader.buffered == 30
    assert [reader.read()[0].id, reader.read()[0].id] == [1, 2]


@pytest.mark.parametrize("size", [5, 100_000])
def test_a_read_that_times_out_goes_on_where_it_stopped(pair: Tuple[socket.socket, socket.socket], size: int) -> None:
    ours, theirs = pair
    whole = sent(frame.pack(done(), [b"\x01", b"x" * size, b"\x02"]))
    reader = frame.FrameReader(theirs)
    stops = sorted({0, 3, 8, 12, len(whole) // 2, len(whole) - 1, len(whole)})
    for start, end in zip(stops, stops[1:]):
        with pytest.raises(TimeoutError):
            reader.read(time.monotonic() + 0.001)
        ours.sendall(whole[start:end])
    _, values = reader.read(time.monotonic() + 60)
    assert as_bytes(values) == [b"\x01", b"x" * size, b"\x02"]


def test_a_socket_that_does_not_block(pair: Tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.setblocking(False)
    reader = frame.FrameReader(theirs)
    whole = sent(frame.pack(done(), [b"x" * 100_000]))
    for part in (whole[:50_000], whole[50_000:]):
        with pytest.raises(BlockingIOError):
            reader.read()
        ours.sendall(part)
    assert as_bytes(reader.read()[1]) == [b"x" * 100_000]


def test_a_peer_that_does_not_read_ends_a_send_at_its_deadline(pair: Tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    with pytest.raises(TimeoutError):
        frame.send(ours, frame.pack(done(), [bytes(32 << 20)]), time.monotonic() + 0.01)


def test_limits_of_what_is_packed() -> None:
    with pytest.raises(TooLargeError, match=r"134217729 bytes together; the limit is 134217728"):
        frame.pack(done(), [bytes((64 << 20) + 1), bytes(64 << 20)])
    with pytest.raises(TooLargeError, match=r"header .* the limit is 1048576"):
        frame.pack(frame_pb2.Header(get=frame_pb2.Get(keys=["k" * (1 << 20)])))


def prefix(header: int, payload: int) -> bytes:
    return struct.pack("<II", header, payload)


HEAD = sent(frame.pack(done()))[8:]


@pytest.mark.parametrize(
    "stream",
    [
        prefix((1 << 20) + 1, 0),
        prefix(0xFFFFFFFF, 0xFFFFFFFF),
        prefix(5, (128 << 20) + 1),
        prefix(5, 0) + b"\xff\xff\xff\xff\xff",
        prefix(len(HEAD), 3) + HEAD + b"abc",  # values that no size names
        prefix(len(HEAD), 100_000) + HEAD,  # the same, large
        prefix(len(HEAD) + 2, 0) + HEAD + b"\x10\x05",  # a size without payload
        prefix(len(HEAD) + 2, 3) + HEAD + b"\x10\x05" + b"abc",  # a size past the payload
        prefix(3, 0) + b"\x1a\x01\xff",  # a message that is cut off inside
        prefix(6, 70 << 20) + b"\x10\x80\x80\x80\x23",  # one value above the limit
        prefix(10, 0),  # ends inside the header
        prefix(len(HEAD) + 2, 5) + HEAD + b"\x10\x05" + b"abc",  # ends inside the payload
        prefix(4, 40_000) + b"\x10\xc0\xb8\x02" + b"x" * 100,  # the same, large
        b"\x01",
    ],
    ids=range(14),
)
def test_malformed(stream: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(stream)
        with pytest.raises(FrameError):
            frame.FrameReader(theirs).read()


@given(
    st.one_of(
        st.binary(max_size=300),
        st.tuples(st.integers(0, 40), st.integers(0, 40), st.binary(max_size=90)).map(lambda t: prefix(t[0], t[1]) + t[2]),
    )
)
@example(b"")
def test_arbitrary_bytes_do_nothing_but_end_the_stream(stream: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(stream)
        reader = frame.FrameReader(theirs)
        # Every frame is at least a prefix, so this ends.
        with pytest.raises((FrameError, EOFError)):
            while True:
                header, values = reader.read()
                assert sum(map(len, values)) == sum(header.sizes)


@given(st.data())
def test_a_damaged_stream_does_nothing_but_end(data: st.DataObject) -> None:
    values = [b"\x01\x05", b"x" * data.draw(st.sampled_from([0, 10, 40_000])), b"\x04y"]
    stream = bytearray(sent(frame.pack(done(), values)) * 2)
    for _ in range(data.draw(st.integers(1, 3))):
        stream[data.draw(st.integers(0, min(len(stream) - 1, 60)))] = data.draw(st.integers(0, 255))
    cut = bytes(stream[: data.draw(st.integers(0, len(stream)))])
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(cut)
        reader = frame.FrameReader(theirs)
        with pytest.raises((FrameError, EOFError)):
            while True:
                reader.read()
