"""Where we are: Slurm, container, virtual machine, and GPUs that others may use as well."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

from wattproof.doctor import machine
from wattproof.doctor.findings import Finding, limited, ok


def look(request: Mapping[str, Any]) -> list[Finding]:
    """Look at the surroundings."""
    del request
    return [_machine(), _slurm()]


def _machine() -> Finding:
    virtual, container = machine.virtual_machine(), machine.container()
    vendors = machine.gpu_vendors()
    facts: dict[str, Any] = {
        "host": platform.node(),
        "kernel": platform.release(),
        "cpu": machine.cpu_model(),
        "virtual_machine": virtual or None,
        "container": container or None,
        "gpus_on_pci": vendors,
        "uid": os.geteuid(),
    }
    text = f"{facts['cpu'] or platform.machine()}, Linux {facts['kernel']}"
    if virtual:
        return limited(
            "site",
            "machine",
            f"{text}; {machine.virtual_words(virtual)}: others on the same hardware are not seen.",
            "For energy that others should trust, measure on the bare machine.",
            facts=facts,
        )
    if container:
        text += f"; container ({container})"
    return ok("site", "machine", f"{text}.", facts=facts)


def _slurm() -> Finding:
    keys = ("SLURM_JOB_ID", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_CPUS_ON_NODE")
    facts: dict[str, Any] = {key: os.environ.get(key) for key in keys}
    facts["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES")
    job = facts["SLURM_JOB_ID"]
    if job is None:
        return ok("site", "slurm", "No Slurm job.", facts=facts)
    gpus = facts["SLURM_STEP_GPUS"] or facts["SLURM_JOB_GPUS"]
    text = f"Slurm job {job}, GPUs {gpus or 'none'}"
    shared = (
        facts["SLURM_CPUS_ON_NODE"] is not None
        and facts["SLURM_CPUS_ON_NODE"].isdecimal()
        and int(facts["SLURM_CPUS_ON_NODE"]) < (os.cpu_count() or 0)
    )
    if shared:
        return limited(
            "site",
            "slurm",
            f"{text}, {facts['SLURM_CPUS_ON_NODE']} of {os.cpu_count()} CPUs: others share the "
            "node, so RAPL and a wall meter see them too.",
            "Ask for the node alone (#SBATCH --exclusive) for node-wide energy.",
            facts=facts,
        )
    return ok("site", "slurm", f"{text}.", facts=facts)
