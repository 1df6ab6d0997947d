"""The probes by name; each is a module with ``look(request) -> list[Finding]``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from wattproof.doctor.findings import Finding

PROBES = {
    "nvml": "wattproof.doctor.look_nvml",
    "smi": "wattproof.doctor.look_smi",
    "rapl": "wattproof.doctor.look_rapl",
    "meter": "wattproof.doctor.look_meter",
    "codecarbon": "wattproof.doctor.look_codecarbon",
    "host": "wattproof.doctor.look_host",
    "cpu": "wattproof.doctor.look_cpu",
    "clock": "wattproof.doctor.look_clock",
    "disk": "wattproof.doctor.look_disk",
    "site": "wattproof.doctor.look_site",
    "trial": "wattproof.doctor.look_trial",
}
"""Module by name of the probe, in the order in which they are shown."""


def run(name: str, request: Mapping[str, Any]) -> list[Finding]:
    """Run a probe in this process.

    Args:
        name: Its name.
        request: ``sources``: settings by source, as far as a campaign names them; ``seconds``: time
            for measuring speed, 0 to look only; ``folder``: where a recording would write.
    """
    found: list[Finding] = importlib.import_module(PROBES[name]).look(request)
    return found
