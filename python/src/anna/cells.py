"""Lattices as they travel: cells and their values."""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

from anna import _state
from anna.lattices import Lattice, LWWPairLattice, SetLattice
from cloudburst import codec
from cloudburst.codec import Buffer, Encoded, StoredValue
from cloudburst.errors import CodecError
from cloudburst.v1 import store_pb2

__all__ = ["cell_of", "lattice_of"]


def cell_of(key: str, lattice: Lattice) -> Tuple[store_pb2.Cell, List[Encoded]]:
    """Return what a put of a lattice sends. Raises InvalidArgumentError for contents that do not travel, and TooLargeError."""
    cell = store_pb2.Cell(key=key, type=_state.type_of(lattice))
    state = _state.encode(lattice)
    values: List[Encoded]
    if state.HasField("lww"):
        values = [state.lww.value]
        cell.timestamp.CopyFrom(state.lww.timestamp)
    elif state.HasField("set"):
        values = [member.value for member in state.set.members]
    else:
        values = [codec.encode_state(state)]
    for value in values:
        codec.check_size(value, f"a value of the lattice for key {key!r:.100}")
    cell.values = len(values)
    return cell, values


def lattice_of(cell: store_pb2.Cell, values: Sequence[Buffer]) -> Optional[Lattice]:
    """Return the lattice of a cell that is there; None where it has nothing to show. Raises CodecError."""
    if cell.type == store_pb2.LATTICE_TYPE_LWW:
        return LWWPairLattice(cell.timestamp.time, StoredValue.of(values[0]))
    if cell.type == store_pb2.LATTICE_TYPE_SET:
        return SetLattice({StoredValue.of(value) for value in values})
    if len(values[0]) == 0 or values[0][0] != codec.LATTICE:
        raise CodecError(f"the value under {cell.key!r:.100} is not one of a lattice")
    return _state.decode(codec.decode_state(values[0]))
