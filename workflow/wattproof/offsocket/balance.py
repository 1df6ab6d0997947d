"""The power balance of a node, window by window (paper.md section 5, equation 1).

``P_node = P_packages + P_DRAM + P_GPUs + P_off-socket``: what each instrument saw, added up per
window. A part that is missing makes its sum unknown; it never counts as zero.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

WINDOW_COLUMNS = (
    "recording",
    "session",
    "window_id",
    "run_id",
    "level",
    "kind",
    "epoch",
    "setting",
    "slot",
)
"""What identifies a window; the leading columns of tables ``energy`` and ``estimates``."""

CALIBRATION = "calibration"
"""Setting of calibration loads; they are no training."""

NVML_QUANTITIES = ("energy", "power_instant", "power_average", "power_usage")
"""Series that give a GPU's energy, best first: counter, integral, integral of the 1 s average, and
of what boards without these fields give."""

NOT_COMPARABLE = frozenset({"clock_not_proven"})
"""Flags of energies whose window cannot be trusted to be the same as another source's."""

_SESSION = ["recording", "session"]


def usable_energy_j(energy: pd.DataFrame) -> pd.Series:
    """Energies as float64, NaN where null or where the source's clock was not proven."""
    values = energy["energy_j"].astype("float64")
    refused = [not NOT_COMPARABLE.isdisjoint(flags) for flags in energy["flags"]]
    return values.mask(np.asarray(refused, dtype=bool))


def windows_of(energy: pd.DataFrame) -> pd.DataFrame:
    """Return one row a window: index window_id, the other `WINDOW_COLUMNS`, duration_s."""
    columns = [*WINDOW_COLUMNS, "duration_s"]
    return energy[columns].drop_duplicates("window_id").set_index("window_id")


def _named(rows: pd.DataFrame, pattern: str) -> pd.Series:
    """Tell which rows have a channel whose whole name matches."""
    names = pd.Series(rows["channel"].unique(), dtype="str")
    return rows["channel"].isin(names[names.str.fullmatch(pattern)])


def gpu_rows(energy: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of GPU channels with the GPU's slot (``gpu``) and series (``quantity``)."""
    # Names are parsed once each, not once a row.
    names = pd.Series(energy["channel"].unique(), dtype="str")
    parts = names.str.extract(r"^gpu(\d+)\.(\w+)$").set_axis(names).dropna()
    rows = energy[energy["channel"].isin(parts.index)].copy()
    rows["gpu"] = rows["channel"].map(parts[0]).astype("int64")
    rows["quantity"] = rows["channel"].map(parts[1])
    rows["energy_j"] = usable_energy_j(rows)
    return rows


def nvml_by_gpu(energy: pd.DataFrame) -> pd.DataFrame:
    """Return the energy of each GPU in each window by the best NVML series that has one.

    Returns:
        Frame with window_id, gpu, energy_j; only known energies.
    """
    rows = gpu_rows(energy)
    rows = rows[(rows["source"] == "nvml") & rows["quantity"].isin(NVML_QUANTITIES)]
    rows = rows.assign(rank=rows["quantity"].map({q: i for i, q in enumerate(NVML_QUANTITIES)}))
    rows = rows[rows["energy_j"].notna()].sort_values("rank", kind="stable")
    return rows.drop_duplicates(["window_id", "gpu"])[["window_id", "gpu", "energy_j"]]


def _by_session(windows: pd.DataFrame, rows: pd.DataFrame, series: str) -> pd.Series:
    """How many distinct series the session of each window has; NaN if none."""
    count = rows.groupby(_SESSION)[series].nunique().rename("count").reset_index()
    merged = windows[_SESSION].merge(count, on=_SESSION, how="left")["count"]
    return pd.Series(merged.to_numpy(dtype=np.float64), index=windows.index)


def _complete_sum(rows: pd.DataFrame, wanted: pd.Series) -> pd.Series:
    """Add up each window's known energies; NaN unless there are exactly as many as wanted."""
    known = rows[rows["energy_j"].notna()].groupby("window_id")["energy_j"]
    found = known.agg(["sum", "count"]).reindex(wanted.index, fill_value=0)
    return found["sum"].astype("float64").where(found["count"] == wanted)


def node_balance(energy: pd.DataFrame) -> pd.DataFrame:
    """Return the power balance of the node in every window.

    A session without any RAPL DRAM domain has ``dram_j`` null and ``socket_j`` equal to the
    packages alone: the memory's power is then part of the off-socket power, in the calibration
    as in the trainings.

    Args:
        energy: Table ``energy``.

    Returns:
        One row a window as `windows_of`, and in joules, NaN where unknown: meter_j
        (``node.ac``), packages_j, dram_j, socket_j (packages + DRAM), gpu_j (all
        GPUs by NVML), others_j (GPUs other than the window's slot; 0 for windows without a slot,
        which own all), busy_j (off-socket: meter − socket − GPUs); also mean powers meter_w,
        socket_w, gpu_w, others_w, busy_w.
    """
    table = windows_of(energy)
    rows = energy.assign(energy_j=usable_energy_j(energy))
    meter = rows[rows["channel"] == "node.ac"].drop_duplicates("window_id")
    table["meter_j"] = meter.set_index("window_id")["energy_j"].reindex(table.index)
    packages = rows[_named(rows, r"cpu\d+\.package")]
    table["packages_j"] = _complete_sum(packages, _by_session(table, packages, "channel"))
    dram = rows[_named(rows, r"cpu\d+\.dram")]
    domains = _by_session(table, dram, "channel")
    table["dram_j"] = _complete_sum(dram, domains)
    table["socket_j"] = table["packages_j"] + table["dram_j"].where(domains.notna(), 0.0)

    # The GPUs that exist are those that any source has seen: a node whose NVML failed for one
    # of them must not pass for a node with fewer GPUs.
    gpus = _by_session(table, gpu_rows(energy), "gpu")
    best = nvml_by_gpu(energy)
    table["gpu_j"] = _complete_sum(best, gpus)
    slot = table["slot"].astype("float64")
    others = best[best["gpu"] != best["window_id"].map(slot)]
    table["others_j"] = _complete_sum(others, gpus - 1).where(slot.notna(), gpus * 0.0)

    table["busy_j"] = table["meter_j"] - table["socket_j"] - table["gpu_j"]
    for name in ("meter", "packages", "dram", "socket", "gpu", "others", "busy"):
        table[f"{name}_w"] = table[f"{name}_j"] / table["duration_s"]
    return table


def missing_parts(table: pd.DataFrame) -> str:
    """Say in words which instruments gave no energy in any of the windows; empty if all did."""
    parts = {
        "meter_j": "the meter (node.ac)",
        "packages_j": "the CPU packages (rapl)",
        "gpu_j": "the GPUs (nvml)",
    }
    lacking = [text for column, text in parts.items() if not table[column].notna().any()]
    if not lacking and not table["busy_j"].notna().any():
        return "no window has energies from meter, CPU packages and GPUs together"
    return f"no energy from {' and '.join(lacking)}" if lacking else ""
