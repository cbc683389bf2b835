"""Where the client looks for the node and its token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloudburst import errors
from cloudburst.endpoint import Endpoint, locator, locator_of_host


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's configuration directory, empty, and an environment that says nothing."""
    for name in ("CLOUDBURST_ADDRESS", "CLOUDBURST_TOKEN", "CLOUDBURST_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    directory = tmp_path / "config" / "cloudburst"
    directory.mkdir(parents=True)
    return directory


def leave(
    config: Path, address: str, token: str = "left", name: str = "default", started: int = 1, current: bool = True
) -> None:
    """Do as a node does that is started."""
    (config / "contexts").mkdir(exist_ok=True)
    held = {"address": address, "token": token, "data": "/data", "started_milliseconds": started}
    (config / "contexts" / name).write_text(json.dumps(held) + "\n")
    if current:
        (config / "context").write_text(name + "\n")


def test_nothing_is_known() -> None:
    assert locator()() == Endpoint("127.0.0.1", 7100, False, "")


def test_argument_before_environment_before_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(config, "127.0.0.1:7001")
    assert locator()() == Endpoint("127.0.0.1", 7001, False, "left", context="default")
    monkeypatch.setenv("CLOUDBURST_ADDRESS", "example.org:7002")
    monkeypatch.setenv("CLOUDBURST_TOKEN", "of-the-environment")
    assert locator()() == Endpoint("example.org", 7002, False, "of-the-environment")
    assert locator("https://other.example", "given")() == Endpoint("other.example", 7100, True, "given")


def test_the_token_that_a_node_left_is_for_that_node_only(config: Path) -> None:
    leave(config, "127.0.0.1:7001")
    assert locator("127.0.0.1:7001")().token == "left"
    assert locator("localhost:7001")().token == "left"
    assert locator("127.0.0.1:7002")().token == ""
    assert locator("example.org:7001")().token == ""


def test_a_node_that_comes_back_elsewhere_is_found(config: Path) -> None:
    locate = locator()
    leave(config, "127.0.0.1:7001", "old")
    assert locate() == Endpoint("127.0.0.1", 7001, False, "old", context="default")
    leave(config, "127.0.0.1:7002", "new")
    assert locate() == Endpoint("127.0.0.1", 7002, False, "new", context="default")


def test_a_client_stays_with_the_context_that_was_current(config: Path) -> None:
    leave(config, "127.0.0.1:7001", "one", "first")
    began_before = locator()
    assert began_before().port == 7001
    leave(config, "127.0.0.1:7002", "two", "second")
    assert began_before().port == 7001
    assert locator()() == Endpoint("127.0.0.1", 7002, False, "two", context="second")


def test_a_context_by_its_name(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(config, "127.0.0.1:7001", "one", "first")
    leave(config, "127.0.0.1:7002", "two", "second", current=False)
    assert locator(named="second")() == Endpoint("127.0.0.1", 7002, False, "two", context="second")
    monkeypatch.setenv("CLOUDBURST_CONTEXT", "second")
    assert locator()().port == locator_of_host("127.0.0.1")().port == 7002
    assert locator(named="first")().port == 7001
    monkeypatch.setenv("CLOUDBURST_TOKEN", "of-the-environment")
    assert (locator(named="first")().token, locator()().token) == ("one", "of-the-environment")
    monkeypatch.setenv("CLOUDBURST_ADDRESS", "127.0.0.1:7003")
    assert (locator(named="first")().port, locator()().port) == (7001, 7003)
    with pytest.raises(errors.InvalidArgumentError, match=r"first, second .*context ls"):
        locator(named="third")()
    with pytest.raises(errors.InvalidArgumentError, match="give one"):
        locator("127.0.0.1:7001", named="first")
    with pytest.raises(errors.InvalidArgumentError, match="letters"):
        locator(named="../token")()


def test_of_two_nodes_at_one_address_the_later(config: Path) -> None:
    leave(config, "127.0.0.1:7001", "one", "first", started=20)
    leave(config, "127.0.0.1:7001", "two", "second", started=3, current=False)
    assert locator("127.0.0.1:7001")().token == "one"


def test_a_client_stays_with_the_environment_it_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDBURST_ADDRESS", "127.0.0.1:7003")
    locate, of_host = locator(), locator_of_host("127.0.0.1")
    monkeypatch.setenv("CLOUDBURST_ADDRESS", "127.0.0.1:7004")
    assert locate().port == of_host().port == 7003


def test_a_host_without_a_port(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locator_of_host("10.0.0.1")() == Endpoint("10.0.0.1", 7100, False, "")
    leave(config, "127.0.0.1:7001")
    assert locator_of_host("127.0.0.1")() == Endpoint("127.0.0.1", 7001, False, "left", context="default")
    assert locator_of_host("127.0.0.1:7002")() == Endpoint("127.0.0.1", 7002, False, "")
    assert locator_of_host("10.0.0.1")().port == 7100
    monkeypatch.setenv("CLOUDBURST_ADDRESS", "https://10.0.0.2:7005")
    assert locator_of_host("10.0.0.1")() == Endpoint("10.0.0.1", 7005, True, "")


def test_what_a_node_left_may_be_nonsense(config: Path) -> None:
    leave(config, "half an addr")
    with pytest.raises(errors.InvalidArgumentError, match="half an addr"):
        locator()()
    assert locator("host")().token == ""
    for text in (b"\xff\xfe", b"[]", b'{"address": 1}'):
        (config / "contexts" / "default").write_bytes(text)
        with pytest.raises(errors.InvalidArgumentError, match="default"):
            locator()()
    (config / "context").write_bytes(b"\xff")
    assert locator()() == Endpoint("127.0.0.1", 7100, False, "")


@pytest.mark.parametrize(
    ("address", "host", "port", "secure"),
    [
        ("example.org", "example.org", 7100, False),
        ("example.org:80", "example.org", 80, False),
        ("http://example.org:80/", "example.org", 80, False),
        ("https://example.org", "example.org", 7100, True),
        ("[::1]:7", "::1", 7, False),
        ("localhost", "127.0.0.1", 7100, False),
    ],
)
def test_addresses(address: str, host: str, port: int, secure: bool) -> None:
    assert locator(address)() == Endpoint(host, port, secure, "")


@pytest.mark.parametrize(
    "address", ["tcp://host", "host:port", "host:70000", "host:1/path", "user@host", "http://", "a b", "host?x", "[::1"]
)
def test_no_addresses(address: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="host:port"):
        locator(address)


def test_addresses_as_they_are_written() -> None:
    assert Endpoint("::1", 7, False, "").address == "[::1]:7"
    assert Endpoint("example.org", 7, False, "").address == "example.org:7"
    assert repr(Endpoint("example.org", 7, True, "secret")) == "<Endpoint https://example.org:7>"


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "ümlaut"])
def test_no_tokens(token: str) -> None:
    with pytest.raises(errors.AuthenticationError, match="characters"):
        locator("host", token)()


def test_without_a_home(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert locator()().port == 7100
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative/path")
    assert locator()().port == 7100
