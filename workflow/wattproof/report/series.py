"""Power over time inside one recording, from its samples. Pure functions over frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof.report.inputs import ReportInputs
from wattproof.report.select import (
    METER,
    METER_CHANNEL,
    component_windows,
    finite,
    floats,
)
from wattproof.units import NS_PER_S

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """Readings of one channel, or of the sum of several.

    Attributes:
        t_s: Instants in seconds after the origin asked for, ascending. A value that is a mean
            over the time before its stamp stands in the middle of that time.
        value: In the channel's unit.
        averaging_s: Time over which each value is a mean; 0 = instant.
    """

    t_s: Array
    value: Array
    averaging_s: float = 0.0

    def between(self, start_s: float, end_s: float) -> Series:
        """Return the readings in ``[start_s, end_s)``."""
        keep = (self.t_s >= start_s) & (self.t_s < end_s)
        return Series(self.t_s[keep], self.value[keep], self.averaging_s)

    def at(self, t_s: Array) -> Array:
        """Interpolate linearly; NaN outside the readings."""
        if len(self.t_s) == 0:
            return np.full(len(t_s), np.nan)
        return np.interp(t_s, self.t_s, self.value, left=np.nan, right=np.nan)


EMPTY = Series(np.empty(0), np.empty(0))


def _channel_row(inputs: ReportInputs, source: str, channel: str) -> pd.Series | None:
    rows = inputs.channels
    rows = rows[(rows["source"] == source) & (rows["channel"] == channel)]
    at_home = rows[rows["recording"] == inputs.example.get("recording")]
    rows = at_home if len(at_home) else rows
    return None if rows.empty else rows.iloc[0]


def channels_of(inputs: ReportInputs, source: str, pattern: str) -> list[str]:
    """Channels of a source with good samples in the example recording, by regular expression."""
    if "samples" not in inputs.example:
        return []
    samples = inputs.example["samples"]
    found = samples.loc[samples["source"] == source, "channel"].astype(str).unique()
    return sorted(name for name in found if pd.Series([name]).str.fullmatch(pattern).item())


def channel_series(inputs: ReportInputs, source: str, channel: str, origin_ns: int) -> Series:
    """Good readings of one channel of the example recording, by time after `origin_ns`."""
    samples = inputs.example.get("samples")
    if samples is None:
        return EMPTY
    rows = samples[
        (samples["source"] == source)
        & (samples["channel"] == channel)
        & (samples["status"] == "ok")
        & samples["t_ns"].notna()
        & samples["value"].notna()
    ]
    # int64 until the origin is taken off: nanoseconds since boot do not fit a float.
    t_ns = rows["t_ns"].astype("int64").to_numpy() - np.int64(origin_ns)
    value = floats(rows["value"])
    order = np.argsort(t_ns, kind="stable")
    row = _channel_row(inputs, source, channel)
    averaging_s = 0.0 if row is None else float(row["averaging_s"])
    return Series(t_ns[order] / NS_PER_S - averaging_s / 2, value[order], averaging_s)


def counter_power(series: Series, wrap: float | None) -> Series:
    """Power between the readings of an energy counter (J), each at the middle of its time.

    A step back is a wrap if the counter wraps, else a reset, whose interval is left out.
    """
    dt = np.diff(series.t_s)
    de = np.diff(series.value)
    if wrap is not None and np.isfinite(wrap) and wrap > 0:
        de = np.where(de < 0, de + wrap, de)
    good = (dt > 0) & (de >= 0)
    middle = (series.t_s[:-1] + series.t_s[1:]) / 2
    typical = float(np.median(dt[good])) if good.any() else 0.0
    return Series(middle[good], de[good] / dt[good], typical)


def power(inputs: ReportInputs, source: str, channel: str, origin_ns: int) -> Series:
    """Power of a channel in watts: as read, or from the steps of an energy counter."""
    series = channel_series(inputs, source, channel, origin_ns)
    row = _channel_row(inputs, source, channel)
    counter = row is not None and row["kind"] == "energy"
    if not counter and not (row is None and source == "rapl"):
        return series
    wrap = None if row is None or pd.isna(row["wrap"]) else float(row["wrap"])
    return counter_power(series, wrap)


def total(parts: list[Series]) -> Series:
    """Sum of several series, at the instants of the first; NaN-free."""
    if not parts or any(len(p.t_s) == 0 for p in parts):
        return EMPTY
    t_s = parts[0].t_s
    value = np.sum([p.at(t_s) for p in parts], axis=0)
    good = np.isfinite(value)
    return Series(t_s[good], value[good], parts[0].averaging_s)


def gpu_power(inputs: ReportInputs, source: str, slot: int | None, origin_ns: int) -> Series:
    """Power of the run's GPU(s): instant readings where there are any, else averages."""
    gpu = r"gpu\d+" if slot is None else rf"gpu{slot}"
    for kind in ("power_instant", "power_average", "power_usage", "power"):
        names = channels_of(inputs, source, rf"{gpu}\.{kind}")
        if names:
            return total([power(inputs, source, name, origin_ns) for name in names])
    return EMPTY


@dataclass(frozen=True)
class Balance:
    """GPU power by node balance, reading by reading.

    Attributes:
        series: Watts.
        how: What was subtracted from the meter, in words.
    """

    series: Series
    how: str


def gpu_balance(inputs: ReportInputs, run: pd.Series, origin_ns: int) -> Balance | None:
    """GPU power by node balance in one run (paper, eq. 2), or None without a meter.

    What is neither CPU, DRAM nor the run's GPU is taken as constant in the run, at what the
    window's own GPU reference took for it: node − CPU − DRAM − GPU reference, as means.
    """
    node = power(inputs, METER, METER_CHANNEL, origin_ns)
    if len(node.t_s) == 0:
        return None
    parts = component_windows(inputs, "run")
    means = parts[parts["window_id"] == run["window_id"]]
    sockets = total([power(inputs, "rapl", c, origin_ns) for c in _rapl(inputs)])
    rest_w = _rest_w(inputs, means)
    if len(sockets.t_s) and rest_w is not None:
        value = node.value - sockets.at(node.t_s) - rest_w
        good = np.isfinite(value)
        return Balance(
            Series(node.t_s[good], value[good], node.averaging_s),
            f"meter − CPU − DRAM − {rest_w:.1f} W (off-socket and other GPUs)",
        )
    others = finite(means["meter_w"] - means["gpu_w"] + means["others_w"])
    if len(others) == 0:
        return None
    return Balance(
        Series(node.t_s, node.value - others[0], node.averaging_s),
        f"meter − {others[0]:.1f} W, which shifts it to NVML's mean: only its shape is independent",
    )


def _rapl(inputs: ReportInputs) -> list[str]:
    return channels_of(inputs, "rapl", r".*(package|dram).*")


def _rest_w(inputs: ReportInputs, means: pd.DataFrame) -> float | None:
    """Mean power beside CPU, DRAM and the run's GPU that the window's GPU reference implies (W)."""
    reference = means.merge(inputs.balance[["window_id", "mean_w"]], on="window_id")
    rest = finite(reference["meter_w"] - reference["socket_w"] - floats(reference["mean_w"]))
    return float(rest[0]) if len(rest) else None
