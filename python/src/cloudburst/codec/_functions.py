"""Functions that travel by value, and how they are made where they arrive."""

from __future__ import annotations

import builtins
import types
from typing import Any, Dict, Optional, Tuple, Union

from cloudburst.codec._modules import Importer

__all__ = ["make_function", "set_function"]

Globals = Union[Dict[str, Any], types.ModuleType]


def make_function(code: types.CodeType, globals: Globals, cells: Optional[Tuple[Any, ...]], imports: bool) -> Any:
    """Return a function that has its code. Its globals are those of a module that has travelled, or a dictionary.

    With ``imports`` it imports modules that have travelled along: functions take their ``__import__`` from their globals.
    """
    held = vars(globals) if isinstance(globals, types.ModuleType) else globals
    if imports and not isinstance(_importer(held), Importer):
        held["__builtins__"] = {**vars(builtins), "__import__": Importer()}
    else:
        held.setdefault("__builtins__", builtins.__dict__)
    return types.FunctionType(code, held, None, None, cells)


def set_function(function: types.FunctionType, state: Tuple[Dict[str, Any], Dict[str, Any]]) -> None:
    """Give a function everything but its code: globals, closure, defaults, attributes."""
    attributes, slots = state
    function.__dict__.update(attributes)
    imports = slots.pop("__imports__", None)
    if imports:
        _importer(function.__globals__).found.update(imports)
    slots.pop("_cloudpickle_submodules")  # they are imported now
    function.__globals__.update(slots.pop("__globals__"))
    for cell, sent in zip(function.__closure__ or (), slots.pop("__closure__") or ()):
        try:
            cell.cell_contents = sent.cell_contents
        except ValueError:  # nothing has been assigned to it yet
            continue
    for name, value in slots.items():
        setattr(function, name, value)


def _importer(globals: Dict[str, Any]) -> Any:
    held = globals.get("__builtins__")
    return held.get("__import__") if isinstance(held, dict) else None
