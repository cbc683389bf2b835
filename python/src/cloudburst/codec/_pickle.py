"""The pickle codec: cloudpickle, with the user's own modules by value, and with its gaps filled.

Functions and classes of ``__main__``, of a notebook, and of modules that workers cannot import travel by value: their code
goes along. To have an *installed* module travel by value too, call ``cloudpickle.register_pickle_by_value``; to have one of
your own taken by reference, install it where the workers run, or put it on their search path. What a kind of object becomes
is in ``docs/python-values.md``.
"""

from __future__ import annotations

import copyreg
import importlib
import io
import pickle
import platform
import sys
import types
from _io import _IOBase
from typing import Any, Callable, Dict, List, Optional, Sequence, TypeVar

import cloudpickle
import cloudpickle.cloudpickle as cp

from cloudburst.codec import _objects
from cloudburst.codec._classes import InitSubclass, made_of, reduce_class, reduce_init_subclass
from cloudburst.codec._exceptions import reduce_exception
from cloudburst.codec._functions import make_function, set_function
from cloudburst.codec._identity import identify, is_identified, purpose
from cloudburst.codec._modules import Needed, SentModule, add_to_module, make_module, policy
from cloudburst.codec._versions import loaded_with
from cloudburst.errors import CodecError, Error, UnpicklableError

PROTOCOL = 5

_NO_FILE = "<dynamic-code>"  # what cloudpickle writes instead of the name of a file


_REDUCERS: Dict[type, Callable[[Any], Any]] = {**_objects.REDUCERS, InitSubclass: reduce_init_subclass}
_UNNAMED = (type(None), type(Ellipsis), type(NotImplemented))


def pickle_modules_by_reference() -> None:
    """Pickle every importable module by reference from now on. A worker does this: what it returns is loaded by clients."""
    policy.by_value = False


def sent_as(kind: type, reduce: Callable[[Any], Any]) -> None:
    """Reduce objects of a type, not of its subclasses, in this way when they are sent to a node. Other pickles call their
    ``__reduce__``.
    """
    _REDUCERS[kind] = reduce


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc,unused-ignore]
    """Writes one pickle. ``chained`` says whether exceptions take along what they were raised from."""

    def __init__(self, out: io.BytesIO, needed: Needed, chained: bool = True) -> None:
        super().__init__(out, protocol=PROTOCOL)
        self._needed = needed
        self._chained = chained

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is types.CodeType:
            return self._reduce_code(obj)
        if kind is types.FunctionType:
            return self._reduce_function(obj)
        if issubclass(kind, type):
            return self._reduce_class(obj)
        if isinstance(obj, types.ModuleType):
            return self._reduce_module(obj)
        if kind is TypeVar:
            return self._reduce_type_variable(obj)
        if isinstance(obj, BaseException):
            return reduce_exception(obj, PROTOCOL, self._chained)
        if isinstance(obj, _IOBase):
            stream = _objects.standard_stream(obj)
            if stream is not None:
                return getattr, (sys, stream)
        reducer = _REDUCERS.get(kind)
        if reducer is not None:
            reduced = reducer(obj)
            if reduced is not NotImplemented:
                return reduced
        if kind in cp.Pickler._dispatch_table or kind in copyreg.dispatch_table:
            return NotImplemented
        reduced = obj.__reduce_ex__(PROTOCOL)
        return self._reduce_named(obj, reduced) if isinstance(reduced, str) else reduced

    def _reduce_function(self, function: types.FunctionType) -> Any:
        own = policy.is_own(function.__module__)
        if not own and cp._should_pickle_by_reference(function):
            return NotImplemented
        _, (code, globals, _, _, cells), state, *_ = self._dynamic_function_reduce(function)
        _, slots = state
        held = slots["__globals__"]
        module = sys.modules.get(function.__module__)
        if policy.by_value and module is not None and vars(module) is function.__globals__:
            if own:
                self._needed.globals_of(module, held)
                globals, slots["__globals__"] = module, {}
            elif function.__module__ == "__main__":
                globals = module
        imports = {}
        if policy.by_value:
            cells_held = map(cp._get_cell_contents, function.__closure__ or ())
            imports = self._needed.by_function(function, {**held, **dict(zip(code.co_freevars, cells_held))})
            if imports:
                slots["__imports__"] = imports
        return make_function, (code, globals, cells, bool(imports)), state, None, None, set_function

    def _reduce_class(self, cls: type) -> Any:
        if cls in _UNNAMED or cls in cp._BUILTIN_TYPE_NAMES:
            return cp._class_reduce(cls)
        if not _travels(cls):
            return NotImplemented
        if purpose.lasting and not purpose.depth and not is_identified(cls):
            _identify(cls)
        return reduce_class(cls, next(each for each in type.mro(type(cls)) if not _travels(each)))

    def _reduce_module(self, module: types.ModuleType) -> Any:
        if isinstance(module, SentModule):
            return make_module, (module.__name__,), module.state(), None, None, add_to_module
        if policy.by_value and module.__name__ == "__main__":  # the functions bring their globals
            return make_module, ("__main__",), ({"__file__": getattr(module, "__file__", None)}, {}), None, None, add_to_module
        if not policy.is_own(module.__name__):
            return NotImplemented
        return make_module, (module.__name__,), self._needed.state(module), None, None, add_to_module

    def _reduce_type_variable(self, variable: Any) -> Any:
        if policy.is_own(variable.__module__):
            return cp._make_typevar, cp._decompose_typevar(variable)
        return NotImplemented

    def _reduce_named(self, obj: Any, name: str) -> Any:
        """Reduce what pickle would write as a name that is looked up where the pickle is read."""
        module_name = getattr(obj, "__module__", None) or pickle.whichmodule(obj, name)  # type: ignore[attr-defined]
        if module_name != "__main__" and not policy.is_own(module_name) and _found(module_name, name) is obj:
            return name
        reducer = _objects.NAMED.get(type(obj))
        if reducer is not None:
            return reducer(obj)
        raise pickle.PicklingError(
            f"it is known by its name only, {module_name}.{name}, and where it is read there is no {module_name!r}"
        )

    def _reduce_code(self, code: types.CodeType) -> Any:
        """Reduce code as cloudpickle does, but with the name of its file, so that a traceback says where a line stands."""
        make, arguments = self.dispatch_table[types.CodeType](code)
        return make, tuple(code.co_filename if argument == _NO_FILE else argument for argument in arguments)


def _travels(cls: type) -> bool:
    return policy.is_own(cls.__module__) or not cp._should_pickle_by_reference(cls)


class _ContentPickler(_Pickler):
    """Writes what a class is made of. Other classes that travel are named by their identity, or by their number in a list."""

    def __init__(self, out: io.BytesIO, needed: Needed, found: List[type]) -> None:
        super().__init__(out, needed)
        self._found = found

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, type) or obj in _UNNAMED or obj in cp._BUILTIN_TYPE_NAMES or not _travels(obj):
            return None
        if is_identified(obj):
            return cp._get_or_create_tracker_id(obj)
        for number, each in enumerate(self._found):
            if each is obj:
                return number
        self._found.append(obj)
        return len(self._found) - 1


def _identify(cls: type) -> None:
    def contents(each: type, found: List[type]) -> bytes:
        return raw_dumps(made_of(each), None, lambda out, needed: _ContentPickler(out, needed, found))

    try:
        identify(cls, contents)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except Exception:  # what cannot be pickled is named when the class itself is; it gets a random identity
        return


def _found(module_name: str, name: str) -> Any:
    found: Any = sys.modules.get(module_name)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


class _PicklerWithHoles(_Pickler):
    """Leaves out some objects: where they stand the pickle has their number."""

    def __init__(self, out: io.BytesIO, needed: Needed, numbers: Dict[int, int]) -> None:
        super().__init__(out, needed)
        self._numbers = numbers

    def persistent_id(self, obj: Any) -> Optional[int]:
        return self._numbers.get(id(obj))


class _UnpicklerWithHoles(pickle.Unpickler):
    def __init__(self, data: Any, values: Sequence[Any]) -> None:
        super().__init__(io.BytesIO(data))
        self._values = values

    def persistent_load(self, number: Any) -> Any:
        return self._values[number]


Open = Callable[[io.BytesIO, Needed], _Pickler]


def _plain(out: io.BytesIO, needed: Needed) -> _Pickler:
    return _Pickler(out, needed)


def raw_dumps(value: Any, needed: Optional[Needed] = None, open: Open = _plain) -> bytes:
    """Return the pickle of a value; raises whatever pickling it raises."""
    needed = needed or Needed()
    while True:
        needed.begin()
        with io.BytesIO() as out:
            open(out, needed).dump(value)
            if not needed.grown:
                return out.getvalue()


def _dumps(value: Any, open: Open) -> bytes:
    needed = Needed()
    while True:
        try:
            return raw_dumps(value, needed, open)
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except Exception as e:
            from cloudburst.codec._explain import explain, leave_out

            if not leave_out(needed):
                raise UnpicklableError(explain(value, e, needed)) from e


def dumps(value: Any) -> bytes:
    """Return the pickle of a value. Raises UnpicklableError, naming what in it cannot be pickled."""
    return _dumps(value, _plain)


def dumps_unchained(exception: BaseException) -> bytes:
    """Return the pickle of an exception without what it was raised from. Raises UnpicklableError."""
    return _dumps(exception, lambda out, needed: _Pickler(out, needed, chained=False))


def dumps_with_holes(value: Any, holes: Sequence[Any]) -> bytes:
    """Return the pickle of a value in which some objects have been replaced by their number. Raises UnpicklableError."""
    numbers = {id(hole): number for number, hole in enumerate(holes)}
    return _dumps(value, lambda out, needed: _PicklerWithHoles(out, needed, numbers))


def loads(data: Any) -> Any:
    """Return the object of a pickle. Raises CodecError with the reason and what to do."""
    return _loaded(lambda: pickle.loads(data), data)


def loads_with_holes(data: Any, values: Sequence[Any]) -> Any:
    """Return the object of a pickle with numbers, in whose places values are put. Raises CodecError."""
    return _loaded(_UnpicklerWithHoles(data, values).load, data)


def _loaded(load: Callable[[], Any], data: Any) -> Any:
    try:
        return load()
    except ModuleNotFoundError as e:
        importlib.invalidate_caches()  # so that it is found once it is installed, without another process
        package = (e.name or "").partition(".")[0]
        raise CodecError(
            f"a pickled value needs the module {e.name!r}, which is not installed in the Python that loads it, on "
            f"{platform.node()}: install it there with `{sys.executable} -m pip install {package}` (or the "
            f"package that has it) and try again, or call cloudpickle.register_pickle_by_value({e.name}) where the value is "
            "made, so that its code travels along"
        ) from e
    except Error:
        raise
    except MemoryError as e:
        raise CodecError("a pickled value does not fit into memory") from e
    except Exception as e:
        raise CodecError(f"a pickled value cannot be loaded: {type(e).__name__}: {e}{loaded_with(data)}") from e
