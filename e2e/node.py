"""A real node for tests, experiments and the demo: ``bin/cloudburst serve`` on a directory of its own, always ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, TypeVar

ROOT = Path(__file__).resolve().parent.parent
BINARY = ROOT / "bin" / "cloudburst"
PYTHON = ROOT / ".venv" / "bin" / "python"

READY = re.compile(r"https?://[\w.:\[\]]+:\d+")
# The log is cut off at its beginning all the time, as soon as half of it is not needed.
SHORT_LOG = {
    "CLOUDBURST_ANNA__COMPACT_RATIO": "2",
    "CLOUDBURST_ANNA__COMPACT_BYTES_MIN": "4096",
    "CLOUDBURST_ANNA__COMPACT_INTERVAL": "100ms",
}

START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 30.0
LINES_KEPT = 5000
MARK = "NODE_FAMILY"  # variable by which the processes of one node are known

T = TypeVar("T")


def until(condition: Callable[[], T], what: str, seconds: float = 20.0) -> T:
    """Return what ``condition`` gives as soon as that is true; raise TimeoutError saying what was waited for."""
    end = time.monotonic() + seconds
    pause = 0.001
    while not (result := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} seconds for {what}")
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    return result


def free_ports(count: int, host: str = "127.0.0.1") -> List[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind((host, 0))
        return [sock.getsockname()[1] for sock in sockets]


class Output:
    """What a process prints, line by line, while it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: List[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self._thread.start()

    def _read(self, stream: Any) -> None:
        for line in stream:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                del self.lines[:-LINES_KEPT]
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, pattern: str | re.Pattern[str], seconds: float = 20.0) -> str:
        """Return the first line that matches, once it is there."""
        wanted = re.compile(pattern)
        end = time.monotonic() + seconds
        with self._changed:
            while True:
                for line in self.lines:
                    if wanted.search(line):
                        return line
                left = end - time.monotonic()
                if self._ended or left <= 0:
                    why = "the process ended" if self._ended else f"waited {seconds:g} seconds"
                    raise TimeoutError(f"{why} and no line matched {wanted.pattern!r}:\n{self}")
                self._changed.wait(left)

    def join(self) -> None:
        self._thread.join(STOP_SECONDS_MAX)

    def __str__(self) -> str:
        return "\n".join(self.lines[-200:])


class Node:
    """One node. Its clients find it by :meth:`environment`."""

    def __init__(
        self,
        directory: Path,
        *flags: str,
        environment: Optional[Mapping[str, str]] = None,
        binary: Path = BINARY,
        listen: str = "127.0.0.1:0",
    ) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.config = directory / "config"
        self.config.mkdir(parents=True, exist_ok=True)
        self.flags = flags
        self.binary = binary
        self.listen = listen
        self.url = ""
        self._mark = uuid.uuid4().hex
        self._extra = {**(environment or {}), MARK: self._mark}
        self.process: subprocess.Popen[str] = None  # type: ignore[assignment]
        self.output: Output = None  # type: ignore[assignment]

    def command(self) -> List[str]:
        serve = [str(self.binary), "serve", "--data", str(self.data), "--listen", self.listen, "--python", str(PYTHON)]
        return [*serve, *self.flags]

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run the process to its end, which is meant to be soon."""
        environment = self._environment(self._extra)
        return subprocess.run(self.command(), env=environment, capture_output=True, text=True, timeout=START_SECONDS_MAX)

    def launch(self) -> Node:
        """Start the process without waiting for it to be ready."""
        self.process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self._environment(self._extra),
            start_new_session=True,
        )
        self.output = Output(self.process)
        return self

    def start(self) -> Node:
        """Start the node and return when it is ready; started again, it has the address that it had before."""
        return self.launch().ready()

    def ready(self, seconds: float = START_SECONDS_MAX) -> Node:
        """Return when a node that was launched is ready."""
        line = self.output.wait_for(READY, seconds)
        self.url = READY.search(line).group()  # type: ignore[union-attr]
        self.listen = self.address
        return self

    @property
    def address(self) -> str:
        return self.url.partition("://")[2]

    @property
    def token(self) -> str:
        return (self.data / "token").read_text().strip()

    def environment(self) -> Dict[str, str]:
        """What a client's environment needs to reach this node."""
        return {"CLOUDBURST_ADDRESS": self.address, "CLOUDBURST_TOKEN": self.token}

    def _environment(self, extra: Mapping[str, str]) -> Dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDBURST_")}
        return {**inherited, "HOME": str(self.config), "XDG_CONFIG_HOME": str(self.config), **extra}

    def cli(self, *arguments: str, check: bool = True, stdin: Optional[str] = None) -> subprocess.CompletedProcess[str]:
        """Run a command of the binary as the user who started the node."""
        done = subprocess.run(
            [str(self.binary), *arguments],
            env=self._environment({}),
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if check and done.returncode:
            raise AssertionError(f"cloudburst {' '.join(arguments)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self.cli(*arguments, "-o", "json").stdout)

    def http(self, path: str, headers: Optional[Mapping[str, str]] = None) -> Tuple[int, str]:
        request = urllib.request.Request(self.url + path, headers=dict(headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def metric(self, name: str) -> float:
        """What the node counts, of all that is told apart by labels."""
        lines = re.findall(rf"^{name}(?:{{.*}})? (.*)$", self.http("/metrics")[1], re.MULTILINE)
        assert lines, f"there is no metric {name}"
        return sum(map(float, lines))

    def family(self) -> List[int]:
        """The node's process and all that it started, the zygote and the workers among them, wherever they are now."""
        mark, found = f"{MARK}={self._mark}\0".encode(), []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes():  # empty for a process that is only waited for
                        found.append(int(entry.name))
        return sorted(found)

    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) << 10  # type: ignore[union-attr]

    def cpu_seconds(self) -> float:
        """Processor time of the whole family so far."""
        ticks = 0
        for pid in self.family():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS_MAX) -> int:
        """Return the exit status, once the process has ended."""
        status = self.process.wait(seconds)
        self.output.join()
        return status

    def stop(self) -> int:
        """Drain the node and return its exit status."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End the node as a power cut would, and whatever is left of its family."""
        if self.process is None:
            return
        family = self.family()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(STOP_SECONDS_MAX)
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.output.join()
