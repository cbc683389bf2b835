"""The array codec: dtype, shape and order in a small head, then the elements as they lie in memory.

NumPy is imported only when the program has done so already or when an array arrives.
"""

from __future__ import annotations

import sys
from struct import Struct
from typing import Any, List, Optional, Union

from cloudburst.codec import _plain
from cloudburst.errors import CodecError

Buffer = Union[bytes, bytearray, memoryview]

ALIGNMENT = 64
"""The elements begin at a multiple of this, counted from the codec byte."""

_KINDS = "biufcmMSUV"
_length = Struct("<I")
_HEAD_BYTES_MAX = 4096


def is_array(value: Any) -> bool:
    """Report whether a value is exactly a NumPy array (not a subclass)."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray


def encode_array(value: Any) -> Optional[List[Buffer]]:
    """Return an array's value as its head and its elements, which share the array's memory; None when it has to be pickled."""
    dtype = value.dtype
    if dtype.kind not in _KINDS or dtype.names is not None or dtype.metadata or dtype.itemsize == 0:
        return None
    numpy = sys.modules["numpy"]
    if numpy.dtype(dtype.str) != dtype:  # an extension's dtype, which its str does not name
        return None
    order = "C"
    if not value.flags.c_contiguous:
        if value.flags.f_contiguous:
            order = "F"
        else:
            value = numpy.ascontiguousarray(value)
    head = b"\xa3\x65dtype%b\x65shape%b\x65order%b" % (
        _plain.encode_text(dtype.str),
        _plain.encode_container([int(n) for n in value.shape]),
        _plain.encode_text(order),
    )
    start = 5 + len(head)
    padding = -start % ALIGNMENT
    first = b"\x02" + _length.pack(len(head)) + head + bytes(padding)
    if value.size == 0:
        return [first]
    # Through uint8, since not every dtype exports a buffer.
    flat = value.reshape(-1, order=order).view(numpy.uint8)
    return [first, memoryview(flat)]


def decode_array(data: Buffer) -> Any:
    """Return the array of a value, over the value's own memory where that is writable and aligned, otherwise a copy."""
    try:
        import numpy
    except ImportError:
        raise CodecError("a value is an array, and NumPy is not installed here; install it with: pip install numpy") from None
    if len(data) < 5:
        raise CodecError("an array is cut off")
    (head_bytes,) = _length.unpack_from(data, 1)
    start = 5 + head_bytes
    if head_bytes > _HEAD_BYTES_MAX or start > len(data):
        raise CodecError("the head of an array is cut off")
    head = _plain.decode_item(bytes(data[5:start]), 0)
    start += -start % ALIGNMENT
    try:
        text, shape, order = head["dtype"], head["shape"], head["order"]
    except (KeyError, TypeError):
        raise CodecError("the head of an array lacks dtype, shape or order") from None
    if type(text) is not str or order not in ("C", "F") or type(shape) is not list:
        raise CodecError("the head of an array is malformed")
    dtype = _dtype(numpy, text)
    expected = dtype.itemsize
    for n in shape:
        if type(n) is not int or n < 0:
            raise CodecError("the shape of an array is malformed")
        expected *= n
    if start + expected != len(data) and not (expected == 0 and start >= len(data)):
        raise CodecError(f"an array has {len(data) - start} bytes of elements; its shape and dtype want {expected}")
    try:
        if expected == 0:
            return numpy.empty(shape, dtype, order)
        value = numpy.ndarray(shape, dtype, data, start, None, order)
    except (ValueError, TypeError, OverflowError, MemoryError) as e:
        raise CodecError(f"an array cannot be made: {e}") from None
    if value.flags.writeable and value.flags.aligned:
        return value
    return value.copy("K")


def _dtype(numpy: Any, text: str) -> Any:
    # Only simple dtypes: text is not trusted, and numpy.dtype understands a small language.
    if len(text) < 3 or len(text) > 64 or text[0] not in "<>|=" or text[1] not in _KINDS or "," in text:
        raise CodecError(f"an array has the unknown dtype {text[:64]!r}")
    try:
        dtype = numpy.dtype(text)
    except (TypeError, ValueError) as e:
        raise CodecError(f"an array has the unknown dtype {text!r}: {e}") from None
    if dtype.hasobject or dtype.itemsize == 0:
        raise CodecError(f"an array has the dtype {text!r}, which does not travel as an array")
    return dtype
