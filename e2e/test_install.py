"""The wheel, installed into an empty environment, has everything: ``cloudburst dev`` and a first program work."""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Dict

from e2e.node import ROOT

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def test_installed_from_a_wheel(tmp_path: Path) -> None:
    wheels, project = tmp_path / "wheels", tmp_path / "project"
    project.mkdir()
    script = [str(ROOT / "tools/wheel.sh"), sys.executable, "go", str(wheels), ARCHITECTURES[platform.machine()]]
    subprocess.run(script, check=True, capture_output=True)
    (pure,) = wheels.glob("*-none-any.whl")
    (wheel,) = set(wheels.iterdir()) - {pure}
    assert not [name for name in zipfile.ZipFile(pure).namelist() if "scripts" in name], "the client only"

    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    programs = tmp_path / "venv" / "bin"
    pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, str(wheel)], check=True)

    kept = ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE")
    environment: Dict[str, str] = {key: os.environ[key] for key in kept if key in os.environ}
    environment["HOME"] = str(tmp_path)
    command = [str(programs / "cloudburst"), "dev"]
    node = subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert node.stdout is not None
        banner = ""
        for line in node.stdout:
            banner += line
            if "Ctrl-C" in line:
                break
        program = re.search(r"A first program:\n\n(.*?)\n\nFrom the command line", banner, re.S)
        assert program, banner
        first = "\n".join(line[2:] for line in program[1].splitlines())
        done = subprocess.run(
            [str(programs / "python"), "-c", first], env=environment, capture_output=True, text=True, timeout=60
        )
        assert (done.stdout, done.stderr) == ("Hello Ada 1\n", "")
        call = [str(programs / "cloudburst"), "call", "greet", '"Grace"']
        assert subprocess.run(call, env=environment, capture_output=True, text=True, check=True).stdout == "Hello Grace\n"
        assert (project / ".cloudburst" / ".gitignore").read_text() == "*\n"
    finally:
        node.send_signal(signal.SIGINT)
        assert node.wait(30) == 0
