from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CODE_UNSPECIFIED: _ClassVar[Code]
    CODE_INVALID_ARGUMENT: _ClassVar[Code]
    CODE_UNAUTHENTICATED: _ClassVar[Code]
    CODE_FUNCTION_NOT_FOUND: _ClassVar[Code]
    CODE_DAG_NOT_FOUND: _ClassVar[Code]
    CODE_DAG_EXISTS: _ClassVar[Code]
    CODE_KEY_NOT_FOUND: _ClassVar[Code]
    CODE_EXECUTION: _ClassVar[Code]
    CODE_WORKER_DIED: _ClassVar[Code]
    CODE_DEADLINE_EXCEEDED: _ClassVar[Code]
    CODE_NO_RESOURCES: _ClassVar[Code]
    CODE_TOO_LARGE: _ClassVar[Code]
    CODE_UNAVAILABLE: _ClassVar[Code]
    CODE_UNSUPPORTED: _ClassVar[Code]
    CODE_LATTICE_MISMATCH: _ClassVar[Code]
    CODE_INCOMPATIBLE: _ClassVar[Code]
    CODE_CANCELLED: _ClassVar[Code]
    CODE_INTERNAL: _ClassVar[Code]
    CODE_OUTCOME_UNKNOWN: _ClassVar[Code]
    CODE_CYCLE: _ClassVar[Code]
    CODE_TOO_DEEP: _ClassVar[Code]
    CODE_RUN_NOT_FOUND: _ClassVar[Code]
CODE_UNSPECIFIED: Code
CODE_INVALID_ARGUMENT: Code
CODE_UNAUTHENTICATED: Code
CODE_FUNCTION_NOT_FOUND: Code
CODE_DAG_NOT_FOUND: Code
CODE_DAG_EXISTS: Code
CODE_KEY_NOT_FOUND: Code
CODE_EXECUTION: Code
CODE_WORKER_DIED: Code
CODE_DEADLINE_EXCEEDED: Code
CODE_NO_RESOURCES: Code
CODE_TOO_LARGE: Code
CODE_UNAVAILABLE: Code
CODE_UNSUPPORTED: Code
CODE_LATTICE_MISMATCH: Code
CODE_INCOMPATIBLE: Code
CODE_CANCELLED: Code
CODE_INTERNAL: Code
CODE_OUTCOME_UNKNOWN: Code
CODE_CYCLE: Code
CODE_TOO_DEEP: Code
CODE_RUN_NOT_FOUND: Code

class Error(_message.Message):
    __slots__ = ("code", "message", "exception", "retry_after_milliseconds")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    EXCEPTION_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    code: Code
    message: str
    exception: RemoteException
    retry_after_milliseconds: int
    def __init__(self, code: _Optional[_Union[Code, str]] = ..., message: _Optional[str] = ..., exception: _Optional[_Union[RemoteException, _Mapping]] = ..., retry_after_milliseconds: _Optional[int] = ...) -> None: ...

class RemoteException(_message.Message):
    __slots__ = ("type", "message", "traceback", "function", "version", "bases")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TRACEBACK_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BASES_FIELD_NUMBER: _ClassVar[int]
    type: str
    message: str
    traceback: str
    function: str
    version: int
    bases: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, type: _Optional[str] = ..., message: _Optional[str] = ..., traceback: _Optional[str] = ..., function: _Optional[str] = ..., version: _Optional[int] = ..., bases: _Optional[_Iterable[str]] = ...) -> None: ...
