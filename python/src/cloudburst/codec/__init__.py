"""Values: Python objects as bytes, exactly as ``docs/internals/protocol.md`` says under "Values".

A value is one codec byte and a body. Plain data is written so that every language can read it, NumPy arrays as their raw
elements, ``bytes`` as they are, and anything else is pickled with cloudpickle. :func:`encode` and :func:`decode` are the
simple form; :func:`encode_parts` leaves large arrays and byte strings where they are, for a gathering write.
"""

from __future__ import annotations

from struct import Struct
from types import ModuleType
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple, Union

from cloudburst.codec import _plain
from cloudburst.codec._array import decode_array, encode_array, is_array
from cloudburst.codec._identity import draft, lasting
from cloudburst.codec._lattice import decode_state, encode_state, natural
from cloudburst.codec._modules import arrived, import_path, policy
from cloudburst.codec._pickle import (
    dumps,
    dumps_unchained,
    dumps_with_holes,
    loads,
    loads_with_holes,
    pickle_modules_by_reference,
    sent_as,
)
from cloudburst.errors import CodecError, Error, TooLargeError, exception_from
from cloudburst.v1 import error_pb2

__all__ = [
    "LATTICE",
    "VALUE_BYTES_MAX",
    "VALUE_OVERHEAD_MAX",
    "Buffer",
    "Encoded",
    "StoredValue",
    "check_size",
    "decode",
    "decode_definition",
    "decode_state",
    "draft",
    "encode",
    "encode_composed",
    "encode_exception",
    "encode_other",
    "encode_parts",
    "encode_pickle",
    "encode_plain",
    "encode_reference",
    "encode_sequence",
    "import_path",
    "lasting",
    "encode_state",
    "is_plain_immutable",
    "join",
    "pickle_modules_by_reference",
    "sent_as",
    "share_modules",
    "size_of",
]

Buffer = Union[bytes, bytearray, memoryview]
Encoded = Union[bytes, List[Buffer]]
"""An encoded value: its bytes, or the pieces of them in order."""

PLAIN, ARRAY, PICKLE, BYTES, REFERENCE, SEQUENCE, FAILURE, LATTICE, COMPOSED = 1, 2, 3, 4, 5, 6, 7, 8, 9
VALUE_BYTES_MAX = 64 << 20
"""The largest content of one value."""
VALUE_OVERHEAD_MAX = 4 << 10
"""What its encoding may add."""
SEQUENCE_ELEMENTS_MAX = 1 << 20

_GATHER_BYTES = 32 << 10  # pieces below this are joined: copying them is cheaper than carrying them apart
_LEVELS_MAX = 8
_length = Struct("<I")

_int, _text, _float = _plain.encode_int, _plain.encode_text, _plain.encode_float


def encode(value: Any) -> bytes:
    """Return a value's bytes.

    Raises UnpicklableError for an object that cannot travel, naming the variable or attribute at fault, and TooLargeError.
    """
    encoder = _encoder(type(value))
    encoded = encoder(value) if encoder is not None else encode_other(value)
    return encoded if isinstance(encoded, bytes) else b"".join(encoded)


def encode_parts(value: Any) -> Encoded:
    """Like :func:`encode`, without copying large contents: the pieces may share memory with the value."""
    encoder = _encoder(type(value))
    return encoder(value) if encoder is not None else encode_other(value)


def encode_pickle(value: Any) -> bytes:
    """Return a value that is a pickle whatever its type: function definitions and exceptions travel so."""
    encoded = b"\x03" + dumps(value)
    check_size(encoded)
    return encoded


def encode_exception(exception: BaseException) -> bytes:
    """Return an exception, with what it was raised from where that can travel. Raises UnpicklableError and TooLargeError."""
    try:
        return encode_pickle(exception)
    except Error:
        encoded = b"\x03" + dumps_unchained(exception)
        check_size(encoded)
        return encoded


def encode_plain(value: Any) -> Optional[Encoded]:
    """Return a list, tuple, dictionary or set in the form that every language reads, or None when it has to be pickled."""
    try:
        encoded = b"\x01" + _plain.encode_container(value)
    except _plain.NotPlain:
        return None
    if len(encoded) > VALUE_BYTES_MAX:
        check_size(encoded, f"a {type(value).__name__}")
    return encoded


def encode_composed(value: Any, holes: Sequence[Any], elements: Sequence[Encoded]) -> bytes:
    """Return the argument that is a value in which some objects, the holes, are replaced by what the elements stand for."""
    return _sequence(COMPOSED, [b"\x03" + dumps_with_holes(value, holes), *elements])


def encode_reference(key: str, deserialize: bool = True) -> bytes:
    """Return the argument that is replaced by the value under a key before the function runs."""
    return b"\x05\x82" + _text(key) + (b"\xf5" if deserialize else b"\xf4")


def encode_sequence(elements: Sequence[Encoded]) -> bytes:
    """Return the argument that is a list of encoded elements, any of which may be a reference."""
    return _sequence(SEQUENCE, elements)


def _sequence(codec: int, elements: Sequence[Encoded]) -> bytes:
    parts: List[Buffer] = [bytes((codec,))]
    for element in elements:
        element = join(element)
        parts += (_length.pack(len(element)), element)
    encoded = b"".join(parts)
    check_size(encoded)
    return encoded


def join(encoded: Encoded) -> bytes:
    """Return an encoded value in one piece."""
    return encoded if isinstance(encoded, bytes) else b"".join(encoded)


def size_of(encoded: Encoded) -> int:
    """Return the size of an encoded value in bytes."""
    return len(encoded) if isinstance(encoded, bytes) else sum(map(len, encoded))


def check_size(encoded: Encoded, what: str = "a value") -> None:
    """Raise TooLargeError, stating size and limit, for a value that is too large to travel."""
    size = size_of(encoded)
    if size > VALUE_BYTES_MAX + VALUE_OVERHEAD_MAX:
        raise TooLargeError(f"{what} is {size} bytes; the limit is {VALUE_BYTES_MAX} (64 MiB)")


def _encode_int(value: int) -> bytes:
    return b"\x01" + _int(value)


def _encode_float(value: float) -> bytes:
    return b"\x01" + _float(value)


def _encode_bool(value: bool) -> bytes:
    return b"\x01\xf5" if value else b"\x01\xf4"


def _encode_none(value: None) -> bytes:
    return b"\x01\xf6"


def _encode_text(value: str) -> Encoded:
    try:
        encoded = b"\x01" + _text(value)
    except _plain.NotPlain:
        return encode_other(value)
    if len(encoded) > VALUE_BYTES_MAX:
        check_size(encoded, "a string")
    return encoded


def _encode_bytes(value: bytes) -> Encoded:
    if len(value) < _GATHER_BYTES:
        return b"\x04" + value
    parts: List[Buffer] = [b"\x04", value]
    check_size(parts, "a byte string")
    return parts


def _encode_container(value: Any) -> Encoded:
    encoded = encode_plain(value)
    return encode_other(value) if encoded is None else encoded


def encode_other(value: Any) -> Encoded:
    """Return a value that is not plain: an array as its raw elements, anything else as a pickle."""
    if is_array(value):
        parts = encode_array(value)
        if parts is not None:
            if size_of(parts) < _GATHER_BYTES:
                return b"".join(parts)
            check_size(parts, "an array")
            return parts
    encoded = b"\x03" + dumps(value)
    check_size(encoded, f"a pickled {type(value).__qualname__}")
    return encoded


_ENCODERS: Dict[type, Callable[[Any], Encoded]] = {
    int: _encode_int,
    str: _encode_text,
    float: _encode_float,
    bool: _encode_bool,
    type(None): _encode_none,
    bytes: _encode_bytes,
    list: _encode_container,
    tuple: _encode_container,
    dict: _encode_container,
    set: _encode_container,
    frozenset: _encode_container,
}
_encoder = _ENCODERS.get

_IMMUTABLE = frozenset((int, float, str, bytes, bool, type(None)))


def is_plain_immutable(value: Any) -> bool:
    """Report whether a value is a scalar or a tuple of scalars: encoding and decoding it would give the same again."""
    kind = type(value)
    if kind in _IMMUTABLE:
        return True
    return kind is tuple and all(type(element) in _IMMUTABLE for element in value)


_IMMEDIATE: Dict[bytes, Any] = {_encode_int(n): n for n in range(-256, 1024)}
_IMMEDIATE.update({b"\x01\xf5": True, b"\x01\xf4": False, b"\x01\xf6": None})
_IMMEDIATE_BYTES_MAX = 4
_decode_item = _plain.decode_item


def decode(data: Buffer) -> Any:
    """Return the value that bytes hold.

    An array lies over ``data`` itself when that is writable, so hand over a buffer that nothing else uses. The value of a run
    that failed is raised as its exception. Raises CodecError for bytes that are not a value, or a pickle that does not load.
    """
    if type(data) is not bytes:
        return _decode_buffer(memoryview(data))
    if len(data) <= _IMMEDIATE_BYTES_MAX:
        try:
            return _IMMEDIATE[data]
        except KeyError:
            if not data:
                raise CodecError("a value has no bytes") from None
    codec = data[0]
    if codec == PLAIN:
        return _decode_item(data, 1)
    if codec == BYTES:
        return data[1:]
    return _decode_other(codec, data, 0)


def _decode_buffer(data: memoryview, level: int = 0) -> Any:
    if data.format != "B" or data.ndim != 1 or not data.contiguous:
        data = memoryview(bytes(data))
    if not data:
        raise CodecError("a value has no bytes")
    codec = data[0]
    if codec == PLAIN:
        return _decode_item(bytes(data), 1)
    if codec == BYTES:
        return bytes(data[1:])
    return _decode_other(codec, data, level)


def _decode_other(codec: int, data: Union[bytes, memoryview], level: int) -> Any:
    if codec == PICKLE:
        return loads(memoryview(data)[1:])
    if codec == ARRAY:
        return decode_array(data)
    if codec == SEQUENCE:
        return _decode_sequence(memoryview(data), level + 1)
    if codec == COMPOSED:
        return _decode_composed(memoryview(data), level + 1)
    if codec == LATTICE:
        return _decode_lattice(data, level + 1)
    if codec == FAILURE:
        raise _failure(data)
    if codec == REFERENCE:
        raise CodecError("a reference has no value of its own; it is only valid as an argument of a call")
    raise CodecError(f"a value has the unknown codec {codec}; it may have been written by a newer version")


def _decode_sequence(data: memoryview, level: int) -> List[Any]:
    return [_decode_buffer(element, level) for element in _elements(data, level)]


def _decode_composed(data: memoryview, level: int) -> Any:
    elements = _elements(data, level)
    if not elements or bytes(elements[0][:1]) != b"\x03":
        raise CodecError("a composed value does not begin with a pickle")
    return loads_with_holes(elements[0][1:], [_decode_buffer(element, level) for element in elements[1:]])


def _elements(data: memoryview, level: int) -> List[memoryview]:
    if level > _LEVELS_MAX:
        raise CodecError(f"a sequence is nested more than {_LEVELS_MAX} levels deep")
    values: List[memoryview] = []
    at, size = 1, len(data)
    while at < size:
        if size - at < 4:
            raise CodecError("a sequence is cut off")
        (n,) = _length.unpack_from(data, at)
        at += 4
        if n > size - at:
            raise CodecError("a sequence is cut off")
        if len(values) == SEQUENCE_ELEMENTS_MAX:
            raise CodecError(f"a sequence has more than {SEQUENCE_ELEMENTS_MAX} elements, the limit")
        values.append(data[at : at + n])
        at += n
    return values


def _decode_lattice(data: Buffer, level: int) -> Any:
    if level > _LEVELS_MAX:
        raise CodecError(f"lattices are nested in values of lattices more than {_LEVELS_MAX} levels deep")
    return natural(decode_state(data), lambda value: _decode_buffer(value, level))


def share_modules(ask: Callable[[], Iterable[str]]) -> None:
    """Have it asked, when it matters, from which directories workers import: what this process imports from there, too, travels
    by its name."""
    policy.share(ask)


def decode_definition(data: Buffer) -> Tuple[Any, Optional[ModuleType]]:
    """Return what a function's definition holds, and the ``__main__`` of its program, if the function comes from there."""
    arrived.main = None
    try:
        return decode(data), arrived.main
    finally:
        arrived.main = None


def _failure(data: Union[bytes, memoryview]) -> Exception:
    if len(data) < 5:
        return CodecError("a stored failure is cut off")
    (n,) = _length.unpack_from(data, 1)
    if n > len(data) - 5:
        return CodecError("a stored failure is cut off")
    try:
        error = error_pb2.Error.FromString(bytes(data[5 : 5 + n]))
    except Exception as e:
        return CodecError(f"a stored failure is malformed: {e}")
    rest = data[5 + n :]
    return exception_from(error, [rest] if len(rest) else [])


class StoredValue(bytes):
    """Bytes in a lattice that are an encoded value. A lattice holds nothing but bytes, and others in it are only bytes."""

    __slots__ = ()

    @classmethod
    def of(cls, value: Buffer) -> bytes:
        """Return what stands for an encoded value in a lattice: for bytes, themselves."""
        return bytes(value[1:]) if value[0] == BYTES else cls(value)

    @staticmethod
    def encoded(value: bytes) -> bytes:
        """Return the encoded value that stands in a lattice as these bytes."""
        return bytes(value) if isinstance(value, StoredValue) else encode(bytes(value))

    @staticmethod
    def decoded(value: bytes) -> Any:
        """Return the value that stands in a lattice as these bytes."""
        return decode(bytes(value)) if isinstance(value, StoredValue) else bytes(value)
