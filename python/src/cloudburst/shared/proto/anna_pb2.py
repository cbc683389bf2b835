"""Messages of the published protocol of Anna. Cloudburst sends none of them; programs import them."""

from typing import TYPE_CHECKING, Any

from cloudburst.shared.proto import shared_pb2  # noqa: F401  # has types of fields
from cloudburst.shared.proto._messages import declare

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


_declared = declare(
    "cloudburst.shared.proto.anna_pb2",
    enums={
        "RequestType": "RT_UNSPECIFIED GET PUT",
        "LatticeType": "NONE LWW SET SINGLE_CAUSAL MULTI_CAUSAL ORDERED_SET PRIORITY",
        "AnnaError": "NO_ERROR KEY_DNE WRONG_THREAD TIMEOUT LATTICE NO_SERVERS",
    },
    messages={
        "KeyTuple": "key:string lattice_type:LatticeType error:AnnaError payload:bytes address_cache_size:uint32 "
        "invalidate:bool",
        "KeyRequest": "type:RequestType tuples:KeyTuple* response_address:string request_id:string",
        "KeyResponse": "type:RequestType tuples:KeyTuple* response_id:string error:AnnaError",
        "KeyAddressRequest": "response_address:string keys:string* request_id:string",
        "KeyAddressResponse": "addresses:KeyAddressResponse.KeyAddress* error:AnnaError response_id:string",
        "KeyAddressResponse.KeyAddress": "key:string ips:string*",
        "LWWValue": "timestamp:uint64 value:bytes",
        "SetValue": "values:bytes*",
        "SingleKeyCausalValue": "vector_clock:{uint32} values:bytes*",
        "MultiKeyCausalValue": "vector_clock:{uint32} dependencies:KeyVersion* values:bytes*",
        "PriorityValue": "priority:double value:bytes",
    },
    imports=["cloudburst.shared.proto.shared_pb2"],
)
globals().update(_declared)
__all__ = list(_declared)
