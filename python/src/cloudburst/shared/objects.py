"""Objects, as the published interface stores and reads them: by ``put_object``, ``get_object`` and the user library."""

from __future__ import annotations

import sys
from typing import Any, List, Optional, Sequence, Tuple

from cloudburst import codec
from cloudburst.cells import check_key, lifetime, new_cell
from cloudburst.codec import Buffer, Encoded
from cloudburst.v1 import store_pb2

__all__ = ["new_object", "object_of"]


def new_object(key: str, value: Any, ttl: Optional[float] = None) -> Tuple[store_pb2.Cell, List[Encoded]]:
    """Return what a put of an object sends.

    A ``set`` joins the set lattice that is there. A lattice is a value like any other: it is read back as the lattice that it
    is, and the last one that is put replaces the others. ``ttl`` is in seconds. Raises InvalidArgumentError, UnpicklableError
    or TooLargeError.
    """
    if isinstance(value, set):
        check_key(key)
        values = [codec.encode_parts(member) for member in value]
        cell = store_pb2.Cell(key=key, type=store_pb2.LATTICE_TYPE_SET, values=len(values), ttl_milliseconds=lifetime(ttl))
        return cell, values
    lattices = sys.modules.get("anna.lattices")  # a program that has a lattice has loaded them
    if lattices is None or not isinstance(value, lattices.Lattice):
        return new_cell(key, value, ttl)
    check_key(key)
    encoded = codec.encode_pickle(value)
    cell = store_pb2.Cell(key=key, type=store_pb2.LATTICE_TYPE_LWW, values=1, ttl_milliseconds=lifetime(ttl))
    return cell, [encoded]


def object_of(cell: store_pb2.Cell, values: Sequence[Buffer]) -> Any:
    """Return what a cell that is there reads as: a list for sets and for concurrent versions, else the value.

    Raises CodecError, or what the run failed with whose result it is.
    """
    if cell.type == store_pb2.LATTICE_TYPE_LWW:
        value = codec.decode(values[0])
        return list(value) if type(value) is set else value
    if cell.type == store_pb2.LATTICE_TYPE_SET:
        return [codec.decode(value) for value in values]
    from anna.cells import lattice_of  # rare, so that a worker does not load them for nothing
    from cloudburst.shared.serializer import Serializer

    lattice = lattice_of(cell, values)
    return None if lattice is None else Serializer().load_lattice(lattice)
