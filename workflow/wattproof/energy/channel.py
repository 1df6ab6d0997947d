"""One channel of one session: its good samples, and the energy of every window by it."""

from __future__ import annotations

import fnmatch
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from wattproof.clocks.frames import BoolArray, F64Array, Int64Array
from wattproof.clocks.levels import held_updates, update_limit_s
from wattproof.energy import flags
from wattproof.energy.counter import DEFAULT_UPDATE_S, Event, counter_line
from wattproof.energy.line import PowerLine, cycles, longest_gap_s, trapezoids
from wattproof.energy.uncertainty import Limits, standard_uncertainty_j
from wattproof.errors import WattproofError
from wattproof.units import NS_PER_S

SHORT_PERIODS = 5
"""Windows of fewer periods are flagged (measurement.md section 10, item 5)."""

CYCLE_TOLERANCE = 0.2
"""Values are cycle means if their distance is the averaging time to within this share."""


@dataclass(frozen=True, slots=True)
class Series:
    """Good samples of a channel on the recording's clock.

    Attributes:
        t_ns: Instants, not decreasing, int64, shape (n,).
        value: Watts or joules, shape (n,).
        streamed: The device sent the values by itself, so stamps are ends of its cycles.
        proven: False if the source's clock was refused; then there are no samples.
        clock_s: Spread of the source's alignment, NaN if unknown, 0 on the host's clock.
    """

    t_ns: Int64Array
    value: F64Array
    streamed: bool
    proven: bool
    clock_s: float


@dataclass(frozen=True, slots=True)
class Result:
    """Columns of table ``energy`` for every window by one channel; NaN where unknown."""

    energy_j: F64Array
    energy_u_j: F64Array
    samples: Int64Array
    expected: F64Array
    coverage: F64Array
    longest_gap_s: F64Array
    method: str
    marks: dict[str, BoolArray]


def _number(value: Any) -> float | None:
    return None if value is None or not np.isfinite(float(value)) else float(value)


def _identity(channel: dict[str, Any]) -> dict[str, Any]:
    try:
        identity = json.loads(channel["identity"] or "{}")
    except json.JSONDecodeError as error:
        raise WattproofError(
            f"Channel '{channel['channel']}' of source '{channel['source']}' has an identity that "
            f"is not JSON ({error}); record it anew or mend the table."
        ) from error
    return identity if isinstance(identity, dict) else {}


def _update_s(channel: dict[str, Any]) -> float | None:
    """Time between a counter's steps: as its identity says (``update_s``), 0.1 s for GPUs."""
    told = _number(_identity(channel).get("update_s"))
    gpu = fnmatch.fnmatchcase(channel["channel"], "gpu*.energy")
    return told or (DEFAULT_UPDATE_S if gpu else None)


def _check_unit(channel: dict[str, Any]) -> None:
    wanted = "W" if channel["kind"] == "power" else "J"
    if channel["unit"] != wanted:
        raise WattproofError(
            f"Channel '{channel['channel']}' of source '{channel['source']}' is of kind "
            f"{channel['kind']} in '{channel['unit']}'; convert it to {wanted} where it is read."
        )


def _power_line(
    t_s: F64Array, series: Series, channel: dict[str, Any], period_s: float, max_gap_s: float
) -> PowerLine:
    averaging_s = float(channel["averaging_s"])
    spacing = float(np.median(np.diff(t_s))) if len(t_s) > 1 else period_s
    metered = averaging_s > 0 and abs(spacing / averaging_s - 1) <= CYCLE_TOLERANCE
    if metered and series.streamed:
        return cycles(t_s, series.value, averaging_s, max_gap_s)
    if series.streamed:
        return trapezoids(t_s - averaging_s / 2, series.value, max_gap_s, min(period_s, max_gap_s))
    # NVML holds a value for 100 ms: a read is 50 ms old on average, its update is not.
    limit_s = update_limit_s(channel["channel"])
    t_ns, value = held_updates(series.t_ns, series.value, limit_s)
    t_s = (t_ns - series.t_ns[0]) / NS_PER_S + t_s[0]
    return trapezoids(t_s - averaging_s / 2, value, max_gap_s, min(period_s, max_gap_s))


def _outside_long_gaps(
    t_s: F64Array, start_s: F64Array, end_s: F64Array, max_gap_s: float
) -> F64Array:
    """Seconds of each window on the wrong side of an edge that falls into a long hole.

    A counter knows the energy of a whole hole, but not how it is spread inside the hole.
    """

    def around(x_s: F64Array) -> tuple[np.ndarray, F64Array, F64Array, BoolArray]:
        index = np.clip(np.searchsorted(t_s, x_s, side="right") - 1, 0, len(t_s) - 2)
        low, high = t_s[index], t_s[index + 1]
        return index, low, high, (high - low > max_gap_s) & (x_s > low) & (x_s < high)

    first, _, start_high, start_in = around(start_s)
    last, end_low, _, end_in = around(end_s)
    lost = np.where(start_in, np.minimum(start_high, end_s) - start_s, 0.0)
    same = start_in & (first == last)
    result: F64Array = lost + np.where(end_in & ~same, end_s - np.maximum(end_low, start_s), 0.0)
    return result


def integrate_channel(
    channel: dict[str, Any],
    series: Series,
    start_ns: Int64Array,
    end_ns: Int64Array,
    settings: dict[str, float],
) -> Result:
    """Return the energy of every window by one channel.

    Args:
        channel: Its row of table ``channels``.
        series: Its good samples.
        start_ns: Starts of the windows, int64, shape (k,).
        end_ns: Their ends, shape (k,).
        settings: See `wattproof.energy.integrate.DEFAULTS`.
    """
    _check_unit(channel)
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
    mean_rule = not counter and _identity(channel).get("energy_rule") == "mean"
    max_gap_s = settings["max_gap_s"]

    energy, coverage, scatter = np.full(k, np.nan), np.zeros(k), np.zeros(k)
    line: PowerLine | None = None
    events: tuple[Event, ...] = ()
    if counter and n >= 2:
        line, found = counter_line(
            t_s,
            series.value,
            _number(channel["wrap"]),
            settings["counter_cap_w"],
            nominal,
            _update_s(channel),
        )
        events = found.events
    elif not counter and n >= 1:
        line = _power_line(t_s, series, channel, period_s, max_gap_s)
    if line is not None:
        until = line.until(np.concatenate((start_s, end_s)))
        energy, seen = (values[k:] - values[:k] for values in until)
        if counter:
            seen = seen - _outside_long_gaps(t_s, start_s, end_s, max_gap_s)
        inside = ((start_s >= line.t_s[0]) & (end_s <= line.t_s[-1])).astype(np.float64)
        coverage = np.divide(seen, duration_s, out=inside, where=duration_s > 0)
    if mean_rule:
        total = np.concatenate(([0.0], np.cumsum(series.value)))
        low, high = np.searchsorted(series.t_ns, start_ns), np.searchsorted(series.t_ns, end_ns)
        count = np.maximum(samples, 1)
        energy = np.where(samples > 0, (total[high] - total[low]) / count * duration_s, np.nan)
        # Too few samples to know their scatter: that of the whole recording stands in.
        centred = series.value - (series.value.mean() if n else 0.0)
        squares = np.concatenate(([0.0], np.cumsum(centred**2)))
        sums = np.concatenate(([0.0], np.cumsum(centred)))
        within = (squares[high] - squares[low]) - (sums[high] - sums[low]) ** 2 / count
        variance = np.where(
            samples > 1, within / np.maximum(samples - 1, 1), squares[-1] / max(n, 1)
        )
        scatter = np.sqrt(np.maximum(variance, 0.0) / count) * duration_s
        share = samples * period_s / np.where(duration_s > 0, duration_s, np.nan)
        coverage = np.nan_to_num(share, nan=0.0)
    # Sums of thousands of intervals miss 1 by rounding; that is not a hole.
    coverage = np.clip(np.where(coverage > 1 - 1e-9, 1.0, coverage), 0.0, 1.0)
    low_coverage = coverage < settings["min_coverage"]
    if not mean_rule:
        energy = np.where(low_coverage, np.nan, energy)

    uncertainty = np.full(k, np.nan)
    if line is not None:
        clock_s = series.clock_s if np.isfinite(series.clock_s) else period_s / np.sqrt(12)
        limits = Limits(
            reading=_number(channel["accuracy_reading"]) or 0.0,
            range_w=_number(channel["accuracy_range_w"]) or 0.0,
            quantum=_number(channel["quantum"]) or 0.0,
            period_s=period_s,
            clock_s=clock_s,
            counter=counter,
        )
        levels = (line.level(start_s), line.level(end_s))
        changes = (line.change(start_s), line.change(end_s))
        uncertainty = standard_uncertainty_j(
            energy, duration_s, samples.astype(np.float64), coverage, levels, changes, limits
        )
        uncertainty = np.where(np.isfinite(energy), np.hypot(uncertainty, scatter), np.nan)

    marks = {
        flags.NO_SAMPLES: series.proven & (samples == 0),
        flags.FEW_SAMPLES: series.proven & (samples < settings["min_samples"]),
        flags.LOW_COVERAGE: series.proven & low_coverage,
        flags.GAP: series.proven & (gaps > max_gap_s),
        flags.CLOCK_NOT_PROVEN: np.full(k, not series.proven),
        flags.SHORT_WINDOW: duration_s < SHORT_PERIODS * period_s,
    }
    for event in events:
        hit = (start_s < event.end_s) & (end_s > event.start_s)
        marks[event.kind] = marks.get(event.kind, np.zeros(k, dtype=bool)) | hit
    expected = duration_s / nominal if nominal else np.full(k, np.nan)
    method = "counter" if counter else "mean" if mean_rule else "integral"
    return Result(energy, uncertainty, samples, expected, coverage, gaps, method, marks)
