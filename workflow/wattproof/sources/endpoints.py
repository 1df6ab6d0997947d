"""What stands where the drivers stand: real hardware, or the virtual node in its place."""

from __future__ import annotations

import importlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POWERCAP_VARIABLE = "WATTPROOF_POWERCAP"
"""Environment variable: folder of the powercap tree, e.g. a host's that is mounted elsewhere in a
container."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the instruments are reached.

    Attributes:
        nvml: Module ``pynvml`` or an object with its functions; None if there is none.
        smi_command: Command line of nvidia-smi; None if there is none.
        powercap_root: Folder of the powercap tree.
        meter_port: Serial port that ``port: auto`` stands for; None if it must be named.
        simulated: True if a virtual node stands behind them.
    """

    nvml: Any | None
    smi_command: list[str] | None
    powercap_root: Path
    meter_port: str | None
    simulated: bool


def real_endpoints() -> Endpoints:
    """Return the drivers of this machine; what is absent is None."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        nvml = None
    smi = shutil.which("nvidia-smi")
    return Endpoints(
        nvml=nvml,
        smi_command=None if smi is None else [smi],
        powercap_root=Path(os.environ.get(POWERCAP_VARIABLE) or "/sys/class/powercap"),
        meter_port=None,
        simulated=False,
    )
