"""The file of a node's sensors: one run adds or replaces one GPU, the others stay."""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path
from typing import Any

from wattproof import sensing
from wattproof.characterise.measure import Run, Target
from wattproof.errors import WattproofError


def check_file(path: Path, simulated: bool) -> None:
    """See, before a minute is spent, whether the result could be written.

    Raises:
        WattproofError: If not, or if real and simulated sensors would come into one file.
    """
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise WattproofError(f"Option --out: {path} cannot be written: its folder is not there.")
    if not path.exists():
        return
    sensing.load(path)
    about = json.loads(path.read_text(encoding="utf-8"))["about"]
    if bool(about.get("simulated")) != simulated:
        kinds = ("real", "simulated") if simulated else ("simulated", "real")
        raise WattproofError(
            f"Option --out: {path} holds {kinds[0]} sensors; write {kinds[1]} ones to another file."
        )


def write(path: Path, run: Run, target: Target, how: dict[str, Any]) -> None:
    """Write the findings; descriptions of other GPUs that are in the file stay.

    Args:
        path: The file.
        run: The run.
        target: The GPU.
        how: What a reader must know about the run: load, seconds, command.
    """
    check_file(path, run.simulated)
    kept: list[sensing.SensorDescription] = []
    about: dict[str, Any] = {"simulated": run.simulated, "gpus": {}}
    if path.exists():
        kept = [s for (device, _), s in sensing.load(path).items() if device != target.uuid]
        about = json.loads(path.read_text(encoding="utf-8"))["about"]
    about["gpus"][target.uuid] = {
        "name": target.name,
        "driver": target.driver,
        "host": platform.node(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **how,
        "channels": {finding.sensor.channel: _details(finding) for finding in run.findings},
    }
    sensing.save(path, [*kept, *(finding.sensor for finding in run.findings)], about)


def _details(finding: Any) -> dict[str, Any]:
    fit = finding.fit
    levels = fit and {
        "low_w": fit.low_w,
        "contrast_w": fit.contrast_w,
        "scatter_w": fit.scatter_w,
    }
    blocks = {
        block.name: {
            "updates": block.updates,
            "window_s": block.window_s,
            "window_u_s": block.window_u_s,
            "delay_s": block.delay_s,
            "delay_u_s": block.delay_u_s,
        }
        for block in finding.blocks
    }
    return {"levels": levels, "by_period": blocks, "remarks": list(finding.remarks)}
