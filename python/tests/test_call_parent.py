"""Calls that a function makes say whose they are."""

from __future__ import annotations

from typing import Iterator, List, Optional

import pytest

from cloudburst import call, codec, frame
from cloudburst.v1 import frame_pb2

RUN, PARENT = b"r" * 16, b"p" * 16


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[List[Optional[bytes]]]:
    """Make this process one in which functions of a run call."""
    parent: List[Optional[bytes]] = [PARENT]
    monkeypatch.setattr(call, "_parent", None)
    call.set_parent(lambda: parent[0])
    return iter([parent])


def sent(head: call.CallHead, values: List[codec.Encoded]) -> frame_pb2.Call:
    request = head.request(RUN, values, 0.0)
    whole = request.frame if isinstance(request.frame, bytes) else b"".join(request.frame or ())
    header, cut = frame.parse(whole)
    assert len(cut) == len(values)
    return header.call


@pytest.mark.parametrize("size", [1, 200, 100_000])
@pytest.mark.parametrize("label", ["", "l" * 150])
def test_a_call_has_its_parent(parent: Iterator[List[Optional[bytes]]], size: int, label: str) -> None:
    (holder,) = parent
    described = frame_pb2.Call(function="f@1", store=True, label=label, timeout_milliseconds=9)
    head = call.CallHead(described, "call f@1")
    for expected in (PARENT, None):
        holder[0] = expected
        described.run_id = RUN
        described.parent = expected or b""
        assert sent(head, [bytes(size)]) == described
