"""What upstream functions return, as arguments of the functions that they feed."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from cloudburst import codec
from cloudburst.argument import Argument, Ref, arguments_in
from cloudburst.cells import few, raw_of, value_of
from cloudburst.codec import Buffer
from cloudburst.errors import KeyNotFoundError
from cloudburst.worker.host import Host

__all__ = ["arguments_of"]

REFERENCE_SECONDS = 10.0
"""How long a key may take to appear to which an upstream function has returned a reference; the node's default is the same."""


def arguments_of(encoded: Buffer, host: Host) -> Tuple[Any, ...]:
    """Return the arguments that an encoded result stands for.

    A tuple is spread over several arguments. References and futures are replaced by the values of their keys, in containers and
    dataclasses too, as in the arguments of a call. Raises KeyNotFoundError when nothing appears under a key in time.
    """
    value = codec.decode(encoded)
    if encoded[0] == codec.PICKLE:  # no other encoding can hold a reference
        references = arguments_in(value)
        if references:
            elements = [codec.encode(found) for found in _values(references, host)]
            value = codec.decode(codec.encode_composed(value, references, elements))
    return value if type(value) is tuple else (value,)


def _values(references: List[Argument], host: Host) -> List[Any]:
    found: Dict[Tuple[bool, str], Any] = {}
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
        found.update(((raw, key), value) for key, (_, value) in cells.items())
    return [found[_is_raw(reference), _key(reference)] for reference in references]


def _key(argument: Argument) -> str:
    return argument.key  # type: ignore[attr-defined,no-any-return]  # a Ref and a Future have one


def _is_raw(argument: Argument) -> bool:
    return isinstance(argument, Ref) and not argument.deserialize
