"""Values of packages that the side which loads them does not have, or has in another version."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import types
from typing import Any

import pytest

from cloudburst import codec, errors
from cloudburst.codec._versions import compared


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


@pytest.mark.parametrize(
    ("message", "package"),
    [
        ("a value cannot be loaded: KeyError: 1 (where it is loaded there is frames 2.1, in /python; a value", "frames 3.0"),
        ("a pickled value needs the module 'frames.table', which is not installed", "frames 3.0"),
        (
            "a pickled value needs the module 'protobuf', which is not installed",
            f"protobuf {importlib.metadata.version('protobuf')}",
        ),
    ],
)
def test_the_version_of_this_side(monkeypatch: pytest.MonkeyPatch, message: str, package: str) -> None:
    frames = types.ModuleType("frames")
    frames.__version__ = "3.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "frames", frames)
    assert compared(message) == f"{message}; this program has {package}"
    assert compared(compared(message)) == compared(message)
    assert compared("it is not a number") == "it is not a number"


def test_what_only_errors_need_is_not_imported() -> None:
    """Importing the package costs every program; the workers have what errors need from their zygote."""
    program = "import sys; before = set(sys.modules); import cloudburst; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert "cloudburst.codec._versions" in loaded
    assert not {"importlib.metadata", "pickletools"} & set(loaded)
