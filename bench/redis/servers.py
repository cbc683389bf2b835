"""The two sides: a node with its endpoint, and Redis from the distribution's package, each on a directory of its own."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, NamedTuple

from e2e.node import Node, until

PASSWORD = "a-password-that-both-sides-have"
# What an acknowledged write survives, on both sides.
DURABILITY = {
    "memory": "acknowledged in memory (Redis: appendonly no)",
    "durable": "acknowledged when the log has it (Redis: appendonly everysec, which acknowledges before)",
}


class Server(NamedTuple):
    name: str
    port: int
    password: str

    def command(self, *words: str) -> str:
        """Ask by redis-cli."""
        ask = ["redis-cli", "-p", str(self.port), "-a", self.password, "--no-auth-warning", *words]
        return subprocess.run(ask, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    def info(self) -> Dict[str, str]:
        lines = (line.partition(":") for line in self.command("INFO").splitlines() if ":" in line)
        return {name: value for name, _, value in lines}

    def answers(self) -> bool:
        with contextlib.suppress(subprocess.SubprocessError):
            return self.command("PING") == "PONG"
        return False


def need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise SystemExit(
            f"not on the PATH: {', '.join(missing)}; on Debian they are in the packages redis-server and redis-tools"
        )


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


@contextlib.contextmanager
def redis(durability: str) -> Iterator[Server]:
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--requirepass", PASSWORD]
        command += ["--save", "", "--appendonly", "no" if durability == "memory" else "yes", "--appendfsync", "everysec"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            server = Server("redis", port, PASSWORD)
            until(server.answers, "Redis")
            yield server
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def cloudburst(binary: Path, durability: str) -> Iterator[Server]:
    port = free_port()
    settings: Dict[str, Any] = {"CLOUDBURST_RESP__ACK": durability}
    with tempfile.TemporaryDirectory() as directory:
        node = Node(Path(directory), "--resp", f"127.0.0.1:{port}", binary=binary, environment=settings)
        try:
            node.start()
            server = Server("cloudburst", port, (node.data / "token").read_text().strip())
            until(server.answers, "the endpoint")
            yield server
            node.stop()
        finally:
            node.kill()


@contextlib.contextmanager
def both(binary: Path, durability: str) -> Iterator[Dict[str, Server]]:
    with redis(durability) as theirs, cloudburst(binary, durability) as ours:
        yield {"redis": theirs, "cloudburst": ours}
