"""Where the steps of a counter lie: found by matching them with the sample ring of the device.

A counter steps on a grid of its own (each 100 ms), and a read shows the latest step that can be
seen, so a read says *that* there was a step, not when. Let the grid be φ + k·T, and let a step be
readable after a delay D. A read at t then shows the step k = ⌊(t − φ − D)/T⌋, which belongs to the
instant b = φ + k·T. The ring says how much energy lies between any two instants; φ, T and D are
those at which the increments of the counter and the ring agree best, in the sense of the sum of
absolute differences (a few reads that fell on the other side of a step do not matter then).

First all of φ, T, D are searched over the liveliest stretches; then φ is tracked from stretch to
stretch, for clocks drift. A stretch of constant power says nothing about φ, and there φ does not
matter. D beyond what the reads tell (all of them may fall into the same part of the grid) is taken
as close to what is known or assumed as they allow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wattproof.clocks.frames import BoolArray, F64Array, Int64Array
from wattproof.energy.line import PowerLine

BLOCK = 128
"""Reads of a stretch in which the grid is taken as straight (13 s)."""
COARSE = 48
"""Reads of a stretch in the first search."""
COARSE_STRETCHES = 6
LONG = 384
"""Reads over which the period is found (40 s)."""
SAMPLE_BLOCKS = 100
"""So many stretches are enough to find the delay."""
DELAYS_T = np.arange(-1.5, 3.01, 0.1)
"""Delays that are searched, in update periods. Negative: the ring's stamps are late."""
SMOOTH_BLOCKS = 9
"""The grid does not wander faster than so many stretches (2 min)."""
NOTICEABLE = 5e-5
"""Differences of less than this share of a step's energy do not move the grid."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the steps of a counter lie.

    Attributes:
        phase_s: An instant of the grid, for each read, shape (n,).
        period_s: Distance of the grid's instants there, shape (n,).
        delay_s: From a step to when it can be read.
        loss_j: Mean absolute difference of the increments and the ring's energies.
        spread_j: What that mean would be if the grid were anywhere; how much it was tested.
    """

    phase_s: F64Array
    period_s: F64Array
    delay_s: float
    loss_j: float
    spread_j: float

    def turns(self, t_s: F64Array) -> Int64Array:
        """Return which step each read shows, counted from its own `phase_s`."""
        found = np.floor((t_s - self.phase_s - self.delay_s) / self.period_s)
        result: Int64Array = found.astype(np.int64)
        return result


@dataclass(frozen=True, slots=True)
class _Reads:
    t_s: F64Array
    energy_j: F64Array
    usable: BoolArray
    """False for increments that span a hole of the ring, shape (n − 1,)."""
    line: PowerLine

    def part(self, low: int, high: int) -> _Reads:
        return _Reads(
            self.t_s[low:high], self.energy_j[low:high], self.usable[low : high - 1], self.line
        )

    def losses(
        self, phase_s: F64Array | float, period_s: F64Array | float, delay_s: F64Array | float
    ) -> F64Array:
        """Mean absolute difference for each candidate; arguments broadcast to (c, 1)."""
        k = np.floor((self.t_s - phase_s - delay_s) / period_s)
        return self.losses_at(phase_s + k * period_s)

    def losses_at(self, steps_s: F64Array) -> F64Array:
        """Likewise for the instants to which the reads belong, shape (c, n)."""
        # Looked up in the part of the line that is meant: that fits into the processor's cache.
        first = max(int(np.searchsorted(self.line.t_s, steps_s.min())) - 2, 0)
        last = int(np.searchsorted(self.line.t_s, steps_s.max(), side="right")) + 2
        near = slice(first, last)
        ring = np.diff(np.interp(steps_s, self.line.t_s[near], self.line.energy_j[near]))
        off = np.abs(np.diff(self.energy_j) - ring) * self.usable
        result: F64Array = off.sum(axis=-1) / max(np.count_nonzero(self.usable), 1)
        return result

    def typical_j(self) -> float:
        steps = np.diff(self.energy_j)[self.usable]
        return float(np.mean(steps)) if len(steps) else 0.0


def _liveliness(reads: _Reads) -> F64Array:
    """How much each read's rate differs from the one before, in watts; 0 beside holes."""
    rate = np.diff(reads.energy_j) / np.diff(reads.t_s)
    change = np.abs(np.diff(rate)) * (reads.usable[1:] & reads.usable[:-1])
    return np.concatenate(([0.0], change, [0.0]))


def _column(values: F64Array) -> F64Array:
    return values[:, None]


def _grid(a: F64Array, b: F64Array) -> tuple[F64Array, F64Array]:
    """Return all pairs, the first of `b` first."""
    first, second = np.meshgrid(a, b)
    return first.ravel(), second.ravel()


def _first_good(losses: F64Array, typical_j: float) -> int:
    """Index of the first loss that is as good as the least, but for what is not noticeable."""
    least = float(losses.min())
    return int(np.argmax(losses <= least + max(0.02 * least, NOTICEABLE * abs(typical_j))))


def _search(reads: _Reads, period_s: float, expected_s: float) -> tuple[float, float, float, float]:
    """Return (phase, period, delay, loss) of a short stretch, phase near its middle."""
    middle = float(reads.t_s[len(reads.t_s) // 2])
    delays = DELAYS_T * period_s + expected_s
    delays = delays[np.argsort(np.abs(delays - expected_s), kind="stable")]
    p, d = (_column(each) for each in _grid(middle + np.arange(0, 1, 0.04) * period_s, delays))
    periods = period_s * (1 + 1e-3 * np.array(sorted(range(-10, 11), key=abs)))
    by_period = np.array([reads.losses(p, t, d).min() for t in periods])
    # Drivers keep their nominal period nearly: a little better is no proof of another.
    period = float(periods[int(np.argmax(by_period <= 1.1 * by_period.min()))])
    p, d = (_column(each) for each in _grid(middle + np.arange(0, 1, 0.01) * period, delays))
    losses = reads.losses(p, period, d).reshape(len(delays), -1)
    best = losses.min(axis=1)
    # The true phase lies between two that were tried: so much says nothing.
    least = losses[int(np.argmin(best))]
    slack = float(np.sort(least)[min(3, len(least) - 1)] - least.min())
    at = int(np.argmax(best <= best.min() + slack + NOTICEABLE * abs(reads.typical_j())))
    where = int(np.argmin(losses[at]))
    phase = float(p.reshape(losses.shape)[at, where])
    return phase, period, float(delays[at]), float(losses[at, where])


def _lengthen(
    reads: _Reads, phase_s: float, period_s: float, delay_s: float
) -> tuple[float, float]:
    """Return phase and period made better over a longer stretch; the phase near its middle."""
    middle = float(reads.t_s[len(reads.t_s) // 2])
    for share, reach_s in ((1.5e-3, 0.012), (1e-4, 0.003)):
        turns = round((middle - phase_s) / period_s)
        best = (np.inf, phase_s, period_s)
        for period in period_s * (1 + share * np.array(sorted(range(-10, 11), key=abs)) / 10):
            # Pinned where the phase was found; it moves in the middle.
            phases = phase_s + turns * period + np.arange(-6, 7) * reach_s / 6
            losses = reads.losses(_column(phases), period, delay_s)
            at = int(np.argmin(losses))
            if losses[at] < best[0] * (1 - 1e-3):
                best = (float(losses[at]), float(phases[at]), float(period))
        _, phase_s, period_s = best
    return phase_s, period_s


def _refine(
    reads: _Reads, phase_s: float, period_s: float, delay_s: float, reach_s: float
) -> float:
    """Return the best phase within `reach_s`, the closest to `phase_s` among equals."""
    if len(reads.t_s) < 2:
        return phase_s
    for offsets in (np.arange(-8, 9) * reach_s / 8, np.arange(-10, 11) * reach_s / 80):
        nearest = offsets[np.argsort(np.abs(offsets), kind="stable")]
        losses = reads.losses(_column(phase_s + nearest), period_s, delay_s)
        phase_s += float(nearest[_first_good(losses, reads.typical_j())])
    return phase_s


def _track(
    reads: _Reads, start: int, phase_s: float, period_s: float, delay_s: float
) -> tuple[F64Array, F64Array]:
    """Follow the grid from a read outwards; returns phase and period at each read."""
    n = len(reads.t_s)
    phases, periods = np.full(n, phase_s), np.full(n, period_s)
    onwards = [(low, min(low + BLOCK, n)) for low in range(start, n, BLOCK)]
    back = [(max(high - BLOCK, 0), high) for high in range(start, 0, -BLOCK)]
    for blocks in (onwards, back):
        phase, period, moved_at = phase_s, period_s, phase_s
        for low, high in blocks:
            part = reads.part(max(low - 1, 0), high)
            turns = round((float(part.t_s[len(part.t_s) // 2]) - phase) / period)
            guess = phase + turns * period
            phase = _refine(part, guess, period, delay_s, 0.08 * period)
            if phase != guess:
                passed = round((phase - moved_at) / period)
                if abs(passed) > BLOCK / 4:
                    period += 0.2 * (phase - guess) / passed
                moved_at = phase
            phases[low:high], periods[low:high] = phase, period
    return phases, periods


def _best_delay(
    reads: _Reads, phases: F64Array, periods: F64Array, period_s: float, delay_s: float
) -> float:
    """Return the delay that explains all reads best, closest to the present one among equals."""
    n = len(reads.t_s)
    every = max(1, n // (SAMPLE_BLOCKS * BLOCK))
    lows = range(0, n, BLOCK * every)
    wide, near = np.arange(DELAYS_T[0], DELAYS_T[-1], 0.05), np.arange(-0.05, 0.05, 0.005)
    for delays in (wide * period_s, delay_s + near * period_s):
        tried = np.append(delays, delay_s)
        tried = tried[np.argsort(np.abs(tried - delay_s), kind="stable")]
        losses, typical = np.zeros(len(tried)), 0.0
        for low in lows:
            part = reads.part(low, min(low + BLOCK, n))
            if len(part.t_s) > 1:
                rows = slice(low, low + len(part.t_s))
                losses += part.losses(phases[rows], periods[rows], _column(tried))
                typical += part.typical_j()
        delay_s = float(tried[_first_good(losses, 0.1 * typical)])
    return delay_s


def polish(
    reads_s: F64Array,
    energy_j: F64Array,
    usable: BoolArray,
    line: PowerLine,
    grid: Grid,
    turns: Int64Array,
) -> Grid:
    """Return the grid with better phases, now that it is known which step each read shows.

    Stretch by stretch, and then smoothed: what the samples of the ring miss differs from stretch
    to stretch, the grid hardly does.
    """
    n = len(reads_s)
    reads = _Reads(reads_s, energy_j, usable, line)
    lows = np.arange(0, n, BLOCK)
    moved = np.zeros(len(lows))
    at_s = grid.phase_s + turns * grid.period_s
    for index, low in enumerate(lows):
        first, last = max(int(low) - 1, 0), min(int(low) + BLOCK, n)
        part = reads.part(first, last)
        steps = at_s[first:last]
        for offsets in (np.arange(-10, 11) * 1e-3, np.arange(-10, 11) * 1e-4):
            nearest = offsets[np.argsort(np.abs(offsets), kind="stable")]
            if last - first < 2:
                continue
            losses = part.losses_at(steps + _column(moved[index] + nearest))
            moved[index] += nearest[_first_good(losses, 0.1 * part.typical_j())]
    at = np.minimum(lows + BLOCK // 2, n - 1)
    phase, period = grid.phase_s[at] + moved, float(np.median(grid.period_s))
    count = np.concatenate(([0.0], np.cumsum(np.rint(np.diff(phase) / period))))
    if len(count) < 3:
        shifted = grid.phase_s + np.interp(np.arange(n), at, moved)
        return replace(grid, phase_s=shifted)
    slope, start = np.polyfit(count, phase, 1)
    from scipy.ndimage import median_filter

    rest = median_filter(phase - start - slope * count, SMOOTH_BLOCKS, mode="nearest")
    change = start + slope * count + rest - grid.phase_s[at]
    # Constant inside a stretch, as the phases are.
    return replace(grid, phase_s=grid.phase_s + np.repeat(change, BLOCK)[:n])


def fit_grid(
    t_s: F64Array,
    energy_j: F64Array,
    line: PowerLine,
    usable: BoolArray,
    period_s: float,
    delay_s: float,
) -> Grid | None:
    """Find the grid on which a counter steps; None if there is too little to go by.

    Args:
        t_s: Instants of reads, increasing, shape (n,).
        energy_j: Energy counted, without wraps, shape (n,).
        line: The ring as a power line.
        usable: False for increments between reads that span a hole of the ring, shape (n − 1,).
        period_s: Nominal time between steps.
        delay_s: From a step to when it can be read, as far as it is known; 0 otherwise.
    """
    reads = _Reads(t_s, energy_j, usable, line)
    if len(t_s) < 4 or np.count_nonzero(usable) < 3:
        return None
    lively = np.concatenate(([0.0], np.cumsum(_liveliness(reads))))
    starts = np.arange(0, max(len(t_s) - COARSE // 2, 1), COARSE)
    ends = np.minimum(starts + COARSE, len(t_s))
    order = np.argsort(lively[starts] - lively[ends], kind="stable")[:COARSE_STRETCHES]
    best: tuple[float, float, float, float] | None = None
    at, spread_j = 0, 0.0
    for index in order:
        part = reads.part(int(starts[index]), int(ends[index]))
        if len(part.t_s) < 3:
            continue
        tried = _search(part, period_s, delay_s)
        anywhere = np.arange(0, 1, 0.1) * period_s + tried[0]
        spread = float(np.mean(part.losses(_column(anywhere), tried[1], tried[2])))
        if best is None or tried[3] / max(spread, 1e-9) < best[3] / max(spread_j, 1e-9):
            best, at, spread_j = tried, int(starts[index]), spread
    if best is None:
        return None
    phase, period, delay, _ = best
    low = max(min(at + COARSE // 2 - LONG // 2, len(t_s) - LONG), 0)
    phase, period = _lengthen(reads.part(low, low + LONG), phase, period, delay)
    at = min(low + LONG // 2, len(t_s) - 1)
    phases, periods = _track(reads, at, phase, period, delay)
    found = _best_delay(reads, phases, periods, period_s, delay)
    if found != delay:
        delay = found
        phases, periods = _track(reads, at, phase, period, delay)
    losses = reads.losses(phases, periods, delay)
    return Grid(phases, periods, delay, float(losses), spread_j)
