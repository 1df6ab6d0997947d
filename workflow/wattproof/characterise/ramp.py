"""Power that does not switch at once: the board's own first-order ramp before the sensor."""

from __future__ import annotations

from wattproof.characterise.explained import Explained, refined
from wattproof.characterise.response import SHAPE_MARGIN, Fit, Problem, evidence
from wattproof.characterise.wave import RampedWave

RAMPS_S = (0.002, 0.006, 0.015, 0.035)
COARSE_POINTS = 400
LEAST_S = 0.0005
STEP_S = 0.0004
UP_TO = 1.5
"""Only windows of fewer update periods show a ramp; in longer averages it is lost."""


def ramped(problem: Problem, fit: Fit, period_s: float) -> Explained | None:
    """Explain a short window better by a ramp of the power itself; None if it is not better.

    Without it the ramp is taken for a part of the window. A ramp that is longer than the window
    cannot be told from a sensor that lags, so it is not put forward.

    Args:
        problem: The updates.
        fit: Of a plain mean.
        period_s: Of the updates.
    """
    if fit.averaging != "boxcar" or fit.window_s > UP_TO * period_s:
        return None
    coarse = problem.thinned(COARSE_POINTS)
    # The plain window has swallowed some of the ramp.
    guesses = {
        ramp_s: [
            (max(fit.window_s - less * ramp_s, 0.002), fit.delay_s + (less / 2 - 1) * ramp_s)
            for less in (0.0, 2.0)
        ]
        for ramp_s in RAMPS_S
    }
    results = [_tried(coarse, fit, ramp_s, guesses[ramp_s]) for ramp_s in RAMPS_S]
    at = min(range(len(results)), key=lambda i: results[i].fit.misfit)

    def near(ramp_s: float, start: Fit) -> Explained:
        return _tried(problem, fit, ramp_s, [(start.window_s, start.delay_s)])

    best = near(RAMPS_S[at], results[at].fit)
    if evidence(problem, best.fit, fit) <= SHAPE_MARGIN:
        return None
    bounds = (RAMPS_S[at - 1] if at else LEAST_S, RAMPS_S[min(at + 1, len(RAMPS_S) - 1)])
    best = refined(near, best, RAMPS_S[at], bounds, STEP_S)
    found = best.problem.wave
    assert isinstance(found, RampedWave)
    return best if best.fit.window_s > found.ramp_s else None


def _tried(
    problem: Problem, fit: Fit, ramp_s: float, starts: list[tuple[float, float]]
) -> Explained:
    wave = problem.wave
    seeing = problem.seen_by(RampedWave(wave.t_s, wave.level, max(ramp_s, LEAST_S)))
    return Explained(seeing, seeing.solved(fit.averaging, *seeing.best(fit.averaging, starts)))
