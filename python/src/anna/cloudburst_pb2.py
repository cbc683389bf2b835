"""The messages of :mod:`cloudburst.shared.proto.cloudburst_pb2`, by their name in the published client of Anna."""

from typing import TYPE_CHECKING, Any

from cloudburst.shared.proto.cloudburst_pb2 import *

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
