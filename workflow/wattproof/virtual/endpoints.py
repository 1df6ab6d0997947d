"""Where the sensors of a virtual node stand: in the places of driver, tool, port and sysfs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from wattproof.virtual.nvml import VirtualNvml

METER_LINK = "lmg450"
POWERCAP_FOLDER = "powercap"

SMI_SCRIPT = Path(__file__).with_name("smi.py")


def endpoints(node_dir: Path | str) -> dict[str, Any]:
    """Return what a recorder needs in order to measure a virtual node like a real one.

    Meter and powercap tree exist while ``python -m wattproof.virtual NODE_DIR`` runs.

    Returns:
        ``nvml`` (stands for module `pynvml`), ``smi_command`` (stands for ``nvidia-smi``),
        ``powercap_root`` (stands for ``/sys/class/powercap``), ``meter_port`` (a serial port),
        ``simulated``.

    Raises:
        WattproofError: There is no virtual node in the folder.
    """
    node = Path(node_dir).absolute()
    return {
        "nvml": VirtualNvml(node),
        # Neither site-packages nor environment: the tool must start as fast as can be.
        "smi_command": [sys.executable, "-S", "-E", str(SMI_SCRIPT), str(node)],
        "powercap_root": node / POWERCAP_FOLDER,
        "meter_port": str(node / METER_LINK),
        "simulated": True,
    }
