"""One channel of one session: its good samples, and the energy of every window by it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from wattproof.clocks.frames import BoolArray, F64Array, Int64Array
from wattproof.energy import flags
from wattproof.energy.build import (
    Built,
    Companion,
    Series,
    counter_power_line,
    power_line,
    ring_power_line,
)
from wattproof.energy.dutycycle import unseen_u_j
from wattproof.energy.fuse import Fused
from wattproof.energy.line import longest_gap_s
from wattproof.energy.sensor import Sensor, identity_of
from wattproof.energy.uncertainty import Budget, Limits, budget_j
from wattproof.errors import WattproofError
from wattproof.units import NS_PER_S

SHORT_PERIODS = 5
"""Windows of fewer periods are flagged (measurement.md section 10, item 5)."""

MISMATCH_SHARE = 0.05
"""Counter and ring may contradict each other for so much of a window without a flag."""


@dataclass(frozen=True, slots=True)
class Result:
    """Columns of table ``energy`` for every window by one channel; NaN where unknown.

    ``parts_u_j`` are the parts of ``energy_u_j`` by the names of their columns.
    """

    energy_j: F64Array
    energy_u_j: F64Array
    parts_u_j: dict[str, F64Array]
    samples: Int64Array
    expected: F64Array
    coverage: F64Array
    longest_gap_s: F64Array
    method: str
    marks: dict[str, BoolArray]
    fused: Fused | None = None
    """How a counter was fused with the ring of its device."""


def _number(value: Any) -> float | None:
    return None if value is None or not np.isfinite(float(value)) else float(value)


def _check_unit(channel: dict[str, Any]) -> None:
    wanted = "W" if channel["kind"] == "power" else "J"
    if channel["unit"] != wanted:
        raise WattproofError(
            f"Channel '{channel['channel']}' of source '{channel['source']}' is of kind "
            f"{channel['kind']} in '{channel['unit']}'; convert it to {wanted} where it is read."
        )


def _outside_long_gaps(
    t_s: F64Array, spread: BoolArray, start_s: F64Array, end_s: F64Array, max_gap_s: float
) -> F64Array:
    """Seconds of each window on the wrong side of an edge that falls into a long hole.

    A counter knows the energy of a whole hole, but not how it is spread inside the hole; a ring
    that has samples there does.
    """

    def around(x_s: F64Array) -> tuple[np.ndarray, F64Array, F64Array, BoolArray]:
        index = np.clip(np.searchsorted(t_s, x_s, side="right") - 1, 0, len(t_s) - 2)
        low, high = t_s[index], t_s[index + 1]
        inside = (high - low > max_gap_s) & spread[index] & (x_s > low) & (x_s < high)
        return index, low, high, inside

    first, _, start_high, start_in = around(start_s)
    last, end_low, _, end_in = around(end_s)
    lost = np.where(start_in, np.minimum(start_high, end_s) - start_s, 0.0)
    same = start_in & (first == last)
    result: F64Array = lost + np.where(end_in & ~same, end_s - np.maximum(end_low, start_s), 0.0)
    return result


def _means(
    series: Series, start_ns: Int64Array, end_ns: Int64Array, duration_s: F64Array
) -> tuple[F64Array, F64Array]:
    """Return energy and its standard uncertainty by the mean of the samples times the duration."""
    n = len(series.value)
    low, high = np.searchsorted(series.t_ns, start_ns), np.searchsorted(series.t_ns, end_ns)
    samples = np.maximum(high - low, 0)
    count = np.maximum(samples, 1)
    total = np.concatenate(([0.0], np.cumsum(series.value)))
    energy = np.where(samples > 0, (total[high] - total[low]) / count * duration_s, np.nan)
    # Too few samples to know their scatter: that of the whole recording stands in.
    centred = series.value - (series.value.mean() if n else 0.0)
    squares = np.concatenate(([0.0], np.cumsum(centred**2)))
    sums = np.concatenate(([0.0], np.cumsum(centred)))
    within = (squares[high] - squares[low]) - (sums[high] - sums[low]) ** 2 / count
    variance = np.where(samples > 1, within / np.maximum(samples - 1, 1), squares[-1] / max(n, 1))
    return energy, np.sqrt(np.maximum(variance, 0.0) / count) * duration_s


def _blur_j(built: Built, x_s: F64Array) -> F64Array:
    """How much energy running means may have carried across an edge, at most."""
    if not built.blur_s:
        return np.zeros_like(x_s)
    before, here, after = (built.edges.level(x_s + k * built.blur_s / 2) for k in (-1, 0, 1))
    result: F64Array = (np.abs(here - before) + np.abs(after - here)) * built.blur_s / 8
    return result


def _uncertainty(
    built: Built,
    channel: dict[str, Any],
    clock_s: float,
    energy_j: F64Array,
    start_s: F64Array,
    end_s: F64Array,
    samples: F64Array,
    coverage: F64Array,
    scatter_j: F64Array,
) -> Budget:
    limits = Limits(
        reading=_number(channel["accuracy_reading"]) or 0.0,
        range_w=_number(channel["accuracy_range_w"]) or 0.0,
        quantum=_number(channel["quantum"]) or 0.0,
        clock_s=float(np.hypot(clock_s, built.timing_s)),
        counter=channel["kind"] == "energy",
    )
    unseen = np.zeros_like(energy_j)
    sensor = built.sensor
    if built.looks is not None and sensor.update_s is not None and sensor.window_s is not None:
        unseen = unseen_u_j(*built.looks, start_s, end_s, sensor.update_s, sensor.window_s)
    return budget_j(
        energy_j,
        end_s - start_s,
        samples,
        coverage,
        (built.edges.level(start_s), built.edges.level(end_s)),
        (built.edges.change(start_s), built.edges.change(end_s)),
        (built.at(built.edge_s, start_s), built.at(built.edge_s, end_s)),
        (built.at(built.shape_j, start_s), built.at(built.shape_j, end_s)),
        (_blur_j(built, start_s), _blur_j(built, end_s)),
        np.nan_to_num(unseen),
        scatter_j,
        limits,
    )


def integrate_channel(
    channel: dict[str, Any],
    series: Series,
    start_ns: Int64Array,
    end_ns: Int64Array,
    settings: dict[str, float],
    sensor: Sensor | None = None,
    companion: Companion | None = None,
    fused: Fused | None = None,
) -> Result:
    """Return the energy of every window by one channel.

    Args:
        channel: Its row of table ``channels``.
        series: Its good samples.
        start_ns: Starts of the windows, int64, shape (k,).
        end_ns: Their ends, shape (k,).
        settings: See `wattproof.energy.integrate.DEFAULTS`.
        sensor: What is known of its sensor.
        companion: For a counter: the sample ring of its device.
        fused: For a sample ring: what the counter of its device told of it.
    """
    _check_unit(channel)
    sensor = sensor or Sensor()
    # Only differences to the anchor become floats: 1.7e18 ns in float64 is good to 128 ns.
    anchor = np.int64(min(start_ns.min(), series.t_ns[0] if len(series.t_ns) else start_ns.min()))
    t_s = (series.t_ns - anchor) / NS_PER_S
    start_s, end_s = (start_ns - anchor) / NS_PER_S, (end_ns - anchor) / NS_PER_S
    duration_s = (end_ns - start_ns) / NS_PER_S
    n, k = len(t_s), len(start_ns)
    samples = np.searchsorted(series.t_ns, end_ns) - np.searchsorted(series.t_ns, start_ns)
    samples = np.maximum(samples, 0).astype(np.int64)
    nominal = _number(channel["period_s"])
    period_s = nominal or (float(np.median(np.diff(t_s))) if n > 1 else 0.0)
    gaps = longest_gap_s(t_s, start_s, end_s)
    counter = channel["kind"] == "energy"
    identity = identity_of(channel)
    mean_rule = not counter and identity.get("energy_rule") == "mean"
    max_gap_s = settings["max_gap_s"]

    built: Built | None = None
    if counter and n >= 2:
        # A sum over devices may draw more than any single one: its source then says how much.
        cap_w = _number(identity.get("cap_w")) or settings["counter_cap_w"]
        wrap_j = _number(channel["wrap"])
        built = counter_power_line(t_s, series, anchor, wrap_j, cap_w, nominal, sensor, companion)
    elif not counter and channel["clock"] == "wall" and n >= 2:
        built = ring_power_line(t_s, series, period_s, max_gap_s, sensor, fused)
    elif not counter and n >= 1:
        built = power_line(t_s, series, channel, period_s, max_gap_s, sensor)
    energy, coverage, scatter = np.full(k, np.nan), np.zeros(k), np.zeros(k)
    if built is not None:
        line = built.line
        until = line.until(np.concatenate((start_s, end_s)))
        energy, seen = (values[k:] - values[:k] for values in until)
        if counter:
            seen = seen - _outside_long_gaps(built.known_s, built.spread, start_s, end_s, max_gap_s)
        inside = ((start_s >= line.t_s[0]) & (end_s <= line.t_s[-1])).astype(np.float64)
        coverage = np.divide(seen, duration_s, out=inside, where=duration_s > 0)
    if mean_rule:
        energy, scatter = _means(series, start_ns, end_ns, duration_s)
        share = samples * period_s / np.where(duration_s > 0, duration_s, np.nan)
        coverage = np.nan_to_num(share, nan=0.0)
    # Sums of thousands of intervals miss 1 by rounding; that is not a hole.
    coverage = np.clip(np.where(coverage > 1 - 1e-9, 1.0, coverage), 0.0, 1.0)
    low_coverage = coverage < settings["min_coverage"]
    if not mean_rule:
        energy = np.where(low_coverage, np.nan, energy)

    parts = {f"u_{field.name}_j": np.full(k, np.nan) for field in fields(Budget)}
    uncertainty = np.full(k, np.nan)
    if built is not None:
        clock_s = series.clock_s if np.isfinite(series.clock_s) else period_s / np.sqrt(12)
        count = samples.astype(np.float64)
        budget = _uncertainty(
            built, channel, clock_s, energy, start_s, end_s, count, coverage, scatter
        )
        known = np.isfinite(energy)
        uncertainty = np.where(known, budget.total, np.nan)
        parts = {name: np.where(known, part, np.nan) for name, part in budget.parts.items()}

    marks = {
        flags.NO_SAMPLES: series.proven & (samples == 0),
        flags.FEW_SAMPLES: series.proven & (samples < settings["min_samples"]),
        flags.LOW_COVERAGE: series.proven & low_coverage,
        flags.GAP: series.proven & (gaps > max_gap_s),
        flags.CLOCK_NOT_PROVEN: np.full(k, not series.proven),
        flags.SHORT_WINDOW: duration_s < SHORT_PERIODS * period_s,
    }
    if built is not None:
        for event in built.events:
            hit = (start_s < event.end_s) & (end_s > event.start_s)
            marks[event.kind] = marks.get(event.kind, np.zeros(k, dtype=bool)) | hit
        if built.mismatch.any():
            lost_s = np.concatenate(([0.0], np.cumsum(built.mismatch * np.diff(built.knot_s))))
            lost_s = np.interp(end_s, built.knot_s, lost_s) - np.interp(
                start_s, built.knot_s, lost_s
            )
            marks[flags.COUNTER_RING_MISMATCH] = lost_s > MISMATCH_SHARE * duration_s
    expected = duration_s / nominal if nominal else np.full(k, np.nan)
    method = "counter" if counter else "mean" if mean_rule else "integral"
    return Result(
        energy,
        uncertainty,
        parts,
        samples,
        expected,
        coverage,
        gaps,
        method,
        marks,
        None if built is None else built.fused,
    )
