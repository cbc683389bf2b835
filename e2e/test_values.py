"""Values go through a function and through the store and come back as they were."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import fractions
import math
import uuid
from typing import Any, Callable

import numpy as np
import pandas as pd
import pytest

import cloudburst
from cloudburst.client.client import CloudburstConnection


@dataclasses.dataclass
class Point:
    x: int
    y: list[int] = dataclasses.field(default_factory=list)


def closure(n: int) -> Callable[[int], int]:
    return lambda x: x + n


VALUES = [
    0,
    -1,
    2**63,
    -(2**64),
    2**1000 + 1,
    True,
    None,
    0.1,
    -0.0,
    math.inf,
    "",
    "plain",
    "Zürich 🌩 \x00",
    b"",
    b"\x00\xff",
    bytearray(b"ab"),
    1 + 2j,
    [],
    [1, "two", [3.0, None]],
    {},
    {"a": 1, 2: "b", (1, 2): [3], None: {}},
    (),
    (1,),
    (1, (2, [3])),
    {1, "a"},
    frozenset({1, 2}),
    range(3),
    decimal.Decimal("1.10"),
    fractions.Fraction(1, 3),
    datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc),
    uuid.UUID(int=7),
    Point(1, [2, 3]),
]

ARRAYS = [
    np.arange(6, dtype="int8").reshape(2, 3),
    np.arange(6, dtype="<f4").reshape(3, 2).T,
    np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
    np.arange(10)[::-2],
    np.array(3.5),
    np.zeros((0, 4)),
    np.zeros((3, 0), dtype="float16"),
    np.array([1, 2], dtype=">i8"),
    np.array([True, False]),
    np.array([1 + 2j]),
    np.array(["a", "bcd"]),
    np.array([b"x", b"yz"]),
    np.array(["2024-02-29", "NaT"], dtype="datetime64[D]"),
    np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    np.array([{"any": "object"}, None], dtype=object),
    np.random.default_rng(1).random((300, 400)),
]


@pytest.fixture(scope="module")
def echo(node: Any) -> Any:
    return cloudburst.connect().function(lambda x: x, name="values-echo").remote


def same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    return (type(a) is type(b) and a == b and repr(a) == repr(b)) or (isinstance(a, (set, frozenset)) and a == b)


@pytest.mark.parametrize("value", VALUES, ids=lambda v: f"{type(v).__name__}")
def test_values(cloud: CloudburstConnection, echo: Any, name: str, value: Any) -> None:
    assert same(echo(value).get(), value)
    assert same(echo([value, {"inside": value}]).get(), [value, {"inside": value}])
    cloud.put_object(name, value)
    stored = cloud.get_object(name)
    if isinstance(value, set):
        assert isinstance(stored, list), "a set is stored as a set lattice and read back as a list"
        assert set(stored) == value
    else:
        assert same(stored, value)


def test_an_empty_set_adds_nothing(cloud: CloudburstConnection, echo: Any, name: str) -> None:
    """As a value it is one; put into the store it joins the set that is there, like any other."""
    assert echo(set()).get() == set()
    cloud.put_object(name, {1})
    cloud.put_object(name, set())
    assert cloud.get_object(name) == [1]


def test_not_a_number(echo: Any) -> None:
    assert math.isnan(echo(math.nan).get())


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype.str}{a.shape}")
def test_arrays(cloud: CloudburstConnection, echo: Any, name: str, array: Any) -> None:
    cloud.put_object(name, array)
    for back in (echo(array).get(), cloud.get_object(name)):
        assert back.dtype == array.dtype
        assert back.shape == array.shape
        np.testing.assert_array_equal(back, array)
        if array.flags.f_contiguous and not array.flags.c_contiguous:
            assert back.flags.f_contiguous, "the order of elements in memory is kept"
    np.testing.assert_array_equal(echo([array]).get()[0], array)


def test_what_a_function_gets_can_be_changed(cloud: CloudburstConnection, name: str) -> None:
    def add_one(library: Any, x: Any) -> Any:
        x += 1
        return x

    array = np.arange(100_000.0)
    np.testing.assert_array_equal(cloud.register(add_one, name)(array).get(), array + 1)


def test_data_frames(cloud: CloudburstConnection, echo: Any, name: str) -> None:
    frame = pd.DataFrame({"n": [1, 2, 3], "text": ["a", None, "ü"], "when": pd.date_range("2024-01-01", periods=3)})
    cloud.put_object(name, frame)
    pd.testing.assert_frame_equal(echo(frame).get(), frame)
    pd.testing.assert_frame_equal(cloud.get_object(name), frame)
    pd.testing.assert_series_equal(echo(frame["n"]).get(), frame["n"])


def test_functions_are_values(cloud: CloudburstConnection, echo: Any, name: str) -> None:
    apply = cloud.register(lambda _, f, x: f(x), name)
    assert apply(closure(10), 5).get() == 15
    assert echo(closure(10)).get()(1) == 11


def test_exceptions_are_values(echo: Any) -> None:
    try:
        dict[str, int]()["missing"]
    except KeyError as raised:
        back = echo(raised).get()
    assert isinstance(back, KeyError)
    assert back.args == ("missing",)


def test_a_chain_does_not_share_what_it_passes_on(cloud: CloudburstConnection, name: str) -> None:
    """A value means the same whether the functions of a DAG run in one worker or in several."""

    def grow(library: Any, values: list[int]) -> tuple[list[int], int]:
        values.append(len(values))
        return values, len(values)

    def count(library: Any, values: list[int], length: int) -> tuple[int, int]:
        return len(values), length

    cloud.register(grow, f"{name}-grow")
    cloud.register(count, f"{name}-count")
    names = [f"{name}-grow", f"{name}-count"]
    assert cloud.register_dag(name, names, [(names[0], names[1])]) == (True, 0)
    assert cloud.call_dag(name, {names[0]: [[7]]}).get() == (2, 2)
