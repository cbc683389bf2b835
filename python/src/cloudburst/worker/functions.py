"""The functions that a worker holds."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Callable, Dict, Optional, Tuple

from cloudburst import codec
from cloudburst.codec import Buffer
from cloudburst.errors import CodecError, InternalError
from cloudburst.mentions import loaded_as
from cloudburst.v1 import function_pb2

Key = Tuple[str, int]


class Function:
    """One version of one function. Its definition is unpickled when it is first called, and so is a class's instance built."""

    def __init__(self, function: function_pb2.Function, definition: Buffer) -> None:
        self._described = function
        self.name = function.name
        self.version = function.version
        self.plain = function.convention == function_pb2.CONVENTION_PLAIN
        """Whether it is called without the user library as its first argument."""
        self.runs_on = function.coroutine or function.generator
        """Whether a call of it returns something that has yet to run."""
        self.concurrent = function.coroutine and not function.generator and function.convention != function_pb2.CONVENTION_CLASS
        """Whether several invocations of it can run at once, in the event loop."""
        self._class = function.convention == function_pb2.CONVENTION_CLASS
        self.main: Optional[ModuleType] = None
        """The ``__main__`` of the program that registered it, as far as it travelled: there pickle looks for that name."""
        self._definition: Optional[Buffer] = definition
        self._target: Optional[Callable[..., Any]] = None

    def target(self, library: Any) -> Callable[..., Any]:
        """Return what is called with the arguments. What loading it raises is tried again at the next call."""
        if self._target is None:
            assert self._definition is not None
            try:
                with loaded_as(self._described):
                    loaded, self.main = codec.decode_definition(self._definition)
            except CodecError as e:
                raise CodecError(f"the definition of {self.name}@{self.version} cannot be read: {e}") from e
            self._target = self._instance(loaded, library) if self._class else self._callable(loaded)
            self._definition = None
        return self._target

    def _callable(self, loaded: Any) -> Callable[..., Any]:
        if not callable(loaded):
            raise CodecError(
                f"the definition of {self.name}@{self.version} is a {type(loaded).__name__}, which cannot be called"
            )
        return loaded  # type: ignore[no-any-return]

    def _instance(self, loaded: Any, library: Any) -> Callable[..., Any]:
        if not (isinstance(loaded, tuple) and len(loaded) == 2):
            raise CodecError(f"the definition of {self.name}@{self.version} is not a class and its arguments")
        cls, arguments = loaded
        if arguments is None:
            arguments = ()
        elif not isinstance(arguments, (tuple, list)):
            arguments = (arguments,)
        run = getattr(cls(library, *arguments), "run", None)
        if not callable(run):
            name = getattr(cls, "__qualname__", cls)
            raise CodecError(f"class {name} of {self.name}@{self.version} has no method run(library, ...)")
        return run  # type: ignore[no-any-return]


class Functions:
    """The functions that the executor has loaded into this worker. It bounds them."""

    def __init__(self) -> None:
        self._held: Dict[Key, Function] = {}

    def load(self, function: function_pb2.Function, definition: Buffer) -> None:
        self._held[function.name, function.version] = Function(function, definition)

    def unload(self, name: str, version: int) -> None:
        self._held.pop((name, version), None)

    def runs_beside(self, name: str, version: int) -> bool:
        """Report whether invocations of a function run beside each other in the event loop."""
        function = self._held.get((name, version))
        return function is not None and function.concurrent

    def get(self, name: str, version: int) -> Function:
        function = self._held.get((name, version))
        if function is None:
            raise InternalError(f"function {name}@{version} was called in a worker that has not been given it")
        return function
