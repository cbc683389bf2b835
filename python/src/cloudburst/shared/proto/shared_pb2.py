"""Messages that the published protocols share. Cloudburst sends none of them; programs import them."""

from typing import TYPE_CHECKING, Any

from cloudburst.shared.proto._messages import declare

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


_declared = declare(
    "cloudburst.shared.proto.shared_pb2",
    enums={},
    messages={
        "StringSet": "keys:string*",
        "KeyVersion": "key:string vector_clock:{uint32}",
        "KeyVersionList": "keys:KeyVersion*",
    },
)
globals().update(_declared)
__all__ = list(_declared)
