"""Lattices as messages and values: the golden states of Go, and what comes back of what is sent."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import assume, given
from hypothesis import strategies as st

from anna import _state, cells
from anna.lattices import (
    CounterLattice,
    Lattice,
    ListBasedOrderedSet,
    LWWPairLattice,
    MapLattice,
    MaxIntLattice,
    MultiKeyCausalLattice,
    OrderedSetLattice,
    PriorityLattice,
    SetLattice,
    SingleKeyCausalLattice,
    VectorClock,
)
from cloudburst import codec
from cloudburst.codec import StoredValue
from cloudburst.errors import CodecError, InvalidArgumentError, TooLargeError
from cloudburst.v1 import store_pb2
from test_lattices import kinds, unhurried

STATES = sorted((Path(__file__).resolve().parents[2] / "wire" / "testdata" / "states").glob("*.json"))


def _listed(value: Any) -> Any:
    """A value as the golden files have it."""
    if isinstance(value, bytes):
        return {"bytes": value.decode()}
    if isinstance(value, (list, tuple)):
        return [_listed(element) for element in value]
    if isinstance(value, dict):
        return {key: _listed(element) for key, element in value.items()}
    return value


def test_there_are_golden_states() -> None:
    assert len(STATES) > 10


@pytest.mark.parametrize("path", STATES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    golden = json.loads(path.read_text("utf-8"))
    data = bytes.fromhex(golden["hex"])
    state = json_format.Parse(json.dumps(golden["state"]), store_pb2.State())
    assert store_pb2.State.FromString(data) == state
    assert state.SerializeToString() == data

    value = b"\x08" + data
    assert _listed(codec.decode(value)) == golden["value"]
    assert _listed(codec.decode(memoryview(bytearray(value)))) == golden["value"]
    assert codec.encode_state(codec.decode_state(value)) == value

    lattice = _state.decode(state)
    assert (lattice is None) == (golden["value"] is None)
    if lattice is not None:
        assert _state.decode(_state.encode(lattice)) == lattice
        assert codec.decode(codec.encode_state(_state.encode(lattice))) == codec.decode(value)


@pytest.mark.parametrize("kind", [k for k in kinds if k is not VectorClock], ids=lambda kind: kind.__name__)
def test_what_is_put_comes_back(kind: Any) -> None:
    @unhurried
    @given(kinds[kind])
    def check(lattice: Any) -> None:
        if kind is MapLattice:
            lattice.mp.pop("VectorClock", None)
            lattice.mp = {key: held for key, held in lattice.mp.items() if _shows(held)}
        assume(_shows(lattice))
        if kind is MultiKeyCausalLattice:
            assume(lattice.dependencies.mp)
        if kind is MapLattice:
            multi = lattice.mp.get("MultiKeyCausalLattice")
            assume(multi is None or multi.dependencies.mp)
        assert _state.decode(_state.encode(lattice)) == lattice
        cell, values = cells.cell_of("k", lattice)
        assert cell.key == "k" and cell.type == _state.type_of(lattice) and cell.values == len(values)
        back = cells.lattice_of(cell, [codec.join(value) for value in values])
        assert back == lattice
        assert len(values) == 1 or kind is SetLattice

    check()


def _shows(lattice: Any) -> bool:
    if isinstance(lattice, (SingleKeyCausalLattice, MultiKeyCausalLattice)):
        return bool(lattice.versions())
    return not isinstance(lattice, (SetLattice, OrderedSetLattice, MapLattice, CounterLattice)) or bool(
        lattice.counts if isinstance(lattice, CounterLattice) else lattice.reveal()
    )


def test_values_in_lattices_are_values() -> None:
    number = StoredValue(codec.encode(42))
    state = _state.encode(SetLattice({number, b"text"}))
    assert codec.decode(codec.encode_state(state)) == [42, b"text"]
    back: Any = _state.decode(state)
    assert back.reveal() == {number, b"text"}
    assert sorted(type(value).__name__ for value in back.reveal()) == ["StoredValue", "bytes"]
    ordered = OrderedSetLattice(ListBasedOrderedSet([b"z"]), {StoredValue(codec.encode("a")): 1.5})
    assert codec.decode(codec.encode_state(_state.encode(ordered))) == [(b"z", 0.0), ("a", 1.5)]
    causal = SingleKeyCausalLattice(VectorClock({"w": 1}, True), SetLattice({b"b", b"a"}))
    assert codec.decode(codec.encode_state(_state.encode(causal))) == b"a"
    inner = StoredValue(codec.encode_state(_state.encode(MaxIntLattice(7))))
    assert codec.decode(codec.encode_state(_state.encode(PriorityLattice(1, inner)))) == 7


def test_timestamps_are_as_they_are() -> None:
    cell, _ = cells.cell_of("k", LWWPairLattice(1234, b"v"))
    assert (cell.timestamp.time, cell.timestamp.writer) == (1234, 0)
    cell, _ = cells.cell_of("k", LWWPairLattice(0, b"v"))
    assert (cell.timestamp.time, cell.timestamp.writer) == (0, 1), "a stamp of nothing but zeros is none"


def test_the_last_thing_that_happened_to_a_member_counts() -> None:
    state = store_pb2.State()
    for time, removed in ((1, False), (3, True), (2, False)):
        state.set.members.add(value=b"\x04m", removed=removed).timestamp.time = time
    assert _state.decode(state) is None and codec.decode(codec.encode_state(state)) is None
    state.set.members.add(value=b"\x04m").timestamp.time = 4
    assert codec.decode(codec.encode_state(state)) == [b"m"]


@pytest.mark.parametrize(
    "lattice",
    [
        SetLattice({"text"}),
        LWWPairLattice(-1, b""),
        LWWPairLattice(1 << 64, b""),
        MaxIntLattice(1 << 63),
        MapLattice({"a": 1}),
        MapLattice({1: MaxIntLattice(1)}),
        MapLattice({"a": VectorClock({})}),
        VectorClock({}),
        SingleKeyCausalLattice(VectorClock({"a": -1}, True), SetLattice({b"v"})),
    ],
    ids=repr,
)
def test_what_does_not_travel(lattice: Lattice) -> None:
    with pytest.raises(InvalidArgumentError):
        cells.cell_of("k", lattice)


def test_nesting_is_bounded() -> None:
    lattice: Any = MaxIntLattice(1)
    for _ in range(16):
        lattice = MapLattice({"f": lattice})
    assert _state.decode(_state.encode(lattice)) == lattice
    with pytest.raises(TooLargeError):
        _state.encode(MapLattice({"f": lattice}))
    value = codec.encode(1)
    for _ in range(8):
        value = codec.encode_state(_state.encode(LWWPairLattice(1, StoredValue(value))))
    assert codec.decode(value) == 1
    value = codec.encode_state(_state.encode(LWWPairLattice(1, StoredValue(value))))
    with pytest.raises(CodecError):
        codec.decode(value)


@unhurried
@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_an_error(data: bytes) -> None:
    with contextlib.suppress(CodecError):
        codec.decode(b"\x08" + data)
    with contextlib.suppress(InvalidArgumentError):
        _state.decode(codec.decode_state(b"\x08" + data))


def test_a_cell_that_is_no_lattice() -> None:
    cell = store_pb2.Cell(key="k", type=store_pb2.LATTICE_TYPE_MAX, values=1)
    with pytest.raises(CodecError):
        cells.lattice_of(cell, [b"\x01\x01"])
