"""Picking from the tables what a figure or a verdict is about. Pure functions over frames."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof.offsocket import node_balance, usable_energy_j
from wattproof.report.inputs import ReportInputs

METER = "meter"
"""Source taken as truth for the node."""

METER_CHANNEL = "node.ac"
"""Its channel with the power of the whole node."""

_GPU = re.compile(r"^gpu(\d+)\.")
_PREFERENCE = ("energy", "power_instant", "power_average", "power_usage", "power")
"""Channels of a GPU from best to worst: a counter misses nothing, an instant reading is not
smeared over the last second (measurement.md)."""

SETTINGS = {
    "single": "one GPU a run",
    "packed": "several runs packed on the node",
    "ddp": "one run on several GPUs",
}

PARTS = ("GPU", "CPU", "DRAM", "off-socket")
"""Parts of the node's energy (paper, eq. 1)."""


def floats(values: Any) -> NDArray[np.float64]:
    """Return a column as float64 with NaN for null, whatever pandas made of it."""
    return np.asarray(pd.Series(values).to_numpy(dtype="float64", na_value=np.nan))


def finite(values: Any) -> NDArray[np.float64]:
    """Return the known values of a column as float64."""
    x = floats(values)
    return x[np.isfinite(x)]


def source_name(source: str) -> str:
    """Return the name of a source, or of one of its lanes (``nvml@ring``), for people."""
    name, _, lane = source.partition("@")
    known = {"smi": "SMI", "nvml": "NVML", "rapl": "RAPL"}.get(name, name)
    return f"{known} {lane}" if lane else known


def setting_name(setting: str) -> str:
    """Return the meaning of a setting for people."""
    return SETTINGS.get(setting, setting)


def _gpu_rank(source: str, channel: str, method: str) -> float:
    """Rank of an energy row: 0 is best; infinity if it is not the power of a GPU."""
    name = _GPU.sub("", channel)
    if name not in _PREFERENCE:
        return np.inf
    if source == "smi" and method == "mean":
        return -1.0  # mean × time is what EA-HAS-Bench makes of its SMI samples
    return float(_PREFERENCE.index(name))


def _slots(inputs: ReportInputs, rows: pd.DataFrame) -> pd.Series:
    """Slot of each row's channel: as the table ``channels`` says, else the GPU's index."""
    known = inputs.channels.dropna(subset=["slot"])
    keys = ["recording", "session", "source", "channel"]
    slots = known.drop_duplicates(keys).set_index(keys)["slot"]
    index = rows["channel"].str.extract(_GPU.pattern, expand=False).astype("Int64")
    found = slots.reindex(pd.MultiIndex.from_frame(rows[keys]))
    found.index = rows.index
    return found.astype("Int64").fillna(index)


def gpu_windows(inputs: ReportInputs, source: str, level: str = "epoch") -> pd.DataFrame:
    """Power of a run's GPU(s) in its windows, by one source.

    Args:
        inputs: The report's inputs.
        source: ``nvml`` or ``smi``.
        level: Level of the windows.

    Returns:
        One row a window: window_id, run_id, setting, epoch, slot, mean_w, energy_j, samples,
        expected. GPUs of a window are summed; calibration loads are left out. mean_w is NaN
        where the coverage did not allow an energy or the source's clock was refused.
    """
    columns = ["window_id", "run_id", "setting", "epoch", "slot"]
    values = ["mean_w", "energy_j", "samples", "expected"]
    energy = inputs.energy
    rows = energy[
        (energy["source"] == source)
        & (energy["level"] == level)
        & (energy["setting"] != "calibration")
    ].copy()
    rows = rows[rows["channel"].str.match(_GPU)] if len(rows) else rows
    if rows.empty:
        return pd.DataFrame(columns=columns + values)
    rows["rank"] = [
        _gpu_rank(s, c, m)
        for s, c, m in zip(rows["source"], rows["channel"], rows["method"], strict=True)
    ]
    rows = rows[np.isfinite(rows["rank"])]
    rows["channel_slot"] = _slots(inputs, rows)
    own = (
        rows["slot"].isna()
        | rows["channel_slot"].isna()
        | (rows["slot"].astype("Int64") == rows["channel_slot"])
    )
    rows = rows[own.fillna(True).astype(bool)]
    for name in values:
        rows[name] = floats(rows[name])
    rows["mean_w"] = rows["mean_w"].where(usable_energy_j(rows).notna())
    rows["unknown"] = rows["mean_w"].isna()
    rows = rows.sort_values(["window_id", "unknown", "rank"], kind="stable")
    rows = rows.drop_duplicates(["window_id", "device"])
    grouped = rows.groupby("window_id", sort=False)
    result = grouped[columns[1:]].first()
    for name in values:
        # A device without a value leaves the sum unknown, not smaller.
        result[name] = grouped[name].sum(min_count=1).where(~grouped[name].apply(_any_nan))
    result = result.reset_index()
    return result[columns + values]


def _any_nan(values: pd.Series) -> bool:
    return bool(values.isna().any())


def balance_windows(inputs: ReportInputs, level: str = "epoch") -> pd.DataFrame:
    """GPU reference by node balance: window_id, run_id, setting, epoch, slot, mean_w."""
    windows = inputs.windows
    windows = windows[(windows["level"] == level) & (windows["setting"] != "calibration")]
    merged = windows.merge(inputs.balance[["window_id", "mean_w"]], on="window_id")
    columns = ["window_id", "run_id", "setting", "epoch", "slot", "mean_w"]
    merged = merged[columns].copy()
    merged["mean_w"] = floats(merged["mean_w"])
    return merged[merged["mean_w"].notna()]


def component_windows(inputs: ReportInputs, level: str) -> pd.DataFrame:
    """Energies of the node and its parts per window (paper, eq. 1), as `node_balance` says.

    Calibration loads are left out.
    """
    table = node_balance(inputs.energy[inputs.energy["level"] == level]).reset_index()
    return table[table["setting"] != "calibration"]


def node_parts(inputs: ReportInputs) -> pd.DataFrame:
    """Energy of the parts of the node per run, where all of them are known.

    Packed runs share the node, so that no run has a node energy of its own: they are left out.

    Returns:
        One row a run window: window_id, run_id, setting, node_j and one column of `PARTS` each
        (J). GPU holds all GPUs of the node. DRAM is NaN on nodes without a DRAM counter; its
        energy is then part of "off-socket".
    """
    table = component_windows(inputs, "run")
    table = table[(table["setting"] != "packed") & table["busy_j"].notna()]
    names = {
        "meter_j": "node_j",
        "gpu_j": "GPU",
        "packages_j": "CPU",
        "dram_j": "DRAM",
        "busy_j": "off-socket",
    }
    return table.rename(columns=names)[["window_id", "run_id", "setting", *names.values()]]


def estimator_names(inputs: ReportInputs) -> set[str]:
    """Names of the rules that estimate the energy of the whole node."""
    names = set(inputs.calibration["estimator"].astype(str))
    return names | set(inputs.estimates["estimator"].astype(str)) | {"codecarbon"}


def estimator_labels(inputs: ReportInputs) -> dict[str, str]:
    """Estimators in the order of table ``calibration``, with their names for people."""
    labels = {
        str(row["estimator"]): str(row["label"] or row["estimator"])
        for row in inputs.calibration[["estimator", "label"]].to_dict("records")
    }
    for name in inputs.estimates["estimator"].astype(str).unique():
        labels.setdefault(name, name)
    return labels


def is_code_carbon(estimator: str) -> bool:
    """Whether an estimator is one of Code Carbon's own rules."""
    return estimator.replace("_", "").startswith("codecarbon")


def run_of_example(inputs: ReportInputs) -> pd.Series | None:
    """Run window that the figures of one run show: the one asked for, else the longest."""
    windows = inputs.windows
    chosen = windows[
        (windows["level"] == "run")
        & (windows["setting"] != "calibration")
        & (windows["recording"] == inputs.example.get("recording"))
    ]
    if inputs.example.get("run_id") is not None:
        chosen = chosen[chosen["run_id"] == inputs.example["run_id"]]
    if chosen.empty:
        return None
    length_ns = (chosen["end_ns"] - chosen["start_ns"]).to_numpy(dtype="int64")
    return chosen.iloc[int(np.argmax(length_ns))]
