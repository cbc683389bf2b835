"""Values as bytes and as lattices, for programs of the published interface that go to the store themselves."""

from __future__ import annotations

import time
from typing import Any

from anna.lattices import Lattice, LWWPairLattice, SetLattice
from cloudburst import codec
from cloudburst.codec import StoredValue
from cloudburst.errors import UnsupportedError

__all__ = ["Serializer"]


class Serializer:
    """Makes bytes and lattices of values, and values of them. It has no state."""

    def dump(self, data: Any, valobj: Any = None, serialize: bool = True) -> bytes:
        """Return a value as bytes. Raises UnpicklableError, naming what in it cannot travel, and TooLargeError."""
        if valobj is not None or not serialize:
            raise UnsupportedError(
                "a value is bytes here, and no message that could be filled in; leave out valobj and serialize"
            )
        return StoredValue(codec.encode(data))

    def load(self, data: bytes) -> Any:
        """Return the value that :meth:`dump` has made bytes of. Raises CodecError for others."""
        return codec.decode(bytes(data))

    def dump_lattice(self, value: Any, typ: Any = None, causal_dependencies: Any = None) -> Lattice:
        """Return a value as the lattice that it is stored as: a ``set`` as one, anything else as the last writer's.

        Its timestamp is now, as the store counts: microseconds since 1970, times 4096.
        """
        if typ is not None or causal_dependencies:
            raise UnsupportedError("the kind of lattice follows from the value, and causal ones are not there yet")
        if type(value) is set:
            return SetLattice({StoredValue.of(codec.encode(element)) for element in value})
        return LWWPairLattice(time.time_ns() // 1000 << 12, StoredValue.of(codec.encode(value)))

    def load_lattice(self, lattice: Lattice) -> Any:
        """Return the value of a lattice; that of a set is a list."""
        revealed: Any = lattice.reveal()
        if isinstance(lattice, LWWPairLattice):
            return StoredValue.decoded(revealed)
        if isinstance(lattice, SetLattice):
            return [StoredValue.decoded(element) for element in revealed]
        return revealed
