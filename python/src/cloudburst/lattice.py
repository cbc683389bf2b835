"""The algebra of lattices: how their contents join, whatever holds them.

Pure functions on plain data. Every join is associative, commutative and idempotent; ``docs/lattices.md`` says what the
contents mean. The messages of the store (:mod:`cloudburst.states`), the classes of :mod:`anna.lattices` and the codec of
lattices get theirs from here.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Tuple, TypeVar

__all__ = [
    "NEVER",
    "Clock",
    "Counts",
    "Dependencies",
    "Stamp",
    "Version",
    "covers",
    "join_clocks",
    "join_counts",
    "join_dependencies",
    "join_each",
    "last_of_each",
    "newest",
    "total",
]

Stamp = Tuple[int, int]
"""A time and the writer that wrote at it."""
NEVER: Stamp = (0, 0)

Clock = Dict[Any, int]
"""How many writes of each writer have been seen, without zeros."""
Dependencies = Dict[Any, Clock]
"""The clocks of other keys, by key."""
Counts = Mapping[int, Tuple[int, int]]
"""What each writer of a counter has added and taken away."""

K = TypeVar("K")
V = TypeVar("V")


class Version(NamedTuple):
    """One version of a causal key."""

    clock: Clock
    dependencies: Dependencies
    value: Any


def join_each(a: Mapping[K, V], b: Mapping[K, V], join: Callable[[V, V], V]) -> Dict[K, V]:
    """Join two maps key by key."""
    joined = dict(a)
    for key, value in b.items():
        joined[key] = join(joined[key], value) if key in joined else value
    return joined


def last_of_each(members: Iterable[V], member: Callable[[V], K], order: Callable[[V], Any]) -> Dict[K, V]:
    """Return for each member of a set the last thing that happened to it, in the given order."""
    last: Dict[K, V] = {}
    for happened in members:
        key = member(happened)
        held = last.get(key)
        if held is None or order(happened) > order(held):
            last[key] = happened
    return last


def join_counts(a: Counts, b: Counts) -> Dict[int, Tuple[int, int]]:
    """Join two counters: of each writer the larger sums."""
    return join_each(a, b, lambda one, other: (max(one[0], other[0]), max(one[1], other[1])))


def total(counts: Counts) -> int:
    """Return what a counter shows."""
    return sum(up - down for up, down in counts.values())


def join_clocks(a: Clock, b: Clock) -> Clock:
    """Return the clock that has seen what either has."""
    return join_each(a, b, max)


def join_dependencies(a: Dependencies, b: Dependencies) -> Dependencies:
    """Return the dependencies on all that either depends on."""
    return join_each(a, b, join_clocks)


def covers(a: Clock, b: Clock) -> bool:
    """Report whether a has seen all that b has."""
    return all(a.get(writer, 0) >= count for writer, count in b.items())


def newest(versions: Iterable[Version]) -> List[Version]:
    """Return the versions that no other of them has seen, sorted by value and clock.

    Every version keeps its own clock: to join the clocks of concurrent versions, as the published lattice does, is not
    associative.
    """
    distinct: List[Version] = []
    for version in versions:
        for at, held in enumerate(distinct):
            if held.clock == version.clock and held.value == version.value:
                distinct[at] = held._replace(dependencies=join_dependencies(held.dependencies, version.dependencies))
                break
        else:
            distinct.append(version)
    kept = [v for v in distinct if not any(covers(other.clock, v.clock) and other.clock != v.clock for other in distinct)]
    try:
        return sorted(kept, key=lambda version: (version.value, sorted(version.clock.items())))
    except TypeError:  # values of a program that have no order
        return kept
