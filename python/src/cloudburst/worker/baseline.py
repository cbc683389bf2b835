"""What one run would leave to the next in the process of a worker, set back after each run.

That must cost a call next to nothing. So the functions of the standard library that change the process note that they were
called, and only what code can assign to is compared after each run. All else is looked at when one of both says so. What C code
changes past these functions is not noticed. ``docs/workers.md`` lists what is set back, and what is not.
"""

from __future__ import annotations

import _locale
import _signal  # type: ignore[import-not-found,unused-ignore]
import contextlib
import faulthandler
import functools
import gc
import importlib.machinery
import locale
import logging
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
import tracemalloc
import warnings
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple

__all__ = ["Baseline", "notice_changes", "stop_timers", "stop_timers_surely", "timers_armed"]

_TRIES_MAX = 8  # of setting back, when signal handlers of user code raise meanwhile

_SIGNALS = [number for number in range(1, 32) if number not in (signal.SIGKILL, signal.SIGSTOP)]
_LIMITS = (resource.RLIMIT_AS, resource.RLIMIT_CPU)

_alarm, _setitimer = _signal.alarm, _signal.setitimer
_cancel_dump = faulthandler.cancel_dump_traceback_later
_getsignal = _signal.getsignal
_setlocale, _LC_ALL = _locale.setlocale, _locale.LC_ALL
_getrecursionlimit, _setrecursionlimit = sys.getrecursionlimit, sys.setrecursionlimit
_environ: Any = os.environ
_root, _manager = logging.getLogger(), logging.Logger.manager


_touched: Set[str] = set()  # functions that were called and change the process
_armed: Set[str] = set()  # functions that were called and start a timer

_CHANGING = (
    (
        os,
        ("chdir", "fchdir", "umask", "putenv", "unsetenv", "setpriority", "nice", "sched_setaffinity"),
    ),  # os.environ calls putenv
    (signal, ("signal", "pthread_sigmask", "siginterrupt", "set_wakeup_fd")),
    (resource, ("setrlimit", "prlimit")),
    (sys, ("settrace", "setprofile", "setrecursionlimit", "setswitchinterval")),
    (socket, ("setdefaulttimeout",)),
    (locale, ("setlocale",)),
    (gc, ("enable", "disable", "set_threshold", "set_debug")),
    (tracemalloc, ("start",)),
    (faulthandler, ("enable", "disable", "register", "unregister")),
)
_ARMING = ((signal, ("alarm", "setitimer")), (faulthandler, ("dump_traceback_later",)))


def notice_changes() -> None:
    """Have the functions that change the process note that they are called; before any other code takes them."""
    for kinds, called in ((_CHANGING, _touched), (_ARMING, _armed)):
        for owner, names in kinds:
            for name in names:
                if hasattr(owner, name):
                    setattr(owner, name, _noting(getattr(owner, name), owner.__name__, called))


def _noting(function: Callable[..., Any], module: str, called: Set[str]) -> Callable[..., Any]:
    @functools.wraps(function)
    def noting(*args: Any, **kwargs: Any) -> Any:
        called.add(function.__name__)
        return function(*args, **kwargs)

    noting.__module__ = module  # where a pickle finds it
    return noting


def timers_armed() -> bool:
    """Report whether a function may have started a timer that has not run out."""
    return bool(_armed)


def stop_timers() -> None:
    """Stop every timer that a function has started. Raises what a handler raises whose timer has just run out."""
    if not _armed:
        return
    _alarm(0)  # and with it the timer ITIMER_REAL
    _setitimer(signal.ITIMER_VIRTUAL, 0)
    _setitimer(signal.ITIMER_PROF, 0)
    _cancel_dump()
    _armed.clear()


def stop_timers_surely() -> None:
    """Stop every timer, whatever their handlers raise meanwhile."""
    while True:
        try:
            return stop_timers()
        except BaseException:  # each timer can run out once more at most, since its interval is cleared with it
            continue


class _Setting(NamedTuple):
    """One thing about the process: how it is looked at, and how it is set back."""

    read: Callable[[], Any]  # cheap; it may return an object that changes later
    write: Callable[[Any], None]
    copy: Callable[[Any], Any] = lambda value: value  # of what is read
    module: str = ""  # it is looked at once this module has been loaded, and was as ``fresh`` says before
    fresh: Any = None
    imports: bool = True  # whether what the import of a module changes of it stays


def _attribute(owner: Any, name: str, imports: bool = True) -> _Setting:
    return _Setting(functools.partial(getattr, owner, name), functools.partial(setattr, owner, name), imports=imports)


def _list(owner: Any, name: str) -> _Setting:
    held = getattr(owner, name)

    def write(value: Any) -> None:
        held[:] = value
        setattr(owner, name, held)

    return _Setting(functools.partial(getattr, owner, name), write, list)


def _cwd() -> Optional[str]:
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:  # it has been deleted
        return None


def _set_cwd(path: Optional[str]) -> None:
    if path is not None:
        os.chdir(path)


def _umask() -> int:
    before = os.umask(_umask_usual)  # it cannot be read without being written
    if before != _umask_usual:
        os.umask(before)
    return before


def _set_umask(umask: int) -> None:
    os.umask(umask)


_umask_usual = os.umask(0o077)
os.umask(_umask_usual)


def _set_locale(name: str) -> None:
    _setlocale(_LC_ALL, name)


def _set_environment(wanted: Dict[bytes, bytes]) -> None:
    zone = _environ._data.get(b"TZ")
    for name in [name for name in _environ._data if name not in wanted]:
        del _environ[os.fsdecode(name)]
    for name, value in wanted.items():
        if _environ._data.get(name) != value:
            _environ[os.fsdecode(name)] = os.fsdecode(value)
    if zone != wanted.get(b"TZ"):
        time.tzset()


def _handlers() -> Any:
    return tuple(map(_getsignal, _SIGNALS))


def _set_handlers(wanted: Any) -> None:
    for number, handler in zip(_SIGNALS, wanted):
        if handler is not None and _getsignal(number) is not handler:
            signal.signal(number, handler)
    faulthandler.enable(2)  # its own handlers are not among these, and may have been replaced


def _set_filters(wanted: List[Any]) -> None:
    warnings.filters[:] = wanted  # type: ignore[index]
    getattr(warnings, "_filters_mutated", getattr(warnings, "_filters_mutated_lock_held", int))()


def _logging() -> Any:
    return _root.level, _root.disabled, _manager.disable, _root.handlers, _root.filters


def _copy_of_logging(found: Any) -> Any:
    return (*found[:3], list(found[3]), list(found[4]))


def _set_logging(wanted: Any) -> None:
    level, disabled, below, handlers, filters = wanted
    _root.setLevel(level)
    _root.disabled = disabled
    logging.disable(below)
    _root.handlers[:], _root.filters[:] = handlers, filters


def _collector() -> Any:
    return gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.callbacks


def _copy_of_collector(found: Any) -> Any:
    return (*found[:3], list(found[3]))


def _set_collector(wanted: Any) -> None:
    enabled, threshold, debug, callbacks = wanted
    gc.enable() if enabled else gc.disable()
    gc.set_threshold(*threshold)
    gc.set_debug(debug)
    gc.callbacks[:] = callbacks


def _limits() -> List[Any]:
    return list(map(resource.getrlimit, _LIMITS))


def _set_limits(wanted: List[Any]) -> None:
    for limit, (soft, hard) in zip(_LIMITS, wanted):
        now, highest = resource.getrlimit(limit)
        if (now, highest) != (soft, hard):
            with contextlib.suppress(ValueError, PermissionError):  # a hard limit comes back for root only
                resource.setrlimit(limit, (soft, hard))
                continue
            bound = (
                highest if soft == resource.RLIM_INFINITY else soft if highest == resource.RLIM_INFINITY else min(soft, highest)
            )
            resource.setrlimit(limit, (bound, highest))


def _mask() -> Any:
    return _signal.pthread_sigmask(signal.SIG_BLOCK, ())


def _loop_policy() -> Any:
    return getattr(sys.modules["asyncio.events"], "_event_loop_policy", None)


def _set_loop_policy(policy: Any) -> None:
    sys.modules["asyncio.events"]._event_loop_policy = policy  # type: ignore[attr-defined]


def _set_mask(mask: Any) -> None:
    _signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class _Below:
    """The frames of the invocations that wait below the one that runs, which has the whole recursion limit for itself."""

    frames = 0


_below = _Below()


def _start_method() -> Any:
    return sys.modules["multiprocessing.context"]._default_context._actual_context


def _set_start_method(method: Any) -> None:
    sys.modules["multiprocessing.context"]._default_context._actual_context = method


_LISTS = 8  # of what _assigned returns, the first ones


def _assigned() -> Any:
    """Return what code changes by assigning to it, which no function could note."""
    return (
        sys.path,
        sys.argv,
        sys.meta_path,
        sys.path_hooks,
        warnings.filters,
        gc.callbacks,
        _root.handlers,
        _root.filters,
        sys.stdin,
        sys.displayhook,
        sys.excepthook,
        sys.unraisablehook,
        threading.excepthook,
        os.environ,
        tempfile.tempdir,
        _root.level,
        _root.disabled,
        _manager.disable,
    )


def _copy_of_assigned(found: Any) -> Any:
    return (*map(list, found[:_LISTS]), *found[_LISTS:])


def _settings() -> List[_Setting]:
    return [
        _Setting(_cwd, _set_cwd, imports=False),
        _Setting(_umask, _set_umask, imports=False),
        _Setting(functools.partial(getattr, _environ, "_data"), _set_environment, dict),
        _attribute(os, "environ"),
        _Setting(_handlers, _set_handlers),
        _Setting(_mask, _set_mask, imports=False),
        _Setting(_limits, _set_limits, imports=False),
        _Setting(
            functools.partial(os.getpriority, os.PRIO_PROCESS, 0),
            lambda nice: os.setpriority(os.PRIO_PROCESS, 0, nice),
            imports=False,
        ),
        _Setting(functools.partial(os.sched_getaffinity, 0), lambda cores: os.sched_setaffinity(0, cores), imports=False),
        _list(sys, "path"),
        _list(sys, "argv"),
        _list(sys, "meta_path"),
        _list(sys, "path_hooks"),
        _attribute(sys, "stdin", imports=False),
        _attribute(sys, "displayhook"),
        _attribute(sys, "excepthook"),
        _attribute(sys, "unraisablehook"),
        _attribute(threading, "excepthook"),
        _Setting(sys.gettrace, sys.settrace, imports=False),
        _Setting(sys.getprofile, sys.setprofile, imports=False),
        _Setting(lambda: _getrecursionlimit() - _below.frames, lambda limit: _setrecursionlimit(limit + _below.frames)),
        _Setting(sys.getswitchinterval, sys.setswitchinterval),
        _Setting(socket.getdefaulttimeout, socket.setdefaulttimeout),
        _Setting(functools.partial(getattr, warnings, "filters"), _set_filters, list),
        _Setting(functools.partial(_setlocale, _LC_ALL, None), _set_locale),
        _Setting(_logging, _set_logging, _copy_of_logging),
        _Setting(_collector, _set_collector, _copy_of_collector),
        _attribute(tempfile, "tempdir"),
        _Setting(_loop_policy, _set_loop_policy, module="asyncio.events"),
        _Setting(_start_method, _set_start_method, module="multiprocessing.context"),
        _Setting(tracemalloc.is_tracing, lambda _: tracemalloc.stop()),
    ]


class Baseline:
    """How the state of the process was before the first run, and is again after each. Used by the thread that runs functions.

    What loading a function and importing a module change stays, since the next run does not do it again.
    """

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            tempfile.gettempdir()  # which is looked for once
        self._waiting = _settings()  # for their modules
        self._settings: List[_Setting] = []
        self._of_modules: List[Tuple[Callable[[], Any], Any]] = []
        self._wanted: List[Any] = []
        self._modules = 0
        self.take()

    def take(self) -> None:
        """Make the state of now the one that is set back to."""
        self._look_at_modules()
        self._wanted = [setting.copy(setting.read()) for setting in self._settings]
        self._assigned = _copy_of_assigned(_assigned())
        _touched.clear()

    # An invocation that runs while another one waits below it finds the process as the first one did.

    def lay_aside(self) -> Optional[List[Any]]:
        """Set back what the function that waits has changed, and return it for :meth:`take_up`; None = nothing."""
        if not self._differs():
            return None
        self._look_at_modules()
        found = [setting.copy(setting.read()) for setting in self._settings]
        self.set_back()
        return found

    def take_up(self, found: Optional[List[Any]]) -> None:
        """Set back what the function on top has changed, and give the one that goes on what it had."""
        self.set_back()
        if found is not None:
            for setting, before in zip(self._settings, found):
                if setting.read() != before:
                    with contextlib.suppress(OSError, ValueError):
                        setting.write(setting.copy(before))
            _touched.add("before")  # so that all is compared when it ends

    @staticmethod
    def deepen(frames: int) -> None:
        """Let the function on top recurse as deep as if those below it did not have so many frames more."""
        _below.frames += frames
        _setrecursionlimit(_getrecursionlimit() + frames)

    def _differs(self) -> bool:
        return bool(
            _touched
            or _assigned() != self._assigned
            or len(sys.modules) != self._modules
            or (self._of_modules and self._modules_differ())
        )

    def set_back(self) -> None:
        """Set back what differs. Exceptions of signal handlers that user code has left are dropped with the handlers."""
        for _ in range(_TRIES_MAX):
            try:
                if self._differs():
                    self._look_at_modules()
                    self._write()
                    self._assigned = _copy_of_assigned(_assigned())
                    _touched.clear()
                return
            except BaseException as e:
                cause = e
        raise cause

    def _write(self) -> None:
        for setting, wanted in zip(self._settings, self._wanted):
            if setting.read() != wanted:
                with contextlib.suppress(OSError, ValueError):  # what the process may not do any more: it has done so for good
                    setting.write(setting.copy(wanted))

    def _look_at_modules(self) -> None:
        """Take in the settings whose modules have been loaded since."""
        self._modules = len(sys.modules)
        for setting in [setting for setting in self._waiting if not setting.module or setting.module in sys.modules]:
            self._waiting.remove(setting)
            self._settings.append(setting)
            self._wanted.append(setting.copy(setting.read()) if not setting.module else setting.fresh)
            if setting.module:
                self._of_modules.append((setting.read, setting.fresh))

    def _modules_differ(self) -> bool:
        return any(read() != wanted for read, wanted in self._of_modules)

    # Imports.

    def keep_what_imports_change(self) -> None:
        """Have what the import of a module changes stay: the next run that imports it gets it as it is."""
        sys.meta_path.insert(0, _Finder(self))
        self.take()

    def _before_import(self) -> List[Any]:
        return [setting.copy(setting.read()) if setting.imports else None for setting in self._settings]

    def _after_import(self, before: List[Any]) -> None:
        for at, (setting, found) in enumerate(zip(self._settings, before)):
            if setting.imports and (now := setting.read()) != found:
                self._wanted[at] = _merged(self._wanted[at], found, setting.copy(now))
        _touched.add("import")  # so that all is compared with what is wanted now


def _merged(wanted: Any, before: Any, after: Any) -> Any:
    """Return what is wanted after an import, given what the import found, which may not have been as wanted, and left."""
    if before == wanted:
        return after
    if isinstance(after, dict):
        changed = {name: value for name, value in after.items() if before.get(name) != value}
        return {name: value for name, value in {**wanted, **changed}.items() if name in after or name not in before}
    if isinstance(after, list):
        return [value for value in after if value in wanted or value not in before]
    if isinstance(after, tuple):
        return tuple(_merged(*three) for three in zip(wanted, before, after))
    return wanted if after == before else after


class _Finder:
    """Stands before the finders of modules, and sees when a module that they have found is executed."""

    def __init__(self, baseline: Baseline) -> None:
        self._baseline = baseline
        self._thread = threading.local()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec = find(name, path, target)
            if spec is not None:
                if isinstance(spec.loader, _LOADERS):
                    execute = functools.partial(self._execute, spec.loader.exec_module)
                    spec.loader.exec_module = execute  # type: ignore[method-assign]
                return spec
        return None

    def _execute(self, execute: Callable[[Any], None], module: Any) -> None:
        if getattr(self._thread, "inside", False):
            return execute(module)
        self._thread.inside = True
        before = self._baseline._before_import()
        try:
            return execute(module)
        finally:
            self._thread.inside = False
            self._baseline._after_import(before)


_LOADERS = (
    importlib.machinery.SourceFileLoader,
    importlib.machinery.SourcelessFileLoader,
    importlib.machinery.ExtensionFileLoader,
)
