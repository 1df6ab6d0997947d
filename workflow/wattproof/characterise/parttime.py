"""Averages of updates that each see only a part of their period."""

from __future__ import annotations

import numpy as np

from wattproof.characterise.explained import Explained, refined
from wattproof.characterise.response import DELAY_S, SHAPE_MARGIN, Fit, Problem, evidence
from wattproof.characterise.wave import PartTimeWave

PART_TIME_FROM = 1.5
"""Averages over more update periods than this may be averages of part-time updates."""
PART_TIME_SHARES = (0.05, 0.1, 0.17, 0.25, 0.35, 0.5, 0.7, 0.85)
PART_TIME_POINTS = 400
DELAY_STEP_S = 0.006
SHARE_STEP = 0.02


def part_time(problem: Problem, fit: Fit, period_s: float) -> Explained | None:
    """Explain a long average by updates that see only a part of their period; None if no better.

    An average over such updates weighs the load's edges by whether they fell into a window. Fitted
    by a plain mean it scatters, and its delay is off by half of what is not seen.

    Args:
        problem: The updates.
        fit: Of a plain mean or lag.
        period_s: Of the updates.
    """
    if fit.window_s < PART_TIME_FROM * period_s:
        return None
    wave = problem.wave
    around = period_s * (round(fit.window_s / period_s) + np.arange(-2, 3))
    windows = [fit.window_s, *around[around >= period_s].tolist()]
    # A plain fit of such values may lie anywhere, even outside of what was searched.
    middle = min(max(fit.delay_s, DELAY_S[0]), DELAY_S[1])
    delays = np.arange(max(middle - period_s, DELAY_S[0]), middle + period_s, DELAY_STEP_S)

    def tried(share: float, start: Fit | None = None) -> Explained:
        seen_s = share * period_s
        seeing = problem.seen_by(PartTimeWave(wave.t_s, wave.level, period_s, seen_s))
        if start is None:
            coarse = seeing.thinned(PART_TIME_POINTS)
            grid = [(w, d) for w in windows for d in delays.tolist()]
            near = min(grid, key=lambda one: coarse.misfit(fit.averaging, *one))
        else:
            near = (start.window_s, start.delay_s)
        window_s, delay_s = seeing.best(fit.averaging, [near])
        return Explained(seeing, seeing.solved(fit.averaging, window_s, delay_s))

    shares = list(PART_TIME_SHARES)
    results = [tried(share) for share in shares]
    at = min(range(len(shares)), key=lambda i: results[i].fit.misfit)
    best, share = results[at], shares[at]
    if evidence(problem, best.fit, fit) <= SHAPE_MARGIN:
        return None
    bounds = (shares[max(at - 1, 0)], shares[min(at + 1, len(shares) - 1)])
    return refined(tried, best, share, bounds, SHARE_STEP)
