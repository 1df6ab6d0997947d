"""Match the levels of a device clock to host levels: offset, drift, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from wattproof.clocks.arrival import Prior
from wattproof.clocks.correlate import (
    FULL_EVIDENCE_Z,
    HIGH_PASS_PERIODS,
    HIGH_PASS_S,
    Peak,
    correlation,
    find_peak,
    high_pass,
    with_strength,
)
from wattproof.clocks.frames import BoolArray, F64Array
from wattproof.clocks.levels import Levels, sum_on_grid
from wattproof.units import NS_PER_S, s_to_ns

LOCAL_RANGE_S, LOCAL_RANGE_PERIODS = 0.3, 1.5
"""Local offsets are searched this far around the global one, or so many periods of a slow meter."""

STRETCH_PERIODS = 20
"""Local offsets come from stretches of 5 to 60 s, and of no fewer periods than this."""

RESIDUAL_PERIODS = 0.25
"""Slow meters place their levels no better than this: their local offsets may scatter so much."""

STEP_PERIODS = 0.1
"""The grid of slow meters may be as coarse as this."""

MIN_DRIFT_SPAN_S = 30.0
"""Over a shorter recording no drift of a quartz can be told from the scatter of offsets."""

QUARTZ_PPM = 100.0
"""Standard deviation of drifts before anything is known about a clock."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why levels could not be matched, in one sentence, and the confidence reached."""

    reason: str
    confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class Match:
    """How late the device's (straightened) time is against the recording's.

    Attributes:
        late_s: At `centre_ns`.
        slope: Seconds of lateness gained per second.
        centre_ns: Instant, on the straightened device clock.
        residual_s: Spread of the local offsets around the line; NaN for fewer than three.
        windows: Local offsets used.
        from_levels: True if the levels had a say in `slope`.
    """

    late_s: float
    slope: float
    centre_ns: int
    residual_s: float
    windows: int
    from_levels: bool
    confidence: float


@dataclass(frozen=True, slots=True)
class _Grid:
    start_ns: int
    step_s: float
    reference: F64Array
    reference_valid: BoolArray
    device: F64Array
    device_valid: BoolArray


def slowest_s(series: Sequence[Levels]) -> float:
    """Longest typical time between values of several series."""
    return max(s.period_s for s in series)


def high_pass_s(period_s: float) -> float:
    """Time over which levels lose their mean, for meters of this period."""
    return max(HIGH_PASS_S, HIGH_PASS_PERIODS * period_s)


def averaging_s(series: Sequence[Levels]) -> float:
    """Longest averaging time of several series."""
    return max(s.averaging_s for s in series)


def _grid(
    reference: Sequence[Levels], device: Sequence[Levels], late_s: float, step_s: float
) -> _Grid:
    step_ns, late_ns = s_to_ns(step_s), s_to_ns(late_s)
    shifted = [replace(d, t_ns=d.t_ns - late_ns) for d in device]
    every = [*reference, *shifted]
    start_ns = min(int(s.t_ns[0]) for s in every)
    count = (max(int(s.t_ns[-1]) for s in every) - start_ns) // step_ns + 1
    over_s = high_pass_s(slowest_s(every))
    one, one_valid = sum_on_grid(reference, start_ns, count, step_ns, averaging_s(device))
    two, two_valid = sum_on_grid(shifted, start_ns, count, step_ns, averaging_s(reference))
    one = high_pass(one, one_valid, step_s, over_s)
    two = high_pass(two, two_valid, step_s, over_s)
    return _Grid(start_ns, step_s, one, one_valid, two, two_valid)


def _global_peak(
    grid: _Grid, inside: BoolArray, max_offset_s: float, min_overlap_s: float, lobe_s: float
) -> Peak:
    """Best lag of the device against the reference, restricted to the points `inside`."""
    first = np.where(inside, grid.reference, 0.0)
    valid = grid.reference_valid & inside
    r, overlap = correlation(
        first, valid, grid.device, grid.device_valid, round(max_offset_s / grid.step_s)
    )
    needed = max(0.5 * np.count_nonzero(valid), min_overlap_s / grid.step_s)
    peak = find_peak(r, overlap, grid.step_s, needed, lobe_s)
    return with_strength(peak, first, valid, grid.device, grid.device_valid, grid.step_s)


def _local_offsets(
    grid: _Grid, range_s: float, height: float, period_s: float
) -> tuple[F64Array, F64Array, F64Array, int]:
    """Offsets of stretches along the recording, around lag 0.

    Returns:
        Centres (s from the grid's start), offsets (s), weights, and how many stretches had
        enough level changes to be asked.
    """
    n, half = len(grid.reference), round(range_s / grid.step_s)
    least_s = max(5.0, STRETCH_PERIODS * period_s)
    width = round(float(np.clip(n * grid.step_s / 20, least_s, max(60.0, least_s))) / grid.step_s)
    starts = np.arange(0, max(n - width // 2, 1), width)
    lags = np.arange(-half, half + 1)

    def sums(values: F64Array) -> F64Array:
        result: F64Array = np.add.reduceat(values, starts)
        return result

    r = np.zeros((len(lags), len(starts)))
    energy = sums(grid.reference**2)
    padded = np.pad(grid.device, half)
    padded_valid = np.pad(grid.device_valid, half)
    for row in range(len(lags)):
        moved, covered = padded[row : row + n], padded_valid[row : row + n]
        scale = np.sqrt(sums(grid.reference**2 * covered) * sums(moved**2 * grid.reference_valid))
        product = sums(grid.reference * moved)
        r[row] = np.divide(product, scale, out=np.zeros_like(product), where=scale > 0)
    best = np.argmax(r, axis=0)
    at = np.arange(len(starts))
    lively = energy >= 0.2 * np.median(energy[energy > 0]) if (energy > 0).any() else energy > 0
    usable = lively & (best > 0) & (best < len(lags) - 1) & (r[best, at] >= 0.5 * height)
    before, peak, after = (r[np.clip(best + k, 0, len(lags) - 1), at] for k in (-1, 0, 1))
    bend = np.where(before - 2 * peak + after < 0, before - 2 * peak + after, -np.inf)
    offset = (lags[best] + 0.5 * (before - after) / bend) * grid.step_s
    centre = (starts + np.minimum(starts + width, n)) / 2 * grid.step_s
    weight = energy * r[best, at] ** 2
    return centre[usable], offset[usable], weight[usable], int(np.count_nonzero(lively))


def _spread(values: F64Array) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def combine_slopes(level: tuple[float, float] | None, prior: Prior) -> tuple[float, bool]:
    """Weigh what levels, arrivals and the nature of quartz say about the remaining slope.

    The device's time is already straightened by the arrival line, so arrivals say "0 left", and
    quartz says "what the arrival line took out is to be put back". Arrival stamps carry drift
    far better than levels do on short recordings (their jitter averages over every cycle), but
    they are dropped when the levels contradict them by more than 4 standard uncertainties.

    Args:
        level: Slope and standard uncertainty from local offsets, or None.
        prior: Arrival line.

    Returns:
        Slope in s/s (positive: lateness grows) and whether the levels had a say.
    """
    says = [(prior.drift_ppm * 1e-6, QUARTZ_PPM * 1e-6)]
    arrival_u = prior.drift_u_ppm * 1e-6
    if np.isfinite(arrival_u):
        contradicts = level is not None and abs(level[0]) > 4 * np.hypot(level[1], arrival_u)
        if not contradicts:
            says.append((0.0, arrival_u))
    if level is not None:
        says.append(level)
    weights = np.array([1 / u**2 for _, u in says])
    return float(np.sum(weights * [x for x, _ in says]) / weights.sum()), level is not None


def match_levels(
    reference: Sequence[Levels],
    device: Sequence[Levels],
    sync_ns: Sequence[tuple[int, int]],
    prior: Prior,
    settings: dict[str, float],
) -> Match | Refusal:
    """Find by how much `device` is late against `reference`, or say why that is not known.

    First the global lag, from the stretches with the synchronisation pattern and from everything;
    the surer one counts, and they must not contradict each other. Then local offsets in stretches
    along the recording give the rest of offset and drift, and prove that the lag holds throughout.

    Args:
        reference: Series on the recording's clock; their sum is compared.
        device: Series on the device's clock, already near the recording's by `prior`.
        sync_ns: Begin and end of the synchronisation patterns.
        prior: The arrival line that was applied.
        settings: See `wattproof.clocks.align.DEFAULTS`.
    """
    slow_s = slowest_s([*reference, *device])
    step_s = max(settings["grid_s"], STEP_PERIODS * slow_s)
    # A value each 0.1 s cannot carry a main lobe narrower than that.
    lobe_s = 1.2 * slow_s
    grid = _grid(reference, device, 0.0, step_s)
    every = np.ones(len(grid.reference), dtype=bool)
    instants = grid.start_ns + np.arange(len(every), dtype=np.int64) * s_to_ns(step_s)
    peaks = []
    if sync_ns:
        inside = ~every
        for begin, end in sync_ns:
            inside |= (instants >= begin - NS_PER_S // 2) & (instants < end + NS_PER_S // 2)
        peaks.append(inside)
    if not sync_ns or len(every) * step_s >= settings["min_unmarked_s"]:
        peaks.append(every)
    found = [
        _global_peak(grid, where, settings["max_offset_s"], settings["min_duration_s"] / 2, lobe_s)
        for where in peaks
    ]
    best = max(found, key=lambda peak: peak.confidence)
    if best.confidence < settings["min_confidence"]:
        return _weak(max(found, key=lambda peak: (peak.confidence, peak.height)), settings)
    sure = [peak for peak in found if peak.confidence >= settings["min_confidence"]]
    scatter_s = max(settings["max_residual_s"], RESIDUAL_PERIODS * slow_s)
    if max(abs(peak.lag_s - best.lag_s) for peak in sure) > scatter_s:
        return Refusal(
            "The synchronisation pattern and the rest of the recording give different offsets "
            f"({', '.join(f'{peak.lag_s:+.2f} s' for peak in sure)}).",
            best.confidence,
        )
    near = _grid(reference, device, best.lag_s, step_s)
    return _refine(near, best, prior, slow_s, scatter_s)


def _refine(
    grid: _Grid, best: Peak, prior: Prior, period_s: float, scatter_s: float
) -> Match | Refusal:
    duration_s = len(grid.reference) * grid.step_s
    unknown_drift = not np.isfinite(prior.drift_u_ppm)
    reach = max(LOCAL_RANGE_S, LOCAL_RANGE_PERIODS * period_s)
    reach += (QUARTZ_PPM * 1e-6 * duration_s) if unknown_drift else 0.0
    most_s = max(2.0, 2 * LOCAL_RANGE_PERIODS * period_s)
    centre, offset, weight, asked = _local_offsets(grid, min(reach, most_s), best.height, period_s)
    if len(offset) < max(1, 0.5 * asked):
        return Refusal(
            f"Only {len(offset)} of {asked} stretches of the recording confirm the offset.",
            best.confidence,
        )
    span = float(centre[-1] - centre[0])
    level = None
    if len(offset) >= 4 and span >= MIN_DRIFT_SPAN_S:
        from scipy import stats

        theil = float(stats.theilslopes(offset, centre)[0])
        scatter = max(_spread(offset - theil * centre), 0.1 * period_s)
        level = (theil, scatter / (span * np.sqrt(len(offset) / 12)))
    slope, from_levels = (
        combine_slopes(level, prior) if duration_s >= MIN_DRIFT_SPAN_S else (0.0, False)
    )
    middle = float(np.average(centre, weights=weight))
    rest = offset - slope * (centre - middle)
    spread = _spread(rest)
    if len(rest) >= 3 and spread > scatter_s:
        return Refusal(
            f"Local offsets scatter by {spread:.2f} s around a line; the recordings do not show "
            "the same events.",
            best.confidence,
        )
    near = np.abs(rest - np.median(rest)) <= max(3 * spread, grid.step_s)
    late = float(np.average(rest[near], weights=weight[near]))
    # `grid` has the best lag taken out; the centre is told on the straightened device clock.
    centre_ns = grid.start_ns + s_to_ns(middle) + s_to_ns(best.lag_s)
    return Match(
        best.lag_s + late,
        slope,
        centre_ns,
        spread if len(rest) >= 3 else float("nan"),
        len(offset),
        from_levels,
        best.confidence,
    )


def _weak(peak: Peak, settings: dict[str, float]) -> Refusal:
    limit = f"confidence {peak.confidence:.2f} is below {settings['min_confidence']:g}"
    if peak.height > 0 and not peak.inside:
        text = f"The best lag lies outside the searched ±{settings['max_offset_s']:g} s ({limit})."
    elif peak.ratio > 0.8 and peak.height >= settings["min_confidence"]:
        text = (
            "The levels repeat themselves: another lag fits nearly as well "
            f"({peak.second:.2f} against {peak.height:.2f}; {limit})."
        )
    elif peak.height >= settings["min_confidence"] and peak.strength < FULL_EVIDENCE_Z:
        text = (
            f"There are too few level changes to tell a match from chance (correlation "
            f"{peak.height:.2f}, {peak.strength:.1f} standard deviations; {limit})."
        )
    else:
        text = f"The levels hardly resemble each other (correlation {peak.height:.2f}; {limit})."
    return Refusal(text, peak.confidence)
