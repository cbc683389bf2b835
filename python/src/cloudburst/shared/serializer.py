"""Values as bytes and as lattices, for programs of the published interface that go to the store themselves."""

from __future__ import annotations

import time
from typing import Any, Mapping, Optional

from anna.lattices import (
    Lattice,
    ListBasedOrderedSet,
    LWWPairLattice,
    MapLattice,
    MultiKeyCausalLattice,
    OrderedSetLattice,
    SetLattice,
    SingleKeyCausalLattice,
    VectorClock,
)
from cloudburst import codec
from cloudburst.argument import Argument, Ref, encode_argument
from cloudburst.codec import StoredValue
from cloudburst.errors import InvalidArgumentError
from cloudburst.shared.proto.cloudburst_pb2 import DEFAULT, NUMPY, STRING, Value
from cloudburst.shared.reference import CloudburstReference

__all__ = ["Serializer", "encoded_of"]

_LISTED = (SetLattice, OrderedSetLattice, SingleKeyCausalLattice, MultiKeyCausalLattice)


class Serializer:
    """Makes bytes and lattices of values, and values of them. It has no state, so one object serves a program."""

    def __init__(self, string_format: str = "raw_unicode_escape") -> None:
        """``string_format`` makes no difference: a string is UTF-8, as in the published code."""
        self.string_format = string_format

    def dump(self, data: Any, valobj: Any = None, serialize: bool = True) -> Any:
        """Return a value as bytes, or with ``serialize=False`` as a ``Value`` message.

        A future or a reference becomes a reference. A ``valobj``, a ``Value``, is filled in as well. Raises UnpicklableError,
        naming what in the value cannot travel, and TooLargeError.
        """
        if valobj is not None or not serialize:
            valobj = Value() if valobj is None else valobj
            _fill(valobj, data)
        if not serialize:
            return valobj
        if isinstance(data, Argument) and not isinstance(data, Ref):
            data = CloudburstReference(data.key, True)  # type: ignore[attr-defined]  # a future
        return StoredValue(codec.encode(data))

    def load(self, data: Any) -> Any:
        """Return the value that :meth:`dump` has made bytes or a ``Value`` of.

        Raises CodecError for other bytes, and InvalidArgumentError, a ValueError, for anything else.
        """
        if isinstance(data, (bytes, bytearray, memoryview)):
            return codec.decode(bytes(data))
        if isinstance(data, Value):
            encoded = encoded_of(data)
            if encoded[0] == codec.REFERENCE:
                return CloudburstReference(*codec.decode(bytes((codec.PLAIN,)) + encoded[1:]))
            return codec.decode(encoded)
        raise InvalidArgumentError(f"load takes bytes or a Value, got {type(data).__name__}")

    def dump_lattice(
        self, value: Any, typ: Optional[type] = None, causal_dependencies: Optional[Mapping[str, Any]] = None
    ) -> Lattice:
        """Return a value as a lattice: without ``typ`` a ``set`` as a SetLattice, anything else as a LWWPairLattice.

        Parameters
        ----------
        typ
            One of LWWPairLattice; SetLattice and OrderedSetLattice, for which ``value`` is the members; MapLattice, for which
            it is a dictionary; SingleKeyCausalLattice and MultiKeyCausalLattice, whose clock is one write of "base".
        causal_dependencies
            Of a MultiKeyCausalLattice: vector clocks of other keys, by key.

        The timestamp of a LWWPairLattice is now, in tenths of a second since 1970, as in the published code. Raises
        InvalidArgumentError, a ValueError, for another type.
        """
        if typ is None:
            typ = SetLattice if isinstance(value, set) else LWWPairLattice
        if typ is LWWPairLattice:
            return LWWPairLattice(int(time.time() * 10), self._element(value))
        if typ is SetLattice:
            return SetLattice({self._element(member) for member in value})
        if typ is OrderedSetLattice:
            return OrderedSetLattice(ListBasedOrderedSet([self._element(member) for member in value]))
        if typ is MapLattice:
            return MapLattice({key: self.dump_lattice(held) for key, held in value.items()})
        clock, held = VectorClock({"base": 1}, True), SetLattice({self._element(value)})
        if typ is SingleKeyCausalLattice:
            return SingleKeyCausalLattice(clock, held)
        if typ is MultiKeyCausalLattice:
            return MultiKeyCausalLattice(clock, MapLattice(dict(causal_dependencies or {})), held)
        raise InvalidArgumentError(f"dump_lattice: {typ!r:.100} is not a lattice that holds values")

    def load_lattice(self, lattice: Lattice) -> Any:
        """Return the value of a lattice.

        It is a list for a set, an ordered set (the members without their scores) and a causal lattice, and a dictionary for
        a map.

        Raises InvalidArgumentError, a ValueError, for what is not a lattice.
        """
        if not isinstance(lattice, Lattice):
            raise InvalidArgumentError(f"load_lattice takes a lattice, got {lattice!r:.100}")
        revealed: Any = lattice.reveal()
        if isinstance(lattice, _LISTED):
            return [StoredValue.decoded(member) for member in revealed]
        if isinstance(lattice, MapLattice):
            return {key: self.load_lattice(held) for key, held in revealed.items()}
        return StoredValue.decoded(revealed) if isinstance(revealed, bytes) else revealed

    @staticmethod
    def _element(value: Any) -> bytes:
        return StoredValue.of(codec.encode(value))


def _fill(message: Any, data: Any) -> None:
    if type(data) is str:
        try:
            message.body, message.type = data.encode(), STRING
            return
        except UnicodeEncodeError:  # lone surrogates: not UTF-8
            pass
    encoded = codec.join(encode_argument(data))
    message.body, message.type = encoded, NUMPY if encoded[0] == codec.ARRAY else DEFAULT


def encoded_of(message: Any) -> bytes:
    """Return the encoded value that a ``Value`` stands for. A body that is neither encoded nor a pickle is bytes."""
    body = bytes(message.body)
    if message.type == STRING:
        return codec.encode(body.decode())
    if body[:1] == b"\x80":  # a pickle that the program has made itself
        return bytes((codec.PICKLE,)) + body
    return body if body and body[0] <= codec.SEQUENCE else codec.encode(body)
