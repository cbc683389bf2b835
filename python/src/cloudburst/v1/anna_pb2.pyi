from cloudburst.v1 import error_pb2 as _error_pb2
from cloudburst.v1 import store_pb2 as _store_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Record(_message.Message):
    __slots__ = ("publisher", "since", "entries")
    PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    publisher: int
    since: int
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    def __init__(self, publisher: _Optional[int] = ..., since: _Optional[int] = ..., entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("key", "state", "chunked", "whole")
    KEY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CHUNKED_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    state: _store_pb2.State
    chunked: Chunked
    whole: bool
    def __init__(self, key: _Optional[bytes] = ..., state: _Optional[_Union[_store_pb2.State, _Mapping]] = ..., chunked: _Optional[_Union[Chunked, _Mapping]] = ..., whole: bool = ...) -> None: ...

class Chunked(_message.Message):
    __slots__ = ("upload", "count", "size_bytes", "type", "latest")
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    LATEST_FIELD_NUMBER: _ClassVar[int]
    upload: str
    count: int
    size_bytes: int
    type: _store_pb2.LatticeType
    latest: _store_pb2.Timestamp
    def __init__(self, upload: _Optional[str] = ..., count: _Optional[int] = ..., size_bytes: _Optional[int] = ..., type: _Optional[_Union[_store_pb2.LatticeType, str]] = ..., latest: _Optional[_Union[_store_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Presence(_message.Message):
    __slots__ = ("leaving", "guest", "serves", "leads", "name", "warm", "hot", "holds", "time", "floors", "targets")
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    GUEST_FIELD_NUMBER: _ClassVar[int]
    SERVES_FIELD_NUMBER: _ClassVar[int]
    LEADS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    WARM_FIELD_NUMBER: _ClassVar[int]
    HOT_FIELD_NUMBER: _ClassVar[int]
    HOLDS_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    FLOORS_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    leaving: bool
    guest: bool
    serves: bytes
    leads: bytes
    name: str
    warm: _containers.RepeatedCompositeFieldContainer[Warmth]
    hot: _containers.RepeatedCompositeFieldContainer[HotKey]
    holds: _containers.RepeatedScalarFieldContainer[int]
    time: int
    floors: _containers.RepeatedScalarFieldContainer[int]
    targets: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, leaving: bool = ..., guest: bool = ..., serves: _Optional[bytes] = ..., leads: _Optional[bytes] = ..., name: _Optional[str] = ..., warm: _Optional[_Iterable[_Union[Warmth, _Mapping]]] = ..., hot: _Optional[_Iterable[_Union[HotKey, _Mapping]]] = ..., holds: _Optional[_Iterable[int]] = ..., time: _Optional[int] = ..., floors: _Optional[_Iterable[int]] = ..., targets: _Optional[_Iterable[int]] = ...) -> None: ...

class Warmth(_message.Message):
    __slots__ = ("key", "rate", "asked")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    rate: float
    asked: bool
    def __init__(self, key: _Optional[bytes] = ..., rate: _Optional[float] = ..., asked: bool = ...) -> None: ...

class HotKey(_message.Message):
    __slots__ = ("key", "members", "rate")
    KEY_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    members: _containers.RepeatedScalarFieldContainer[str]
    rate: float
    def __init__(self, key: _Optional[bytes] = ..., members: _Optional[_Iterable[str]] = ..., rate: _Optional[float] = ...) -> None: ...

class Ask(_message.Message):
    __slots__ = ("change", "read", "watch", "unwatch", "list", "get_share", "replica", "time")
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    READ_FIELD_NUMBER: _ClassVar[int]
    WATCH_FIELD_NUMBER: _ClassVar[int]
    UNWATCH_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    GET_SHARE_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    change: Change
    read: bytes
    watch: Watching
    unwatch: Watching
    list: Listing
    get_share: GetShare
    replica: bool
    time: int
    def __init__(self, change: _Optional[_Union[Change, _Mapping]] = ..., read: _Optional[bytes] = ..., watch: _Optional[_Union[Watching, _Mapping]] = ..., unwatch: _Optional[_Union[Watching, _Mapping]] = ..., list: _Optional[_Union[Listing, _Mapping]] = ..., get_share: _Optional[_Union[GetShare, _Mapping]] = ..., replica: bool = ..., time: _Optional[int] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("key", "delta", "add", "delete", "persist", "replace", "volatile", "memory", "expect", "stamp")
    KEY_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    ADD_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    PERSIST_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    VOLATILE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    EXPECT_FIELD_NUMBER: _ClassVar[int]
    STAMP_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    delta: bytes
    add: int
    delete: bool
    persist: bool
    replace: bool
    volatile: bool
    memory: bool
    expect: int
    stamp: _store_pb2.Timestamp
    def __init__(self, key: _Optional[bytes] = ..., delta: _Optional[bytes] = ..., add: _Optional[int] = ..., delete: bool = ..., persist: bool = ..., replace: bool = ..., volatile: bool = ..., memory: bool = ..., expect: _Optional[int] = ..., stamp: _Optional[_Union[_store_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Watching(_message.Message):
    __slots__ = ("key", "member", "cache")
    KEY_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    member: str
    cache: int
    def __init__(self, key: _Optional[bytes] = ..., member: _Optional[str] = ..., cache: _Optional[int] = ...) -> None: ...

class Listing(_message.Message):
    __slots__ = ("prefix", "after", "limit", "slots")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    prefix: bytes
    after: bytes
    limit: int
    slots: bytes
    def __init__(self, prefix: _Optional[bytes] = ..., after: _Optional[bytes] = ..., limit: _Optional[int] = ..., slots: _Optional[bytes] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("error", "moved", "changed", "value", "state", "fingerprint", "member", "keys", "more", "elsewhere", "share", "time", "behind")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    ELSEWHERE_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    BEHIND_FIELD_NUMBER: _ClassVar[int]
    error: _error_pb2.Error
    moved: bool
    changed: bool
    value: int
    state: bytes
    fingerprint: int
    member: str
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    more: bool
    elsewhere: bytes
    share: Share
    time: int
    behind: bool
    def __init__(self, error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ..., moved: bool = ..., changed: bool = ..., value: _Optional[int] = ..., state: _Optional[bytes] = ..., fingerprint: _Optional[int] = ..., member: _Optional[str] = ..., keys: _Optional[_Iterable[bytes]] = ..., more: bool = ..., elsewhere: _Optional[bytes] = ..., share: _Optional[_Union[Share, _Mapping]] = ..., time: _Optional[int] = ..., behind: bool = ...) -> None: ...

class GetShare(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Share(_message.Message):
    __slots__ = ("streams", "tiers", "slots", "joining")
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    JOINING_FIELD_NUMBER: _ClassVar[int]
    streams: _containers.RepeatedCompositeFieldContainer[StreamShare]
    tiers: _containers.RepeatedCompositeFieldContainer[TierShare]
    slots: _containers.RepeatedCompositeFieldContainer[SlotShare]
    joining: int
    def __init__(self, streams: _Optional[_Iterable[_Union[StreamShare, _Mapping]]] = ..., tiers: _Optional[_Iterable[_Union[TierShare, _Mapping]]] = ..., slots: _Optional[_Iterable[_Union[SlotShare, _Mapping]]] = ..., joining: _Optional[int] = ...) -> None: ...

class StreamShare(_message.Message):
    __slots__ = ("name", "lag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    lag: int
    def __init__(self, name: _Optional[str] = ..., lag: _Optional[int] = ...) -> None: ...

class TierShare(_message.Message):
    __slots__ = ("name", "keys", "size_bytes", "reads", "evictions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    READS_FIELD_NUMBER: _ClassVar[int]
    EVICTIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    keys: int
    size_bytes: int
    reads: int
    evictions: int
    def __init__(self, name: _Optional[str] = ..., keys: _Optional[int] = ..., size_bytes: _Optional[int] = ..., reads: _Optional[int] = ..., evictions: _Optional[int] = ...) -> None: ...

class SlotShare(_message.Message):
    __slots__ = ("slot", "keys", "size_bytes", "reads", "writes")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    READS_FIELD_NUMBER: _ClassVar[int]
    WRITES_FIELD_NUMBER: _ClassVar[int]
    slot: int
    keys: int
    size_bytes: int
    reads: int
    writes: int
    def __init__(self, slot: _Optional[int] = ..., keys: _Optional[int] = ..., size_bytes: _Optional[int] = ..., reads: _Optional[int] = ..., writes: _Optional[int] = ...) -> None: ...

class AnnaStatus(_message.Message):
    __slots__ = ("member", "masters", "moving", "members", "slots", "hot")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    MASTERS_FIELD_NUMBER: _ClassVar[int]
    MOVING_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    HOT_FIELD_NUMBER: _ClassVar[int]
    member: str
    masters: int
    moving: int
    members: _containers.RepeatedCompositeFieldContainer[AnnaMember]
    slots: _containers.RepeatedCompositeFieldContainer[AnnaSlot]
    hot: _containers.RepeatedCompositeFieldContainer[AnnaHotKey]
    def __init__(self, member: _Optional[str] = ..., masters: _Optional[int] = ..., moving: _Optional[int] = ..., members: _Optional[_Iterable[_Union[AnnaMember, _Mapping]]] = ..., slots: _Optional[_Iterable[_Union[AnnaSlot, _Mapping]]] = ..., hot: _Optional[_Iterable[_Union[AnnaHotKey, _Mapping]]] = ...) -> None: ...

class AnnaMember(_message.Message):
    __slots__ = ("member", "name", "guest", "leaving", "serves", "leads", "share")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GUEST_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    SERVES_FIELD_NUMBER: _ClassVar[int]
    LEADS_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    member: str
    name: str
    guest: bool
    leaving: bool
    serves: int
    leads: int
    share: Share
    def __init__(self, member: _Optional[str] = ..., name: _Optional[str] = ..., guest: bool = ..., leaving: bool = ..., serves: _Optional[int] = ..., leads: _Optional[int] = ..., share: _Optional[_Union[Share, _Mapping]] = ...) -> None: ...

class AnnaSlot(_message.Message):
    __slots__ = ("masters", "serving")
    MASTERS_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    masters: _containers.RepeatedScalarFieldContainer[int]
    serving: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, masters: _Optional[_Iterable[int]] = ..., serving: _Optional[_Iterable[int]] = ...) -> None: ...

class Pushes(_message.Message):
    __slots__ = ("member", "number", "pulse", "pushed")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PULSE_FIELD_NUMBER: _ClassVar[int]
    PUSHED_FIELD_NUMBER: _ClassVar[int]
    member: str
    number: int
    pulse: bool
    pushed: _containers.RepeatedCompositeFieldContainer[Pushed]
    def __init__(self, member: _Optional[str] = ..., number: _Optional[int] = ..., pulse: bool = ..., pushed: _Optional[_Iterable[_Union[Pushed, _Mapping]]] = ...) -> None: ...

class Pushed(_message.Message):
    __slots__ = ("key", "cache", "state", "whole", "lost", "error")
    KEY_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    cache: int
    state: bytes
    whole: bool
    lost: bool
    error: _error_pb2.Error
    def __init__(self, key: _Optional[bytes] = ..., cache: _Optional[int] = ..., state: _Optional[bytes] = ..., whole: bool = ..., lost: bool = ..., error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ...) -> None: ...

class AnnaHotKey(_message.Message):
    __slots__ = ("key", "slot", "rate", "replicas", "serving")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    slot: int
    rate: float
    replicas: _containers.RepeatedScalarFieldContainer[int]
    serving: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, key: _Optional[bytes] = ..., slot: _Optional[int] = ..., rate: _Optional[float] = ..., replicas: _Optional[_Iterable[int]] = ..., serving: _Optional[_Iterable[int]] = ...) -> None: ...
