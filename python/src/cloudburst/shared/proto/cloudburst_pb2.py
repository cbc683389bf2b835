"""Errors, consistency levels and messages of the published interface, by their published names.

``call_dag(dry_run=True)`` returns a ``DagCall`` and ``continuation`` takes one; ``Serializer`` fills a ``Value``. The body of a
``Value`` is a value as Cloudburst encodes it (``docs/protocol.md``), and UTF-8 in one of the type STRING. The other messages are
sent by no part of Cloudburst; programs import them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudburst.shared.proto import shared_pb2  # noqa: F401  # has types of fields
from cloudburst.shared.proto._messages import declare

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


_declared = declare(
    "cloudburst.shared.proto.cloudburst_pb2",
    enums={
        "ExecutionType": "REGULAR MULTIEXEC",
        "SerializerType": "DEFAULT NUMPY STRING",
        "CloudburstError": "NO_CLOUDBURST_ERROR FUNC_NOT_FOUND NOT_PINNED EXECUTION_ERROR NO_SUCH_DAG NO_RESOURCES "
        "DAG_ALREADY_EXISTS",
        "ConsistencyType": "NORMAL SINGLE MULTI",
    },
    messages={
        "Function": "name:string body:bytes",
        "Value": "body:bytes type:SerializerType",
        "Arguments": "values:Value*",
        "FunctionCall": "name:string request_id:uint32 arguments:Arguments response_key:string consistency:ConsistencyType",
        "Dag": "name:string functions:Dag.FunctionReference* connections:Dag.Link* colocated:string*",
        "Dag.Link": "source:string sink:string",
        "Dag.FunctionReference": "name:string type:ExecutionType invalid_results:bytes* gpu:bool batching:bool",
        "DagCall": "name:string function_args:{Arguments} response_address:string consistency:ConsistencyType "
        "output_key:string client_id:string continuation:Continuation",
        "Continuation": "name:string id:string result:bytes call:DagCall",
        "GenericResponse": "success:bool response_id:string error:CloudburstError",
        "DagSchedule": "id:string dag:Dag target_function:string consistency:ConsistencyType triggers:string* "
        "locations:{string} arguments:{Arguments} response_address:string output_key:string client_id:string "
        "start_time:double continuation:Continuation",
        "DagTrigger": "id:string target_function:string source:string arguments:Arguments "
        "version_locations:{KeyVersionList} dependencies:KeyVersion*",
    },
    imports=["cloudburst.shared.proto.shared_pb2"],
)
globals().update(_declared)
__all__ = list(_declared) + ["NO_ERROR", "Failure"]

NO_ERROR = 0


class Failure(int):
    """A ``CloudburstError`` with what there is to say about it. Equal to its number, and shown as it."""

    message: str

    def __new__(cls, number: int, message: str) -> Failure:
        """``message`` is a sentence for people."""
        failure = super().__new__(cls, number)
        failure.message = message
        return failure
