"""The arguments of a call, as values: anything that can be encoded, and what stands for a value that is elsewhere."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from cloudburst.codec import Encoded, encode_parts, encode_reference, encode_sequence
from cloudburst.errors import InvalidArgumentError

__all__ = ["Argument", "Ref", "encode_argument"]

T = TypeVar("T")

_SCALARS = frozenset((int, float, str, bytes, bool, type(None)))


class Argument:
    """What stands for a value among the arguments of a call, also inside a list."""

    __slots__ = ()

    def _encoded(self) -> Encoded:
        raise NotImplementedError


class Ref(Argument, Generic[T]):
    """The value of a key, as an argument: the function gets the value that is there when it starts.

    With ``deserialize=False`` it gets the stored bytes. A key that is not there is waited for a while; then the call fails with
    KeyNotFoundError.
    """

    __slots__ = ("deserialize", "key")

    def __init__(self, key: str, deserialize: bool = True) -> None:
        if not isinstance(key, str) or not key:
            raise InvalidArgumentError(f"a reference is to the name of a key, got {key!r:.100}")
        self.key = key
        self.deserialize = bool(deserialize)

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
    if kind is list:
        for element_kind in set(map(type, value)):
            if issubclass(element_kind, Argument):
                return encode_sequence([encode_argument_in_list(element) for element in value])
    return encode_parts(value)


def encode_argument_in_list(value: Any) -> Encoded:
    return value._encoded() if isinstance(value, Argument) else encode_parts(value)
