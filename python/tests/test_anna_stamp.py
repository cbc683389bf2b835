"""Which stamp a put of the published client gets: the later call wins, unless its timestamp is older."""

from __future__ import annotations

from typing import Optional, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anna._stamp import published, stamp_of_put
from cloudburst.lattice import NEVER
from cloudburst.v1 import store_pb2

NOW_MICROSECONDS = 1_790_000_000_000_000
NOW = NOW_MICROSECONDS << 12
TENTHS = NOW_MICROSECONDS // 100_000
LATER = NOW_MICROSECONDS // 1000 + 1


def held(
    stamp: Optional[Tuple[int, int]] = None, deleted: Optional[Tuple[int, int]] = None, expiry: int = 0
) -> store_pb2.State:
    state = store_pb2.State()
    if stamp is not None:
        state.lww.value = b"\x04v"
        state.lww.timestamp.time, state.lww.timestamp.writer = stamp
    if deleted is not None:
        state.deleted.time, state.deleted.writer = deleted
    if expiry:
        state.expiry.at_milliseconds = expiry
        state.expiry.timestamp.time, state.expiry.timestamp.writer = (NOW, 9)
    return state


@pytest.mark.parametrize(
    ("timestamp", "state", "stamp"),
    [
        (0, held(), (0, 1)),
        (7, held(), (7, 0)),
        (7, held((3, 0)), (7, 0)),
        (7, held((7, 0)), (7, 1)),
        (7, held((7, 5)), (7, 6)),
        (7, held((7, (1 << 64) - 1)), NEVER),
        (3, held((7, 0)), None),
        (0, held((0, 1)), (0, 2)),
        # Tenths of a second, micro- and nanoseconds against what the store has stamped at this time.
        (TENTHS, held((NOW, 77)), NEVER),
        (NOW_MICROSECONDS, held((NOW, 77)), NEVER),
        (NOW_MICROSECONDS * 1000, held((NOW, 77)), NEVER),
        (TENTHS - 1, held((NOW, 77)), None),
        (0, held((NOW, 77)), None),
        # A stamp of the store that a program has read and counted on from.
        (NOW + 1, held((NOW, 77)), (NOW + 1, 0)),
        (NOW, held((NOW, 77)), (NOW, 78)),
        (NOW - 1, held((NOW, 77)), None),
        # A value that is deleted or expired is not compared with, and must not hide the put.
        (7, held(deleted=(NOW, 3)), NEVER),
        (7, held((5, 0), expiry=LATER - 2), NEVER),
        (7, held((5, 0), expiry=LATER + 2), (7, 0)),
    ],
)
def test_stamps(timestamp: int, state: store_pb2.State, stamp: Optional[Tuple[int, int]]) -> None:
    assert stamp_of_put(timestamp, state, LATER) == stamp


@given(st.integers(0, NOW), st.integers(0, NOW), st.integers(0, 1 << 63))
def test_a_put_takes_effect_exactly_when_it_is_not_older(timestamp: int, time: int, writer: int) -> None:
    stamp = stamp_of_put(timestamp, held((time, writer)), LATER)
    if timestamp >= 1 << 62 > time:  # a stamp of the store, which is later than all others
        assert stamp == (timestamp, 0)
    elif stamp is None:
        assert published(timestamp) <= published(time)
    else:
        assert published(timestamp) >= published(time)
        assert stamp == NEVER or stamp > (time, writer)
