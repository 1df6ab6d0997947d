"""How much of the GPU's power range the search space uses (principle 2, paper.md sections 2, 7)."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof import clocks, tables
from wattproof.clocks.frames import floats, good, int64, records
from wattproof.offsocket import CALIBRATION, gpu_rows
from wattproof.quality import device_limits, idle_power_w

F64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

POWER_SERIES = (
    ("nvml", "energy"),
    ("nvml", "power_instant"),
    ("nvml", "power_average"),
    ("nvml", "power_usage"),
    ("smi", "power"),
)
"""Where an epoch's mean power comes from, best first."""

PATTERN = r"^gpu(\d+)\.(utilisation|memory_utilisation)$"

MIN_QUANTILES = 20
"""Epochs needed for a 5 % or 95 % quantile: with fewer it is the extreme by another name."""

MIN_PAIRS = 3
"""Epochs needed for a correlation."""


def _mean_inside(
    t_ns: Int64Array, values: F64Array, start_ns: Int64Array, end_ns: Int64Array
) -> F64Array:
    """Mean of the samples in each half-open window; NaN where there is none. Times are sorted."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    first = np.searchsorted(t_ns, start_ns, side="left")
    last = np.searchsorted(t_ns, end_ns, side="left")
    count = last - first
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, (sums[last] - sums[first]) / count, np.nan)


class _Readings:
    """Good readings of utilisation, by time: of a frame that has been placed, or of a store."""

    def __init__(
        self,
        samples: tables.SampleStore | pd.DataFrame,
        channels: pd.DataFrame,
        found: pd.DataFrame | None,
    ) -> None:
        self._store = tables.SampleStore.of(samples)
        self._placed = isinstance(samples, pd.DataFrame)
        self._clock = {
            (row["recording"], row["session"], row["source"], row["channel"]): row["clock"]
            for row in records(channels)
        }
        self._found = {
            (row["recording"], row["session"], row["source"]): row
            for row in records(found if found is not None else pd.DataFrame())
        }

    def of(self, key: tuple[str, int, str, str]) -> tuple[Int64Array, F64Array] | None:
        """Return instants and values of a channel; None if it has no good reading."""
        if self._placed:
            rows = self._store.frame(key, ["t_ns", "value", "status"])
            t_ns, known = int64(rows, "t_ns")
        else:
            clock = self._clock[key]
            wanted = [*clocks.COLUMNS[clock], "value", "status"]
            rows = self._store.frame(key, wanted)
            t_ns, known = clocks.channel_time(rows, clock, self._found.get(key[:3]))
        usable = good(rows) & known
        if not usable.any():
            return None
        t_ns, value = t_ns[usable], floats(rows, "value")[usable]
        order = np.argsort(t_ns, kind="stable")
        return t_ns[order], value[order]


def utilisation_by_window(
    samples: tables.SampleStore | pd.DataFrame,
    channels: pd.DataFrame,
    windows: pd.DataFrame,
    found: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Average each used GPU's utilisation over the epoch windows.

    A window uses the GPU of its slot; a window without a slot uses all GPUs. NVML is taken where
    it has the series, another source otherwise.

    Args:
        samples: Table ``samples``: a store, or a frame with a column t_ns (int64 ns on the
            recording's clock, null where the clock was refused).
        channels: Table ``channels``: which GPUs have the series.
        windows: Table ``windows``.
        found: Table ``clocks``, to place the samples of a store.

    Returns:
        Table ``utilisation``: one row per epoch window and used GPU with such a channel; null
        where no good sample lies inside.
    """
    names = channels["channel"].str.extract(PATTERN)
    offered = channels.loc[names[0].notna(), ["recording", "session", "source", "channel"]].copy()
    offered["gpu"] = names[0].dropna().astype("int64")
    offered["quantity"] = names[1].dropna()
    offered["rank"] = (offered["source"] != "nvml").astype("int64")
    offered = offered.sort_values(["rank", "source"], kind="stable")
    offered = offered.drop_duplicates(["recording", "session", "gpu", "quantity"])

    readings = _Readings(samples, channels, found)
    epochs = windows[(windows["level"] == "epoch") & (windows["setting"] != CALIBRATION)]
    parts: list[pd.DataFrame] = []
    for (recording, session, gpu), group in offered.groupby(["recording", "session", "gpu"]):
        slot = epochs["slot"].astype("float64")
        mine = epochs[
            (epochs["recording"] == recording)
            & (epochs["session"] == session)
            & (slot.isna() | (slot == gpu))
        ]
        columns: dict[str, Any] = {
            "window_id": mine["window_id"].to_numpy(),
            "slot": np.full(len(mine), gpu, dtype=np.int32),
        }
        for name in ("utilisation", "memory_utilisation"):
            means = np.full(len(mine), np.nan)
            chosen = group[group["quantity"] == name]
            for source, channel in zip(chosen["source"], chosen["channel"], strict=True):
                series = readings.of((str(recording), cast("int", session), source, channel))
                if series is not None:
                    means = _mean_inside(
                        *series,
                        mine["start_ns"].to_numpy(np.int64),
                        mine["end_ns"].to_numpy(np.int64),
                    )
            columns[f"{name}_percent"] = means
        parts.append(pd.DataFrame(columns))
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else tables.empty("utilisation")


def _epoch_power(energy: pd.DataFrame) -> pd.DataFrame:
    """Mean power of each used GPU in each epoch, by the best series that the device has."""
    rows = gpu_rows(energy)
    slot = rows["slot"].astype("float64")
    rows = rows[
        (rows["level"] == "epoch")
        & (rows["setting"] != CALIBRATION)
        & (slot.isna() | (slot == rows["gpu"]))
        & rows["mean_w"].notna()
    ]
    rank = {series: place for place, series in enumerate(POWER_SERIES)}
    pairs = zip(rows["source"], rows["quantity"], strict=True)
    rows = rows.assign(rank=[rank.get(pair, len(rank)) for pair in pairs])
    rows = rows[rows["rank"] < len(rank)]
    # One series for all epochs of a device: a mixture would add differences between sensors.
    best = rows.groupby(["setting", "device"])["rank"].transform("min")
    return rows[rows["rank"] == best]


def _correlation(power_w: F64Array, percent: F64Array, refused: list[str]) -> float | None:
    both = np.isfinite(power_w) & np.isfinite(percent)
    if not both.any():
        refused.append("utilisation was not recorded")
    elif both.sum() < MIN_PAIRS:
        refused.append(f"correlation with utilisation: only {both.sum()} epochs have both")
    elif np.ptp(percent[both]) == 0.0 or np.ptp(power_w[both]) == 0.0:
        refused.append("correlation with utilisation: one of the two is constant")
    else:
        return float(np.corrcoef(power_w[both], percent[both])[0, 1])
    return None


def _row(
    power_w: F64Array, percent: F64Array, idle_w: float | None, limit_w: float | None, reason: str
) -> dict[str, Any]:
    """Figures of one device in one setting; null with a reason where the data cannot carry one."""
    refused: list[str] = []
    n = len(power_w)
    low, high = float(power_w.min()), float(power_w.max())
    row: dict[str, Any] = {
        "n": n,
        "idle_w": idle_w,
        "limit_w": limit_w,
        "min_w": low,
        "median_w": float(np.median(power_w)),
        "max_w": high,
    }
    if n >= MIN_QUANTILES:
        row["q05_w"], row["q95_w"] = (float(q) for q in np.quantile(power_w, (0.05, 0.95)))
    else:
        row["q05_w"] = row["q95_w"] = None
        refused.append(f"5 % and 95 % quantiles: {n} epochs, {MIN_QUANTILES} are needed")
    if idle_w is None:
        refused.append("span: there is no idle window of this GPU")
    if limit_w is None:
        refused.append(f"span and peak share: {reason}")
    row["peak_share"] = high / limit_w if limit_w else None
    row["span"] = None
    if idle_w is not None and limit_w is not None:
        if n < 2:
            refused.append("span: only one epoch")
        elif limit_w <= idle_w:
            refused.append("span: the power limit is not above idle power")
        else:
            row["span"] = (high - low) / (limit_w - idle_w)
    row["pearson_utilisation"] = _correlation(power_w, percent, refused)
    known = percent[np.isfinite(percent)]
    row["utilisation_min"] = float(known.min()) if len(known) else None
    row["utilisation_max"] = float(known.max()) if len(known) else None
    row["refused"] = "; ".join(refused)
    return row


def assess(
    energy: pd.DataFrame, channels: pd.DataFrame, utilisation: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Assess the power and utilisation range of each GPU, per setting, over the epochs.

    Args:
        energy: Table ``energy``.
        channels: Table ``channels``; the power limit is ``limit_w`` of the identity.
        utilisation: Table ``utilisation`` (from `utilisation_by_window`), or None.

    Returns:
        Table ``usage``: one row per setting and used GPU; empty without GPU power.
    """
    power = _epoch_power(energy)
    limits = device_limits(channels)
    idle = idle_power_w(energy, ("device", "source", "channel"))
    if utilisation is None or utilisation.empty:
        percent = pd.Series(dtype="float64")
    else:
        keys = pd.MultiIndex.from_arrays(
            [utilisation["window_id"], utilisation["slot"].astype("int64")]
        )
        values = utilisation["utilisation_percent"].astype("float64").to_numpy()
        percent = pd.Series(values, index=keys)
    found: list[dict[str, Any]] = []
    for (setting, device), group in power.groupby(["setting", "device"]):
        source, channels_used = group["source"].iloc[0], group["channel"].unique()
        idles = [
            watts
            for key, watts in idle.items()
            if key in {(device, source, channel) for channel in channels_used}
        ]
        wanted = pd.MultiIndex.from_arrays([group["window_id"], group["gpu"]])
        matched = (
            percent.reindex(wanted).to_numpy(np.float64)
            if len(percent)
            else np.full(len(group), np.nan)
        )
        reason = (
            "the power limit changed between sessions"
            if str(device) in limits
            else "the power limit of this GPU is unknown"
        )
        figures = _row(
            group["mean_w"].to_numpy(np.float64),
            matched,
            float(np.mean(idles)) if idles else None,
            limits.get(str(device)),
            reason,
        )
        found.append({"setting": setting, "device": device, "source": source} | figures)
    return pd.DataFrame(found) if found else tables.empty("usage")
