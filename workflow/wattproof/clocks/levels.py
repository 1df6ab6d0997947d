"""Levels to compare: which channels, at which instants their values really stand, on one grid."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from wattproof.clocks.frames import BoolArray, F64Array, Int64Array, floats, good, int64
from wattproof.clocks.stamps import wall_to_mono
from wattproof.units import NS_PER_S, s_to_ns

HOLDING_SHARE = 0.2
"""A sensor whose value repeats in more than this share of reads holds it between updates."""

BOARD_UPDATE_S = 0.1
"""Update period of the power sensors of GPUs since Turing; older boards are faster
(measurement.md section 5)."""

MIN_UPDATES = 10
"""Fewer changes do not show whether a sensor holds its values or the power was constant."""

SMOOTHED = 1.5
"""Series that are averaged nearly as much as the other one are left as they are."""

GAP_PERIODS = 5
"""Grid points further than this many sample periods from their neighbours carry no level."""


@dataclass(frozen=True, slots=True)
class Levels:
    """A power series whose stamps are the centres of what the values cover.

    Attributes:
        t_ns: Strictly increasing instants, int64.
        value: Watts.
        period_s: Typical time between values.
        averaging_s: Each value is the mean of so much time around its stamp.
    """

    t_ns: Int64Array
    value: F64Array
    period_s: float
    averaging_s: float = 0.0


def typical_period_s(t_ns: Int64Array) -> float:
    """Median distance of stamps in seconds; NaN for fewer than two."""
    return float(np.median(np.diff(t_ns))) / NS_PER_S if len(t_ns) > 1 else float("nan")


def update_period_ns(changed_ns: Int64Array, at_most_s: float | None) -> float:
    """Time between the updates of a sensor that holds its value, from the instants of change.

    Constant power makes some updates invisible, so only the shorter distances count.
    """
    limit = at_most_s * NS_PER_S if at_most_s else float("inf")
    if len(changed_ns) < MIN_UPDATES:
        return limit
    distance = np.diff(changed_ns)
    short = distance[distance <= 2.5 * np.quantile(distance, 0.1)]
    return min(float(short.mean()), limit)


def held_updates(
    t_ns: Int64Array, value: F64Array, at_most_s: float | None = None
) -> tuple[Int64Array, F64Array]:
    """Turn reads of a sensor that holds its value into points at its updates.

    NVML's instant power changes each 100 ms whatever the polling rate, so a read is up to 100 ms
    old. The update happened between the last read with the old value and the first with the new
    one: its midpoint is unbiased. One update period before it, the old value still held, however
    long it had been there; reads in the midst of such a constant stretch are kept as they are,
    and so is the last read of all. Series that do not hold are returned unchanged.

    Args:
        t_ns: Instants of good reads, increasing, int64, shape (n,).
        value: Watts, shape (n,).
        at_most_s: Longest possible update period, if anything is known about the sensor.

    Returns:
        Instants and values, increasing in time.
    """
    fresh = np.flatnonzero(np.diff(value) != 0) + 1
    needed = 1 if at_most_s else MIN_UPDATES
    if len(fresh) < needed or 1 - len(fresh) / max(len(value) - 1, 1) <= HOLDING_SHARE:
        return t_ns, value
    changed = t_ns[fresh - 1] + (t_ns[fresh] - t_ns[fresh - 1]) // 2
    update_ns = round(update_period_ns(changed, at_most_s))
    # Each read lies between the change that brought its value and the next one.
    which = np.cumsum(np.diff(value, prepend=value[:1]) != 0)
    since = np.concatenate((t_ns[:1] - 2 * update_ns, changed))[which]
    until = np.append(changed, t_ns[-1] + update_ns)[which]
    constant = (t_ns - since > 1.5 * update_ns) & (until - t_ns > 1.5 * update_ns)
    constant[-1] = True
    last = changed - update_ns
    quiet = last > np.concatenate((t_ns[:1] - update_ns // 2, changed[:-1])) + update_ns // 2
    t = np.concatenate((changed, last[quiet], t_ns[constant]))
    v = np.concatenate((value[fresh], value[fresh - 1][quiet], value[constant]))
    order = np.argsort(t, kind="stable")
    return t[order], v[order]


def _increasing(t_ns: Int64Array, value: F64Array) -> tuple[Int64Array, F64Array]:
    order = np.argsort(t_ns, kind="stable")
    t, v = t_ns[order], value[order]
    keep = np.diff(t, prepend=t[:1] - 1) > 0
    return t[keep], v[keep]


def from_stamped_power(t_ns: Int64Array, value: F64Array, averaging_s: float) -> Levels:
    """Levels of power that the device itself stamps at the end of the time it averages over."""
    t, v = _increasing(t_ns, value)
    return Levels(t - s_to_ns(averaging_s / 2), v, typical_period_s(t), averaging_s)


def from_polled_power(
    t_ns: Int64Array, value: F64Array, averaging_s: float, at_most_s: float | None
) -> Levels:
    """Levels of power that the host asks for: the sensor may have held it for a while."""
    t, v = held_updates(*_increasing(t_ns, value), at_most_s)
    return Levels(t - s_to_ns(averaging_s / 2), v, typical_period_s(t), averaging_s)


def from_counter(t_ns: Int64Array, value: F64Array) -> Levels:
    """Levels of a cumulative energy channel: its rate, in the middle between two reads.

    Steps backwards (wrap, reset) carry no level.
    """
    t, v = _increasing(t_ns, value)
    dt, dv = np.diff(t), np.diff(v)
    keep = dv >= 0
    middle = (t[:-1] + dt // 2)[keep]
    period_s = typical_period_s(t)
    return Levels(middle, dv[keep] / (dt[keep] / NS_PER_S), period_s, period_s)


def host_series(samples: pd.DataFrame, channel: Mapping[str, Any]) -> Levels | None:
    """Levels of one channel on the host's clock; None if it has fewer than two good samples."""
    samples = samples[good(samples)]
    if len(samples) < 2:
        return None
    if channel["clock"] == "wall":
        return _ring(samples, float(channel["averaging_s"]))
    start, _ = int64(samples, "start_ns")
    end, _ = int64(samples, "end_ns")
    middle = start + (end - start) // 2
    value = floats(samples, "value")
    if channel["kind"] == "energy":
        return from_counter(middle, value)
    limit = update_limit_s(channel["channel"])
    return from_polled_power(middle, value, channel["averaging_s"], limit)


def _ring(samples: pd.DataFrame, averaging_s: float) -> Levels | None:
    """Levels of the driver's own samples: stamped by the wall clock, no read delays them."""
    device, stamped = int64(samples, "device_ns")
    wall, _ = int64(samples, "wall_ns")
    end, _ = int64(samples, "end_ns")
    t, known = wall_to_mono(device[stamped], wall[stamped], end[stamped])
    if np.count_nonzero(known) < 2:
        return None
    return from_stamped_power(t[known], floats(samples, "value")[stamped][known], averaging_s)


def update_limit_s(channel: str) -> float | None:
    """Longest update period of a channel: boards update their power each 100 ms or faster."""
    return BOARD_UPDATE_S if fnmatch.fnmatchcase(channel, "gpu*.power*") else None


def pick_reference(channels: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return candidates to compare with, best first: (their sources, channels to be summed).

    What the node's sensors see together resembles the wall most: GPU power plus the rate of RAPL.
    The driver's own samples come first (20 ms, no matter when they are read), then instant power,
    any other GPU power, the rate of GPU counters, that of RAPL alone, and last (foreign logs) a
    meter on the recording's own clock or any other power.
    """
    host = channels[channels["clock"].isin(["host", "wall"])]
    if host.empty:
        return []

    def of(pattern: str, kind: str) -> list[pd.DataFrame]:
        hits = host[
            [
                fnmatch.fnmatchcase(name, pattern) and k == kind
                for name, k in zip(host["channel"], host["kind"], strict=True)
            ]
        ]
        # Series of *one* name and source are summed: instant and average are never added up.
        what = hits["channel"].str.split(".").str[-1]
        return [part for _, part in hits.groupby(["source", what], sort=True)]

    package, dram = of("cpu*.package", "energy"), of("cpu*.dram", "energy")
    found: list[pd.DataFrame] = []
    for name in ("gpu*.power_samples", "gpu*.power_instant"):
        gpu = of(name, "power")
        found += [pd.concat([gpu[0], package[0], *dram[:1]])] if gpu and package else []
        found += gpu
    for pattern, kind in (
        ("gpu*.power_average", "power"),
        ("gpu*.power_usage", "power"),
        ("gpu*.power", "power"),
        ("gpu*.energy", "energy"),
    ):
        found += of(pattern, kind)
    found += package
    found += of("node.*", "power")
    found += [p for p in of("[!gn]*", "power") if not p["channel"].str.startswith("cpu").any()]
    return [("+".join(dict.fromkeys(part["source"])), part) for part in found]


def sum_on_grid(
    series: Sequence[Levels], start_ns: int, count: int, step_ns: int, smooth_s: float
) -> tuple[F64Array, BoolArray]:
    """Add up series on a grid, each averaged over at least `smooth_s`.

    A meter's mean of a second resembles another sensor only where that is averaged likewise.

    Returns:
        Watts (count,) and a mask of the points that all series cover.
    """
    total, valid = np.zeros(count), np.ones(count, dtype=bool)
    for levels in series:
        value, covered = to_grid(levels, start_ns, count, step_ns)
        half = round(smooth_s * NS_PER_S / step_ns / 2)
        if smooth_s > SMOOTHED * max(levels.averaging_s, levels.period_s) and half:
            sums = moving_sum(np.where(covered, value, 0.0), half)
            value = sums / np.maximum(moving_sum(covered.astype(np.float64), half), 1.0)
        total += value
        valid &= covered
    return total, valid


def moving_sum(values: F64Array, half: int) -> F64Array:
    """Sum of each point and its `half` neighbours on either side."""
    total = np.concatenate(([0.0], np.cumsum(values)))
    index = np.arange(len(values))
    upper = np.minimum(index + half + 1, len(values))
    lower = np.maximum(index - half, 0)
    result: F64Array = total[upper] - total[lower]
    return result


def to_grid(levels: Levels, start_ns: int, count: int, step_ns: int) -> tuple[F64Array, BoolArray]:
    """Interpolate levels on a grid.

    Returns:
        Values (count,) and a mask that is false outside the series and inside holes longer than
        `GAP_PERIODS` periods.
    """
    grid = np.arange(count, dtype=np.int64) * step_ns
    t = levels.t_ns - start_ns
    if len(t) < 2:
        return np.zeros(count), np.zeros(count, dtype=bool)
    value = np.interp(grid, t, levels.value)
    after = np.searchsorted(t, grid, side="right")
    inside = (after > 0) & (after < len(t))
    index = np.clip(after, 1, len(t) - 1)
    hole = (t[index] - t[index - 1]) > GAP_PERIODS * levels.period_s * NS_PER_S
    return value, inside & ~hole


def spread_w(levels: Levels) -> float:
    """Distance of the 5 % and 95 % quantiles: how much the levels vary, in watts."""
    low, high = np.quantile(levels.value, (0.05, 0.95))
    return float(high - low)
