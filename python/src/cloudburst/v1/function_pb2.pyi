from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Runtime(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUNTIME_UNSPECIFIED: _ClassVar[Runtime]
    RUNTIME_PYTHON: _ClassVar[Runtime]

class Convention(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONVENTION_UNSPECIFIED: _ClassVar[Convention]
    CONVENTION_LIBRARY: _ClassVar[Convention]
    CONVENTION_CLASS: _ClassVar[Convention]
    CONVENTION_PLAIN: _ClassVar[Convention]
RUNTIME_UNSPECIFIED: Runtime
RUNTIME_PYTHON: Runtime
CONVENTION_UNSPECIFIED: Convention
CONVENTION_LIBRARY: Convention
CONVENTION_CLASS: Convention
CONVENTION_PLAIN: Convention

class Function(_message.Message):
    __slots__ = ("name", "version", "runtime", "convention", "python_version", "retries", "timeout_milliseconds", "doc", "registered_milliseconds", "size_bytes", "definition_key", "retry_on", "backoff_milliseconds", "concurrency", "rate_limit", "priority", "queue_timeout_milliseconds", "alone", "coroutine", "generator", "group")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    CONVENTION_FIELD_NUMBER: _ClassVar[int]
    PYTHON_VERSION_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    DOC_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_KEY_FIELD_NUMBER: _ClassVar[int]
    RETRY_ON_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    QUEUE_TIMEOUT_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    ALONE_FIELD_NUMBER: _ClassVar[int]
    COROUTINE_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    runtime: Runtime
    convention: Convention
    python_version: str
    retries: int
    timeout_milliseconds: int
    doc: str
    registered_milliseconds: int
    size_bytes: int
    definition_key: str
    retry_on: _containers.RepeatedScalarFieldContainer[str]
    backoff_milliseconds: int
    concurrency: int
    rate_limit: RateLimit
    priority: int
    queue_timeout_milliseconds: int
    alone: bool
    coroutine: bool
    generator: bool
    group: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., runtime: _Optional[_Union[Runtime, str]] = ..., convention: _Optional[_Union[Convention, str]] = ..., python_version: _Optional[str] = ..., retries: _Optional[int] = ..., timeout_milliseconds: _Optional[int] = ..., doc: _Optional[str] = ..., registered_milliseconds: _Optional[int] = ..., size_bytes: _Optional[int] = ..., definition_key: _Optional[str] = ..., retry_on: _Optional[_Iterable[str]] = ..., backoff_milliseconds: _Optional[int] = ..., concurrency: _Optional[int] = ..., rate_limit: _Optional[_Union[RateLimit, _Mapping]] = ..., priority: _Optional[int] = ..., queue_timeout_milliseconds: _Optional[int] = ..., alone: bool = ..., coroutine: bool = ..., generator: bool = ..., group: _Optional[str] = ...) -> None: ...

class RateLimit(_message.Message):
    __slots__ = ("starts", "period_milliseconds", "key", "position")
    STARTS_FIELD_NUMBER: _ClassVar[int]
    PERIOD_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    starts: int
    period_milliseconds: int
    key: str
    position: int
    def __init__(self, starts: _Optional[int] = ..., period_milliseconds: _Optional[int] = ..., key: _Optional[str] = ..., position: _Optional[int] = ...) -> None: ...

class Link(_message.Message):
    __slots__ = ("source", "sink")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SINK_FIELD_NUMBER: _ClassVar[int]
    source: str
    sink: str
    def __init__(self, source: _Optional[str] = ..., sink: _Optional[str] = ...) -> None: ...

class Dag(_message.Message):
    __slots__ = ("name", "functions", "links", "colocated", "registered_milliseconds", "anonymous")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    COLOCATED_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    ANONYMOUS_FIELD_NUMBER: _ClassVar[int]
    name: str
    functions: _containers.RepeatedScalarFieldContainer[str]
    links: _containers.RepeatedCompositeFieldContainer[Link]
    colocated: _containers.RepeatedScalarFieldContainer[str]
    registered_milliseconds: int
    anonymous: bool
    def __init__(self, name: _Optional[str] = ..., functions: _Optional[_Iterable[str]] = ..., links: _Optional[_Iterable[_Union[Link, _Mapping]]] = ..., colocated: _Optional[_Iterable[str]] = ..., registered_milliseconds: _Optional[int] = ..., anonymous: bool = ...) -> None: ...
