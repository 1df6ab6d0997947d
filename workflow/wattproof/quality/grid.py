"""Levels of channels on one grid of time, and whether two of them follow each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wattproof.quality.series import GLITCH_TIMES, ORDINARY, Channel
from wattproof.units import NS_PER_S

F64Array = NDArray[np.float64]

BIN_S = 1.0
MIN_BINS = 30
"""Fewer common seconds show nothing about two channels."""

FINE_S = 0.2
"""Bins for what moves within a second."""

LAGS = 2
"""Instruments may be late by so many bins."""


@dataclass(frozen=True)
class Grid:
    """Means of channels over bins of time; NaN where a bin holds no reading.

    Attributes:
        start_ns: Begin of the first bin.
        step_s: Length of a bin.
        level: Watts by (source, channel), each of shape (n,).
    """

    start_ns: int
    step_s: float
    level: dict[tuple[str, str], F64Array]


def grid(channels: list[Channel], step_s: float) -> Grid:
    """Average power channels, and rates of counters, over bins."""
    return joined({(c.source, c.name): b for c in channels if (b := binned(c, step_s))}, step_s)


Bins = tuple[int, F64Array]
"""Number of the first bin (since 0 of the recording's clock), and the mean of each."""


def binned(channel: Channel, step_s: float) -> Bins | None:
    """Average a power channel, or the rate of a counter, over bins; None of other kinds."""
    if channel.kind not in ("power", "energy") or len(channel.t_ns) < 2:
        return None
    step_ns = round(step_s * NS_PER_S)
    first = int(channel.t_ns[0]) // step_ns
    count = int(channel.t_ns[-1]) // step_ns - first + 1
    t, value = channel.t_ns, channel.value
    good = np.isfinite(value)
    if not good.all():
        t, value = t[good], value[good]
    if channel.kind == "energy":
        dt, dv = np.diff(t), np.diff(value)
        keep = (dv >= 0) & (dt > 0)
        t, value = (t[:-1] + dt // 2)[keep], dv[keep] / (dt[keep] / NS_PER_S)
    if len(value):
        # One glitch must not decide how two channels go together.
        size = np.abs(value)
        ordinary = size <= GLITCH_TIMES * np.quantile(size, ORDINARY)
        if not ordinary.all():
            t, value = t[ordinary], value[ordinary]
    where = t // step_ns - first
    n = np.bincount(where, minlength=count)
    total = np.bincount(where, weights=value, minlength=count)
    with np.errstate(invalid="ignore", divide="ignore"):
        return first, np.where(n > 0, total / n, np.nan)


def joined(parts: dict[tuple[str, str], Bins], step_s: float) -> Grid:
    """Bring the bins of channels to one grid."""
    if not parts:
        return Grid(0, step_s, {})
    begin = min(first for first, _ in parts.values())
    count = max(first + len(mean) for first, mean in parts.values()) - begin
    level = {}
    for key, (first, mean) in parts.items():
        level[key] = np.full(count, np.nan)
        level[key][first - begin : first - begin + len(mean)] = mean
    return Grid(begin * round(step_s * NS_PER_S), step_s, level)


def spread(values: F64Array) -> float:
    """Distance from the 5th to the 95th percentile; NaN is left out."""
    low, high = np.nanquantile(values, (0.05, 0.95))
    return float(high - low)


def correlation(a: F64Array, b: F64Array) -> tuple[float, int]:
    """Pearson correlation where both are known, and its n; NaN below `MIN_BINS`."""
    both = np.isfinite(a) & np.isfinite(b)
    n = int(both.sum())
    if n < MIN_BINS or np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0:
        return float("nan"), n
    return float(np.corrcoef(a[both], b[both])[0, 1]), n


def follows(a: F64Array, b: F64Array) -> tuple[float, int]:
    """Correlation of the changes of two levels, at the best lag of up to two bins, and its n.

    Levels that both go from idle to load once correlate whatever they are of; their changes do not.
    """
    da, db = np.diff(a), np.diff(b)
    best, most = float("nan"), 0
    for lag in range(-LAGS, LAGS + 1):
        one = da[max(lag, 0) : len(da) + min(lag, 0)]
        two = db[max(-lag, 0) : len(db) + min(-lag, 0)]
        r, n = correlation(one, two)
        if np.isnan(best) or r > best:
            best = r
        most = max(most, n)
    return best, most
