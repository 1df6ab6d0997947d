"""GPU sources against the GPU energy that the node's meter leaves over (paper.md sections 5, 6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof import tables
from wattproof.agreement.compare import compare, seeded
from wattproof.errors import WattproofError
from wattproof.offsocket import (
    CALIBRATION,
    BySite,
    OffSocket,
    gpu_rows,
    missing_parts,
    node_balance,
    windows_of,
)

F64Array = NDArray[np.float64]

REFERENCE = "meter balance"
LEVELS = ("epoch", "run")


@dataclass(frozen=True, slots=True)
class Label:
    """One row of the comparison.

    Attributes:
        source: Source of the channels.
        series: Series to take, the first that a window has.
        corrected: Keep only epochs with enough samples.
    """

    source: str
    series: tuple[str, ...]
    corrected: bool = False


LABELS: dict[str, Label] = {
    "SMI": Label("smi", ("power",)),
    "SMI (corrected)": Label("smi", ("power",), corrected=True),
    "NVML": Label("nvml", ("energy", "power_instant", "power_usage")),
    "NVML instant (integral)": Label("nvml", ("power_instant",)),
    "NVML average (integral)": Label("nvml", ("power_average",)),
}
"""Rows of the comparison by their labels for people."""


def reference_gpu(
    energy: pd.DataFrame, offsocket: OffSocket | BySite, variant: str = "load"
) -> pd.DataFrame:
    """Return the energy of the used GPU(s) from the node balance (paper.md eq. 2).

    ``meter − packages − DRAM − other GPUs (NVML) − off-socket power · time``. The used GPU is that
    of the window's slot; a window without a slot uses all of them. With the load-matched variant
    the off-socket power belongs to the GPU power that results (`OffSocket.gpu_total_w`), so the
    reading under test is not part of its own reference.

    Args:
        energy: Table ``energy``.
        offsocket: From `wattproof.offsocket.fit`, or `fit_sites`: then each window by its own
            node's; windows of a site without off-socket power have no reference.
        variant: "load" (load-matched) or "idle".

    Returns:
        Frame with window_id, energy_j, mean_w, one row a window; NaN where a part is unknown or
        the load-matched model is out of its range.

    Raises:
        WattproofError: If the off-socket power is unknown or the variant is.
    """
    if isinstance(offsocket, BySite):
        return _reference_of_sites(energy, offsocket, variant)
    balance = node_balance(energy)
    total = offsocket.gpu_total_w(
        balance["meter_w"], balance["socket_w"], balance["dram_w"], variant
    )
    mean_w = total - balance["others_w"].to_numpy(np.float64)
    energy_j = mean_w * balance["duration_s"].to_numpy(np.float64)
    return pd.DataFrame(
        {"window_id": balance.index.to_numpy(), "energy_j": energy_j, "mean_w": mean_w}
    )


def _reference_of_sites(energy: pd.DataFrame, offsocket: BySite, variant: str) -> pd.DataFrame:
    parts: list[pd.DataFrame] = []
    refusals: list[WattproofError] = []
    for site, rows in offsocket.split(energy):
        try:
            parts.append(reference_gpu(rows, offsocket.found[site], variant))
        except WattproofError as error:
            refusals.append(error)
            windows = windows_of(rows).index
            parts.append(_empty_reference(windows).rename_axis("window_id").reset_index())
    if len(refusals) == len(parts):
        raise refusals[0]
    return pd.concat(parts, ignore_index=True)


def _why_none(energy: pd.DataFrame, offsocket: OffSocket | BySite, variant: str) -> str:
    """Why there is no reference anywhere; empty if the off-socket power is known."""
    if isinstance(offsocket, BySite):
        reasons = [_why_none(energy, one, variant) for one in offsocket.found.values()]
        return reasons[0] if all(reasons) else ""
    if variant == "idle":
        reason = offsocket.why("idle")
    else:
        reason = "" if offsocket.model else offsocket.model_refused
    return f"no reference: {reason}" if reason else ""


def _why_not_here(balance: pd.DataFrame) -> str:
    """Why no window of a setting and level has a reference, although off-socket power is known."""
    reason = missing_parts(balance.assign(gpu_j=0.0, busy_j=balance["meter_j"]))
    if not reason and not balance["others_j"].notna().any():
        reason = "no energy from the other GPUs (nvml)"
    return (
        f"no reference: {reason}"
        if reason
        else (
            "no reference: power is outside the range of the calibration loads "
            "(record loads up to the trainings' power, or set analysis.off_socket to idle)"
        )
    )


def _by_label(rows: pd.DataFrame, label: Label, windows: pd.DataFrame) -> pd.DataFrame:
    """Energy, samples and expected samples of the used GPU(s), one row a window.

    Args:
        rows: From `gpu_rows`, all sources.
        label: What to take.
        windows: From `windows_of`; the rows of the result.

    Returns:
        Frame with index window_id: energy_j (NaN unless every used GPU has one), samples (fewest
        of the used GPUs), expected.
    """
    mine = rows[(rows["source"] == label.source) & rows["quantity"].isin(label.series)]
    slot = mine["slot"].astype("float64")
    mine = mine[slot.isna() | (slot == mine["gpu"])]
    place = mine["quantity"].map({name: i for i, name in enumerate(label.series)})
    # Known energies first, then the better series: the fallback stands in only where needed.
    mine = mine.assign(unknown=mine["energy_j"].isna(), place=place)
    mine = mine.sort_values(["unknown", "place"], kind="stable")
    mine = mine.drop_duplicates(["window_id", "gpu"])
    grouped = mine.groupby("window_id")
    found = pd.DataFrame(
        {
            "energy_j": grouped["energy_j"].sum(min_count=1),
            "known": grouped["energy_j"].count(),
            "gpus": grouped["gpu"].nunique(),
            "samples": grouped["samples"].min(),
            "expected": grouped["expected"].min(),
        }
    ).reindex(windows.index)
    # A run on several GPUs needs all those that the source has anywhere in the session.
    session = ["recording", "session"]
    of_source = rows[rows["source"] == label.source]
    count = of_source.groupby(session)["gpu"].nunique().rename("all").reset_index()
    merged = windows[session].merge(count, on=session, how="left")["all"].to_numpy(np.float64)
    needed = np.where(windows["slot"].isna().to_numpy(dtype=bool), merged, 1.0)
    found["energy_j"] = found["energy_j"].where(found["known"].to_numpy() == needed)
    found["offered"] = found["gpus"].notna()
    return found[["energy_j", "samples", "expected", "offered"]]


def _corrected_runs(epochs: pd.DataFrame, kept_j: pd.Series, runs: pd.DataFrame) -> pd.Series:
    """Run energy from the kept epochs: their mean power times the duration of the run.

    Epochs that were dropped have no energy, so the kept ones cannot simply be added up. Where the
    dropped epochs are not like the kept ones (SMI misses high-power epochs), this is biased: that
    is what the row shows.
    """
    kept = epochs.assign(kept_j=kept_j).loc[kept_j.notna()]
    sums = kept.groupby("run_id")[["kept_j", "duration_s"]].sum()
    mean_w = sums["kept_j"] / sums["duration_s"]
    return runs["run_id"].map(mean_w).astype("float64") * runs["duration_s"]


def _values(
    rows: pd.DataFrame, windows: pd.DataFrame, min_samples: float
) -> Iterator[tuple[str, Label, pd.DataFrame]]:
    """Yield (label, its definition, energy and samples of every window) for recorded labels."""
    for name, label in LABELS.items():
        found = _by_label(rows, label, windows)
        if not found["offered"].any():
            continue
        if label.corrected:
            enough = found["samples"].astype("float64") >= min_samples
            kept_j = found["energy_j"].where(enough)
            epoch, run = windows["level"] == "epoch", windows["level"] == "run"
            found = found.assign(energy_j=kept_j.where(epoch))
            found.loc[run, "energy_j"] = _corrected_runs(
                windows[epoch], kept_j[epoch], windows[run]
            )
        yield name, label, found


def _sampling(found: pd.DataFrame, min_samples: float) -> dict[str, float | None]:
    """Mean sample ratio, and the share of windows with fewer than `min_samples` samples."""
    ratio = (found["samples"] / found["expected"].where(found["expected"] > 0)).astype("float64")
    counted = found["samples"].dropna()
    return {
        "sample_ratio": float(ratio.mean()) if ratio.notna().any() else None,
        "few_samples": float((counted < min_samples).mean()) if len(counted) else None,
    }


def _empty_reference(windows: pd.Index[Any]) -> pd.DataFrame:
    return pd.DataFrame({"energy_j": np.nan, "mean_w": np.nan}, index=windows)


def assess(
    energy: pd.DataFrame, offsocket: OffSocket | BySite, settings: Mapping[str, Any]
) -> pd.DataFrame:
    """Compare every GPU source with the node balance, per setting, level and quantity.

    Args:
        energy: Table ``energy``.
        offsocket: From `wattproof.offsocket.fit` or `fit_sites`.
        settings: ``min_samples``, ``alpha``, ``off_socket`` ("load" or "idle"), and optionally
            ``seed`` of the bootstrap (default 0).

    Returns:
        Table ``agreement``. Rows exist for the labels whose channels were recorded; statistics
        that the data cannot carry are null, with the reason in ``refused``. "SMI (corrected)"
        keeps epochs with at least ``min_samples`` samples; its sampling figures are those of the
        kept epochs, and per run those of the run window.
    """
    minimum, alpha = float(settings["min_samples"]), float(settings["alpha"])
    variant, seed = str(settings["off_socket"]), int(settings.get("seed", 0))
    used = energy[(energy["setting"] != CALIBRATION) & energy["level"].isin(LEVELS)]
    if used.empty:
        return tables.empty("agreement")
    windows, balance = windows_of(used), node_balance(used)
    nowhere = _why_none(used, offsocket, variant)
    reference = (
        _empty_reference(windows.index)
        if nowhere
        else reference_gpu(used, offsocket, variant).set_index("window_id")
    )
    found: list[dict[str, Any]] = []
    for name, label, values in _values(gpu_rows(used), windows, minimum):
        for (setting, level), group in windows.groupby(["setting", "level"], sort=True):
            here = values.loc[group.index]
            if not here["offered"].any():
                continue
            why = nowhere or _why_not_here(balance.loc[group.index])
            counted = here
            if label.corrected and level == "epoch":
                counted = here[here["samples"].astype("float64") >= minimum]
            common = {
                "setting": setting,
                "level": level,
                "label": name,
                "source": label.source,
                "channel": f"gpu*.{label.series[0]}",
                "reference": REFERENCE,
                **_sampling(counted, minimum),
            }
            for quantity in ("energy", "power"):
                divisor = group["duration_s"] if quantity == "power" else 1.0
                result = compare(
                    here["energy_j"] / divisor,
                    reference.loc[group.index, "energy_j"] / divisor,
                    group["run_id"],
                    alpha=alpha,
                    rng=seeded(seed, str(setting), str(level), quantity, name),
                    no_reference=why,
                )
                found.append({**common, "quantity": quantity, **result.as_row()})
    return pd.DataFrame(found) if found else tables.empty("agreement")
