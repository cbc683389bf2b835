"""Says which part of an object cannot be pickled, in the words of the program that holds it."""

from __future__ import annotations

import types
from typing import Any, Iterator, List, Optional, Set, Tuple

from cloudburst.codec._modules import Needed, policy
from cloudburst.codec._pickle import raw_dumps

_LEVELS_MAX = 8
_ATTEMPTS_MAX = 200


def explain(value: Any, error: BaseException, needed: Needed) -> str:
    """Return a sentence that names the innermost variable, attribute or element of value that cannot be pickled.

    ``needed`` is what the pickle of the value needs of modules; their other attributes are not at fault.
    """
    search = _Search(needed)
    path = search.descend(value, _LEVELS_MAX)
    reason = f"{type(error).__name__}: {error}"
    if not path:
        return f"cannot pickle {_describe(value)}: {reason}"
    steps = " of ".join(step for step, _ in reversed(path))
    culprit = path[-1][1]
    hint = (
        "create it inside the function instead" if _through_function(value) else "leave it out, or give its class a __reduce__"
    )
    return f"cannot pickle {_describe(value)}: {steps} is {_describe(culprit)}, which cannot be pickled ({reason}); {hint}"


def leave_out(needed: Needed) -> bool:
    """Find attributes of the modules that a pickle takes along which cannot be pickled, and which the code may never use.

    They are noted in ``needed``, with the reason. Report whether there is a new one.
    """
    found = False
    for module in needed.written:
        for name, value in needed.state(module)[0].items():
            if needed.loads(module, name):
                continue
            attempt = Needed()
            attempt.left_out = needed.left_out
            try:
                raw_dumps(value, attempt)
            except Exception as e:
                reasons = needed.left_out.setdefault(module.__name__, {})
                reasons[name] = f"it is {_describe(value)}, which cannot be pickled ({type(e).__name__}: {e})"
                found = True
    return found


def _through_function(value: Any) -> bool:
    return isinstance(value, (types.FunctionType, types.MethodType, type))


class _Search:
    def __init__(self, needed: Needed) -> None:
        self.needed = needed
        self.attempts = 0
        self.seen: Set[int] = set()

    def descend(self, value: Any, levels: int) -> List[Tuple[str, Any]]:
        if levels == 0:
            return []
        for name, part in _parts(value, self.needed):
            if id(part) in self.seen or self._can_be_pickled(part):
                continue
            self.seen.add(id(part))
            return [(name, part), *self.descend(part, levels - 1)]
        return []

    def _can_be_pickled(self, value: Any) -> bool:
        self.attempts += 1
        if self.attempts > _ATTEMPTS_MAX:
            return True
        try:
            raw_dumps(value, self.needed.copy())
        except Exception:
            return False
        return True


def _parts(value: Any, needed: Needed) -> Iterator[Tuple[str, Any]]:
    """The parts of a value that its pickle contains, each with its name."""
    if isinstance(value, types.FunctionType):
        yield from _function_parts(value)
    elif isinstance(value, types.MethodType):
        yield "the object", value.__self__
        yield f"method {value.__func__.__name__!r}", value.__func__
    elif isinstance(value, type):
        for name, part in vars(value).items():
            if not name.startswith("__") or isinstance(part, types.FunctionType):
                yield f"attribute {name!r}", getattr(part, "__func__", part)
    elif isinstance(value, types.ModuleType):
        if policy.is_own(value.__name__):
            for name, part in needed.copy().state(value)[0].items():
                if not name.startswith("__"):
                    yield f"attribute {name!r} of module {value.__name__!r}", part
    elif isinstance(value, dict):
        for key, part in value.items():
            yield f"key {key!r:.80}", key
            yield f"the value under {key!r:.80}", part
    elif isinstance(value, (list, tuple, set, frozenset)):
        for i, part in enumerate(value):
            yield f"element {i}", part
    else:
        yield from _object_parts(value)


def _function_parts(function: types.FunctionType) -> Iterator[Tuple[str, Any]]:
    where = f"function {function.__name__!r}"
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        try:
            yield f"closure variable {name!r} of {where}", cell.cell_contents
        except ValueError:  # not yet assigned
            continue
    for name in _names(function.__code__):
        if name in function.__globals__:
            yield f"global {name!r} used by {where}", function.__globals__[name]
    arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    for name, part in zip(arguments[len(arguments) - len(defaults) :], defaults):
        yield f"default of parameter {name!r} of {where}", part
    for name, part in (function.__kwdefaults__ or {}).items():
        yield f"default of parameter {name!r} of {where}", part
    for name, part in vars(function).items():
        yield f"attribute {name!r} of {where}", part
    yield f"annotations of {where}", function.__annotations__


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _object_parts(value: Any) -> Iterator[Tuple[str, Any]]:
    yield f"the class {type(value).__qualname__!r}", type(value)
    state: Optional[Any] = getattr(value, "__dict__", None)
    if isinstance(state, dict):
        for name, part in state.items():
            yield f"attribute {name!r}", part
    if isinstance(value, BaseException):
        for i, part in enumerate(value.args):
            yield f"argument {i}", part
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name):
                yield f"attribute {name!r}", getattr(value, name)


def _describe(value: Any) -> str:
    if isinstance(value, types.FunctionType):
        return f"function {value.__qualname__!r}"
    if isinstance(value, type):
        return f"class {value.__qualname__!r}"
    kind = type(value)
    module = "" if kind.__module__ in ("builtins", "__main__") else kind.__module__ + "."
    article = "an" if (module + kind.__qualname__)[:1].lower() in "aeiou" else "a"
    return f"{article} {module}{kind.__qualname__}"
