"""The versions of packages on two sides, for errors about values that one side has made and the other cannot load."""

from __future__ import annotations

import re
import sys
from typing import Any, Dict, List

_SEARCHED_BYTES_MAX = 1 << 20  # of a pickle, for the packages that it names
_LOADED = re.compile(r"loaded there is ([^()]+?), in ")
_MISSING = re.compile(r"needs the module '(\w+)")
_HERE = "; this program has "


def loaded_with(data: Any) -> str:
    """Return, for people, which versions of the packages that a pickle names are in this process."""
    import pickletools  # only for an error, as importlib.metadata below: programs start sooner without

    tops: Dict[str, None] = {}
    try:
        for _, argument, _ in pickletools.genops(bytes(memoryview(data)[:_SEARCHED_BYTES_MAX])):
            top = argument.partition(".")[0].partition(" ")[0] if isinstance(argument, str) else ""
            if isinstance(getattr(sys.modules.get(top), "__version__", None), str):
                tops[top] = None
    except Exception:  # it is cut off
        pass
    if not tops:
        return ""
    versions = ", ".join(f"{top} {sys.modules[top].__version__}" for top in tops)
    return (
        f" (where it is loaded there is {versions}, in {sys.executable}; a value that another version has made may not be "
        f"readable: compare `{', '.join(f'{top}.__version__' for top in tops)}` where it was made, and install the same on "
        "both sides)"
    )


def compared(message: str) -> str:
    """Return what another process says of a value that it cannot load, with the versions that this process has."""
    names: List[str] = []
    loaded, missing = _LOADED.search(message), _MISSING.search(message)
    if loaded is not None:
        names = [each.partition(" ")[0] for each in loaded[1].split(", ")]
    elif missing is not None:
        names = [missing[1]]
    here = ", ".join(f"{name} {version}" for name in names for version in _version(name))
    return f"{message}{_HERE}{here}" if here and _HERE not in message else message


def _version(name: str) -> List[str]:
    """Return the version of a package, if it is known."""
    version = getattr(sys.modules.get(name), "__version__", None)
    if isinstance(version, str):
        return [version]
    import importlib.metadata

    try:
        return [importlib.metadata.version(name)]
    except importlib.metadata.PackageNotFoundError:
        return []
