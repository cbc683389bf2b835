"""``cloudburst serve``: settings, refusals, signals, what it prints and what it costs."""

from __future__ import annotations

import json
import re
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from cloudburst.client.client import CloudburstConnection
from e2e.node import BINARY, Node, until

Starter = Callable[..., Node]
RESIDENT_BYTES_MAX = 60 << 20


def refused(node: Node) -> str:
    """Start a node that cannot be, and return the one sentence that it says about it."""
    done = node.run()
    assert done.returncode != 0
    sentences = done.stderr.strip().splitlines()
    assert len(sentences) == 1, done.stderr
    assert "panic" not in done.stderr
    return sentences[0]


def test_ready_and_healthy(node: Node) -> None:
    assert node.http("/healthz")[0] == 200
    assert node.http("/readyz")[0] == 200
    status, metrics = node.http("/metrics")
    assert status == 200
    assert re.search(r"^cloudburst_\w+", metrics, re.MULTILINE)
    status, version = node.http("/version")
    assert status == 200
    assert node.cli("version").stdout.split()[-1].strip() in version or "version" in version


def test_help_of_metrics(node: Node) -> None:
    """Every metric says in a sentence what it counts."""
    explained = re.findall(r"^# HELP (cloudburst_\S+) ?(.*)$", node.http("/metrics")[1], re.MULTILINE)
    assert len(explained) > 80
    assert [name for name, sentence in explained if not re.fullmatch(r"[A-Z].*\.", sentence)] == []


def test_the_ready_line_is_one_and_names_the_url(own_node: Starter) -> None:
    node = own_node()
    assert sum(node.url in line for line in node.output.lines) >= 1
    assert node.stop() == 0


def test_the_token_is_for_its_owner_alone(node: Node) -> None:
    (saved,) = (
        path
        for path in (node.config / "cloudburst" / "contexts").iterdir()
        if not path.name.startswith(".") and json.loads(path.read_text())["address"].endswith(node.address)
    )
    for file in (node.data / "token", saved):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert (node.data / "token").read_text().strip() == json.loads(saved.read_text())["token"] == node.token
    assert len(node.token) >= 32


def test_local_clients_find_the_node(node: Node) -> None:
    """The command line finds address and token in the user's configuration directory."""
    assert node.json("status")["address"].endswith(node.address.rpartition(":")[2])


def test_a_taken_port(node: Node, tmp_path: Path) -> None:
    said = refused(Node(tmp_path, listen=node.address))
    assert node.address in said
    assert "use" in said


def test_a_data_directory_in_use(node: Node, tmp_path: Path) -> None:
    second = Node(tmp_path)
    second.data = node.data
    said = refused(second)
    assert str(node.data) in said
    assert node.http("/readyz")[0] == 200


def test_an_address_for_everybody_without_authentication(tmp_path: Path) -> None:
    said = refused(Node(tmp_path, listen="0.0.0.0:0"))
    assert "0.0.0.0" in said


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("[executor]\nworkers_min = -1\n", "workers_min"),
        ("[executor]\nno_such_setting = 1\n", "no_such_setting"),
        ("[executor\n", "line 1|toml"),
        ("[executor]\ntimeout = 'soon'\n", "timeout|soon"),
    ],
)
def test_a_bad_configuration(tmp_path: Path, content: str, named: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(content)
    assert re.search(named, refused(Node(tmp_path, "--config", str(file))))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "missing.toml" in refused(Node(tmp_path / "a", "--config", str(tmp_path / "missing.toml")))
    (tmp_path / "file").write_text("")
    node = Node(tmp_path / "b")
    node.data = tmp_path / "file"
    assert str(tmp_path / "file") in refused(node)


def test_a_python_that_is_none(tmp_path: Path) -> None:
    said = refused(Node(tmp_path, "--python", "/no/such/python"))
    assert "/no/such/python" in said


def test_a_bad_variable(tmp_path: Path) -> None:
    variable = "CLOUDBURST_EXECUTOR__WORKERS_MIN"
    assert variable in refused(Node(tmp_path, environment={variable: "many"}))


def test_settings_from_file_environment_and_flags(tmp_path: Path) -> None:
    """Defaults < file < environment < flag, and --dump-config shows the outcome."""
    file = tmp_path / "node.toml"
    file.write_text('[executor]\nworkers_min = 3\nworkers_max = 30\n\n[gateway]\nlisten = "127.0.0.1:1111"\n')
    node = Node(
        tmp_path,
        "--config",
        str(file),
        "--dump-config",
        environment={"CLOUDBURST_EXECUTOR__WORKERS_MAX": "40", "CLOUDBURST_GATEWAY__LISTEN": "127.0.0.1:2222"},
        listen="127.0.0.1:3333",
    )
    done = node.run()
    assert done.returncode == 0, done.stderr
    assert re.search(r"workers_min\s*=\s*3\b", done.stdout)
    assert re.search(r"workers_max\s*=\s*40\b", done.stdout)
    assert re.search(r"listen\s*=\s*[\"']127\.0\.0\.1:3333", done.stdout)
    assert not node.data.exists(), "nothing was started"


def test_what_functions_print_is_logged(node: Node, cloud: CloudburstConnection, name: str) -> None:
    def speak(library: Any, word: str) -> str:
        import sys

        print(f"out says {word}")
        print(f"err says {word}", file=sys.stderr)
        return "said"

    assert cloud.register(speak, name)("abracadabra").get() == "said"
    for stream in ("out", "err"):
        line = node.output.wait_for(f"{stream} says abracadabra")
        assert name in line
        for field in ("version", "run", "worker"):
            assert re.search(rf"\b{field}\b", line), line


def test_an_idle_node_uses_no_processor(own_node: Starter) -> None:
    node = own_node()
    cloud = CloudburstConnection("127.0.0.1", "127.0.0.1", local=True)
    f = cloud.register(lambda _, x: x, "f")
    assert [f(i).get() for i in range(100)] == list(range(100))
    before = node.cpu_seconds()
    time.sleep(3)
    used = node.cpu_seconds() - before
    assert used < 0.3, f"{used:.2f} s of processor time in 3 s of idling"


def test_memory_is_flat(own_node: Starter) -> None:
    # The collector runs often, or 64 MiB of what nothing needs any more would hide what is kept.
    node = own_node(environment={"GOGC": "50"})
    assert node.resident_bytes() < RESIDENT_BYTES_MAX
    cloud = CloudburstConnection("127.0.0.1", "127.0.0.1", local=True)
    cloud.register(lambda _, x: x, "f")
    cloud.register_dag("d", ["f"], [])

    def calls(count: int) -> int:
        for i in range(count):
            assert cloud.call_dag("d", {"f": [i]}, direct_response=True) == i
        return node.resident_bytes()

    before = calls(5_000)
    after = calls(20_000)
    assert after - before < 8 << 20, f"{before >> 10} KiB, and {after >> 10} KiB after 20,000 more calls"


def test_signals_before_it_is_ready(tmp_path: Path) -> None:
    node = Node(tmp_path).launch()
    try:
        until(lambda: node.data.exists(), "the data directory")
        node.signal(signal.SIGTERM)
        node.wait(20)
        assert node.family() == []
    finally:
        node.kill()


def test_interrupt_is_as_good_as_terminate(own_node: Starter) -> None:
    node = own_node()
    node.signal(signal.SIGINT)
    assert node.wait() == 0
    assert node.family() == []


def test_a_crash_leaves_no_workers(own_node: Starter) -> None:
    node = own_node()
    cloud = CloudburstConnection("127.0.0.1", "127.0.0.1", local=True)
    cloud.register(lambda _: time.sleep(600), "sleep")()
    until(lambda: node.json("status")["workers_busy"] >= 1, "the function to run")
    node.process.kill()
    node.process.wait()
    until(lambda: node.family() == [], "workers to end with the node")


def test_only_one_port_is_opened(node: Node) -> None:
    listening = set()
    inodes = set()
    for pid in node.family():
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(re.sub(r"\D", "", str(link.readlink())))
            except OSError:
                continue
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                listening.add(int(fields[1].rpartition(":")[2], 16))
    assert listening == {int(node.address.rpartition(":")[2])}


def test_help_and_completion() -> None:
    for arguments in (["--help"], ["serve", "--help"], ["completion", "bash"], ["call", "--help"]):
        done = subprocess.run([str(BINARY), *arguments], capture_output=True, text=True, timeout=20, check=True)
        assert done.stdout
    done = subprocess.run([str(BINARY), "no-such-command"], capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    assert "no-such-command" in done.stderr


def test_a_node_that_is_not_there(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    done = Node(tmp_path).cli("status", "--address", address, check=False)
    assert done.returncode != 0
    assert address in done.stderr
    assert "serve" in done.stderr, "the error says what to do next"
