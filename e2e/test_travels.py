"""Programs run on a node as they run here, or are refused before they run."""

from __future__ import annotations

import sys
import types
from typing import Any, Dict, Iterator, List, Tuple

import pytest

import cloudburst
from cloudburst.errors import Error, RemoteTraceback
from e2e.failing_programs import RAISES, REFUSED
from e2e.programs import NEEDS, WORKS


@pytest.fixture(scope="module")
def app(node: Any) -> Iterator[cloudburst.App]:
    with cloudburst.connect() as connected:
        yield connected


def run_as_main(source: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return main of a program that runs as ``__main__``."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    exec(compile(source, "<program>", "exec"), vars(module))
    return vars(module)["main"]


def available(sources: Dict[str, Any]) -> List[str]:
    """The programs that this version of Python can run."""
    return [name for name in sources if sys.version_info >= (3, NEEDS.get(name, 9))]


@pytest.mark.parametrize("program", available(WORKS))
def test_the_result_is_the_same(app: cloudburst.App, name: str, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    main = run_as_main(WORKS[program], monkeypatch)
    there = app.function(main, name=name)
    first, second = there.remote().get(), there.remote().get()
    here = main()
    assert (first, type(first)) == (here, type(here))
    assert repr(first) == repr(here)
    if program != "closure_counter" and program != "iter":  # which keep what a call has left behind
        assert second == here


def described(exception: Any, levels: int = 4) -> Any:
    """What there is to compare of an exception."""
    if levels == 0 or exception is None or isinstance(exception, RemoteTraceback):
        return None
    slots = [getattr(exception, slot) for slot in getattr(type(exception), "__slots__", ())]
    inner = [described(each) for each in getattr(exception, "exceptions", ())]
    chain = described(exception.__cause__, levels - 1), described(exception.__context__, levels - 1)
    shown = [] if inner else repr(exception.args)
    return type(exception), shown, str(exception), sorted(vars(exception)), repr(vars(exception)), slots, inner, chain


def raised(call: Any) -> Tuple[Any, BaseException]:
    try:
        call()
    except Exception as e:
        return described(e), e
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("program", available(RAISES))
def test_what_it_raises_is_the_same(app: cloudburst.App, name: str, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    main = run_as_main(RAISES[program], monkeypatch)
    there, exception = raised(app.function(main, name=name).remote().get)
    here, _ = raised(main)
    assert there == here
    while not isinstance(exception, RemoteTraceback):
        assert exception.__cause__ is not None, "the traceback of the worker is at the end of the causes"
        exception = exception.__cause__


@pytest.mark.parametrize("program", available(REFUSED))
def test_it_is_refused_by_name(app: cloudburst.App, name: str, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source, message = REFUSED[program]
    main = run_as_main(source, monkeypatch)
    with pytest.raises(Error, match=f"(?s){message}"):
        app.function(main, name=name).register()
