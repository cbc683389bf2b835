"""The arguments of a call, as values: anything that can be encoded, and what stands for a value that is elsewhere."""

from __future__ import annotations

from typing import Any, Dict, Generic, Iterable, List, Optional, Set, TypeVar

from cloudburst.cells import check_key, raw_of, value_of
from cloudburst.codec import (
    Encoded,
    encode_composed,
    encode_other,
    encode_parts,
    encode_plain,
    encode_reference,
    encode_sequence,
)
from cloudburst.errors import KeyNotFoundError
from cloudburst.v1 import store_pb2

__all__ = ["Argument", "Ref", "arguments_in", "encode_argument"]

T = TypeVar("T")

_CONTAINERS = (list, tuple, dict, set, frozenset)
_PLAIN = frozenset(_CONTAINERS)
_SCALARS = frozenset((int, float, str, bytes, bool, type(None)))


class Argument:
    """What stands for a value in the arguments of a call: as an argument, or in containers and dataclasses at any depth."""

    __slots__ = ()

    def _encoded(self) -> Encoded:
        raise NotImplementedError


class Ref(Argument, Generic[T]):
    """The value of a key, as an argument: the function gets the value that is there when it starts. So it does for a reference
    in containers and dataclasses of an argument; one that an object of another kind holds can be asked for its value.

    With ``deserialize=False`` it gets the stored bytes. A key that is not there is waited for a while; then the call fails with
    KeyNotFoundError.
    """

    __slots__ = ("deserialize", "key")

    def __init__(self, key: str, deserialize: bool = True) -> None:
        check_key(key)
        self.key = key
        self.deserialize = bool(deserialize)

    def get(self, timeout: Optional[float] = None) -> T:
        """Return the value of the key now, here or inside a function; with ``deserialize=False`` its stored bytes.

        ``timeout`` is how many seconds the answer may take. Raises KeyNotFoundError when nothing is there.
        """
        from cloudburst.connection import current_connection

        ((cell, values),) = current_connection().get((self.key,), 0.0, timeout)
        if cell.type == store_pb2.LATTICE_TYPE_UNSPECIFIED:
            raise KeyNotFoundError(f"nothing is stored under key {self.key!r:.200}")
        if not self.deserialize:
            return raw_of(cell, values)  # type: ignore[no-any-return]
        value: T = value_of(cell, values)
        return value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key!r}{'' if self.deserialize else ', deserialize=False'})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and (self.key, self.deserialize) == (other.key, other.deserialize)

    def __hash__(self) -> int:
        return hash((Ref, self.key, self.deserialize))

    def _encoded(self) -> Encoded:
        return encode_reference(self.key, self.deserialize)


def encode_argument(value: Any) -> Encoded:
    """Return an argument's value. Raises UnpicklableError, naming what in it cannot travel, and TooLargeError."""
    kind = type(value)
    if kind in _SCALARS:
        return encode_parts(value)
    if isinstance(value, Argument):
        return value._encoded()
    if kind in _PLAIN:
        encoded = encode_plain(value)
        if encoded is not None:
            return encoded
    elif not _may_hold(kind):
        return encode_parts(value)
    found = arguments_in(value)
    if not found:
        return encode_other(value)
    if kind is list and all(isinstance(each, Argument) or type(each) in _SCALARS for each in value):
        return encode_sequence([each._encoded() if isinstance(each, Argument) else encode_parts(each) for each in value])
    return encode_composed(value, found, [each._encoded() for each in found])


def _may_hold(kind: type) -> bool:
    """Report whether objects of a type are looked through for what stands for a value elsewhere."""
    return issubclass(kind, _CONTAINERS) or hasattr(kind, "__dataclass_fields__")


def arguments_in(value: Any) -> List[Argument]:
    """Return what stands for values elsewhere, in containers and dataclasses at any depth; other objects stay as they are."""
    found: Dict[int, Argument] = {}
    seen: Set[int] = set()
    pending = [value]
    while pending:
        holder = pending.pop()
        if isinstance(holder, Argument):
            found.setdefault(id(holder), holder)
            continue
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        parts: Iterable[Any]
        if isinstance(holder, dict):
            parts = (*holder.keys(), *holder.values())
        elif isinstance(holder, _CONTAINERS):
            parts = holder
        else:
            parts = [getattr(holder, name, None) for name in type(holder).__dataclass_fields__]
        kinds = {kind for kind in set(map(type, parts)) if issubclass(kind, Argument) or _may_hold(kind)}
        if kinds:
            pending.extend(part for part in parts if type(part) in kinds)
    return list(found.values())
