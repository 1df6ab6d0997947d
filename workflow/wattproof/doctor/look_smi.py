"""nvidia-smi: is it there, what does a call cost, does it tell power under a known tag."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from wattproof.doctor.findings import Finding, limited, missing, ok
from wattproof.errors import WattproofError
from wattproof.sources import create, real_endpoints

CALLS = 3
SLOW_S = 0.1
"""A call that takes longer cannot keep EA-HAS-Bench's 0.1 s."""
LIMIT_S = 10.0


def look(request: Mapping[str, Any]) -> list[Finding]:
    """Look at nvidia-smi."""
    endpoints = real_endpoints()
    if endpoints.smi_command is None:
        return [
            missing(
                "smi",
                "command",
                "nvidia-smi is not in PATH.",
                "It comes with NVIDIA's driver; without a GPU nothing is lost.",
            )
        ]
    settings = request.get("sources", {}).get("smi", {})
    command = endpoints.smi_command
    try:
        source = create("smi", settings, endpoints)
        description = source.open()
        source.close()
    except WattproofError as error:
        return [missing("smi", "command", str(error), facts={"command": command})]
    powers = [channel for channel in description.channels if channel.kind == "power"]
    facts: dict[str, Any] = {
        "command": command,
        "driver": description.identity.get("driver"),
        "gpus": [channel.device for channel in powers],
        "tags": [channel.identity.get("tag") for channel in powers],
    }
    text = f"nvidia-smi works (driver {facts['driver']}, {len(powers)} GPU(s))"
    if not request.get("seconds"):
        return [ok("smi", "command", f"{text}.", facts=facts)]
    costs = []
    for _ in range(CALLS):
        begun = time.monotonic()
        subprocess.run(
            [*command, "-q", "-x"], stdout=subprocess.DEVNULL, check=False, timeout=LIMIT_S
        )
        costs.append(time.monotonic() - begun)
    cost_s = statistics.median(costs)
    facts["spawn_cost_s"] = cost_s
    text += f"; a process for one sample takes {cost_s * 1e3:.0f} ms"
    if cost_s > SLOW_S:
        return [
            limited(
                "smi",
                "command",
                f"{text}, too slow for 0.1 s.",
                "Use mode 'loop', better still nvml; persistence mode shortens it.",
                facts=facts,
            )
        ]
    return [ok("smi", "command", f"{text}; nvml tells the same in microseconds.", facts=facts)]
