"""Timestamps that programs give to what they put, among the stamps of the store.

A program of the published interface stamps a LWWPairLattice itself: with 0, a count, or a clock in tenths of a second,
microseconds or nanoseconds. The store stamps with a hybrid logical clock, microseconds since 1970 times 4096, which is later
than all of those. Compared as they are, a put by such a program would never replace what the store has stamped. So a stamp of
the store is compared as what it is in the published system, a clock in tenths of a second, and of two equal timestamps the
later put wins.

Pure: no clock, no I/O.
"""

from __future__ import annotations

from typing import Optional

from cloudburst.lattice import NEVER, Stamp
from cloudburst.states import live, stamp_of
from cloudburst.v1 import store_pb2

__all__ = ["published", "stamp_of_put"]

_STORE_FROM = 1 << 62  # the clock of the store in 2005; nanoseconds reach it in 2116
_TENTH_MICROSECONDS = 100_000
_UINT64_MAX = (1 << 64) - 1


def published(time: int) -> int:
    """Return the time of a stamp as a program of the published interface compares it."""
    return time if time < _STORE_FROM else (time >> 12) // _TENTH_MICROSECONDS


def stamp_of_put(timestamp: int, held: store_pb2.State, now_milliseconds: int) -> Optional[Stamp]:
    """Return the stamp with which a put takes effect: NEVER for one that the store gives; None when what is held is later.

    ``held`` is all that is known of the key.
    """
    own: Stamp = (timestamp, 0 if timestamp else 1)  # a stamp of zeros would be one that the store gives
    shown = live(held, now_milliseconds)
    if shown is None or not shown.HasField("lww"):
        return own if shown is not None and own > stamp_of(held.deleted) else NEVER
    time, writer = stamp_of(shown.lww.timestamp)
    if timestamp >= _STORE_FROM or time < _STORE_FROM:
        if timestamp == time:
            return (time, writer + 1) if writer < _UINT64_MAX else NEVER
        return own if timestamp > time else None
    return NEVER if timestamp >= published(time) else None
