"""Classes with state, as functions: one object of the class, whose method ``run`` is what calls of it run."""

from __future__ import annotations

import inspect
from typing import Any, Tuple

__all__ = ["LocalObject", "Stateful"]


class Stateful:
    """What a class that does not take the user library is registered as: the node builds it once, and calls ``run``."""

    def __init__(self, library: Any, cls: type, init: Tuple[Any, ...]) -> None:
        self._object = cls(*init)

    def run(self, library: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self._object.run(*args, **kwargs)


class LocalObject:
    """What plain calls of such a class call: ``run`` of an object that is built when it is first called."""

    def __init__(self, cls: type, init: Tuple[Any, ...]) -> None:
        self._cls = cls
        self._init = init
        self._object: Any = None
        self.__name__, self.__qualname__, self.__module__ = cls.__name__, cls.__qualname__, cls.__module__

    # The class may just be arriving in a process, and have no methods yet, when this is made: it may mention itself.

    @property
    def __doc__(self) -> Any:  # type: ignore[override]
        return self._cls.__doc__

    @property
    def __signature__(self) -> inspect.Signature:
        signature = inspect.signature(self._cls.run)  # type: ignore[attr-defined]
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if self._object is None:
            self._object = self._cls(*self._init)
        return self._object.run(*args, **kwargs)

    def __reduce__(self) -> Any:
        return (LocalObject, (self._cls, self._init))
