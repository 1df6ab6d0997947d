"""Off-socket power: what the node draws and neither RAPL nor NVML sees (paper.md section 5)."""

from wattproof.offsocket.balance import (
    CALIBRATION,
    WINDOW_COLUMNS,
    gpu_rows,
    missing_parts,
    node_balance,
    nvml_by_gpu,
    usable_energy_j,
    windows_of,
)
from wattproof.offsocket.fit import LOADS, LoadModel, LoadPower, OffSocket, fit
from wattproof.offsocket.sites import BySite, fit_sites

__all__ = [
    "CALIBRATION",
    "LOADS",
    "WINDOW_COLUMNS",
    "BySite",
    "LoadModel",
    "LoadPower",
    "OffSocket",
    "fit",
    "fit_sites",
    "gpu_rows",
    "missing_parts",
    "node_balance",
    "nvml_by_gpu",
    "usable_energy_j",
    "windows_of",
]
