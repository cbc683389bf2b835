"""The plain codec: one CBOR data item for the data that every language has.

Written out for CPython's cost model: exact types are looked up in a table, scalars are answered from tables or by one
pre-bound ``struct`` call, and long lists of large integers or of floats are converted in bulk, a byte plane at a time.
Integers, lengths and tags are always written in their shortest form and the elements of sets in the order of their bytes,
so that equal values have equal bytes wherever they are written: a set lattice compares its elements by bytes.
"""

from __future__ import annotations

import sys
from array import array
from struct import Struct
from typing import Any, Callable, Dict, Iterable, List, Tuple

from cloudburst.errors import CodecError

LEVELS_MAX = 128
"""How deep lists, dictionaries, tuples and sets may be nested in one another."""

# What one value may spend, in bytes written plus a charge for each container. Data that refers to one object from many
# places can be exponentially larger written out than it is in memory; such data is pickled, which keeps the sharing. The list
# that counts this also collects the identities of the lists, dictionaries and sets within the value.
_BUDGET = 256 << 20
_CONTAINER_CHARGE = 32

_BULK_MIN = 8  # elements from which the bulk conversions pay
_INT64_MIN = -(1 << 63)
_LITTLE = sys.byteorder == "little"

_H8 = Struct(">BB").pack
_H16 = Struct(">BH").pack
_H32 = Struct(">BI").pack
_H64 = Struct(">BQ").pack
_F64 = Struct(">Bd").pack

_TAG_SET = b"\xd9\x01\x02"
_TAG_TUPLE = b"\xd9\xc3\x50"
_TAG_FROZENSET = b"\xd9\xc3\x51"


class NotPlain(Exception):
    """Raised for a value that the plain codec does not cover; it is pickled instead."""


def head(major: int, n: int) -> bytes:
    """Return the CBOR head of a major type with its argument, in the shortest form."""
    major <<= 5
    if n < 24:
        return bytes((major | n,))
    if n < 0x100:
        return _H8(major | 24, n)
    if n < 0x10000:
        return _H16(major | 25, n)
    if n < 0x100000000:
        return _H32(major | 26, n)
    return _H64(major | 27, n)


_BYTES_HEADS = [head(2, n) for n in range(256)]
_TEXT_HEADS = [head(3, n) for n in range(256)]
_LIST_HEADS = [head(4, n) for n in range(24)]
_TUPLE_HEADS = [_TAG_TUPLE + head(4, n) for n in range(24)]
_MAP_HEADS = [head(5, n) for n in range(24)]
_SMALL_INTS: Dict[int, bytes] = {n: head(0, n) if n >= 0 else head(1, ~n) for n in range(-256, 1024)}
_small_int = _SMALL_INTS.get


def encode_int(value: int) -> bytes:
    item = _small_int(value)
    if item is not None:
        return item
    if value >= 0:
        if value < 0x10000:
            return _H16(0x19, value)
        if value < 0x100000000:
            return _H32(0x1A, value)
        if value < 0x10000000000000000:
            return _H64(0x1B, value)
        tag, magnitude = b"\xc2", value
    else:
        magnitude = ~value
        if magnitude < 0x10000:
            return _H16(0x39, magnitude)
        if magnitude < 0x100000000:
            return _H32(0x3A, magnitude)
        if magnitude < 0x10000000000000000:
            return _H64(0x3B, magnitude)
        tag = b"\xc3"
    body = magnitude.to_bytes((magnitude.bit_length() + 7) // 8, "big")
    return tag + head(2, len(body)) + body


def encode_text(value: str) -> bytes:
    try:
        body = value.encode()
    except UnicodeEncodeError:  # a lone surrogate; a pickle can carry it
        raise NotPlain from None
    n = len(body)
    return (_TEXT_HEADS[n] if n < 256 else head(3, n)) + body


def encode_bytes(value: bytes) -> bytes:
    n = len(value)
    return (_BYTES_HEADS[n] if n < 256 else head(2, n)) + value


def encode_float(value: float) -> bytes:
    return _F64(0xFB, value)


def encode_bool(value: bool) -> bytes:
    return b"\xf5" if value else b"\xf4"


def encode_none(value: None) -> bytes:
    return b"\xf6"


_SCALARS: Dict[type, Callable[[Any], bytes]] = {
    int: encode_int,
    str: encode_text,
    bytes: encode_bytes,
    float: encode_float,
    bool: encode_bool,
    type(None): encode_none,
}
_scalar = _SCALARS.get


def encode_container(value: Any) -> bytes:
    """Return the data item of a list, tuple, dictionary or set. Raises :class:`NotPlain` when pickle has to take it."""
    spent = [_BUDGET]
    item = _container(value, 1, spent)
    if len(spent) > 2 and len(set(spent)) != len(spent):
        # A container occurs twice in the value: who changes it changes both. A pickle keeps that; written out they are two.
        raise NotPlain
    return item


def _container(value: Any, depth: int, budget: List[int]) -> bytes:
    if depth > LEVELS_MAX:
        raise NotPlain
    kind = type(value)
    if kind is list:
        if depth > 1:
            budget.append(id(value))
        n = len(value)
        parts = [_LIST_HEADS[n] if n < 24 else head(4, n)]
    elif kind is tuple:
        n = len(value)
        parts = [_TUPLE_HEADS[n] if n < 24 else _TAG_TUPLE + head(4, n)]
    elif kind is dict:
        if depth > 1:
            budget.append(id(value))
        n = len(value)
        parts = [_MAP_HEADS[n] if n < 24 else head(5, n)]
        append = parts.append
        for key, element in value.items():
            scalar = _scalar(type(key))
            append(scalar(key) if scalar is not None else _container(key, depth + 1, budget))
            scalar = _scalar(type(element))
            append(scalar(element) if scalar is not None else _container(element, depth + 1, budget))
        return _joined(parts, budget)
    elif kind is set or kind is frozenset:
        if depth > 1 and kind is set:
            budget.append(id(value))
        parts = sorted(_elements(value, [], depth, budget))
        tag = _TAG_SET if kind is set else _TAG_FROZENSET
        parts.insert(0, tag + head(4, len(value)))
        return _joined(parts, budget)
    else:
        raise NotPlain
    if n >= _BULK_MIN:
        bulk = _encode_bulk(value)
        if bulk is not None:
            parts.append(bulk)
            return _joined(parts, budget)
    return _joined(_elements(value, parts, depth, budget), budget)


def _elements(values: Iterable[Any], parts: List[bytes], depth: int, budget: List[int]) -> List[bytes]:
    append = parts.append
    for element in values:
        scalar = _scalar(type(element))
        append(scalar(element) if scalar is not None else _container(element, depth + 1, budget))
    return parts


def _joined(parts: List[bytes], budget: List[int]) -> bytes:
    item = b"".join(parts)
    budget[0] -= len(item) + _CONTAINER_CHARGE
    if budget[0] < 0:
        raise NotPlain
    return item


# Bulk conversion. An item of nine bytes is a head byte and eight bytes, big-endian. Its planes (all head bytes, all first
# bytes, …) are strided slices, which CPython copies in C.

_POSITIVE_OR_NEGATIVE = bytes(0x1B if b < 0x80 else 0x3B for b in range(256))  # sign byte → head byte


def _encode_bulk(values: Any) -> Any:
    """Return the items of a list of floats, or of integers that all need eight bytes; None for any other list."""
    kind = type(values[0])
    if kind is float:
        if type(values[-1]) is not float or set(map(type, values)) != {float}:
            return None
        raw = array("d", values)
        if _LITTLE:
            raw.byteswap()
        planes = raw.tobytes()
        heads = b"\xfb" * len(values)
    elif kind is int:
        if -0x100000000 <= values[0] < 0x100000000 or set(map(type, values)) != {int}:
            return None
        try:
            integers = array("q", values)
        except OverflowError:
            return None
        if _LITTLE:
            integers.byteswap()
        planes = integers.tobytes()
        heads = planes[0::8].translate(_POSITIVE_OR_NEGATIVE)
        if 0x3B in heads:  # CBOR writes -1-n: complement the negative ones
            planes = _complement(planes, heads)
        upper = array("I", planes)[0::2]
        if 0 in upper:  # one of them has a shorter form
            return None
    else:
        return None
    out = bytearray(9 * len(values))
    out[0::9] = heads
    for i in range(8):
        out[i + 1 :: 9] = planes[i::8]
    return bytes(out)


_NEGATIVE_LOW_BIT = bytes(1 if b == 0x3B else 0 for b in range(256))


def _complement(planes: bytes, heads: bytes) -> bytes:
    """Return the eight-byte words with those complemented whose head says negative."""
    low = bytearray(len(planes))
    low[7::8] = heads.translate(_NEGATIVE_LOW_BIT)
    mask = int.from_bytes(low, "big") * 0xFFFFFFFFFFFFFFFF
    return (int.from_bytes(planes, "big") ^ mask).to_bytes(len(planes), "big")


def _decode_bulk(data: bytes, at: int, n: int) -> Any:
    """Return the n elements at an offset when all are floats or all integers of eight bytes, otherwise None."""
    end = at + 9 * n
    if end > len(data):
        return None
    heads = data[at:end:9]
    # The first head byte says where the second is, and so on: all are where the slice looks, or the first to differ stops us.
    if data[at] == 0xFB:
        if heads.count(0xFB) != n:
            return None
        floats = array("d", _planes(data, at, end, n))
        if _LITTLE:
            floats.byteswap()
        return floats.tolist()
    if heads.translate(None, b"\x1b\x3b"):
        return None
    planes = _planes(data, at, end, n)
    if max(planes[0::8]) >= 0x80:  # does not fit into a signed word
        return None
    if 0x3B in heads:
        planes = _complement(planes, heads)
    integers = array("q", planes)
    if _LITTLE:
        integers.byteswap()
    return integers.tolist()


def _planes(data: bytes, at: int, end: int, n: int) -> bytes:
    planes = bytearray(8 * n)
    for i in range(8):
        planes[i::8] = data[at + 1 + i : end : 9]
    return bytes(planes)


# Decoding. Every length is held against what is left of the data before anything is made from it.

_U16 = Struct(">H").unpack_from
_U32 = Struct(">I").unpack_from
_U64 = Struct(">Q").unpack_from
_D16 = Struct(">e").unpack_from
_D32 = Struct(">f").unpack_from
_D64 = Struct(">d").unpack_from

_CUT_OFF = "a value is cut off"


def decode_item(data: bytes, at: int) -> Any:
    """Return the one data item that fills data from an offset on. Raises :class:`CodecError` for anything else."""
    try:
        value, end = _read(data, at, 0)
    except (IndexError, OverflowError):
        raise CodecError(_CUT_OFF) from None
    except UnicodeDecodeError as e:
        raise CodecError(f"a string is not UTF-8: {e}") from None
    except TypeError as e:  # an unhashable key or element
        raise CodecError(f"a dictionary key or set element cannot be one: {e}") from None
    except RecursionError:
        raise CodecError("no stack is left to decode a nested value") from None
    if end != len(data):
        raise CodecError(f"{len(data) - end} bytes follow a value")
    return value


def _read(data: bytes, at: int, depth: int) -> Tuple[Any, int]:
    initial = data[at]
    major = initial >> 5
    n = initial & 31
    at += 1
    if major == 7:
        return _simple(data, at, initial)
    if n < 24:
        pass
    elif n == 24:
        n = data[at]
        at += 1
    else:
        width = 2 if n == 25 else 4 if n == 26 else 8
        if n > 27:
            raise CodecError(f"item of indefinite length or unknown form 0x{initial:02x}")
        if at + width > len(data):
            raise CodecError(_CUT_OFF)
        n = int.from_bytes(data[at : at + width], "big")
        at += width
    if major == 0:
        return n, at
    if major == 1:
        return ~n, at
    if major == 4:
        return _items(data, at, n, depth + 1)
    if major == 6:
        return _tagged(data, at, n, depth)
    if major == 5:
        return _map(data, at, n, depth + 1)
    end = at + n
    if end > len(data):
        raise CodecError(_CUT_OFF)
    if major == 3:
        return str(data[at:end], "utf-8"), end
    return data[at:end], end


def _simple(data: bytes, at: int, initial: int) -> Tuple[Any, int]:
    if initial == 0xFB:
        width, unpack = 8, _D64
    elif initial == 0xF4:
        return False, at
    elif initial == 0xF5:
        return True, at
    elif initial == 0xF6:
        return None, at
    elif initial == 0xFA:
        width, unpack = 4, _D32
    elif initial == 0xF9:
        width, unpack = 2, _D16
    else:
        raise CodecError(f"item of unknown form 0x{initial:02x}")
    if at + width > len(data):
        raise CodecError(_CUT_OFF)
    return unpack(data, at)[0], at + width


def _items(data: bytes, at: int, n: int, depth: int) -> Tuple[List[Any], int]:
    if depth > LEVELS_MAX:
        raise CodecError(f"a value is nested more than {LEVELS_MAX} levels deep")
    size = len(data)
    if n > size - at:
        raise CodecError(_CUT_OFF)
    if n >= _BULK_MIN and data[at] in b"\xfb\x1b\x3b":
        bulk = _decode_bulk(data, at, n)
        if bulk is not None:
            return bulk, at + 9 * n
    values: List[Any] = []
    append = values.append
    for _ in range(n):
        initial = data[at]
        if initial < 0x18:
            append(initial)
            at += 1
        elif 0x60 <= initial < 0x78:
            end = at + initial - 0x5F
            if end > size:
                raise CodecError(_CUT_OFF)
            append(str(data[at + 1 : end], "utf-8"))
            at = end
        elif initial == 0x18:
            append(data[at + 1])
            at += 2
        else:
            value, at = _read(data, at, depth)
            append(value)
    return values, at


def _map(data: bytes, at: int, n: int, depth: int) -> Tuple[Dict[Any, Any], int]:
    if depth > LEVELS_MAX:
        raise CodecError(f"a value is nested more than {LEVELS_MAX} levels deep")
    if 2 * n > len(data) - at:
        raise CodecError(_CUT_OFF)
    values: Dict[Any, Any] = {}
    for _ in range(n):
        key, at = _read(data, at, depth)
        values[key], at = _read(data, at, depth)
    return values, at


def _tagged(data: bytes, at: int, tag: int, depth: int) -> Tuple[Any, int]:
    major = data[at] >> 5
    if tag in (2, 3):
        if major != 2:
            raise CodecError("a large integer is not written as bytes")
        body, at = _read(data, at, depth)
        n = int.from_bytes(body, "big")
        return (n if tag == 2 else ~n), at
    if tag not in (258, 50000, 50001):
        raise CodecError(f"item with unknown tag {tag}")
    if major != 4:
        raise CodecError("a tuple or set is not written as an array")
    values, at = _read(data, at, depth)
    if tag == 50000:
        return tuple(values), at
    return (set(values) if tag == 258 else frozenset(values)), at
