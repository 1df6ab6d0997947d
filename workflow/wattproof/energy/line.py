"""A power line: piecewise-linear power over time, from which any window's energy is read off.

Trapezoids, meter cycles and counters all become one of these, so that a window costs two look-ups
in cumulative sums, whatever the number of samples, and windows that tile an interval add up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattproof.clocks.frames import BoolArray, F64Array


@dataclass(frozen=True, slots=True)
class PowerLine:
    """Power between knots, with what of it is covered by measurements.

    Attributes:
        t_s: Knots in seconds from an anchor, not decreasing, shape (n,), n ≥ 2.
        level_w: Power right after each knot but the last, shape (n − 1,).
        slope_w_s: Its slope in W/s, shape (n − 1,).
        covered: False where nothing was measured; such segments carry no energy, shape (n − 1,).
        energy_j: Cumulative energy at the knots, shape (n,).
        seen_s: Cumulative covered time at the knots, shape (n,).
    """

    t_s: F64Array
    level_w: F64Array
    slope_w_s: F64Array
    covered: BoolArray
    energy_j: F64Array
    seen_s: F64Array

    @classmethod
    def make(
        cls, t_s: F64Array, level_w: F64Array, slope_w_s: F64Array, covered: BoolArray
    ) -> PowerLine:
        """Build the line and its cumulative sums."""
        dt = np.diff(t_s)
        each = np.where(covered, dt * (level_w + 0.5 * slope_w_s * dt), 0.0)
        energy = np.concatenate(([0.0], np.cumsum(each)))
        seen = np.concatenate(([0.0], np.cumsum(np.where(covered, dt, 0.0))))
        return cls(t_s, level_w, slope_w_s, covered, energy, seen)

    def _segment(self, x_s: F64Array) -> tuple[np.ndarray, F64Array]:
        index = np.clip(np.searchsorted(self.t_s, x_s, side="right") - 1, 0, len(self.level_w) - 1)
        into = np.clip(x_s - self.t_s[index], 0.0, self.t_s[index + 1] - self.t_s[index])
        return index, into

    def until(self, x_s: F64Array) -> tuple[F64Array, F64Array]:
        """Return energy (J) and covered time (s) from the first knot to each instant."""
        index, into = self._segment(x_s)
        covered = self.covered[index]
        part = into * (self.level_w[index] + 0.5 * self.slope_w_s[index] * into)
        energy = self.energy_j[index] + np.where(covered, part, 0.0)
        seen = self.seen_s[index] + np.where(covered, into, 0.0)
        return energy, seen

    def level(self, x_s: F64Array) -> F64Array:
        """Return the power at each instant; at the ends, that of the outermost segments."""
        index, into = self._segment(x_s)
        result: F64Array = self.level_w[index] + self.slope_w_s[index] * into
        return result

    def change(self, x_s: F64Array) -> F64Array:
        """Return by how much the power changes around each instant: within it and to neighbours."""
        index, _ = self._segment(x_s)
        dt = np.diff(self.t_s)
        within = np.abs(self.slope_w_s * dt)
        jumps = np.abs(np.diff(self.level_w))
        n = len(self.level_w)
        change = within[index]
        for step in (-1, 0):
            near = np.clip(index + step, 0, max(n - 2, 0))
            if n > 1:
                change = np.maximum(change, jumps[near])
        return change


def trapezoids(t_s: F64Array, power_w: F64Array, max_gap_s: float, hold_s: float) -> PowerLine:
    """Power by straight lines between samples.

    Args:
        t_s: Instants of the samples, not decreasing, shape (n,), n ≥ 1.
        power_w: Watts, shape (n,).
        max_gap_s: Longer holes are not bridged.
        hold_s: The first and last values hold for this long beyond the ends.
    """
    t = np.concatenate(([t_s[0] - hold_s], t_s, [t_s[-1] + hold_s]))
    p = np.concatenate((power_w[:1], power_w, power_w[-1:]))
    dt = np.diff(t)
    slope = np.divide(np.diff(p), dt, out=np.zeros_like(dt), where=dt > 0)
    return PowerLine.make(t, p[:-1], slope, dt <= max(max_gap_s, hold_s))


def cycles(end_s: F64Array, power_w: F64Array, averaging_s: float, max_gap_s: float) -> PowerLine:
    """Power of a meter whose values are means over the cycle that ends at the stamp; exact.

    Cycles are whole mains periods, so their true length is the distance of the stamps; where a
    cycle is missing, the value covers `averaging_s` and the hole before it is bridged by the mean
    of its neighbours, if it is not longer than `max_gap_s`.

    Args:
        end_s: Ends of the cycles, increasing, shape (n,), n ≥ 1.
        power_w: Mean power of each cycle, shape (n,).
        averaging_s: Nominal cycle.
        max_gap_s: Longer holes are not bridged.
    """
    distance = np.diff(end_s)
    follows = distance <= 1.5 * averaging_s
    begin = np.where(follows, end_s[:-1], end_s[1:] - averaging_s)
    holes = np.flatnonzero(~follows)
    hole_power = (power_w[holes] + power_w[holes + 1]) / 2
    start = np.concatenate(([end_s[0] - averaging_s], begin))
    # Each hole is a segment of its own, right before the cycle that follows it.
    t = np.insert(start, holes + 1, end_s[holes])
    p = np.insert(power_w, holes + 1, hole_power)
    bridged = begin[holes] - end_s[holes] <= max_gap_s
    covered = np.insert(np.ones(len(power_w), dtype=bool), holes + 1, bridged)
    return PowerLine.make(np.append(t, end_s[-1]), p, np.zeros_like(p), covered)


def longest_gap_s(t_s: F64Array, start_s: F64Array, end_s: F64Array) -> F64Array:
    """Return the longest time without a sample inside each window, edges included.

    Args:
        t_s: Instants of the good samples, not decreasing, shape (n,).
        start_s: Starts of the windows, shape (k,).
        end_s: Their ends, shape (k,).
    """
    if not len(t_s):
        return end_s - start_s
    first = np.searchsorted(t_s, start_s, side="left")
    last = np.searchsorted(t_s, end_s, side="left") - 1
    empty = last < first
    gaps = np.append(np.diff(t_s), 0.0)
    bounds = np.stack([np.minimum(first, len(t_s) - 1), np.clip(last, 0, len(t_s) - 1)], axis=1)
    within = np.maximum.reduceat(gaps, bounds.ravel())[::2] if len(start_s) else start_s
    within = np.where(last > first, within, 0.0)
    before = t_s[np.minimum(first, len(t_s) - 1)] - start_s
    after = end_s - t_s[np.maximum(last, 0)]
    longest = np.maximum(within, np.maximum(before, after))
    result: F64Array = np.where(empty, end_s - start_s, longest)
    return result
