"""Objects that pickle knows by their name only, or not at all, and that can be made again from what they show."""

from __future__ import annotations

import functools
import io
import random
import sys
import types
import typing
import weakref
from typing import Any, Callable, Dict, Optional, Tuple

__all__ = ["NAMED", "REDUCERS", "reduce_bound", "standard_stream"]

# What update_wrapper and lru_cache set themselves.
_OF_WRAPPERS = frozenset((*functools.WRAPPER_ASSIGNMENTS, "__wrapped__", "cache_parameters"))


def standard_stream(obj: Any) -> Optional[str]:
    """Return the name under which ``sys`` has a stream that is written to, or None when it is not one of them."""
    for name in ("stdout", "stderr"):
        if obj is getattr(sys, name) or obj is getattr(sys, f"__{name}__"):
            return name
    return None


def _reduce_cached(cached: Any) -> Any:
    attributes = {name: value for name, value in vars(cached).items() if name not in _OF_WRAPPERS}
    return make_cached, (cached.__wrapped__, cached.cache_parameters()), attributes or None


def make_cached(function: Callable[..., Any], parameters: Dict[str, Any]) -> Any:
    """Return ``functools.lru_cache`` of a function, with nothing in it yet."""
    return functools.lru_cache(**parameters)(function)


def _reduce_cached_property(cached: Any) -> Any:
    return make_cached_property, (type(cached), cached.func, cached.attrname)


def make_cached_property(kind: type, function: Callable[..., Any], name: Optional[str]) -> Any:
    """Return a ``functools.cached_property``. Up to Python 3.11 it has a lock, which cannot be pickled."""
    made = kind(function)
    made.attrname = name
    return made


def _reduce_new_type(new: Any) -> Any:
    return make_new_type, (new.__name__, new.__supertype__, new.__module__)


def make_new_type(name: str, supertype: Any, module: str) -> Any:
    """Return a ``typing.NewType``."""
    kind: Any = typing.NewType
    new = kind(name, supertype)
    new.__module__ = module
    return new


def _reduce_parameter(parameter: Any) -> Any:
    options = {
        option: getattr(parameter, f"__{option}__")
        for option in ("bound", "covariant", "contravariant")
        if getattr(parameter, f"__{option}__", None)
    }
    return make_parameter, (type(parameter), parameter.__name__, options)


def make_parameter(kind: Any, name: str, options: Dict[str, Any]) -> Any:
    """Return a ``ParamSpec`` or a ``TypeVarTuple``."""
    return kind(name, **options)


def _reduce_alias(alias: Any) -> Any:
    return make_alias, (type(alias), alias.__name__, alias.__value__, alias.__type_params__)


def make_alias(kind: Any, name: str, value: Any, parameters: Tuple[Any, ...]) -> Any:
    """Return what ``type X = …`` makes (Python 3.12)."""
    return kind(name, value, type_params=parameters)


def _reduce_weak(held: Any) -> Any:
    return type(held), (dict(held.items()),)


def _refuse_file(file: Any) -> Any:
    name = getattr(file, "name", None)
    raise TypeError(f"an open file{f', {name!r},' if name is not None else ''} cannot be pickled")


def reduce_bound(method: Any) -> Any:
    """Take apart a method of the generators behind ``random.random``, ``numpy.random.normal`` and so on: by name.

    By value each process would draw the numbers that the process would have drawn which it came from.
    """
    owner = method.__self__
    if owner is random._inst:
        return getattr, (random, method.__name__)
    shared = _numpy_generator()
    if shared is not None and owner is shared:
        return getattr, (sys.modules["numpy.random"], method.__name__)
    return NotImplemented


def _reduce_random(generator: Any) -> Any:
    return (getattr, (random, "_inst")) if generator is random._inst else NotImplemented


def _numpy_generator() -> Any:
    return getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None)


REDUCERS: Dict[type, Callable[[Any], Any]] = {
    functools.cached_property: _reduce_cached_property,
    io.TextIOWrapper: _refuse_file,
    random.Random: _reduce_random,
    weakref.WeakKeyDictionary: _reduce_weak,
    weakref.WeakValueDictionary: _reduce_weak,
    types.MethodType: reduce_bound,
    types.BuiltinMethodType: reduce_bound,
}
"""How objects of a type are taken apart; NotImplemented: as pickle does."""

NAMED: Dict[type, Callable[[Any], Any]] = {type(functools.lru_cache(len)): _reduce_cached}
"""The same for objects that pickle knows by their name, when that name is not known where they arrive."""

if isinstance(typing.NewType, type):  # from Python 3.10 on
    NAMED[typing.NewType] = _reduce_new_type
for _name in ("ParamSpec", "TypeVarTuple"):
    if hasattr(typing, _name):
        NAMED[getattr(typing, _name)] = _reduce_parameter
if hasattr(typing, "TypeAliasType"):
    NAMED[typing.TypeAliasType] = _reduce_alias
