"""Values of packages that the side which loads them does not have, or has in another version."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from cloudburst import codec, errors


class Frame:
    """A value of a package whose older version does not know its state."""

    def __reduce__(self) -> Any:
        return (sys.modules["frames"].made, (1,))


def test_another_version_of_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.ModuleType("frames")

    def made(state: int) -> None:
        raise NotImplementedError

    made.__module__, made.__qualname__ = "frames", "made"
    package.made, package.__version__ = made, "2.1"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "frames", package)
    with pytest.raises(errors.CodecError, match=r"NotImplementedError.*here is frames 2.1.*`frames.__version__`"):
        codec.decode(codec.encode(Frame()))


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.ModuleType("frames")

    def made(state: int) -> int:
        return state

    made.__module__, made.__qualname__ = "frames", "made"
    package.made = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "frames", package)
    encoded = codec.encode(Frame())
    monkeypatch.delitem(sys.modules, "frames")
    with pytest.raises(errors.CodecError, match=f"'frames'.*`{sys.executable} -m pip install frames`"):
        codec.decode(encoded)
