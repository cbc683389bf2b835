"""The user's own modules: which those are, and what of them travels.

A worker can import what is installed beside it, and what lies on its search path. A module that lies elsewhere (a script's
neighbour, a test module) travels by value: of its attributes those that the code names which travels. It arrives as a
:class:`SentModule`, and the functions of it use its attributes as their globals.
"""

from __future__ import annotations

import builtins
import dis
import importlib
import importlib.util
import os
import site
import sys
import sysconfig
import threading
import types
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple, Union

import cloudpickle.cloudpickle as cp

from cloudburst.codec._classes import class_named

__all__ = ["Needed", "SentModule", "add_to_module", "arrived", "import_path", "make_module", "policy"]

_OUR_PACKAGES = ("cloudburst", "anna")
_LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR")
_ATTRIBUTE_LOADS = ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR")
_KEPT = ("__name__", "__package__", "__doc__", "__file__", "__getattr__")


class _Policy:
    """Which modules travel by value. One for the process; reads and writes of it are atomic."""

    def __init__(self) -> None:
        self.by_value = True
        self._known: Dict[str, bool] = {}
        self._installed: Tuple[str, ...] = ()
        self._ask: Callable[[], Iterable[str]] = tuple
        self._shared: Optional[Tuple[str, ...]] = None

    def share(self, ask: Callable[[], Iterable[str]]) -> None:
        """Have it asked, once and when it matters, from which directories a node's workers import.

        What this process imports from one of these travels by its name, unless it lies in the directory of the script: a worker
        would not see that it has been changed.
        """
        self._ask, self._shared, self._known = ask, None, {}

    def _is_shared(self, places: Sequence[str]) -> bool:
        if self._shared is None:
            here = {directory + os.sep for directory in import_path()}
            here -= {os.path.realpath(directory) + os.sep for directory in (sys.path[0] if sys.path else "", os.curdir)}
            if not any(place.startswith(tuple(here)) for place in places):
                return False
            self._shared = tuple(here.intersection(directory + os.sep for directory in self._ask()))
        return any(place.startswith(self._shared) for place in places)

    def is_own(self, name: str) -> bool:
        """Report whether a module is the user's own: it has a place, and workers find nothing there."""
        if not self.by_value:
            return False
        if cp._PICKLE_BY_VALUE_MODULES and _registered(name):
            return True
        own = self._known.get(name)
        if own is None:
            module = sys.modules.get(name)
            own = module is not None and self._is_own(name, _places(module))
            if module is not None:
                self._known[name] = own
        return own

    def lies_at(self, name: str) -> Optional[str]:
        """Return where a module lies that is not imported yet, if it is the user's own."""
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return None
        if spec is None:
            return None
        places = list(spec.submodule_search_locations or ()) or ([spec.origin] if spec.has_location and spec.origin else [])
        return places[0] if self.by_value and self._is_own(name, places) else None

    def _is_own(self, name: str, places: Sequence[str]) -> bool:
        if name == "__main__" or name.partition(".")[0] in _OUR_PACKAGES or not places:
            return False
        if not self._installed:
            self._installed = _installation_prefixes()
        places = [os.path.realpath(place) + (os.sep if place.endswith(os.sep) else "") for place in places]
        return not any(place.startswith(self._installed) for place in places) and not self._is_shared(places)


def import_path() -> List[str]:
    """Return the directories besides Python's own from which this process imports modules, in their order."""
    installed = _installation_prefixes()
    found: Dict[str, None] = {}
    for entry in sys.path:
        directory = Path(os.path.realpath(entry))
        if entry and directory.is_dir() and not f"{directory}{os.sep}".startswith(installed):
            found[str(directory)] = None
    return list(found)


def _registered(name: str) -> bool:
    """Report whether the user has asked cloudpickle to take a module by value."""
    module = sys.modules.get(name)
    return module is not None and bool(cp._is_registered_pickle_by_value(module))


def _places(module: Any) -> List[str]:
    """The file of a module, or for a package without one (a namespace package) its directories."""
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return [file]
    try:
        return [str(place).rstrip(os.sep) + os.sep for place in getattr(module, "__path__", ())]
    except TypeError:
        return []


def _installation_prefixes() -> Tuple[str, ...]:
    found: Set[str] = set()
    paths = sysconfig.get_paths()
    found.update(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib") if name in paths)
    found.update(getattr(site, "getsitepackages", list)())
    if site.ENABLE_USER_SITE:
        found.add(site.getusersitepackages())
    return tuple(os.path.realpath(path) + os.sep for path in sorted(found))


policy = _Policy()


class _Import(NamedTuple):
    """An import statement inside a function."""

    name: str
    level: int
    names: Tuple[str, ...]


class Needed:
    """What of the user's own modules one pickle needs.

    It grows while the pickle is written. When a module has been written before the last thing was noted that is needed of it,
    the pickle is written once more.
    """

    def __init__(self) -> None:
        self.named: Dict[str, Set[str]] = {}
        self.whole: Set[str] = set()
        self.left_out: Dict[str, Dict[str, str]] = {}
        """Attributes that cannot travel and that no code loads outright, with the reason."""
        self._globals: Dict[str, Set[str]] = {}
        self._loads: List[Tuple[types.CodeType, Dict[str, str]]] = []
        self._written: Dict[str, int] = {}

    def copy(self) -> Needed:
        """Return what is needed by now, which grows apart from this."""
        other = Needed()
        other.named = {name: set(names) for name, names in self.named.items()}
        other.whole = set(self.whole)
        other.left_out = self.left_out
        return other

    def begin(self) -> None:
        """Begin to write the pickle, or write it once more."""
        self._written = {}

    @property
    def grown(self) -> bool:
        """Whether a module has been written that needs more by now."""
        return any(self._size(name) != size for name, size in self._written.items())

    @property
    def written(self) -> Iterator[types.ModuleType]:
        """The modules that have been written."""
        return (sys.modules[name] for name in self._written if name in sys.modules)

    def loads(self, module: types.ModuleType, name: str) -> bool:
        """Report whether code loads an attribute of a module outright, so that it cannot be left out."""
        if name in self._globals.get(module.__name__, ()):
            return True
        return any(
            variables.get(variable) == module.__name__ and attribute == name
            for code, variables in self._loads
            for variable, attribute in _attributes_loaded(code)
        )

    def _size(self, name: str) -> int:
        return -1 if name in self.whole else len(self.named.get(name, ()))

    def by_function(self, function: types.FunctionType, variables: Dict[str, Any]) -> Dict[str, Union[types.ModuleType, str]]:
        """Note which attributes of modules a function names; ``variables`` are those of its globals and closure that it uses.

        Return what its imports of the user's own modules find.
        """
        modules = {name: value for name, value in variables.items() if isinstance(value, types.ModuleType)}
        own = {name: module for name, module in modules.items() if policy.is_own(module.__name__)}
        if own:
            code = function.__code__
            self._loads.append((code, {name: module.__name__ for name, module in own.items()}))
            loaded = _passed_on(code, own)
            names = set(names_in(code))
            for name, module in own.items():
                self.add(module, names)
                if name in loaded:
                    self.whole.add(module.__name__)
        return self._imports(function)

    def globals_of(self, module: types.ModuleType, names: Iterable[str]) -> None:
        """Note the globals that a function of a module uses."""
        self._globals.setdefault(module.__name__, set()).update(names)
        self.add(module, names)

    def add(self, module: types.ModuleType, names: Iterable[str]) -> None:
        """Note that code which travels names attributes of a module, and of the modules among these."""
        held = vars(module)
        found = {name for name in names if name in held}
        known = self.named.setdefault(module.__name__, set())
        if found <= known:
            return
        known |= found
        for name in found:
            part = held[name]
            if isinstance(part, types.ModuleType) and policy.is_own(part.__name__):
                self.add(part, names)

    def state(self, module: types.ModuleType) -> Tuple[Dict[str, Any], Dict[str, str]]:
        """Return the attributes of a module that travel, and why others do not. One that no code names travels whole."""
        name = module.__name__
        if name not in self.named:
            self.whole.add(name)
        self._written[name] = self._size(name)
        held = vars(module)
        wanted = held.keys() if name in self.whole else self.named[name]
        out = self.left_out.get(name, {})
        found = {each: held[each] for each in sorted(wanted) if not _is_special(each) and each not in out and each in held}
        found.update({each: held[each] for each in _KEPT if each in held})
        return found, out

    def _imports(self, function: types.FunctionType) -> Dict[str, Union[types.ModuleType, str]]:
        found: Dict[str, Union[types.ModuleType, str]] = {}
        for statement in _imports_in(function.__code__):
            name = _absolute(statement.name, statement.level, function.__globals__)
            if not name or name.partition(".")[0] in getattr(sys, "stdlib_module_names", ()):
                continue
            module = sys.modules.get(name)
            if module is None:
                place = policy.lies_at(name)
                if place is None:
                    continue
                try:
                    module = importlib.import_module(name)
                except BaseException as e:
                    found[name] = _not_imported(name, function, place, e)
                    continue
            if not isinstance(module, types.ModuleType) or not policy.is_own(name):
                continue
            for each in statement.names:
                if not hasattr(module, each) and policy.lies_at(f"{name}.{each}"):
                    importlib.import_module(f"{name}.{each}")
            names = {*names_in(function.__code__), *statement.names}
            found[name] = module
            self.add(module, names)
            top, _, rest = name.partition(".")
            while rest:  # import a.b.c binds a, and finds b in it
                parent = sys.modules.get(top)
                child, _, rest = rest.partition(".")
                if isinstance(parent, types.ModuleType):
                    found.setdefault(top, parent)
                    self.add(parent, {child, *names})
                top = f"{top}.{child}"
        return found


def _not_imported(name: str, function: types.FunctionType, place: str, error: BaseException) -> str:
    return (
        f"the module {name!r}, which function {function.__qualname__!r} imports, lies at {place} on the machine that "
        f"registered the function, and could not be imported there ({type(error).__name__}: {error}), so it did not travel "
        "along; install it where the workers run"
    )


def _instructions(code: types.CodeType) -> Iterator[Tuple[dis.Instruction, dis.Instruction]]:
    """The instructions of code and of the functions in it, each with the one after it."""
    found = list(dis.get_instructions(code))
    yield from zip(found, found[1:])
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _instructions(constant)


def _attributes_loaded(code: types.CodeType) -> Iterator[Tuple[str, str]]:
    """The variables that code loads an attribute of, each with that attribute."""
    for load, then in _instructions(code):
        if load.opname.startswith(_LOADS) and then.opname in _ATTRIBUTE_LOADS:
            yield load.argval, then.argval


def _passed_on(code: types.CodeType, variables: Iterable[str]) -> Set[str]:
    """Those of some variables that code loads for anything but an attribute of theirs."""
    return {
        load.argval
        for load, then in _instructions(code)
        if load.opname.startswith(_LOADS) and load.argval in variables and then.opname not in _ATTRIBUTE_LOADS
    }


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _absolute(name: str, level: int, globals: Dict[str, Any]) -> str:
    if not level:
        return name
    package = globals.get("__package__")
    if not isinstance(package, str) or not package:
        return ""
    try:
        return importlib.util.resolve_name("." * level + name, package)
    except ImportError:
        return ""


def names_in(code: types.CodeType) -> Iterator[str]:
    """The names that code and the functions in it use, and their words: of these it may look one up."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from names_in(constant)
        elif isinstance(constant, str):
            yield constant


def _imports_in(code: types.CodeType) -> Iterator[_Import]:
    level: Any = 0
    names: Any = None
    if code.co_names:
        for instruction in dis.get_instructions(code):
            if instruction.opname == "IMPORT_NAME":
                yield _Import(instruction.argval, level if isinstance(level, int) else 0, names or ())
            level, names = names, instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _imports_in(constant)


class SentModule(types.ModuleType):
    """A module that has travelled by value, with the attributes that the code named which came along."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__dict__["__left_out__"] = {}

    def state(self) -> Tuple[Dict[str, Any], Dict[str, str]]:
        """Return what it needs to travel on."""
        own = {name: value for name, value in vars(self).items() if not _is_special(name) or name in _KEPT}
        return own, self.__dict__["__left_out__"]

    def __getattr__(self, name: str) -> Any:
        if _is_special(name):
            raise AttributeError(name)
        reason = self.__dict__["__left_out__"].get(name)
        if reason is None and self.__name__ == "__main__":
            found = class_named(name)
            if found is None:
                raise AttributeError(f"module '__main__' has no attribute {name!r}")
            return found
        if reason is None:
            raise AttributeError(
                f"module {self.__name__!r} has no attribute {name!r} here: it travelled from the program that uses it, which "
                "takes along only what the code names; name the attribute where the module is used, or install the module "
                "where the workers run"
            )
        raise AttributeError(f"attribute {name!r} of module {self.__name__!r} did not travel with the function: {reason}")


def make_module(name: str) -> types.ModuleType:
    """Return a module that has no attributes yet."""
    module = SentModule(name)
    if name == "__main__":
        arrived.main = module
    return module


class _Arrived(threading.local):
    """The ``__main__`` of the program whose function the thread has loaded last."""

    main: Optional[types.ModuleType] = None


arrived = _Arrived()


def add_to_module(module: types.ModuleType, state: Tuple[Dict[str, Any], Dict[str, str]]) -> None:
    """Give a module the attributes that have travelled, and the reasons why others have not."""
    attributes, left_out = state
    held = vars(module)
    held.update(attributes)
    held["__left_out__"].update(left_out)
    held.setdefault("__builtins__", builtins.__dict__)


class Importer:
    """``__import__`` for functions that import modules of the user's own, which have travelled along."""

    def __init__(self) -> None:
        self.found: Dict[str, Union[types.ModuleType, str]] = {}

    def __call__(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: Sequence[str] = (), level: int = 0
    ) -> types.ModuleType:
        absolute = _absolute(name, level, globals or {})
        found = self.found.get(absolute)
        if found is None:
            return builtins.__import__(name, globals, locals, fromlist, level)
        if isinstance(found, str):
            raise ModuleNotFoundError(found, name=absolute)
        if not fromlist and not level:
            top = self.found.get(absolute.partition(".")[0])
            if isinstance(top, types.ModuleType):
                return top
        return found
