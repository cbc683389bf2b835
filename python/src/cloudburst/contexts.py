"""What the nodes of a user have told the user's clients on this machine: contexts, as ``cloudburst context ls`` lists them.

A context is a name with the address and the token of a node. One is current: the one that clients use when they are told
nothing else. The nodes and the command line write the files, in one step each; here they are only read.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import List, NamedTuple, Optional

from cloudburst.errors import InvalidArgumentError

__all__ = ["Context", "all_contexts", "context", "current_context"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")


class Context(NamedTuple):
    """A name under which clients find a node."""

    name: str
    address: str
    token: str
    started: int  # when its node was started last, in milliseconds of Unix time


def current_context() -> str:
    """Return the name of the current context; empty when there is none."""
    folder = _folder()
    try:
        name = (folder / "context").read_text("utf-8").strip() if folder is not None else ""
    except (OSError, UnicodeDecodeError):
        return ""
    return name if _NAME.match(name) else ""


def context(name: str) -> Context:
    """Return a context. Raises InvalidArgumentError, naming those that there are."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise InvalidArgumentError(
            f"context {name!r:.100}: the name of a context has 1 to 64 letters, digits and _ - . and begins with one of the "
            "first two"
        )
    found = _read(name)
    if found is None:
        names = ", ".join(each.name for each in all_contexts())
        there = (
            f"there are {names} (cloudburst context ls)" if names else "there is none, since no node of this user was started"
        )
        raise InvalidArgumentError(f"there is no context {name!r}; {there}")
    return found


def all_contexts() -> List[Context]:
    """Return all contexts that can be read, by name."""
    folder = _folder()
    try:
        names = sorted(path.name for path in (folder / "contexts").iterdir()) if folder is not None else []
    except OSError:
        return []
    return [found for found in (_read(name) for name in names if _NAME.match(name)) if found is not None]


def _read(name: str) -> Optional[Context]:
    folder = _folder()
    try:
        held = json.loads((folder / "contexts" / name).read_bytes()) if folder is not None else None
    except (OSError, ValueError):
        return None
    if not isinstance(held, dict):
        return None
    address, token, started = (held.get(each) for each in ("address", "token", "started_milliseconds"))
    if not (isinstance(address, str) and isinstance(token, str)):
        return None
    return Context(name, address, token, started if isinstance(started, int) else 0)


def _folder() -> Optional[Path]:
    # As Go's os.UserConfigDir, with which the node finds the place.
    if sys.platform == "darwin":
        home = os.environ.get("HOME")
        return Path(home, "Library", "Application Support", "cloudburst") if home else None
    configured = os.environ.get("XDG_CONFIG_HOME")
    if configured:
        return Path(configured, "cloudburst") if Path(configured).is_absolute() else None
    home = os.environ.get("HOME")
    return Path(home, ".config", "cloudburst") if home else None
