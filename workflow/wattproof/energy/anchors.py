"""The instants at which a counter stands at what was read, by the sample ring of its device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattproof.clocks.frames import BoolArray, F64Array, Int64Array
from wattproof.energy.fit import Grid, fit_grid, polish
from wattproof.energy.line import PowerLine
from wattproof.energy.ring import Ring

ABSOLUTE_LIMIT_J = 0.05
"""Differences of energy below this say nothing."""
SAME_GAIN = 0.01
"""What point samples miss looks like a small gain; only a larger one is taken for one."""
FITS = 4
"""The grid is found anew after a gain or a lateness was: so often at most."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """What a counter showed, and when it stood there.

    Attributes:
        at_s: Instants, increasing, shape (n,).
        energy_j: Energies, shape (n,).
        grid: The grid of the counter's steps.
        late_s: How late the ring's stamps are.
    """

    at_s: F64Array
    energy_j: F64Array
    grid: Grid
    late_s: float


def covered(line: PowerLine, at_s: F64Array) -> BoolArray:
    """Tell where the line is measured throughout, from each instant to the next."""
    _, seen = line.until(at_s)
    span = np.diff(at_s)
    inside = (at_s[:-1] >= line.t_s[0]) & (at_s[1:] <= line.t_s[-1])
    result: BoolArray = inside & (np.diff(seen) >= span * (1 - 1e-6))
    return result


def _usable(t_s: F64Array, line: PowerLine, around_s: float) -> BoolArray:
    """Which increments between reads the ring covers, with room for the search."""
    low, high = t_s[:-1] - around_s, t_s[1:] + 0.5 * around_s
    _, seen = line.until(np.concatenate((low, high)))
    n = len(low)
    inside = (low >= line.t_s[0]) & (high <= line.t_s[-1])
    result: BoolArray = inside & (seen[n:] - seen[:n] >= (high - low) * (1 - 1e-6))
    return result


def _gain(at_s: F64Array, energy_j: F64Array, line: PowerLine) -> float:
    """Energy by the counter over that by the ring, all in all."""
    held = covered(line, at_s)
    ring = np.diff(np.interp(at_s, line.t_s, line.energy_j))[held].sum()
    own = np.diff(energy_j)[held].sum()
    return float(own / ring) if ring > 0 and own > 0 else 1.0


def _settle(t_s: F64Array, energy_j: F64Array, grid: Grid, line: PowerLine) -> Int64Array:
    """Return which step each read shows, with reads that fell beside a step put right.

    A read takes milliseconds, and the grid is known to about one: close to a step, the next or the
    one before may be the one that was read. Its neighbours decide, even and odd reads by turns.
    """
    k = grid.turns(t_s)
    parity = np.arange(len(k)) % 2
    for turn in (0, 1, 0, 1):
        now = np.interp(grid.phase_s + k * grid.period_s, line.t_s, line.energy_j)
        off = energy_j - now
        cost = []
        for move in (0, -1, 1):
            moved = np.interp(grid.phase_s + (k + move) * grid.period_s, line.t_s, line.energy_j)
            own = energy_j - moved
            before = np.abs(own - np.concatenate((own[:1], off[:-1])))
            after = np.abs(np.concatenate((off[1:], own[-1:])) - own)
            cost.append(before + after)
        best = np.argmin(np.stack(cost), axis=0)
        margin = cost[0] - np.min(np.stack(cost), axis=0)
        clear = (margin > 0.3 * cost[0]) & (margin > ABSOLUTE_LIMIT_J) & (parity == turn)
        change = np.where(clear, np.array([0, -1, 1])[best], 0)
        if not change.any() and turn == 1:
            break
        k = k + change
    return k


def _anchors(
    t_s: F64Array,
    energy_j: F64Array,
    scaled_j: F64Array,
    grid: Grid,
    line: PowerLine,
    usable: BoolArray,
) -> tuple[F64Array, F64Array]:
    """Return the instants at which the counter stands, and its energies there."""
    turns = _settle(t_s, scaled_j, grid, line)
    grid = polish(t_s, scaled_j, usable, line, grid, turns)
    at_s = grid.phase_s + turns * grid.period_s
    keep = np.append(True, np.diff(at_s) > 0.5 * grid.period_s[1:])
    # Two reads of one step that differ, or of two steps in the wrong order, prove nothing.
    same = ~keep & (np.diff(energy_j, prepend=energy_j[:1]) != 0)
    wrong = same | np.append(same[1:], False)
    keep &= ~wrong
    at_s, energy_j = at_s[keep], energy_j[keep]
    rising = np.append(True, at_s[1:] > np.maximum.accumulate(at_s)[:-1])
    return at_s[rising], energy_j[rising]


def find_anchors(
    t_s: F64Array, energy_j: F64Array, ring: Ring, period_s: float, delay_s: float
) -> Anchors | None:
    """Match a counter with a ring whose samples are read as means of the time before them.

    Args:
        t_s: Instants of the reads, increasing, shape (n,).
        energy_j: Energy counted, without wraps, shape (n,).
        ring: The ring.
        period_s: Nominal time between steps of the counter.
        delay_s: From a step to when it can be read, where known; else 0.

    Returns:
        None if the ring does not overlap with the counter, or there are too few reads.
    """
    found: Anchors | None = None
    late_s = ring.hold_s
    gain = _gain(t_s, energy_j, ring.line(False, late_s))
    if abs(gain - 1) < SAME_GAIN:
        gain = 1.0
    for _ in range(FITS):
        line = ring.line(False, late_s)
        usable = _usable(t_s, line, 3 * period_s)
        # The two may be calibrated apart; to find the grid, only their shapes are compared.
        scaled_j = energy_j / gain
        grid = fit_grid(t_s, scaled_j, line, usable, period_s, delay_s)
        if grid is None:
            return None
        if not late_s and grid.delay_s < -ring.period_s:
            # The ring shows what the counter cannot know yet: it repeats values of the past.
            late_s = float(np.median(grid.period_s))
            continue
        at_s, anchor_j = _anchors(t_s, energy_j, scaled_j, grid, line, usable)
        found = Anchors(at_s, anchor_j, grid, late_s)
        better = _gain(at_s, anchor_j, line)
        if abs(better / gain - 1) < SAME_GAIN:
            break
        gain = better
    return found if found is not None and len(found.at_s) >= 3 else None
