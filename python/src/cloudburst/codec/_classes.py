"""Classes that travel by value: how they are taken apart, and how they are made where they arrive.

Cloudpickle makes a class by calling its metaclass with an empty body and then sets each of its attributes, every time that the
class arrives. Here a class is made once in a process, without calling the user's hooks again (a metaclass's ``__new__`` and
``__init__``, ``__init_subclass__``): what they did is in the attributes, which travel. From then on its attributes belong to
the process. The one exception is an attribute that the process which defined the class has assigned since: it is set once
where the class is known already. A process never changes a class that it has defined.

The identity of a class is cloudpickle's (its tracker), so both kinds of pickles mean the same classes.
"""

from __future__ import annotations

import abc
import threading
import types
from enum import Enum
from typing import Any, Dict, List, NamedTuple, Optional, Tuple
from weakref import WeakKeyDictionary

import cloudpickle.cloudpickle as cp

from cloudburst.codec._identity import is_identified, purpose

__all__ = ["class_named", "made_of", "reduce_class", "reduce_init_subclass"]

_HOOK = "__init_subclass__"
_SETS_OF_NAMES = ("__abstractmethods__", "__static_attributes__")


class _Sent(NamedTuple):
    """What is remembered of an attribute of a class that is defined here: how to tell that it was assigned since."""

    mark: Tuple[Any, ...]
    edition: int


class _Known:
    """What this process knows of classes that travel. Safe for concurrent use."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        # Of a class that came from elsewhere, the editions of its attributes; None until they have been set.
        self.loaded: WeakKeyDictionary[type, Optional[Dict[str, int]]] = WeakKeyDictionary()
        self.sent: WeakKeyDictionary[type, Dict[str, _Sent]] = WeakKeyDictionary()

    def editions(self, cls: type, attributes: Dict[str, Any]) -> Dict[str, int]:
        """Return the edition of each attribute that has one: how often it was assigned since the class was first pickled."""
        with self.lock:
            if cls in self.loaded:
                return dict(self.loaded[cls] or {})
            before = self.sent.get(cls)
            if before is None:
                self.sent[cls] = {name: _Sent(_mark(value), 0) for name, value in attributes.items()}
                return {}
            for name, value in attributes.items():
                old = before.get(name)
                mark = _mark(value)
                if old is None:
                    before[name] = _Sent(mark, 1)
                elif not _same(old.mark, mark):
                    before[name] = _Sent(mark, old.edition + 1)
            for name in before.keys() - attributes.keys():
                if before[name].mark:
                    before[name] = _Sent((), before[name].edition + 1)
            return {name: sent.edition for name, sent in before.items() if sent.edition}


_known = _Known()


class _Making(threading.local):
    """How many classes the thread is making from pickles right now, one inside the other."""

    depth = 0


_making = _Making()


class InitSubclass(classmethod):  # type: ignore[type-arg]
    """``__init_subclass__`` of a class that has travelled: silent while a subclass of it arrives, which has met it before."""

    def __get__(self, instance: Any, owner: Optional[type] = None) -> Any:
        if _making.depth:
            return _silent
        return super().__get__(instance, owner)


def _silent(**_: Any) -> None:
    """Stands in for ``__init_subclass__``."""


def reduce_init_subclass(hook: InitSubclass) -> Tuple[Any, ...]:
    """Take such a hook apart, when a class that has travelled travels on."""
    return InitSubclass, (hook.__func__,)


def reduce_class(cls: type, maker: type) -> Tuple[Any, ...]:
    """Take a class apart. ``maker`` is the nearest base of its metaclass, or this itself, that does not travel by value."""
    attributes = _attributes(cls)
    registry = attributes.pop("_abc_impl", None)
    if purpose.depth and not is_identified(cls):
        tracker, editions = "", {}
    else:
        tracker = cp._get_or_create_tracker_id(cls)
        editions = _known.editions(cls, attributes)
    if issubclass(cls, Enum):
        members = {name: member.value for name, member in cls.__members__.items()}
        for name in members:
            attributes.pop(name, None)
        parts = (cls.__bases__, cls.__name__, cls.__qualname__, members, cls.__module__, tracker)
        return make_enum, parts, (attributes, editions, registry, _members(cls)), None, None, set_class
    if type(cls).__name__ == "_TypedDictMeta":  # it takes no bases but others of its kind, and leaves dict as the only one
        maker = type
    made = (maker, type(cls), cls.__name__, cls.__bases__, _body(cls), tracker)
    return make_class, made, (attributes, editions, registry, None), None, None, set_class


def made_of(cls: type) -> Tuple[Any, ...]:
    """Return what tells a class from others of its name."""
    members: Dict[str, Any] = {}
    if issubclass(cls, Enum):
        members = {name: member.value for name, member in cls.__members__.items()}
    attributes = {name: value for name, value in _attributes(cls).items() if name not in members}
    registry = attributes.pop("_abc_impl", None)
    return type(cls), cls.__name__, cls.__module__, cls.__bases__, _body(cls), attributes, registry, members


def _members(cls: Any) -> Dict[str, Dict[str, Any]]:
    """Return the attributes of an enumeration's members: a constructor of its own may have set more than the value."""
    return {
        name: {each: value for each, value in vars(member).items() if each != "__objclass__"}
        for name, member in cls.__members__.items()
        if name == member.name
    }


def _body(cls: type) -> Dict[str, Any]:
    """What the body of the class has to hold when it is made, since it cannot be set later."""
    own = vars(cls)
    body: Dict[str, Any] = {"__qualname__": cls.__qualname__}
    for name in ("__module__", "__orig_bases__"):
        if name in own:
            body[name] = own[name]
    if isinstance(own.get("__dict__"), property):
        body["__dict__"] = own["__dict__"]
    if "__slots__" in own:
        slots = [name for name, value in own.items() if _is_slot(value, cls)]
        slots += [name for name in ("__dict__", "__weakref__") if isinstance(own.get(name), types.GetSetDescriptorType)]
        body["__slots__"] = tuple(slots)
    return body


def _is_slot(value: Any, cls: type) -> bool:
    return isinstance(value, types.MemberDescriptorType) and value.__objclass__ is cls


def _attributes(cls: type) -> Dict[str, Any]:
    attributes: Dict[str, Any] = cp._class_getstate(cls)[0]
    own = vars(cls)
    for name in [name for name, value in own.items() if _is_slot(value, cls)]:
        attributes.pop(name, None)
    for name, value in own.items():
        # Cloudpickle leaves out what a base has as well; the base may change.
        if name not in attributes and not (name.startswith("__") and name.endswith("__")) and not _is_slot(value, cls):
            attributes.setdefault(name, value)
    if "__slots__" in own:
        attributes["__slots__"] = own["__slots__"]
    for name in ("_abc_data", "_abc_cache", "_abc_negative_cache", "_abc_negative_cache_version", "_abc_registry"):
        attributes.pop(name, None)
    if isinstance(cls, abc.ABCMeta):
        attributes["_abc_impl"] = [each for each in attributes.get("_abc_impl") or () if each is not None]
    if isinstance(cls, type(Enum)):
        for name in ("_generate_next_value_", "_member_names_", "_member_map_", "_member_type_", "_value2member_map_"):
            attributes.pop(name, None)
        for name in ("_unhashable_values_", "_unhashable_values_map_", "_hashable_values_"):
            attributes.pop(name, None)
    for name in _SETS_OF_NAMES:
        if name in attributes:  # in the same order in every process
            attributes[name] = tuple(sorted(attributes[name]))
    hook = attributes.get(_HOOK)
    if type(hook) is classmethod:
        attributes[_HOOK] = InitSubclass(hook.__func__)
    return attributes


def make_class(maker: Any, metaclass: Any, name: str, bases: Tuple[type, ...], body: Dict[str, Any], tracker: str) -> type:
    """Return the class that a tracker stands for here, or make it, without its attributes."""
    known = _tracked(tracker)
    if known is not None:
        return known
    _making.depth += 1
    try:
        namespace = maker.__prepare__(name, bases)
        namespace.update(body)
        cls = maker.__new__(metaclass, name, bases, namespace)
        maker.__init__(cls, name, bases, namespace)
    finally:
        _making.depth -= 1
    return _track(tracker, cls)


def make_enum(
    bases: Tuple[type, ...],
    name: str,
    qualname: str,
    members: Dict[str, Any],
    module: str,
    tracker: str,
) -> type:
    """Return the enumeration that a tracker stands for here, or make it with its members, without its other attributes."""
    known = _tracked(tracker)
    if known is not None:
        return known
    _making.depth += 1
    try:
        cls: Any = cp._make_skeleton_enum(bases, name, qualname, members, module, None, None)
    finally:
        _making.depth -= 1
    return _track(tracker, cls)


def _tracked(tracker: str) -> Optional[type]:
    found: Optional[type] = cp._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker)
    return found


def _track(tracker: str, cls: type) -> type:
    with _known.lock:
        tracked: type = cp._lookup_class_or_track(tracker, cls)
        if tracked is cls:
            _known.loaded[cls] = None
    return tracked


State = Tuple[Dict[str, Any], Dict[str, int], Optional[List[type]], Optional[Dict[str, Dict[str, Any]]]]


def set_class(cls: Any, state: State) -> None:
    """Give a class that has just been made its attributes; one that is known already, those with a newer edition."""
    attributes, editions, registry, members = state
    with _known.lock:
        if cls not in _known.loaded:
            return  # it is defined here
        held = _known.loaded[cls]
        new = set(attributes) if held is None else {name for name, n in editions.items() if n > held.get(name, 0)}
        for name in new:
            if name in attributes:
                value = attributes[name]
                type.__setattr__(cls, name, frozenset(value) if name == "__abstractmethods__" else value)
            elif name in vars(cls):
                type.__delattr__(cls, name)
        if "__firstlineno__" in new:  # setting another attribute of this kind removes it (Python 3.13)
            type.__setattr__(cls, "__firstlineno__", attributes["__firstlineno__"])
        _known.loaded[cls] = {**(held or {}), **editions}
    if held is None:
        for name, own in (members or {}).items():
            vars(cls.__members__[name]).update(own)
        for subclass in registry or ():
            abc.ABCMeta.register(cls, subclass)


def class_named(name: str) -> Optional[type]:
    """Return the class of that name, of a program's ``__main__``, that has arrived here last."""
    with _known.lock:
        found = [cls for cls in _known.loaded if cls.__module__ == "__main__" and cls.__qualname__ == name]
    return found[-1] if found else None


def _mark(value: Any) -> Tuple[Any, ...]:
    """Return by what an attribute is recognised as unchanged. Of functions it is their code, which does not hold the class."""
    if isinstance(value, types.FunctionType):
        return (value.__code__,)
    if isinstance(value, (classmethod, staticmethod)):
        return (type(value), *_mark(value.__func__))
    if isinstance(value, property):
        return (property, *(part for each in (value.fget, value.fset, value.fdel) for part in _mark(each)))
    if type(value) in (list, tuple, set, frozenset):
        return (value, *value)
    if type(value) is dict:
        return (value, *value.keys(), *value.values())
    return (value,)


def _same(a: Tuple[Any, ...], b: Tuple[Any, ...]) -> bool:
    return len(a) == len(b) and all(x is y for x, y in zip(a, b))
