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

class Ack(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACK_UNSPECIFIED: _ClassVar[Ack]
    ACK_DURABLE: _ClassVar[Ack]
    ACK_MEMORY: _ClassVar[Ack]
LATTICE_TYPE_UNSPECIFIED: LatticeType
LATTICE_TYPE_LWW: LatticeType
LATTICE_TYPE_SET: LatticeType
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

class Delta(_message.Message):
    __slots__ = ("key", "lww", "set", "chunks", "deleted", "expires_milliseconds")
    KEY_FIELD_NUMBER: _ClassVar[int]
    LWW_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    key: str
    lww: LWW
    set: Set
    chunks: Chunks
    deleted: Timestamp
    expires_milliseconds: int
    def __init__(self, key: _Optional[str] = ..., lww: _Optional[_Union[LWW, _Mapping]] = ..., set: _Optional[_Union[Set, _Mapping]] = ..., chunks: _Optional[_Union[Chunks, _Mapping]] = ..., deleted: _Optional[_Union[Timestamp, _Mapping]] = ..., expires_milliseconds: _Optional[int] = ...) -> None: ...

class LWW(_message.Message):
    __slots__ = ("timestamp", "value")
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    timestamp: Timestamp
    value: bytes
    def __init__(self, timestamp: _Optional[_Union[Timestamp, _Mapping]] = ..., value: _Optional[bytes] = ...) -> None: ...

class Set(_message.Message):
    __slots__ = ("elements",)
    ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    elements: _containers.RepeatedCompositeFieldContainer[Element]
    def __init__(self, elements: _Optional[_Iterable[_Union[Element, _Mapping]]] = ...) -> None: ...

class Element(_message.Message):
    __slots__ = ("value", "added", "removed")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    value: bytes
    added: Timestamp
    removed: Timestamp
    def __init__(self, value: _Optional[bytes] = ..., added: _Optional[_Union[Timestamp, _Mapping]] = ..., removed: _Optional[_Union[Timestamp, _Mapping]] = ...) -> None: ...

class Chunks(_message.Message):
    __slots__ = ("upload", "count", "size_bytes", "type")
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    upload: str
    count: int
    size_bytes: int
    type: LatticeType
    def __init__(self, upload: _Optional[str] = ..., count: _Optional[int] = ..., size_bytes: _Optional[int] = ..., type: _Optional[_Union[LatticeType, str]] = ...) -> None: ...
