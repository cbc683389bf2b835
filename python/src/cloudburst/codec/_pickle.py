"""The pickle codec: cloudpickle, with the user's own modules by value.

A worker can import what is installed beside it, and nothing else. So functions and classes of ``__main__``, of a notebook,
and of modules that are not part of an installation (a script's neighbours, a test module) are pickled by value: their code
travels along. For such modules this calls ``cloudpickle.register_pickle_by_value`` when one of their functions or classes is
first pickled. To have an *installed* module travel by value too, call that function yourself; to have one of your own taken
by reference, install it where the workers run.
"""

from __future__ import annotations

import io
import os
import pickle
import site
import sys
import sysconfig
import types
from typing import Any, Dict, Set, Tuple

import cloudpickle

from cloudburst.errors import CodecError, Error, UnpicklableError

PROTOCOL = 5

_NO_FILE = "<dynamic-code>"  # what cloudpickle writes instead of the name of a file

_OUR_PACKAGES = ("cloudburst", "anna")


class _Policy:
    """Which modules are pickled by value. One for the process; reads and writes of it are atomic."""

    def __init__(self) -> None:
        self.by_value = True
        self.known: Dict[str, bool] = {}
        self.prefixes: Tuple[str, ...] = ()

    def is_local(self, name: str) -> bool:
        """Report whether a module is the user's own: it has a file, and that lies in no installation."""
        local = self.known.get(name)
        if local is None:
            local = self._is_local(name)
            self.known[name] = local
        return local

    def _is_local(self, name: str) -> bool:
        if name == "__main__" or name.partition(".")[0] in _OUR_PACKAGES:
            return False
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if not isinstance(file, str):
            return False
        if not self.prefixes:
            self.prefixes = _installation_prefixes()
        return not os.path.realpath(file).startswith(self.prefixes)


def _installation_prefixes() -> Tuple[str, ...]:
    found: Set[str] = set()
    paths = sysconfig.get_paths()
    found.update(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib") if name in paths)
    found.update(getattr(site, "getsitepackages", list)())
    if site.ENABLE_USER_SITE:
        found.add(site.getusersitepackages())
    return tuple(os.path.realpath(path) + os.sep for path in sorted(found))


_policy = _Policy()


def pickle_modules_by_reference() -> None:
    """Pickle every importable module by reference from now on. A worker does this: what it returns is loaded by clients."""
    _policy.by_value = False


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc,unused-ignore]
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, types.CodeType):
            return self._reduce_code(obj)
        name = None
        if isinstance(obj, (type, types.FunctionType)):
            name = obj.__module__
        elif isinstance(obj, types.ModuleType):
            name = obj.__name__
        if isinstance(name, str) and _policy.is_local(name):
            module = sys.modules.get(name)
            if module is not None and name not in cloudpickle.list_registry_pickle_by_value():
                cloudpickle.register_pickle_by_value(module)
        return super().reducer_override(obj)

    def _reduce_code(self, code: types.CodeType) -> Any:
        """Reduce code as cloudpickle does, but with the name of its file, so that a traceback says where a line stands."""
        make, arguments = self.dispatch_table[types.CodeType](code)
        return make, tuple(code.co_filename if argument == _NO_FILE else argument for argument in arguments)


def raw_dumps(value: Any) -> bytes:
    """Return the pickle of a value; raises whatever pickling it raises."""
    if not _policy.by_value:
        pickled: bytes = cloudpickle.dumps(value, protocol=PROTOCOL)
        return pickled
    with io.BytesIO() as out:
        _Pickler(out, protocol=PROTOCOL).dump(value)
        return out.getvalue()


def dumps(value: Any) -> bytes:
    """Return the pickle of a value. Raises UnpicklableError, naming what in it cannot be pickled."""
    try:
        return raw_dumps(value)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except Exception as e:
        from cloudburst.codec._explain import explain

        raise UnpicklableError(explain(value, e)) from e


def loads(data: Any) -> Any:
    """Return the object of a pickle. Raises CodecError with the reason and what to do."""
    try:
        return pickle.loads(data)
    except ModuleNotFoundError as e:
        raise CodecError(
            f"a pickled value needs the module {e.name!r}, which is not installed in this Python ({sys.executable}); install "
            f"it here, or call cloudpickle.register_pickle_by_value({e.name}) where the value is made, so that its code "
            "travels along"
        ) from e
    except Error:
        raise
    except MemoryError as e:
        raise CodecError("a pickled value does not fit into memory") from e
    except Exception as e:
        raise CodecError(f"a pickled value cannot be loaded: {type(e).__name__}: {e}") from e
