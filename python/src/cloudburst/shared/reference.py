"""References of the published interface."""

from __future__ import annotations

from typing import Any

from cloudburst.argument import Ref

__all__ = ["CloudburstReference"]


class CloudburstReference(Ref[Any]):
    """The value of a key, as an argument: ``CloudburstReference(key, deserialize)``.

    The function gets the value that is there when it starts, or with ``deserialize=False`` its stored bytes.
    """

    __slots__ = ()
