from cloudburst.v1 import anna_pb2 as _anna_pb2
from cloudburst.v1 import error_pb2 as _error_pb2
from cloudburst.v1 import function_pb2 as _function_pb2
from cloudburst.v1 import store_pb2 as _store_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Level(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEVEL_LWW: _ClassVar[Level]
    LEVEL_REPEATABLE_READ: _ClassVar[Level]
    LEVEL_SINGLE_KEY: _ClassVar[Level]
    LEVEL_MULTI_KEY: _ClassVar[Level]
    LEVEL_CAUSAL: _ClassVar[Level]

class RunState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_STATE_UNSPECIFIED: _ClassVar[RunState]
    RUN_STATE_QUEUED: _ClassVar[RunState]
    RUN_STATE_RUNNING: _ClassVar[RunState]
    RUN_STATE_WAITING: _ClassVar[RunState]
    RUN_STATE_DONE: _ClassVar[RunState]
    RUN_STATE_FAILED: _ClassVar[RunState]
    RUN_STATE_CANCELLED: _ClassVar[RunState]

class Stream(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STREAM_UNSPECIFIED: _ClassVar[Stream]
    STREAM_STDOUT: _ClassVar[Stream]
    STREAM_STDERR: _ClassVar[Stream]
LEVEL_LWW: Level
LEVEL_REPEATABLE_READ: Level
LEVEL_SINGLE_KEY: Level
LEVEL_MULTI_KEY: Level
LEVEL_CAUSAL: Level
RUN_STATE_UNSPECIFIED: RunState
RUN_STATE_QUEUED: RunState
RUN_STATE_RUNNING: RunState
RUN_STATE_WAITING: RunState
RUN_STATE_DONE: RunState
RUN_STATE_FAILED: RunState
RUN_STATE_CANCELLED: RunState
STREAM_UNSPECIFIED: Stream
STREAM_STDOUT: Stream
STREAM_STDERR: Stream

class Header(_message.Message):
    __slots__ = ("id", "sizes", "error", "done", "call", "get", "put", "delete", "list_keys", "register_function", "register_dag", "delete_function", "delete_dag", "list_functions", "list_dags", "get_status", "watch", "unwatch", "get_anna_status", "cancel_run", "list_runs", "get_run", "get_logs", "credit", "cells", "keys", "functions", "dags", "status", "changed", "anna_status", "runs", "log_lines", "item", "load", "invoke", "unload", "cancel", "send", "receive", "log", "messages", "wait", "waited")
    ID_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    GET_FIELD_NUMBER: _ClassVar[int]
    PUT_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    LIST_KEYS_FIELD_NUMBER: _ClassVar[int]
    REGISTER_FUNCTION_FIELD_NUMBER: _ClassVar[int]
    REGISTER_DAG_FIELD_NUMBER: _ClassVar[int]
    DELETE_FUNCTION_FIELD_NUMBER: _ClassVar[int]
    DELETE_DAG_FIELD_NUMBER: _ClassVar[int]
    LIST_FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    LIST_DAGS_FIELD_NUMBER: _ClassVar[int]
    GET_STATUS_FIELD_NUMBER: _ClassVar[int]
    WATCH_FIELD_NUMBER: _ClassVar[int]
    UNWATCH_FIELD_NUMBER: _ClassVar[int]
    GET_ANNA_STATUS_FIELD_NUMBER: _ClassVar[int]
    CANCEL_RUN_FIELD_NUMBER: _ClassVar[int]
    LIST_RUNS_FIELD_NUMBER: _ClassVar[int]
    GET_RUN_FIELD_NUMBER: _ClassVar[int]
    GET_LOGS_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    DAGS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    ANNA_STATUS_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    LOG_LINES_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    INVOKE_FIELD_NUMBER: _ClassVar[int]
    UNLOAD_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    SEND_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    WAITED_FIELD_NUMBER: _ClassVar[int]
    id: int
    sizes: _containers.RepeatedScalarFieldContainer[int]
    error: _error_pb2.Error
    done: Done
    call: Call
    get: Get
    put: Put
    delete: Delete
    list_keys: ListKeys
    register_function: RegisterFunction
    register_dag: RegisterDag
    delete_function: DeleteFunction
    delete_dag: DeleteDag
    list_functions: ListFunctions
    list_dags: ListDags
    get_status: GetStatus
    watch: Watch
    unwatch: Unwatch
    get_anna_status: GetAnnaStatus
    cancel_run: CancelRun
    list_runs: ListRuns
    get_run: GetRun
    get_logs: GetLogs
    credit: Credit
    cells: Cells
    keys: Keys
    functions: Functions
    dags: Dags
    status: Status
    changed: Changed
    anna_status: _anna_pb2.AnnaStatus
    runs: Runs
    log_lines: LogLines
    item: Item
    load: Load
    invoke: Invoke
    unload: Unload
    cancel: Cancel
    send: Send
    receive: Receive
    log: Log
    messages: Messages
    wait: Wait
    waited: Waited
    def __init__(self, id: _Optional[int] = ..., sizes: _Optional[_Iterable[int]] = ..., error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., call: _Optional[_Union[Call, _Mapping]] = ..., get: _Optional[_Union[Get, _Mapping]] = ..., put: _Optional[_Union[Put, _Mapping]] = ..., delete: _Optional[_Union[Delete, _Mapping]] = ..., list_keys: _Optional[_Union[ListKeys, _Mapping]] = ..., register_function: _Optional[_Union[RegisterFunction, _Mapping]] = ..., register_dag: _Optional[_Union[RegisterDag, _Mapping]] = ..., delete_function: _Optional[_Union[DeleteFunction, _Mapping]] = ..., delete_dag: _Optional[_Union[DeleteDag, _Mapping]] = ..., list_functions: _Optional[_Union[ListFunctions, _Mapping]] = ..., list_dags: _Optional[_Union[ListDags, _Mapping]] = ..., get_status: _Optional[_Union[GetStatus, _Mapping]] = ..., watch: _Optional[_Union[Watch, _Mapping]] = ..., unwatch: _Optional[_Union[Unwatch, _Mapping]] = ..., get_anna_status: _Optional[_Union[GetAnnaStatus, _Mapping]] = ..., cancel_run: _Optional[_Union[CancelRun, _Mapping]] = ..., list_runs: _Optional[_Union[ListRuns, _Mapping]] = ..., get_run: _Optional[_Union[GetRun, _Mapping]] = ..., get_logs: _Optional[_Union[GetLogs, _Mapping]] = ..., credit: _Optional[_Union[Credit, _Mapping]] = ..., cells: _Optional[_Union[Cells, _Mapping]] = ..., keys: _Optional[_Union[Keys, _Mapping]] = ..., functions: _Optional[_Union[Functions, _Mapping]] = ..., dags: _Optional[_Union[Dags, _Mapping]] = ..., status: _Optional[_Union[Status, _Mapping]] = ..., changed: _Optional[_Union[Changed, _Mapping]] = ..., anna_status: _Optional[_Union[_anna_pb2.AnnaStatus, _Mapping]] = ..., runs: _Optional[_Union[Runs, _Mapping]] = ..., log_lines: _Optional[_Union[LogLines, _Mapping]] = ..., item: _Optional[_Union[Item, _Mapping]] = ..., load: _Optional[_Union[Load, _Mapping]] = ..., invoke: _Optional[_Union[Invoke, _Mapping]] = ..., unload: _Optional[_Union[Unload, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., send: _Optional[_Union[Send, _Mapping]] = ..., receive: _Optional[_Union[Receive, _Mapping]] = ..., log: _Optional[_Union[Log, _Mapping]] = ..., messages: _Optional[_Union[Messages, _Mapping]] = ..., wait: _Optional[_Union[Wait, _Mapping]] = ..., waited: _Optional[_Union[Waited, _Mapping]] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Arguments(_message.Message):
    __slots__ = ("function", "positional", "keywords")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    POSITIONAL_FIELD_NUMBER: _ClassVar[int]
    KEYWORDS_FIELD_NUMBER: _ClassVar[int]
    function: str
    positional: int
    keywords: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, function: _Optional[str] = ..., positional: _Optional[int] = ..., keywords: _Optional[_Iterable[str]] = ...) -> None: ...

class Call(_message.Message):
    __slots__ = ("run_id", "function", "dag", "arguments", "level", "timeout_milliseconds", "store", "output_key", "continuation", "parent", "detached", "label", "cancel_on_disconnect", "queue_timeout_milliseconds", "priority", "stream_credit", "retries", "resent")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    DAG_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_KEY_FIELD_NUMBER: _ClassVar[int]
    CONTINUATION_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    DETACHED_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    CANCEL_ON_DISCONNECT_FIELD_NUMBER: _ClassVar[int]
    QUEUE_TIMEOUT_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    STREAM_CREDIT_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    run_id: bytes
    function: str
    dag: str
    arguments: _containers.RepeatedCompositeFieldContainer[Arguments]
    level: Level
    timeout_milliseconds: int
    store: bool
    output_key: str
    continuation: Call
    parent: bytes
    detached: bool
    label: str
    cancel_on_disconnect: bool
    queue_timeout_milliseconds: int
    priority: int
    stream_credit: int
    retries: int
    resent: bool
    def __init__(self, run_id: _Optional[bytes] = ..., function: _Optional[str] = ..., dag: _Optional[str] = ..., arguments: _Optional[_Iterable[_Union[Arguments, _Mapping]]] = ..., level: _Optional[_Union[Level, str]] = ..., timeout_milliseconds: _Optional[int] = ..., store: bool = ..., output_key: _Optional[str] = ..., continuation: _Optional[_Union[Call, _Mapping]] = ..., parent: _Optional[bytes] = ..., detached: bool = ..., label: _Optional[str] = ..., cancel_on_disconnect: bool = ..., queue_timeout_milliseconds: _Optional[int] = ..., priority: _Optional[int] = ..., stream_credit: _Optional[int] = ..., retries: _Optional[int] = ..., resent: bool = ...) -> None: ...

class CancelRun(_message.Message):
    __slots__ = ("run_id", "reason")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    run_id: bytes
    reason: str
    def __init__(self, run_id: _Optional[bytes] = ..., reason: _Optional[str] = ...) -> None: ...

class ListRuns(_message.Message):
    __slots__ = ("states", "target", "label", "parent", "limit")
    STATES_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedScalarFieldContainer[RunState]
    target: str
    label: str
    parent: bytes
    limit: int
    def __init__(self, states: _Optional[_Iterable[_Union[RunState, str]]] = ..., target: _Optional[str] = ..., label: _Optional[str] = ..., parent: _Optional[bytes] = ..., limit: _Optional[int] = ...) -> None: ...

class GetRun(_message.Message):
    __slots__ = ("run_id", "prefix")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    run_id: bytes
    prefix: str
    def __init__(self, run_id: _Optional[bytes] = ..., prefix: _Optional[str] = ...) -> None: ...

class Runs(_message.Message):
    __slots__ = ("runs", "more")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[Run]
    more: bool
    def __init__(self, runs: _Optional[_Iterable[_Union[Run, _Mapping]]] = ..., more: bool = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("run_id", "parent", "target", "dag", "label", "state", "started_microseconds", "ended_microseconds", "deadline_microseconds", "detached", "error", "waits_for", "steps", "children")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    DAG_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STARTED_MICROSECONDS_FIELD_NUMBER: _ClassVar[int]
    ENDED_MICROSECONDS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MICROSECONDS_FIELD_NUMBER: _ClassVar[int]
    DETACHED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    WAITS_FOR_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    CHILDREN_FIELD_NUMBER: _ClassVar[int]
    run_id: bytes
    parent: bytes
    target: str
    dag: bool
    label: str
    state: RunState
    started_microseconds: int
    ended_microseconds: int
    deadline_microseconds: int
    detached: bool
    error: _error_pb2.Error
    waits_for: _containers.RepeatedScalarFieldContainer[bytes]
    steps: _containers.RepeatedCompositeFieldContainer[RunStep]
    children: int
    def __init__(self, run_id: _Optional[bytes] = ..., parent: _Optional[bytes] = ..., target: _Optional[str] = ..., dag: bool = ..., label: _Optional[str] = ..., state: _Optional[_Union[RunState, str]] = ..., started_microseconds: _Optional[int] = ..., ended_microseconds: _Optional[int] = ..., deadline_microseconds: _Optional[int] = ..., detached: bool = ..., error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ..., waits_for: _Optional[_Iterable[bytes]] = ..., steps: _Optional[_Iterable[_Union[RunStep, _Mapping]]] = ..., children: _Optional[int] = ...) -> None: ...

class RunStep(_message.Message):
    __slots__ = ("function", "version", "state", "worker", "attempt", "queued_microseconds", "started_microseconds", "ended_microseconds", "reads", "reads_unlisted", "waits_for", "error")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    QUEUED_MICROSECONDS_FIELD_NUMBER: _ClassVar[int]
    STARTED_MICROSECONDS_FIELD_NUMBER: _ClassVar[int]
    ENDED_MICROSECONDS_FIELD_NUMBER: _ClassVar[int]
    READS_FIELD_NUMBER: _ClassVar[int]
    READS_UNLISTED_FIELD_NUMBER: _ClassVar[int]
    WAITS_FOR_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    function: str
    version: int
    state: RunState
    worker: int
    attempt: int
    queued_microseconds: int
    started_microseconds: int
    ended_microseconds: int
    reads: _containers.RepeatedCompositeFieldContainer[Read]
    reads_unlisted: int
    waits_for: _containers.RepeatedScalarFieldContainer[bytes]
    error: _error_pb2.Error
    def __init__(self, function: _Optional[str] = ..., version: _Optional[int] = ..., state: _Optional[_Union[RunState, str]] = ..., worker: _Optional[int] = ..., attempt: _Optional[int] = ..., queued_microseconds: _Optional[int] = ..., started_microseconds: _Optional[int] = ..., ended_microseconds: _Optional[int] = ..., reads: _Optional[_Iterable[_Union[Read, _Mapping]]] = ..., reads_unlisted: _Optional[int] = ..., waits_for: _Optional[_Iterable[bytes]] = ..., error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ...) -> None: ...

class Read(_message.Message):
    __slots__ = ("key", "answered_by")
    KEY_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_BY_FIELD_NUMBER: _ClassVar[int]
    key: str
    answered_by: str
    def __init__(self, key: _Optional[str] = ..., answered_by: _Optional[str] = ...) -> None: ...

class GetLogs(_message.Message):
    __slots__ = ("run_id", "function", "follow", "limit", "own", "prefix")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    run_id: bytes
    function: str
    follow: bool
    limit: int
    own: bool
    prefix: str
    def __init__(self, run_id: _Optional[bytes] = ..., function: _Optional[str] = ..., follow: bool = ..., limit: _Optional[int] = ..., own: bool = ..., prefix: _Optional[str] = ...) -> None: ...

class LogLines(_message.Message):
    __slots__ = ("lines", "dropped")
    LINES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedCompositeFieldContainer[LogLine]
    dropped: int
    def __init__(self, lines: _Optional[_Iterable[_Union[LogLine, _Mapping]]] = ..., dropped: _Optional[int] = ...) -> None: ...

class LogLine(_message.Message):
    __slots__ = ("at_microseconds", "run_id", "function", "version", "stream", "text", "worker")
    AT_MICROSECONDS_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    at_microseconds: int
    run_id: bytes
    function: str
    version: int
    stream: Stream
    text: str
    worker: int
    def __init__(self, at_microseconds: _Optional[int] = ..., run_id: _Optional[bytes] = ..., function: _Optional[str] = ..., version: _Optional[int] = ..., stream: _Optional[_Union[Stream, str]] = ..., text: _Optional[str] = ..., worker: _Optional[int] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Credit(_message.Message):
    __slots__ = ("id", "items")
    ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    id: int
    items: int
    def __init__(self, id: _Optional[int] = ..., items: _Optional[int] = ...) -> None: ...

class Get(_message.Message):
    __slots__ = ("keys", "wait_milliseconds", "states")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    WAIT_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    wait_milliseconds: int
    states: bool
    def __init__(self, keys: _Optional[_Iterable[str]] = ..., wait_milliseconds: _Optional[int] = ..., states: bool = ...) -> None: ...

class Watch(_message.Message):
    __slots__ = ("keys", "states")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    states: bool
    def __init__(self, keys: _Optional[_Iterable[str]] = ..., states: bool = ...) -> None: ...

class Unwatch(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...

class Changed(_message.Message):
    __slots__ = ("cells", "whole")
    CELLS_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    cells: _containers.RepeatedCompositeFieldContainer[_store_pb2.Cell]
    whole: bool
    def __init__(self, cells: _Optional[_Iterable[_Union[_store_pb2.Cell, _Mapping]]] = ..., whole: bool = ...) -> None: ...

class Put(_message.Message):
    __slots__ = ("cells", "ack")
    CELLS_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    cells: _containers.RepeatedCompositeFieldContainer[_store_pb2.Cell]
    ack: _store_pb2.Ack
    def __init__(self, cells: _Optional[_Iterable[_Union[_store_pb2.Cell, _Mapping]]] = ..., ack: _Optional[_Union[_store_pb2.Ack, str]] = ...) -> None: ...

class Delete(_message.Message):
    __slots__ = ("keys", "ack")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    ack: _store_pb2.Ack
    def __init__(self, keys: _Optional[_Iterable[str]] = ..., ack: _Optional[_Union[_store_pb2.Ack, str]] = ...) -> None: ...

class ListKeys(_message.Message):
    __slots__ = ("prefix", "after", "limit")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    after: str
    limit: int
    def __init__(self, prefix: _Optional[str] = ..., after: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class RegisterFunction(_message.Message):
    __slots__ = ("function",)
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    function: _function_pb2.Function
    def __init__(self, function: _Optional[_Union[_function_pb2.Function, _Mapping]] = ...) -> None: ...

class RegisterDag(_message.Message):
    __slots__ = ("dag", "replace")
    DAG_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    dag: _function_pb2.Dag
    replace: bool
    def __init__(self, dag: _Optional[_Union[_function_pb2.Dag, _Mapping]] = ..., replace: bool = ...) -> None: ...

class DeleteFunction(_message.Message):
    __slots__ = ("name", "force")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    force: bool
    def __init__(self, name: _Optional[str] = ..., force: bool = ...) -> None: ...

class DeleteDag(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListFunctions(_message.Message):
    __slots__ = ("prefix", "versions")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    versions: bool
    def __init__(self, prefix: _Optional[str] = ..., versions: bool = ...) -> None: ...

class ListDags(_message.Message):
    __slots__ = ("prefix",)
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    def __init__(self, prefix: _Optional[str] = ...) -> None: ...

class GetStatus(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetAnnaStatus(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Cells(_message.Message):
    __slots__ = ("cells",)
    CELLS_FIELD_NUMBER: _ClassVar[int]
    cells: _containers.RepeatedCompositeFieldContainer[_store_pb2.Cell]
    def __init__(self, cells: _Optional[_Iterable[_Union[_store_pb2.Cell, _Mapping]]] = ...) -> None: ...

class Keys(_message.Message):
    __slots__ = ("keys", "more")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    more: bool
    def __init__(self, keys: _Optional[_Iterable[str]] = ..., more: bool = ...) -> None: ...

class Functions(_message.Message):
    __slots__ = ("functions",)
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    functions: _containers.RepeatedCompositeFieldContainer[_function_pb2.Function]
    def __init__(self, functions: _Optional[_Iterable[_Union[_function_pb2.Function, _Mapping]]] = ...) -> None: ...

class Dags(_message.Message):
    __slots__ = ("dags",)
    DAGS_FIELD_NUMBER: _ClassVar[int]
    dags: _containers.RepeatedCompositeFieldContainer[_function_pb2.Dag]
    def __init__(self, dags: _Optional[_Iterable[_Union[_function_pb2.Dag, _Mapping]]] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("version", "address", "started_milliseconds", "data_directory", "workers", "workers_busy", "workers_max", "queued", "runs", "runs_failed", "keys", "memory_bytes", "python_version", "functions", "dags", "roles", "members", "python_path", "saturated_since_milliseconds", "saturation")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    STARTED_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    DATA_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_BUSY_FIELD_NUMBER: _ClassVar[int]
    WORKERS_MAX_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    RUNS_FAILED_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    PYTHON_VERSION_FIELD_NUMBER: _ClassVar[int]
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    DAGS_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    PYTHON_PATH_FIELD_NUMBER: _ClassVar[int]
    SATURATED_SINCE_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    SATURATION_FIELD_NUMBER: _ClassVar[int]
    version: str
    address: str
    started_milliseconds: int
    data_directory: str
    workers: int
    workers_busy: int
    workers_max: int
    queued: int
    runs: int
    runs_failed: int
    keys: int
    memory_bytes: int
    python_version: str
    functions: int
    dags: int
    roles: _containers.RepeatedScalarFieldContainer[str]
    members: _containers.RepeatedCompositeFieldContainer[ClusterMember]
    python_path: _containers.RepeatedScalarFieldContainer[str]
    saturated_since_milliseconds: int
    saturation: str
    def __init__(self, version: _Optional[str] = ..., address: _Optional[str] = ..., started_milliseconds: _Optional[int] = ..., data_directory: _Optional[str] = ..., workers: _Optional[int] = ..., workers_busy: _Optional[int] = ..., workers_max: _Optional[int] = ..., queued: _Optional[int] = ..., runs: _Optional[int] = ..., runs_failed: _Optional[int] = ..., keys: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., python_version: _Optional[str] = ..., functions: _Optional[int] = ..., dags: _Optional[int] = ..., roles: _Optional[_Iterable[str]] = ..., members: _Optional[_Iterable[_Union[ClusterMember, _Mapping]]] = ..., python_path: _Optional[_Iterable[str]] = ..., saturated_since_milliseconds: _Optional[int] = ..., saturation: _Optional[str] = ...) -> None: ...

class ClusterMember(_message.Message):
    __slots__ = ("name", "reachable", "leader", "asked")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REACHABLE_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    name: str
    reachable: bool
    leader: bool
    asked: bool
    def __init__(self, name: _Optional[str] = ..., reachable: bool = ..., leader: bool = ..., asked: bool = ...) -> None: ...

class Load(_message.Message):
    __slots__ = ("function",)
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    function: _function_pb2.Function
    def __init__(self, function: _Optional[_Union[_function_pb2.Function, _Mapping]] = ...) -> None: ...

class Unload(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("id", "run_id", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: int
    run_id: bytes
    reason: str
    def __init__(self, id: _Optional[int] = ..., run_id: _Optional[bytes] = ..., reason: _Optional[str] = ...) -> None: ...

class Wait(_message.Message):
    __slots__ = ("invocation", "run_ids", "helps", "any")
    INVOCATION_FIELD_NUMBER: _ClassVar[int]
    RUN_IDS_FIELD_NUMBER: _ClassVar[int]
    HELPS_FIELD_NUMBER: _ClassVar[int]
    ANY_FIELD_NUMBER: _ClassVar[int]
    invocation: int
    run_ids: _containers.RepeatedScalarFieldContainer[bytes]
    helps: bool
    any: bool
    def __init__(self, invocation: _Optional[int] = ..., run_ids: _Optional[_Iterable[bytes]] = ..., helps: bool = ..., any: bool = ...) -> None: ...

class Waited(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...

class Invoke(_message.Message):
    __slots__ = ("run_id", "steps", "level", "deadline_milliseconds", "attempt", "stream_credit")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STREAM_CREDIT_FIELD_NUMBER: _ClassVar[int]
    run_id: bytes
    steps: _containers.RepeatedCompositeFieldContainer[Step]
    level: Level
    deadline_milliseconds: int
    attempt: int
    stream_credit: int
    def __init__(self, run_id: _Optional[bytes] = ..., steps: _Optional[_Iterable[_Union[Step, _Mapping]]] = ..., level: _Optional[_Union[Level, str]] = ..., deadline_milliseconds: _Optional[int] = ..., attempt: _Optional[int] = ..., stream_credit: _Optional[int] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("function", "version", "positional", "keywords", "spread")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    POSITIONAL_FIELD_NUMBER: _ClassVar[int]
    KEYWORDS_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    function: str
    version: int
    positional: int
    keywords: _containers.RepeatedScalarFieldContainer[str]
    spread: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, function: _Optional[str] = ..., version: _Optional[int] = ..., positional: _Optional[int] = ..., keywords: _Optional[_Iterable[str]] = ..., spread: _Optional[_Iterable[int]] = ...) -> None: ...

class Send(_message.Message):
    __slots__ = ("member", "number", "invocation")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    INVOCATION_FIELD_NUMBER: _ClassVar[int]
    member: str
    number: int
    invocation: int
    def __init__(self, member: _Optional[str] = ..., number: _Optional[int] = ..., invocation: _Optional[int] = ...) -> None: ...

class Receive(_message.Message):
    __slots__ = ("wait_milliseconds", "limit", "invocation")
    WAIT_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    INVOCATION_FIELD_NUMBER: _ClassVar[int]
    wait_milliseconds: int
    limit: int
    invocation: int
    def __init__(self, wait_milliseconds: _Optional[int] = ..., limit: _Optional[int] = ..., invocation: _Optional[int] = ...) -> None: ...

class Messages(_message.Message):
    __slots__ = ("senders",)
    SENDERS_FIELD_NUMBER: _ClassVar[int]
    senders: _containers.RepeatedCompositeFieldContainer[Sender]
    def __init__(self, senders: _Optional[_Iterable[_Union[Sender, _Mapping]]] = ...) -> None: ...

class Sender(_message.Message):
    __slots__ = ("member", "number")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    member: str
    number: int
    def __init__(self, member: _Optional[str] = ..., number: _Optional[int] = ...) -> None: ...

class Log(_message.Message):
    __slots__ = ("run_id", "function", "version", "stream", "text")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    run_id: bytes
    function: str
    version: int
    stream: Stream
    text: str
    def __init__(self, run_id: _Optional[bytes] = ..., function: _Optional[str] = ..., version: _Optional[int] = ..., stream: _Optional[_Union[Stream, str]] = ..., text: _Optional[str] = ...) -> None: ...
