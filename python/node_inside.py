"""Puts the node into a wheel, as the command ``cloudburst``, for the platform that it was built for; see ``make wheel``.

CLOUDBURST_NODE names the binary and CLOUDBURST_WHEEL_PLATFORM the platform's tag. Without them the wheel has the client only.
"""

from __future__ import annotations

import os
from typing import Any, Dict

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NodeInside(BuildHookInterface):  # type: ignore[type-arg,unused-ignore]
    def initialize(self, version: str, build_data: Dict[str, Any]) -> None:
        node = os.environ.get("CLOUDBURST_NODE")
        if node and version != "editable":
            build_data["shared_scripts"][node] = "cloudburst"
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{os.environ['CLOUDBURST_WHEEL_PLATFORM']}"
