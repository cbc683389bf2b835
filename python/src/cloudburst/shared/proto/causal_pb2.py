"""Messages of the published causal cache. Cloudburst sends none of them; programs import them."""

from typing import TYPE_CHECKING, Any

from cloudburst.shared.proto import anna_pb2, cloudburst_pb2, shared_pb2  # noqa: F401  # have types of fields
from cloudburst.shared.proto._messages import declare

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


_declared = declare(
    "cloudburst.shared.proto.causal_pb2",
    enums={},
    messages={
        "CausalTuple": "key:string payload:bytes error:AnnaError",
        "CausalRequest": "consistency:ConsistencyType id:string tuples:CausalTuple* future_read_set:string* "
        "key_version_locations:{KeyVersionList} response_address:string",
        "CausalResponse": "tuples:CausalTuple* key_version_query_address:string key_versions:KeyVersion*",
        "KeyVersionRequest": "id:string response_address:string keys:string*",
        "KeyVersionResponse": "id:string tuples:CausalTuple*",
    },
    imports=[f"cloudburst.shared.proto.{file}_pb2" for file in ("anna", "cloudburst", "shared")],
)
globals().update(_declared)
__all__ = list(_declared)
