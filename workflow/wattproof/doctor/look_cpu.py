"""CPUs: how many are left for the instruments, and does their clock wander."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wattproof.doctor import machine
from wattproof.doctor.findings import Finding, limited, ok

CPUFREQ = Path("/sys/devices/system/cpu")


def look(request: Mapping[str, Any]) -> list[Finding]:
    """Look at cores, load and governor."""
    del request
    return [_cores(), _governor()]


def _cores() -> Finding:
    allowed = machine.cpus_allowed()
    total = os.cpu_count() or 0
    load = os.getloadavg()[0]
    idle = max(0.0, total - load)
    facts: dict[str, Any] = {"allowed": allowed, "total": total, "load_1min": load, "idle": idle}
    text = f"{allowed:g} of {total} CPUs may be used; load {load:.1f}"
    if allowed <= 1:
        return limited(
            "cpu",
            "cores",
            f"{text}: the instruments share the one CPU with your command.",
            "Ask for one more CPU (Slurm: --cpus-per-task) and leave it to the instruments.",
            facts=facts,
        )
    if idle < 0.5:
        return limited(
            "cpu",
            "cores",
            f"{text}: the machine is busy, samples may come late (they are counted).",
            "Measure when nothing else runs.",
            facts=facts,
        )
    return ok("cpu", "cores", f"{text}.", facts=facts)


def _governor() -> Finding:
    found = sorted(
        {machine.text(p) for p in CPUFREQ.glob("cpu[0-9]*/cpufreq/scaling_governor")} - {""}
    )
    if not found:
        return ok("cpu", "governor", "The kernel does not tell the frequency governor.")
    facts: dict[str, Any] = {"governors": found}
    text = f"Frequency governor: {', '.join(found)}"
    if found == ["performance"]:
        return ok("cpu", "governor", f"{text}.", facts=facts)
    return limited(
        "cpu",
        "governor",
        f"{text}: the CPU's clock follows the load, so energy varies more from run to run.",
        "For comparisons: sudo cpupower frequency-set -g performance",
        facts=facts,
    )
