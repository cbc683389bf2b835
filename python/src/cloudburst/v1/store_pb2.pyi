from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LatticeType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LATTICE_TYPE_UNSPECIFIED: _ClassVar[LatticeType]
    LATTICE_TYPE_LWW: _ClassVar[LatticeType]
    LATTICE_TYPE_SET: _ClassVar[LatticeType]
    LATTICE_TYPE_ORDERED_SET: _ClassVar[LatticeType]
    LATTICE_TYPE_COUNTER: _ClassVar[LatticeType]
    LATTICE_TYPE_MAX: _ClassVar[LatticeType]
    LATTICE_TYPE_MIN: _ClassVar[LatticeType]
    LATTICE_TYPE_PRIORITY: _ClassVar[LatticeType]
    LATTICE_TYPE_MAP: _ClassVar[LatticeType]
    LATTICE_TYPE_CAUSAL: _ClassVar[LatticeType]

class Ack(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACK_UNSPECIFIED: _ClassVar[Ack]
    ACK_DURABLE: _ClassVar[Ack]
    ACK_MEMORY: _ClassVar[Ack]
LATTICE_TYPE_UNSPECIFIED: LatticeType
LATTICE_TYPE_LWW: LatticeType
LATTICE_TYPE_SET: LatticeType
LATTICE_TYPE_ORDERED_SET: LatticeType
LATTICE_TYPE_COUNTER: LatticeType
LATTICE_TYPE_MAX: LatticeType
LATTICE_TYPE_MIN: LatticeType
LATTICE_TYPE_PRIORITY: LatticeType
LATTICE_TYPE_MAP: LatticeType
LATTICE_TYPE_CAUSAL: LatticeType
ACK_UNSPECIFIED: Ack
ACK_DURABLE: Ack
ACK_MEMORY: Ack

class Timestamp(_message.Message):
    __slots__ = ("time", "writer")
    TIME_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    time: int
    writer: int
    def __init__(self, time: _Optional[int] = ..., writer: _Optional[int] = ...) -> None: ...

class Cell(_message.Message):
    __slots__ = ("key", "type", "timestamp", "values", "ttl_milliseconds")
    KEY_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    TTL_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    key: str
    type: LatticeType
    timestamp: Timestamp
    values: int
    ttl_milliseconds: int
    def __init__(self, key: _Optional[str] = ..., type: _Optional[_Union[LatticeType, str]] = ..., timestamp: _Optional[_Union[Timestamp, _Mapping]] = ..., values: _Optional[int] = ..., ttl_milliseconds: _Optional[int] = ...) -> None: ...

class State(_message.Message):
    __slots__ = ("lww", "set", "ordered_set", "counter", "max", "min", "priority", "map", "causal", "deleted", "expiry")
    LWW_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    ORDERED_SET_FIELD_NUMBER: _ClassVar[int]
    COUNTER_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    MAP_FIELD_NUMBER: _ClassVar[int]
    CAUSAL_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    EXPIRY_FIELD_NUMBER: _ClassVar[int]
    lww: LWW
    set: Set
    ordered_set: OrderedSet
    counter: Counter
    max: Extreme
    min: Extreme
    priority: Priority
    map: Map
    causal: Causal
    deleted: Timestamp
    expiry: Expiry
    def __init__(self, lww: _Optional[_Union[LWW, _Mapping]] = ..., set: _Optional[_Union[Set, _Mapping]] = ..., ordered_set: _Optional[_Union[OrderedSet, _Mapping]] = ..., counter: _Optional[_Union[Counter, _Mapping]] = ..., max: _Optional[_Union[Extreme, _Mapping]] = ..., min: _Optional[_Union[Extreme, _Mapping]] = ..., priority: _Optional[_Union[Priority, _Mapping]] = ..., map: _Optional[_Union[Map, _Mapping]] = ..., causal: _Optional[_Union[Causal, _Mapping]] = ..., deleted: _Optional[_Union[Timestamp, _Mapping]] = ..., expiry: _Optional[_Union[Expiry, _Mapping]] = ...) -> None: ...

class Expiry(_message.Message):
    __slots__ = ("timestamp", "at_milliseconds")
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    AT_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    timestamp: Timestamp
    at_milliseconds: int
    def __init__(self, timestamp: _Optional[_Union[Timestamp, _Mapping]] = ..., at_milliseconds: _Optional[int] = ...) -> None: ...

class LWW(_message.Message):
    __slots__ = ("timestamp", "value")
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    timestamp: Timestamp
    value: bytes
    def __init__(self, timestamp: _Optional[_Union[Timestamp, _Mapping]] = ..., value: _Optional[bytes] = ...) -> None: ...

class Set(_message.Message):
    __slots__ = ("members",)
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    members: _containers.RepeatedCompositeFieldContainer[Member]
    def __init__(self, members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("value", "timestamp", "removed")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    value: bytes
    timestamp: Timestamp
    removed: bool
    def __init__(self, value: _Optional[bytes] = ..., timestamp: _Optional[_Union[Timestamp, _Mapping]] = ..., removed: bool = ...) -> None: ...

class OrderedSet(_message.Message):
    __slots__ = ("members",)
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    members: _containers.RepeatedCompositeFieldContainer[ScoredMember]
    def __init__(self, members: _Optional[_Iterable[_Union[ScoredMember, _Mapping]]] = ...) -> None: ...

class ScoredMember(_message.Message):
    __slots__ = ("value", "score", "timestamp", "removed")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    value: bytes
    score: float
    timestamp: Timestamp
    removed: bool
    def __init__(self, value: _Optional[bytes] = ..., score: _Optional[float] = ..., timestamp: _Optional[_Union[Timestamp, _Mapping]] = ..., removed: bool = ...) -> None: ...

class Counter(_message.Message):
    __slots__ = ("generation", "counts")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    generation: Timestamp
    counts: _containers.RepeatedCompositeFieldContainer[Count]
    def __init__(self, generation: _Optional[_Union[Timestamp, _Mapping]] = ..., counts: _Optional[_Iterable[_Union[Count, _Mapping]]] = ...) -> None: ...

class Count(_message.Message):
    __slots__ = ("writer", "up", "down")
    WRITER_FIELD_NUMBER: _ClassVar[int]
    UP_FIELD_NUMBER: _ClassVar[int]
    DOWN_FIELD_NUMBER: _ClassVar[int]
    writer: int
    up: int
    down: int
    def __init__(self, writer: _Optional[int] = ..., up: _Optional[int] = ..., down: _Optional[int] = ...) -> None: ...

class Extreme(_message.Message):
    __slots__ = ("generation", "value")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    generation: Timestamp
    value: int
    def __init__(self, generation: _Optional[_Union[Timestamp, _Mapping]] = ..., value: _Optional[int] = ...) -> None: ...

class Priority(_message.Message):
    __slots__ = ("generation", "priority", "value")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    generation: Timestamp
    priority: float
    value: bytes
    def __init__(self, generation: _Optional[_Union[Timestamp, _Mapping]] = ..., priority: _Optional[float] = ..., value: _Optional[bytes] = ...) -> None: ...

class Map(_message.Message):
    __slots__ = ("fields",)
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.RepeatedCompositeFieldContainer[Field]
    def __init__(self, fields: _Optional[_Iterable[_Union[Field, _Mapping]]] = ...) -> None: ...

class Field(_message.Message):
    __slots__ = ("name", "state")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    name: bytes
    state: State
    def __init__(self, name: _Optional[bytes] = ..., state: _Optional[_Union[State, _Mapping]] = ...) -> None: ...

class Causal(_message.Message):
    __slots__ = ("generation", "versions")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    generation: Timestamp
    versions: _containers.RepeatedCompositeFieldContainer[Version]
    def __init__(self, generation: _Optional[_Union[Timestamp, _Mapping]] = ..., versions: _Optional[_Iterable[_Union[Version, _Mapping]]] = ...) -> None: ...

class Version(_message.Message):
    __slots__ = ("clock", "dependencies", "value")
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCIES_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    clock: VectorClock
    dependencies: _containers.RepeatedCompositeFieldContainer[Dependency]
    value: bytes
    def __init__(self, clock: _Optional[_Union[VectorClock, _Mapping]] = ..., dependencies: _Optional[_Iterable[_Union[Dependency, _Mapping]]] = ..., value: _Optional[bytes] = ...) -> None: ...

class VectorClock(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[ClockEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[ClockEntry, _Mapping]]] = ...) -> None: ...

class ClockEntry(_message.Message):
    __slots__ = ("writer", "count")
    WRITER_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    writer: bytes
    count: int
    def __init__(self, writer: _Optional[bytes] = ..., count: _Optional[int] = ...) -> None: ...

class Dependency(_message.Message):
    __slots__ = ("key", "clock")
    KEY_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    clock: VectorClock
    def __init__(self, key: _Optional[bytes] = ..., clock: _Optional[_Union[VectorClock, _Mapping]] = ...) -> None: ...
