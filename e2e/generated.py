"""Values and small programs, made up by Hypothesis, and the comparison of what a call gives here and on a node."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, Dict, List, NamedTuple, Tuple

from hypothesis import strategies as st

# Values.


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: Any


class Named(NamedTuple):
    a: Any
    b: Any = 1


class Colour(enum.Enum):
    RED = 1
    BLUE = 2
    CRIMSON = 1


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held


class Listed(list):  # type: ignore[type-arg]
    pass


class Failed(Exception):
    def __init__(self, code: Any, *, detail: Any) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


KEYS = st.one_of(st.integers(), st.text(max_size=8), st.booleans(), st.none(), st.tuples(st.integers(), st.text(max_size=3)))
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.text(max_size=30),
    st.binary(max_size=30),
    st.datetimes(),
    st.decimals(allow_nan=False),
    st.sampled_from(Colour),
    st.sampled_from([int, len, Point, Colour, Ellipsis, range(3)]),
)


def _holders(inner: Any) -> Any:
    return st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.frozensets(KEYS, max_size=4),
        st.sets(KEYS, max_size=4),
        st.tuples(inner, inner).map(lambda both: Point(*both)),
        inner.map(Frozen),
        inner.map(Named),
        inner.map(Slotted),
        st.lists(inner, max_size=3).map(Listed),
        st.tuples(inner, inner).map(lambda both: Failed(both[0], detail=both[1])),
        inner.map(lambda value: [value, value]),  # the same object twice
        inner.map(lambda value: {"a": [value], "b": (value,)}),
    )


VALUES = st.recursive(LEAVES, _holders, max_leaves=12)


def alike(here: Any, there: Any, met: Dict[int, Any]) -> bool:
    """Report whether two values have the same types and contents, and the same objects in the same places."""
    if type(here) is not type(there):
        return False
    if type(here) in (list, dict, set, Listed, Point, Slotted, Failed):  # what can be changed
        if id(here) in met:
            return met[id(here)] is there
        met[id(here)] = there
    if isinstance(here, dict):
        return list(here) == list(there) and all(alike(value, there[key], met) for key, value in here.items())
    if isinstance(here, (list, tuple)):
        return len(here) == len(there) and all(alike(a, b, met) for a, b in zip(here, there))
    if isinstance(here, (set, frozenset)):  # their order is not kept
        return here == there and sorted(map(repr, here)) == sorted(map(repr, there))
    if isinstance(here, (Point, Frozen)):
        return all(alike(getattr(here, f.name), getattr(there, f.name), met) for f in dataclasses.fields(here))
    if isinstance(here, Slotted):
        return alike(here.held, there.held, met) and not hasattr(there, "__dict__")
    if isinstance(here, BaseException):
        return str(here) == str(there) and alike(here.args, there.args, met) and alike(vars(here), vars(there), met)
    if isinstance(here, (enum.Enum, type)) or callable(here):
        return here is there
    return bool(here == there and repr(here) == repr(there))


# Programs. What main(a, b) returns or raises depends on every part of them.

_NUMBERS = st.integers(-3, 9)
_BODIES = (
    "{x} + {y}",
    "{x} * {c} - {y}",
    "({x}, {y})",
    "[{y}] * ({c} % 4)",
    "{{'k': {x}}}",
    "f'{{{x}}}-{{{y}}}'",
    "{x} // {c}",
)
_DECORATORS = ("", "@functools.lru_cache(maxsize=None)\n", "@traced\n")
_CLASSES = (
    "class {n}{b}:\n    level = {c}\n    def __init__(self, v): self.v = v\n    def act(self, y): return {e}\n",
    "class {n}{b}:\n    __slots__ = ('v',)\n    level = {c}\n    def __init__(self, v): self.v = v\n"
    "    def act(self, y): return {e}\n",
    "@dataclasses.dataclass\nclass {n}{b}:\n    v: object = {c}\n    level = {c}\n    def act(self, y): return {e}\n",
    "class {n}{b}:\n    level = {c}\n    def __init__(self, v): self._v = v\n    @property\n    def v(self): return self._v\n"
    "    @classmethod\n    def made(cls, v): return cls(v)\n    @staticmethod\n    def plain(y): return y\n"
    "    def act(self, y): return type(self).made(self.plain(self.v)).level, {e}\n",
    "class {n}{b}:\n    level = {c}\n    def __init__(self, v): super().__init__(); self.v = v\n"
    "    def act(self, y): return __class__.__name__, {e}\n",
)
_ERRORS = (
    "class {n}(Exception): pass\n",
    "class {n}(Exception):\n    def __init__(self, a, b={c}): super().__init__(f'{{a}} and {{b}}'); self.a = a\n",
    "class {n}(ValueError):\n    def __init__(self, a, *, b={c}): super().__init__(a, b); self.b = b\n",
    "class {n}(OSError):\n    def __init__(self, a): super().__init__({c}, 'why', str(a)); self.a = a\n",
    "class {n}(KeyError):\n    code = {c}\n    def __init__(self, a): self.a = a\n",
)
_HEAD = """import dataclasses, enum, functools
def traced(f):
    @functools.wraps(f)
    def inner(*a, **k): return f.__name__, f(*a, **k)
    return inner
class Kind(enum.Enum):
    ONE = 1
    TWO = 2
    UNO = 1
    @property
    def twice(self): return self.value * 2
"""


@st.composite
def programs(draw: Any) -> str:
    """A program with functions that call each other, closures, defaults, classes and exceptions."""
    lines: List[str] = [_HEAD]
    calls: List[str] = ["Kind({c} % 2 + 1).twice", "len(Kind)"]  # what an expression can be, with {c} for a number

    def number() -> int:
        return int(draw(_NUMBERS))

    def expression(x: str, y: str) -> str:
        chosen = draw(st.sampled_from(calls)).format(c=number(), x=x)
        return str(draw(st.sampled_from(_BODIES))).format(x=draw(st.sampled_from([x, chosen])), y=y, c=number())

    for i in range(draw(st.integers(0, 2))):
        lines.append(f"G{i} = {draw(st.sampled_from([number(), [number()], {'g': number()}, 'text']))!r}\n")
        calls.append(f"G{i}")
    for i in range(draw(st.integers(0, 2))):
        lines.append(draw(st.sampled_from(_ERRORS)).format(n=f"E{i}", c=number()))
        lines.append(f"def fail{i}(x):\n    if x == {number()}: raise E{i}(x)\n    return x\n")
        calls.append(f"fail{i}({{c}})")
    for i in range(draw(st.integers(0, 3))):
        base = f"(C{i - 1})" if i and draw(st.booleans()) and "@dataclasses" not in lines[-1] else ""
        made = draw(st.sampled_from(_CLASSES))
        lines.append(made.format(n=f"C{i}", b=base if "super()" not in made else "", c=number(), e=expression("self.v", "y")))
        calls += [f"C{i}({{c}}).act({{x}})", f"C{i}.level"]
    for i in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["plain", "closure", "recursive", "lambda", "partial"]))
        if kind == "plain":
            decorator = draw(st.sampled_from(_DECORATORS))
            lines.append(f"{decorator}def f{i}(x, y={number()}, *, z={number()}): return {expression('x', 'y')}, z\n")
        elif kind == "closure":
            body = expression("x", "n")
            lines.append(
                f"def make{i}(n):\n    def inner(x):\n        nonlocal n\n        n += 1\n"
                f"        return {body}\n    return inner\n"
            )
            lines.append(f"f{i} = make{i}({number()})\n")
        elif kind == "recursive":
            step = f"f{i}(x - 1)" if draw(st.booleans()) else f"g{i}(x - 1)"
            lines.append(f"def f{i}(x): return [{expression('x', '1')}] if not isinstance(x, int) or x < 1 else [x, {step}]\n")
            lines.append(f"def g{i}(x): return f{i}(x)\n")
        elif kind == "lambda":
            lines.append(f"f{i} = (lambda x, y={number()}: {expression('x', 'y')})\n")
        else:
            lines.append(f"f{i} = functools.partial(lambda y, x: {expression('x', 'y')}, {number()})\n")
        calls.append(f"f{i}({{c}})")
    results = ", ".join(expression("a", "b") for _ in range(draw(st.integers(1, 3))))
    caught = draw(st.sampled_from(["", "KeyError", "TypeError"]))
    if caught:
        lines.append(f"def main(a, b):\n    try: return [{results}]\n    except {caught} as e: raise RuntimeError(a) from e\n")
    else:
        lines.append(f"def main(a, b): return [{results}]\n")
    return "".join(lines)


def outcome(call: Any) -> Tuple[Any, ...]:
    """Return what a call gives: its result, or what it raises."""
    try:
        result = call()
    except Exception as e:
        return "raised", described(e)
    return "returned", type(result), repr(result)


def described(exception: Any, levels: int = 3) -> Any:
    """What there is to compare of an exception."""
    if exception is None or levels == 0 or type(exception).__name__ == "RemoteTraceback":
        return None
    causes = [described(each, levels - 1) for each in (exception.__cause__, exception.__context__)]
    return type(exception), exception.args, str(exception), repr(vars(exception)), causes
