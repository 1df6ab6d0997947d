"""When a counter stepped, from the times of its reads alone."""

from __future__ import annotations

import numpy as np

from wattproof.clocks.frames import F64Array, Int64Array

STRETCH = 300
"""Steps over which the grid is taken as straight (30 s at 100 ms)."""
MIN_STEPS = 20
AGREE = 0.95
"""The steps lie on a grid if so many of them can."""
CANDIDATES = 50


def step_times(t_s: F64Array, changed: Int64Array, update_s: float) -> F64Array:
    """Return when each new value arose.

    It arose after the last read of the old value and before the first read of the new one: half
    way, or half an update before the read if that is closer (it is up to one update old). Counters
    step on a steady grid, though, and each step leaves only some places to the grid: where nearly
    all of many steps agree on one, it is known much better than any single step.

    Args:
        t_s: Instants of reads, increasing, shape (n,).
        changed: Reads that show another value than the one before, shape (m,).
        update_s: Time between steps.
    """
    wait_s = np.minimum(t_s[changed] - t_s[changed - 1], update_s)
    arose: F64Array = t_s[changed] - wait_s / 2
    if len(changed) < MIN_STEPS or float(np.median(wait_s)) > 0.9 * update_s:
        return arose
    for low in range(0, len(changed), STRETCH):
        own = slice(low, low + STRETCH)
        if len(changed[own]) < MIN_STEPS:
            continue
        after, before = t_s[changed[own] - 1], t_s[changed[own]]
        grid = _grid(after, before, update_s)
        if grid is not None:
            arose[own] = grid
    return arose


def _grid(after_s: F64Array, before_s: F64Array, update_s: float) -> F64Array | None:
    """Place steps, each between two instants, on one grid; None if they do not lie on one."""
    middle = (after_s + before_s) / 2
    start = middle[0]
    best: tuple[int, float, float] = (0, 0.0, update_s)
    span = max(middle[-1] - start, update_s)
    # Periods that differ by less shift the last step by less than a candidate phase.
    fine = update_s / CANDIDATES / span * update_s
    for period in update_s + fine * np.arange(-20, 21):
        phases = start + np.arange(CANDIDATES)[:, None] / CANDIDATES * period
        steps = phases + np.round((middle - phases) / period) * period
        inside = (steps > after_s) & (steps <= before_s)
        counts = np.count_nonzero(inside, axis=1)
        most = int(counts.max())
        if most > best[0]:
            good = np.flatnonzero(counts == most)
            # All that fit equally well are one interval on a circle: its middle is the best guess.
            turn = np.angle(np.mean(np.exp(2j * np.pi * good / CANDIDATES))) / (2 * np.pi) % 1.0
            best = (most, float(start + turn * period), float(period))
    if best[0] < AGREE * len(middle):
        return None
    _, phase, period = best
    found = phase + np.round((middle - phase) / period) * period
    result: F64Array = np.clip(found, after_s, before_s)
    return result
