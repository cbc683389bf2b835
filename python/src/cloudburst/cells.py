"""Keys and what is stored under them, as they travel: cells and their values."""

from __future__ import annotations

import sys
from numbers import Real
from typing import Any, Iterable, Iterator, List, Optional, Sequence, Tuple

from cloudburst import codec
from cloudburst.codec import Buffer, Encoded
from cloudburst.errors import CodecError, FrameError, InvalidArgumentError
from cloudburst.v1 import frame_pb2, store_pb2

__all__ = [
    "ack_of",
    "cells_of",
    "check_characters",
    "check_increment",
    "check_key",
    "check_prefix",
    "cut",
    "decoded",
    "duration",
    "few",
    "increment_cell",
    "lifetime",
    "milliseconds",
    "new_cell",
    "raw_of",
    "several",
    "value_of",
]

_SECONDS_MAX = 1e9
_ACKS = {"durable": store_pb2.ACK_DURABLE, "memory": store_pb2.ACK_MEMORY}


def new_cell(key: str, value: Any, ttl: Optional[float] = None) -> Tuple[store_pb2.Cell, List[Encoded]]:
    """Return what a put of one key sends: a lattice is merged into what is there, anything else replaces it.

    ``ttl`` is in seconds. Raises InvalidArgumentError, UnpicklableError or TooLargeError.
    """
    check_key(key)
    lattices = sys.modules.get("anna.lattices")  # a program that has a lattice has loaded them
    values: List[Encoded]
    if lattices is not None and isinstance(value, lattices.Lattice):
        from anna.cells import cell_of

        cell, values = cell_of(key, value)
    else:
        cell = store_pb2.Cell(key=key, type=store_pb2.LATTICE_TYPE_LWW, values=1)
        values = [codec.encode_parts(value)]
    cell.ttl_milliseconds = lifetime(ttl)
    return cell, values


def lifetime(ttl: Optional[float]) -> int:
    """Return for how many milliseconds a cell is kept that is put with a ttl in seconds; 0 = until it is deleted."""
    if ttl is None:
        return 0
    kept = milliseconds(ttl, "ttl")
    if kept < 1:
        raise InvalidArgumentError(f"ttl={ttl!r:.100}: it is at least a millisecond")
    return kept


def increment_cell(key: str, n: int) -> Tuple[store_pb2.Cell, List[Encoded]]:
    """Return what a put sends that adds to a counter. Raises InvalidArgumentError when n is not an integer of 64 bits."""
    check_increment(key, n)
    state = store_pb2.State()
    state.counter.counts.add(up=max(n, 0), down=max(-n, 0))  # of the writer 0: the store counts it as its own
    return store_pb2.Cell(key=key, type=store_pb2.LATTICE_TYPE_COUNTER, values=1), [codec.encode_state(state)]


def cells_of(header: frame_pb2.Header, values: Sequence[Buffer]) -> Iterator[Tuple[store_pb2.Cell, Sequence[Buffer]]]:
    """Return the cells of an answer, each with its values. Raises FrameError when they do not match."""
    if not header.HasField("cells"):
        raise FrameError(f"a get was answered with a {header.WhichOneof('body')}")
    return cut(header.cells.cells, values)


def cut(cells: Iterable[store_pb2.Cell], values: Sequence[Buffer]) -> Iterator[Tuple[store_pb2.Cell, Sequence[Buffer]]]:
    """Return cells, each with its values. Raises FrameError when they do not match."""
    at = 0
    for cell in cells:
        own = values[at : at + cell.values]
        at += cell.values
        if len(own) != cell.values or (
            cell.type not in (store_pb2.LATTICE_TYPE_UNSPECIFIED, store_pb2.LATTICE_TYPE_SET) and len(own) != 1
        ):
            raise FrameError(f"the cell of key {cell.key!r:.100} announces {cell.values} values, and {len(own)} came")
        yield cell, own


def value_of(cell: store_pb2.Cell, values: Sequence[Buffer]) -> Any:
    """Return what a cell that is there reads as. Raises what :func:`decoded` raises."""
    if cell.type == store_pb2.LATTICE_TYPE_SET:
        return [decoded(cell.key, value) for value in values]
    return decoded(cell.key, values[0])


def decoded(key: str, value: Buffer) -> Any:
    """Return a value that was read under a key. Raises CodecError, with the key, or what the run failed with whose result it
    is."""
    try:
        return codec.decode(value)
    except CodecError as e:
        if value[0] == codec.FAILURE:
            raise
        raise CodecError(f"what is stored under key {key!r:.200} cannot be read: {e}") from e


def raw_of(cell: store_pb2.Cell, values: Sequence[Buffer]) -> Any:
    """Return the stored bytes of a cell: the body of a bytes value, any other whole; for a set lattice a set of them."""
    raw = [bytes(value[1:] if len(value) and value[0] == codec.BYTES else value) for value in values]
    return set(raw) if cell.type == store_pb2.LATTICE_TYPE_SET else raw[0]


def check_key(key: object) -> None:
    """Raise InvalidArgumentError for what cannot be a key."""
    if not isinstance(key, str) or not key:
        raise InvalidArgumentError(f"a key is a string that is not empty, got {key!r:.100}")
    check_characters(key, "a key")


def check_prefix(prefix: object) -> None:
    """Raise InvalidArgumentError for what cannot be the beginning of a key."""
    if not isinstance(prefix, str):
        raise InvalidArgumentError(f"a prefix is a string, got {prefix!r:.100}")
    check_characters(prefix, "a prefix")


def check_characters(text: str, what: str) -> None:
    """Raise InvalidArgumentError for a string that has no UTF-8, since it has half of a surrogate pair."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"{what} cannot be {text!r:.100}: half of a surrogate pair is not a character") from None


def check_increment(key: str, n: object) -> None:
    """Raise InvalidArgumentError for what cannot be a key, and for what a counter cannot be incremented by."""
    check_key(key)
    if not isinstance(n, int) or isinstance(n, bool) or not -(1 << 63) <= n < 1 << 63:
        raise InvalidArgumentError(f"increment {key!r:.100}: it takes an integer of 64 bits, got {n!r:.100}")


def several(keys: Iterable[str]) -> List[str]:
    """Return keys without repetitions. Raises InvalidArgumentError for one string, whose characters would be taken for keys."""
    if isinstance(keys, (str, bytes)):
        raise InvalidArgumentError(f"get_many takes several keys, as a list, got {keys!r:.100}; get takes one")
    return list(dict.fromkeys(keys))


def ack_of(ack: str) -> store_pb2.Ack:
    """Return an acknowledgement by its name."""
    try:
        return _ACKS[ack]
    except KeyError:
        raise InvalidArgumentError(f"ack={ack!r:.100}: must be 'durable' or 'memory'") from None


def duration(seconds: object, what: str = "a duration") -> float:
    """Return a duration in seconds. Raises InvalidArgumentError for what is not one: NaN, infinity, and what is below zero."""
    kind = type(seconds)
    number = kind is float or kind is int or (isinstance(seconds, Real) and kind is not bool)
    if not number or not 0 <= seconds < _SECONDS_MAX:  # type: ignore[operator]
        raise InvalidArgumentError(f"{what} is a number of seconds from 0 on, got {seconds!r:.100}")
    return float(seconds)  # type: ignore[arg-type]


def milliseconds(seconds: float, what: str = "a duration") -> int:
    """Return a duration as it travels. Raises InvalidArgumentError for what is not one."""
    return int(duration(seconds, what) * 1000)


def few(keys: Sequence[str]) -> str:
    """Return keys as an error message names them."""
    names = ", ".join(f"{key!r:.100}" for key in keys[:3])
    return names if len(keys) <= 3 else f"{names} and {len(keys) - 3} more"
