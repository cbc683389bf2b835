"""Small programs, as sources: they run on a node as they run here."""

from __future__ import annotations

from typing import Dict

# Each has a function main() whose result is the same here and there.
WORKS: Dict[str, str] = {
    "lru": r"""
import functools
@functools.lru_cache(maxsize=None)
def square(n): return n*n
def main(n=4): return sum(map(square, range(n))), square.cache_parameters()
""",
    "lru_recursive": r"""
import functools
@functools.cache
def fib(n): return n if n < 2 else fib(n-1)+fib(n-2)
def main(): return fib(60)
""",
    "lru_method": r"""
import functools
class A:
    @functools.lru_cache(maxsize=8)
    def m(self, x): return x+1
    @functools.cached_property
    def p(self): return 7
def main(): a=A(); return a.m(1), a.p, a.p
""",
    "singledispatch": r"""
import functools
@functools.singledispatch
def d(x): return "any"
@d.register
def _(x: int): return "int"
@d.register(list)
def _(x): return "list"
def main(): return d(1), d([]), d("")
""",
    "singledispatchmethod": r"""
import functools
class A:
    @functools.singledispatchmethod
    def d(self, x): return "any"
    @d.register
    def _(self, x: int): return "int"
def main(): return A().d(1), A().d("")
""",
    "partial": r"""
import functools
def g(a, b, *, c=1): return a, b, c
h = functools.partial(g, 1, c=5)
def main(): return h(2)
""",
    "slots": r"""
class A:
    __slots__ = ("x",)
    def __init__(self): self.x = 1
class B(A):
    __slots__ = ()
def main():
    a = A(); b = B()
    out = [hasattr(a, "__dict__"), hasattr(b, "__dict__"), A.__slots__, B.__slots__, a.x]
    try: b.zz = 1
    except AttributeError: out.append("refused")
    return out
""",
    "dataclass_slots": r"""
import dataclasses
@dataclasses.dataclass(frozen=True, slots=True)
class A:
    x: int
    y: list = dataclasses.field(default_factory=list)
def main():
    a = A(1)
    return (dataclasses.asdict(a), hasattr(a, "__dict__"), dataclasses.replace(a, x=2).x,
        [f.name for f in dataclasses.fields(A)], a == A(1), hash(A(1,())) == hash(A(1,())))
""",
    "override_same": r"""
class A: v = 1
class B(A): v = 1
def main():
    A.v = 2
    r = B.v, "v" in vars(B)
    A.v = 1
    return r
""",
    "init_subclass_kw": r"""
class Base:
    known = []
    def __init_subclass__(cls, /, arg, **kw):
        super().__init_subclass__(**kw); cls.arg = arg; Base.known.append(cls.__name__)
class Child(Base, arg="hello"): pass
def main(): return Child.arg, Base.known
""",
    "init_subclass_registry": r"""
class Base:
    known = {}
    def __init_subclass__(cls, **kw):
        super().__init_subclass__(**kw)
        if cls.__name__ in Base.known: raise ValueError("twice")
        Base.known[cls.__name__] = cls
class Child(Base): pass
def main():
    return (sorted(Base.known), Base.known["Child"] is Child, [c.__name__ for c in Base.__subclasses__()],
        isinstance(Base.known["Child"](), Base))
""",
    "metaclass": r"""
class M(type):
    made = []
    def __new__(m, name, bases, ns, **kw):
        cls = super().__new__(m, name, bases, ns); M.made.append(name); return cls
    def __init__(cls, name, bases, ns, **kw):
        super().__init__(name, bases, ns); cls.kw = kw
    def __call__(cls, *a):
        o = super().__call__(*a); o.called = True; return o
    @property
    def up(cls): return cls.__name__.upper()
class A(metaclass=M, k=1): pass
def main(): return A.up, A.kw, M.made, A().called, type(A) is M
""",
    "abc": r"""
import abc
class S(abc.ABC):
    @abc.abstractmethod
    def go(self): ...
class C(S):
    def go(self): return super().go()
@S.register
class V: pass
def main():
    try: S(); r = "made"
    except TypeError as e: r = "abstract"
    return r, isinstance(V(), S), C().go(), isinstance(C(), S), S.__abstractmethods__
""",
    "enum": r"""
import enum
class Color(enum.Enum):
    RED = 1
    BLUE = 2
    CRIMSON = 1
    def shout(self): return self.name
    @classmethod
    def default(cls): return cls.BLUE
class F(enum.Flag):
    A = enum.auto(); B = enum.auto()
class S(str, enum.Enum):
    X = "x"
def main(c=Color.RED, f=F.A|F.B, s=S.X): return c is Color.RED, Color.CRIMSON is c, c.shout(), Color.default(), f, \
        f == F.A|F.B, s, s == "x", list(Color)
""",
    "namedtuple": r"""
import collections, typing
N = collections.namedtuple("N", "a b", defaults=(3,))
class T(typing.NamedTuple):
    x: int
    y: str = "q"
    def both(self): return self.x, self.y
def main(n=N(1), t=T(1)): return n, t, t.both(), n._replace(a=9), type(n) is N, isinstance(t, T)
""",
    "generic": r"""
from typing import Generic, TypeVar, TypedDict, Protocol, runtime_checkable, NewType, Optional
T = TypeVar("T")
class Box(Generic[T]):
    def __init__(self, v: T): self.v = v
class IntBox(Box[int]): pass
class D(TypedDict, total=False):
    a: int
@runtime_checkable
class P(Protocol):
    def go(self) -> int: ...
class G:
    def go(self): return 1
UserId = NewType("UserId", int)
def main(x: Optional[Box[int]] = None):
    return (Box(1).v, IntBox(2).v, D(a=1), isinstance(G(), P), isinstance(3, P), UserId(4), Box[int](5).v,
        D.__total__)
""",
    "newtype_as_hint": r"""
from typing import NewType, List
UserId = NewType("UserId", int)
def main(x: UserId = UserId(1), y: List[UserId] = ()) -> UserId: return x
""",
    "paramspec": r"""
try:
    from typing import ParamSpec, TypeVar, Callable
except ImportError:
    from typing_extensions import ParamSpec
P_ = ParamSpec("P_"); R = TypeVar("R")
def deco(f: "Callable[P_, R]") -> "Callable[P_, R]":
    def inner(*a: P_.args, **k: P_.kwargs): return f(*a, **k)
    return inner
@deco
def main(x=1): return x, P_.__name__
""",
    "super": r"""
class A:
    def f(self): return ["A"]
class B(A):
    def f(self): return super().f() + ["B"]
class C(B):
    def f(self):
        return [x for x in super(C, self).f()] + [__class__.__name__]
def main(): return C().f()
""",
    "nested": r"""
class Out:
    class In:
        v = 1
        def up(self): return Out
    def make(self): return self.In()
def main(): return Out().make().v, Out.In().up() is Out, Out.In.__qualname__
""",
    "local_class": r"""
def factory(n):
    class L:
        k = n
        def get(self): return n + self.k
    return L
A, B = factory(1), factory(2)
def main(): return A().get(), B().get(), A is not B, isinstance(A(), B)
""",
    "mutual": r"""
def even(n): return n == 0 or odd(n-1)
def odd(n): return n != 0 and even(n-1)
def main(n=9): return even(n), odd(n)
""",
    "closure_counter": r"""
def counter():
    n = 0
    def up():
        nonlocal n
        n += 1
        return n
    return up
up = counter()
def main(): return up(), up()
""",
    "globals_changed": r"""
n = 5
def main():
    global n
    n += 1
    r = n
    n -= 1
    return r
""",
    "stdout_default": r"""
import sys
OUT = sys.stdout
def main(out=sys.stdout, err=sys.stderr): print("hi", file=out); print("x", file=OUT); return 1
""",
    "logger": r"""
import logging
log = logging.getLogger("mine")
def main(): log.warning("x"); return log.name
""",
    "property": r"""
class A:
    def __init__(self): self._x = 1
    @property
    def x(self): return self._x
    @x.setter
    def x(self, v): self._x = v
    @staticmethod
    def s(a): return a
    @classmethod
    def c(cls): return cls.__name__
def main(): a = A(); a.x = 5; return a.x, A.s(1), a.c()
""",
    "descriptor": r"""
class D:
    def __set_name__(self, owner, name): self.n = name
    def __get__(self, o, t): return self.n
class A: field = D()
def main(): return A().field
""",
    "function_attr": r"""
def main():
    return main.n
main.n = 5
""",
    "kw_names": r"""
def main(self=1, key=2, timeout=3, name=4, args=5, kwargs=6, library=7, function=8):
    return (self, key, timeout, name, args, kwargs, library, function)
""",
    "bound_method": r"""
class A:
    def __init__(self, n): self.n = n
    def go(self, x=1): return self.n + x
main = A(3).go
""",
    "callable_object": r"""
class A:
    def __call__(self, x=1): return x + 1
main = A(); main.__name__ = "callable"
""",
    "lambda_default": r"""
fs = [lambda i=i: i for i in range(3)]
def main(): return [f() for f in fs]
""",
    "wraps": r"""
import functools
def deco(f):
    @functools.wraps(f)
    def inner(*a, **k): return ["in", f(*a, **k)]
    return inner
@deco
def main(x=2): return x
""",
    "pickle_inside": r"""
import copy, pickle
class A:
    def __init__(self): self.x = [1]
def main(given=A()):
    back = pickle.loads(pickle.dumps([A(), given, main]))
    return [type(each) is A for each in back[:2]], back[2] is main, copy.deepcopy(A()).x
""",
    "class_getattr": r"""
class Meta(type):
    def __getattr__(cls, n): return n
class A(metaclass=Meta): pass
def main(): return A.foo
""",
    "setattr_meta": r"""
class Meta(type):
    def __setattr__(cls, n, v): raise TypeError("frozen")
class A(metaclass=Meta):
    x = 1
    def f(self): return 2
def main(): return A.x, A().f()
""",
    "int_subclass": r"""
class I(int):
    def plus(self): return I(self + 1)
class L(list): pass
class D(dict):
    def __missing__(self, k): return k
def main(i=I(3), l=L([1]), d=D(a=1)): return i.plus(), type(i) is I, l, d["q"], type(d) is D
""",
    "regex": r"""
import re, operator, itertools, decimal, datetime, pathlib
R = re.compile("a+"); G = operator.itemgetter(1); PTH = pathlib.Path("/x"); UTC = datetime.timezone.utc
def main(): return R.match("aa").group(), G([1,2]), PTH / "y", UTC
""",
    "iter": r"""
import itertools
C = itertools.count(3)
def main(): return next(C)
""",
    "module_alias": r"""
import os.path as osp, collections.abc, xml.etree.ElementTree
def main():
    return (osp.join("a", "b"), isinstance([], collections.abc.Sequence),
        xml.etree.ElementTree.fromstring("<a/>").tag)
""",
    "getattr_submodule": r"""
import concurrent.futures
def main(): return getattr(concurrent, "futures").__name__
""",
    "random_by_name": r"""
from random import randint, random
def main(): return randint(1, 1), 0 <= random() < 1
""",
    "enum_constructor": r"""
import enum
class Planet(enum.Enum):
    EARTH = (5.97, 6.37)
    MARS = (0.64, 3.39)
    def __init__(self, mass, radius): self.mass, self.radius = mass, radius
    @property
    def gravity(self): return self.mass / self.radius ** 2
class Code(int, enum.Enum):
    def __new__(cls, value, text):
        code = int.__new__(cls, value)
        code._value_, code.text = value, text
        return code
    OK = 200, "fine"
class Auto(enum.IntFlag):
    R = enum.auto()
    W = enum.auto()
    RW = R | W
def main(p=Planet.MARS):
    return (p is Planet.MARS, p.gravity, Planet((5.97, 6.37)), Code(200), Code.OK.text, Code.OK + 1, Auto.RW,
        Auto.R | Auto.W)
""",
    "weak_set_and_abc_cache": r"""
import abc
class Shape(abc.ABC): pass
class Square(Shape): pass
isinstance(3, Shape), isinstance(Square(), Shape)
def main(): return isinstance(3, Shape), isinstance(Square(), Shape)
""",
    "own_import": r"""
def main():
    import json, os.path as p
    from collections import OrderedDict as O
    return json.dumps(1), p.join("a", "b"), O(a=1)
""",
    "mutual_classes": r"""
class A:
    def other(self): return B()
class B:
    def other(self): return A()
def main(): return type(A().other().other()) is A
""",
    "fork_inside": r"""
import multiprocessing
def sq(x): return x * x
def main():
    with multiprocessing.get_context("fork").Pool(1) as pool: return pool.map(sq, [3, 4])
""",
}

# The Python that a program needs, as the minor version.
NEEDS: Dict[str, int] = {"notes": 11, "group": 11, "dataclass_slots": 10, "paramspec": 10, "enum": 11}
