"""What upstream functions return, as arguments of the functions that they feed."""

from __future__ import annotations

from typing import Any, Dict, Iterator, Tuple

from cloudburst import codec
from cloudburst.argument import Argument, Ref
from cloudburst.cells import few, value_of
from cloudburst.codec import Buffer
from cloudburst.errors import KeyNotFoundError
from cloudburst.shared.objects import raw_of
from cloudburst.worker.host import Host

__all__ = ["arguments_of"]

REFERENCE_SECONDS = 10.0
"""How long a key may take to appear to which an upstream function has returned a reference; the node's default is the same."""


def arguments_of(encoded: Buffer, host: Host) -> Tuple[Any, ...]:
    """Return the arguments that an encoded result stands for.

    A tuple is spread over several arguments. A reference or a future, also inside a list, is replaced by the value of its key.
    Raises KeyNotFoundError when nothing appears under a key in time.
    """
    value = codec.decode(encoded)
    arguments = value if type(value) is tuple else (value,)
    if encoded[0] != codec.PICKLE:  # no other encoding can hold a reference
        return arguments
    references = [reference for argument in arguments for reference in _references(argument)]
    if not references:
        return arguments
    found: Dict[bool, Dict[str, Any]] = {}
    for raw, read in ((False, value_of), (True, raw_of)):
        keys = tuple(dict.fromkeys(_key(r) for r in references if _is_raw(r) is raw))
        if not keys:
            continue
        cells = host.get(keys, REFERENCE_SECONDS, None, read)
        absent = [key for key in keys if not cells[key][0]]
        if absent:
            raise KeyNotFoundError(
                f"an upstream function returned a reference to {few(absent)}, under which nothing appeared within "
                f"{REFERENCE_SECONDS:g} s"
            )
        found[raw] = {key: value for key, (_, value) in cells.items()}

    def replaced(argument: Any) -> Any:
        if isinstance(argument, Argument):
            return found[_is_raw(argument)][_key(argument)]
        return [replaced(element) for element in argument] if type(argument) is list else argument

    return tuple(replaced(argument) for argument in arguments)


def _references(argument: Any) -> Iterator[Argument]:
    if isinstance(argument, Argument):
        yield argument
    elif type(argument) is list and any(issubclass(kind, Argument) for kind in set(map(type, argument))):
        yield from (element for element in argument if isinstance(element, Argument))


def _key(argument: Argument) -> str:
    return argument.key  # type: ignore[attr-defined,no-any-return]  # a Ref and a Future have one


def _is_raw(argument: Argument) -> bool:
    return isinstance(argument, Ref) and not argument.deserialize
