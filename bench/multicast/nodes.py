"""Nodes of one store on one NATS server, which counts what they say to each other."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List

from e2e.node import ROOT, Node, Output, free_ports, until

NATS_SERVER = ROOT / ".tools" / "nats-server"
FORM_SECONDS_MAX = 60.0


@contextlib.contextmanager
def nats(binary: Path, directory: Path) -> Iterator[Dict[str, str]]:
    port, monitor = free_ports(2)
    command = [str(binary), "-a", "127.0.0.1", "-p", str(port), "-m", str(monitor), "-js", "-sd", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        Output(process).wait_for("Server is ready")
        yield {"url": f"nats://127.0.0.1:{port}", "varz": f"http://127.0.0.1:{monitor}/varz"}
    finally:
        process.kill()
        process.wait()


def settled(nodes: List[Node]) -> bool:
    """Whether every node knows of all others and no slot is moving."""
    said = [json.loads(node.cli("anna", "status", "-o", "json").stdout) for node in nodes]
    return all(len(one["members"]) == len(nodes) and not one.get("moving") for one in said)


@contextlib.contextmanager
def store(count: int, binary: Path, server: Path) -> Iterator[Dict[str, Any]]:
    """So many processes that store, cache and serve clients."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        bus = stack.enter_context(nats(server, directory / "nats"))
        nodes = [
            Node(directory / f"node{i}", "--role", "gateway,anna", "--nats-url", bus["url"], binary=binary)
            for i in range(count)
        ]
        for node in nodes:
            stack.callback(node.kill)
            node.start()
        until(lambda: settled(nodes), "the nodes to know of each other", FORM_SECONDS_MAX)
        yield {**bus, "nodes": nodes}
