"""How an invocation is carried out, understood once and kept for those of its like."""

from __future__ import annotations

from typing import Any, Callable, List, Sequence, Tuple

from cloudburst import codec
from cloudburst.codec import Buffer
from cloudburst.errors import CodecError
from cloudburst.v1 import frame_pb2
from cloudburst.worker.functions import Function

__all__ = ["Plan", "Step", "unreadable"]


class Step:
    """One function of an invocation, ready to be called."""

    __slots__ = ("call", "first", "function", "keywords", "keywords_at", "last", "prefix", "spread")

    def __init__(
        self, step: frame_pb2.Step, first: int, function: Function, call: Callable[..., Any], prefix: List[Any]
    ) -> None:
        self.function = function
        self.call = call
        self.prefix = prefix
        self.first = first  # of the positional arguments among the values
        self.last = self.keywords_at = first + step.positional
        self.keywords = tuple(step.keywords)
        self.spread = frozenset(step.spread)


class Plan:
    """An invocation that has been understood: its steps, and where its values lie."""

    __slots__ = ("cuts", "steps")

    def __init__(self, steps: List[Step], sizes: Sequence[int]) -> None:
        self.steps = steps
        self.cuts: List[Tuple[int, int]] = []  # start and end of each value, from the start of the payload
        at = 0
        for size in sizes:
            self.cuts.append((at, at + size))
            at += size


def unreadable(step: Step, values: List[Buffer], error: CodecError) -> CodecError:
    """Return the error about an argument that cannot be read, with its place."""
    place = "an argument"
    for at in range(step.first, step.keywords_at + len(step.keywords)):
        try:
            codec.decode(values[at])
        except CodecError:
            named = at - step.keywords_at
            place = f"argument {step.keywords[named]!r}" if named >= 0 else f"argument {at - step.first + 1}"
            break
    return CodecError(f"{place} of {step.function.name}@{step.function.version} cannot be read: {error}")
