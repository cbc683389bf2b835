from cloudburst.v1 import store_pb2 as _store_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Record(_message.Message):
    __slots__ = ("key", "publisher", "state", "chunked", "whole")
    KEY_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CHUNKED_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    publisher: int
    state: _store_pb2.State
    chunked: Chunked
    whole: bool
    def __init__(self, key: _Optional[bytes] = ..., publisher: _Optional[int] = ..., state: _Optional[_Union[_store_pb2.State, _Mapping]] = ..., chunked: _Optional[_Union[Chunked, _Mapping]] = ..., whole: bool = ...) -> None: ...

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
