"""Lattices: values that merge, in any order and however often, to the same.

These are the classes of the published interface and those that Anna adds to it. All of them have ``reveal()``, which returns
the value, ``assign(value)``, which replaces it by what the constructor takes, and ``merge(other)``, which takes in another
lattice of the same class and returns the lattice itself. Merging is associative, commutative and idempotent everywhere.

What is put into the store has to be bytes where a value is meant: the value of a :class:`LWWPairLattice`, the members of a
set, the values of a causal lattice.
"""

from __future__ import annotations

import bisect
import copy
import math
import secrets
from typing import Any, Dict, Iterable, Iterator, List, Mapping, MutableMapping, Optional, Set, Tuple, TypeVar

from cloudburst.errors import InvalidArgumentError
from cloudburst.lattice import (
    Clock,
    Dependencies,
    Version,
    covers,
    join_clocks,
    join_counts,
    join_dependencies,
    join_each,
    newest,
    total,
)

__all__ = [
    "CounterLattice",
    "Lattice",
    "ListBasedOrderedSet",
    "LWWPairLattice",
    "MapLattice",
    "MaxIntLattice",
    "MinIntLattice",
    "MultiKeyCausalLattice",
    "OrderedSetLattice",
    "PriorityLattice",
    "SetLattice",
    "SingleKeyCausalLattice",
    "VectorClock",
]

_L = TypeVar("_L", bound="Lattice")
_M = TypeVar("_M", bound="MapLattice")


class Lattice:
    """Base of all lattices."""

    generation: Tuple[int, int] = (0, 0)
    """The deletion of the key, as (time, writer), that was known when this was read from the store. What is put back with it
    does not survive a later deletion. Only what has no timestamps of its own has one; the later replaces the earlier."""

    def reveal(self) -> Any:
        """Return the value."""
        raise NotImplementedError

    def assign(self, value: Any) -> None:
        """Replace the value by what the constructor takes. Raises InvalidArgumentError, a ValueError, for anything else."""
        raise NotImplementedError

    def merge(self: _L, other: _L) -> _L:
        """Take in another lattice of the same class, which stays as it is, and return self.

        Raises InvalidArgumentError, a ValueError, for any other.
        """
        if type(other) is not type(self):
            raise InvalidArgumentError(f"a {type(self).__name__} does not merge with a {type(other).__name__}")
        if self.generation == other.generation:
            self._join(other)
        elif self.generation < other.generation:
            self.__dict__ = copy.deepcopy(other).__dict__
        return self

    def _join(self, other: Any) -> None:
        raise NotImplementedError

    def serialize(self) -> Tuple[Any, int]:
        """Return the lattice as a message of :mod:`anna.anna_pb2`, and its LatticeType.

        Raises UnsupportedError, a NotImplementedError, for a lattice that no message exists for.
        """
        from anna._message import message_of  # it needs the classes of this module

        return message_of(self)

    def _state(self) -> Any:
        """What makes two lattices of one class equal."""
        return self.reveal()

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Lattice)
            and type(other) is type(self)
            and self.generation == other.generation
            and bool(self._state() == other._state())
        )

    __hash__ = None  # type: ignore[assignment]  # a lattice changes

    def __str__(self) -> str:
        return str(self.reveal())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.reveal()!r:.200}>"


class LWWPairLattice(Lattice):
    """The value written last. Of two with one timestamp the one with the greater bytes."""

    def __init__(self, timestamp: int, value: bytes) -> None:
        """``timestamp`` is an integer from 0 on, as large as the writer likes it; in the store, of 64 bits."""
        self.assign((timestamp, value))

    def reveal(self) -> bytes:
        """Return the value."""
        return self.val

    def assign(self, value: Tuple[int, bytes]) -> None:
        """Replace timestamp and value."""
        if type(value) is not tuple or len(value) != 2 or not _is_int(value[0]) or not isinstance(value[1], bytes):
            raise InvalidArgumentError(f"a LWWPairLattice is an integer and bytes, got {value!r:.100}")
        self.ts: int = value[0]
        self.val: bytes = value[1]

    def _join(self, other: LWWPairLattice) -> None:
        self.ts, self.val = max((self.ts, self.val), (other.ts, other.val))

    def _state(self) -> Tuple[int, bytes]:
        return self.ts, self.val


class SetLattice(Lattice):
    """A set to which members are added."""

    def __init__(self, value: Optional[Set[Any]] = None) -> None:
        """``value`` is a set; to be put into the store, of bytes."""
        self.assign(set() if value is None else value)

    def reveal(self) -> Set[Any]:
        """Return the set itself."""
        return self.val

    def assign(self, value: Set[Any]) -> None:
        """Replace the set."""
        if not isinstance(value, set):
            raise InvalidArgumentError(f"a SetLattice is a set, got {value!r:.100}")
        self.val: Set[Any] = value

    def _join(self, other: SetLattice) -> None:
        self.val = self.val | other.val


class ListBasedOrderedSet:
    """A list without repetitions in ascending order."""

    def __init__(self, iterable: Iterable[Any] = ()) -> None:
        """``iterable`` may have repetitions and any order; it is fastest with neither."""
        self.lst: List[Any] = []
        for value in iterable:
            self.insert(value)

    def insert(self, value: Any) -> None:
        """Add a value where it belongs, unless it is there."""
        at = bisect.bisect_left(self.lst, value) if self.lst and not value > self.lst[-1] else len(self.lst)
        if at == len(self.lst) or self.lst[at] != value:
            self.lst.insert(at, value)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.lst)

    def __len__(self) -> int:
        return len(self.lst)

    def __contains__(self, value: object) -> bool:
        at = bisect.bisect_left(self.lst, value)
        return at < len(self.lst) and bool(self.lst[at] == value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ListBasedOrderedSet) and self.lst == other.lst

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ListBasedOrderedSet({self.lst!r})"


class OrderedSetLattice(Lattice):
    """Members in the order of their scores, and of their own where these are equal: without scores, an ordered set.

    Of two scores of one member the higher holds when lattices merge; in the store it is the one that was put last.
    """

    def __init__(self, value: Optional[ListBasedOrderedSet] = None, scores: Optional[Mapping[Any, float]] = None) -> None:
        """``value`` has the members, each with the score 0; ``scores`` gives further ones, or other scores."""
        self.assign(ListBasedOrderedSet() if value is None else value)
        for member, score in (scores or {}).items():
            self._scores[member] = _number(score)

    def reveal(self) -> List[Any]:
        """Return the members in their order."""
        return [member for member, _ in self.scored()]

    def scored(self) -> List[Tuple[Any, float]]:
        """Return the members in their order, each with its score."""
        return sorted(self._scores.items(), key=lambda item: (item[1], item[0]))

    def assign(self, value: ListBasedOrderedSet) -> None:
        """Replace the members; each has the score 0."""
        if not isinstance(value, ListBasedOrderedSet):
            raise InvalidArgumentError(f"an OrderedSetLattice is a ListBasedOrderedSet, got {value!r:.100}")
        self._scores: Dict[Any, float] = dict.fromkeys(value.lst, 0.0)

    @property
    def val(self) -> ListBasedOrderedSet:
        """The members in ascending order."""
        return ListBasedOrderedSet(self._scores)

    def _join(self, other: OrderedSetLattice) -> None:
        self._scores = join_each(self._scores, other._scores, max)

    def _state(self) -> Dict[Any, float]:
        return self._scores


class _IntLattice(Lattice):
    def __init__(self, value: int) -> None:
        """``value`` is an integer; in the store, of 64 bits."""
        self.assign(value)

    def reveal(self) -> int:
        """Return the integer."""
        return self.value

    def assign(self, value: int) -> None:
        """Replace the integer."""
        if not _is_int(value):
            raise InvalidArgumentError(f"a {type(self).__name__} is an integer, got {value!r:.100}")
        self.value: int = value


class MaxIntLattice(_IntLattice):
    """The largest of integers."""

    def _join(self, other: MaxIntLattice) -> None:
        self.value = max(self.value, other.value)


class MinIntLattice(_IntLattice):
    """The smallest of integers."""

    def _join(self, other: MinIntLattice) -> None:
        self.value = min(self.value, other.value)


class CounterLattice(Lattice):
    """A sum to which many add, each keeping count of what it has added and taken away itself.

    Keep a lattice that you add to, and put it again after every addition, or put a new one each time: both add what has not
    been added yet. Its writer's id is drawn at the first addition, and not shared by copies.
    """

    def __init__(self, counts: Optional[Dict[int, Tuple[int, int]]] = None) -> None:
        """``counts`` is what every writer, by its id, has added and taken away."""
        self.assign({} if counts is None else counts)

    def reveal(self) -> int:
        """Return the sum."""
        return total(self.counts)

    def assign(self, value: Dict[int, Tuple[int, int]]) -> None:
        """Replace the counts."""
        if not isinstance(value, dict):
            raise InvalidArgumentError(f"a CounterLattice is a dict of writers' counts, got {value!r:.100}")
        self.counts: Dict[int, Tuple[int, int]] = {}
        for writer, (up, down) in value.items():
            if not all(_is_int(n) and 0 <= n < 1 << 64 for n in (writer, up, down)):
                raise InvalidArgumentError(f"counts are integers of 64 bits from 0 on, got {writer!r:.50}: {(up, down)!r:.100}")
            self.counts[writer] = (up, down)
        self._writer: Optional[int] = None

    def add(self, n: int = 1) -> CounterLattice:
        """Add to the sum, or take away from it, and return self."""
        if not _is_int(n):
            raise InvalidArgumentError(f"a counter counts integers, got {n!r:.100}")
        if self._writer is None:
            self._writer = secrets.randbits(64)
        up, down = self.counts.get(self._writer, (0, 0))
        counted = (up + max(n, 0), down + max(-n, 0))
        if max(counted) >= 1 << 64:
            raise InvalidArgumentError(
                "a writer of a counter cannot add or take away more than 64 bits hold; use another lattice"
            )
        self.counts[self._writer] = counted
        return self

    def _join(self, other: CounterLattice) -> None:
        self.counts = join_counts(self.counts, other.counts)

    def _state(self) -> Dict[int, Tuple[int, int]]:
        return self.counts

    def __getstate__(self) -> Dict[str, Any]:
        return {**self.__dict__, "_writer": None}


class PriorityLattice(Lattice):
    """The value of the lowest priority. Of two with one priority the one with the lesser bytes."""

    def __init__(self, priority: float, value: bytes) -> None:
        self.assign((priority, value))

    def reveal(self) -> bytes:
        """Return the value."""
        return self.value

    def assign(self, value: Tuple[float, bytes]) -> None:
        """Replace priority and value."""
        if type(value) is not tuple or len(value) != 2 or not isinstance(value[1], bytes):
            raise InvalidArgumentError(f"a PriorityLattice is a number and bytes, got {value!r:.100}")
        self.priority: float = _number(value[0])
        self.value: bytes = value[1]

    def _join(self, other: PriorityLattice) -> None:
        self.priority, self.value = min((self.priority, self.value), (other.priority, other.value))

    def _state(self) -> Tuple[float, bytes]:
        return self.priority, self.value


class MapLattice(Lattice):
    """A dictionary of lattices, which merge key by key."""

    def __init__(self, mp: Dict[Any, Any]) -> None:
        """``mp`` is a dictionary of lattices; to be put into the store, with strings as keys."""
        self.assign(mp)

    def reveal(self) -> Dict[Any, Any]:
        """Return the dictionary itself."""
        return self.mp

    def assign(self, mp: Dict[Any, Any]) -> None:
        """Replace the dictionary."""
        if not isinstance(mp, dict):
            raise InvalidArgumentError(f"a {type(self).__name__} is a dict, got {mp!r:.100}")
        self.mp: Dict[Any, Any] = mp

    def _join(self, other: MapLattice) -> None:
        for key, lattice in other.mp.items():
            held = self.mp.get(key)
            if held is None:
                self.mp[key] = copy.deepcopy(lattice)
            elif isinstance(held, Lattice) and isinstance(lattice, Lattice):
                held.merge(lattice)
            else:
                raise InvalidArgumentError(f"what is under {key!r:.100} is not a lattice, and does not merge")

    def copy(self: _M) -> _M:
        """Return a map of the same lattices."""
        return type(self)(dict(self.mp))


class VectorClock(MapLattice):
    """What a version has seen: of every writer, the number of its writes, as a :class:`MaxIntLattice`."""

    def __init__(self, mp: Dict[Any, Any], deserialize: bool = False) -> None:
        """``mp`` is a dictionary of MaxIntLattices; with ``deserialize``, of integers."""
        super().__init__({writer: MaxIntLattice(count) for writer, count in mp.items()} if deserialize else mp)

    def assign(self, mp: Dict[Any, Any]) -> None:
        """Replace the dictionary."""
        super().assign(mp)
        for count in self.mp.values():
            if type(count) is not MaxIntLattice:
                raise InvalidArgumentError(f"the counts of a VectorClock are MaxIntLattices, got {count!r:.100}")

    def update(self, key: str, count: int) -> None:
        """Raise a writer's count to the given one, if it is not higher."""
        held = self.mp.setdefault(key, MaxIntLattice(count))
        held.merge(MaxIntLattice(count))

    def serialize(self, pobj: MutableMapping[str, int]) -> None:  # type: ignore[override]  # published so
        """Write the counts as integers into a mapping."""
        for writer, count in self.mp.items():
            pobj[writer] = count.reveal()

    def covers(self, other: VectorClock) -> bool:
        """Report whether all has been seen that another clock has seen."""
        return covers(self.counts(), other.counts())

    def counts(self) -> Clock:
        """Return the count of each writer that has written."""
        return {writer: count.value for writer, count in self.mp.items() if count.value}

    def _state(self) -> Clock:
        return self.counts()


class _CausalLattice(Lattice):
    """Versions that have not seen each other.

    ``vector_clock``, ``dependencies`` and ``value`` are those of all of them together. They may be changed, which makes one
    version of all.
    """

    vector_clock: VectorClock
    dependencies: MapLattice
    value: SetLattice

    def __init__(self, vector_clock: VectorClock, dependencies: MapLattice, value: SetLattice) -> None:
        name = type(self).__name__
        if type(vector_clock) is not VectorClock:
            raise InvalidArgumentError(f"the vector clock of a {name} is a VectorClock, got {vector_clock!r:.100}")
        if type(dependencies) is not MapLattice or any(type(c) is not VectorClock for c in dependencies.mp.values()):
            raise InvalidArgumentError(
                f"the dependencies of a {name} are a MapLattice of VectorClocks, got {dependencies!r:.100}"
            )
        self.vector_clock, self.dependencies = vector_clock, dependencies
        self.assign(value)

    def reveal(self) -> List[Any]:
        """Return the concurrent values: a list, in their order if they have one."""
        try:
            return sorted(self.value.val)
        except TypeError:
            return list(self.value.val)

    def assign(self, value: SetLattice) -> None:
        """Replace the values by those of one version."""
        if type(value) is not SetLattice:
            raise InvalidArgumentError(f"the value of a {type(self).__name__} is a SetLattice, got {value!r:.100}")
        self.value = value
        self._apart: List[Version] = []

    def versions(self) -> List[Version]:
        """Return the versions, each with its clock, dependencies and value, as plain data."""
        clock, dependencies = self.vector_clock.counts(), {k: c.counts() for k, c in self.dependencies.mp.items()}
        if self._apart and _together(self._apart) == (clock, dependencies, self.value.val):
            return self._apart
        return [Version(clock, dependencies, value) for value in self.reveal()]

    def hold(self, versions: Iterable[Version]) -> None:
        """Replace the versions by those of the given ones that no other has seen."""
        self._apart = newest(versions)
        clock, dependencies, values = _together(self._apart)
        self.vector_clock = VectorClock(clock, True)
        self.dependencies = MapLattice({key: VectorClock(seen, True) for key, seen in dependencies.items()})
        self.value = SetLattice(values)

    def _join(self, other: _CausalLattice) -> None:
        self.hold([*self.versions(), *other.versions()])

    def _state(self) -> List[Version]:
        return newest(self.versions())


def _together(versions: Iterable[Version]) -> Tuple[Clock, Dependencies, Set[Any]]:
    clock: Clock = {}
    dependencies: Dependencies = {}
    values = set()
    for version in versions:
        clock = join_clocks(clock, version.clock)
        dependencies = join_dependencies(dependencies, version.dependencies)
        values.add(version.value)
    return clock, dependencies, values


class SingleKeyCausalLattice(_CausalLattice):
    """Values with vector clocks: what has seen another replaces it, and what have not seen each other are both kept."""

    def __init__(self, vector_clock: VectorClock, value: SetLattice) -> None:
        """``value`` has the value of the version, or several; to be put into the store, bytes."""
        super().__init__(vector_clock, MapLattice({}), value)


class MultiKeyCausalLattice(_CausalLattice):
    """Values with vector clocks, as in :class:`SingleKeyCausalLattice`, that depend on versions of other keys."""

    def __init__(self, vector_clock: VectorClock, dependencies: MapLattice, value: SetLattice) -> None:
        """``dependencies`` has vector clocks of other keys by their names; ``value`` the value of the version, or several."""
        super().__init__(vector_clock, dependencies, value)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise InvalidArgumentError(f"a score or priority is a number, got {value!r:.100}")
    return float(value) + 0.0  # the negative zero becomes the positive
