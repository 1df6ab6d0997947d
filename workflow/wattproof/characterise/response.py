"""How a sensor answers to a known load: least squares for window and delay, and which shape fits.

A value read at an update is ``low + (high − low) · r(update − delay)``, where r is the load's mean
over the window (boxcar) or its first-order lag. Low level, contrast and a slow drift are linear
and are projected out, so only two numbers are searched for. The load's edges are the only truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from wattproof.characterise.updates import Refusal, Updates
from wattproof.characterise.wave import F64Array, Wave

SHAPES = ("boxcar", "lag")
WINDOWS_S = np.geomspace(0.0015, 4.0, 32)
DELAY_S = (-0.1, 0.5)
"""Windows and delays that are searched."""
DELAY_STEP_S = 0.008
GRID_POINTS = 1200
STARTS = 4

FLOOR = 0.002
"""No fit is trusted better than to this share of the contrast."""
OUTLIER = 6.0
MAX_OUTLIERS = 0.08
SIGNIFICANT = 30.0
"""Least N·ln(variance before / after the fit)."""
MAX_SCATTER = 0.15
"""Largest scatter around the fit, as a share of the contrast."""
SHAPE_MARGIN = 12.0
"""Least N·ln(misfit of the other shape / misfit of the chosen one)."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A shape with its best window and delay.

    Attributes:
        averaging: ``boxcar`` or ``lag``.
        window_s: Length of the boxcar, or time constant of the lag.
        delay_s: From the end of the window to the update.
        misfit: Sum of squared residuals, W².
        low_w: Level under low load.
        contrast_w: Rise from low to high.
        drift_w_per_s: Slow change of the level.
        scatter_w: Standard deviation around the fit.
        excess: So many residuals in a row go together: that many updates count as one.
    """

    averaging: str
    window_s: float
    delay_s: float
    misfit: float
    low_w: float
    contrast_w: float
    drift_w_per_s: float
    scatter_w: float
    excess: float

    @property
    def variance(self) -> float:
        """Variance of an update around the fit, as if the residuals were independent, W²."""
        return self.excess * self.scatter_w**2 + (FLOOR * self.contrast_w) ** 2

    def values(self, wave: Wave, t_s: F64Array, centre_s: float) -> F64Array:
        """Return what the model shows at these updates."""
        shape = wave.respond(self.averaging, t_s - self.delay_s, self.window_s)
        return self.low_w + self.contrast_w * shape + self.drift_w_per_s * (t_s - centre_s)


class Problem:
    """Updates of one sensor against the wave that made them.

    Args:
        updates: Of the sensor.
        wave: The load.
        use: Which updates count; all if None.
    """

    def __init__(self, updates: Updates, wave: Wave, use: np.ndarray | None = None) -> None:
        rows = slice(None) if use is None else use
        self.wave = wave
        self.t_s = updates.t_s[rows]
        self.value = updates.value[rows]
        self.count = len(self.t_s)
        self.centre_s = float(self.t_s.mean()) if self.count else 0.0
        self._basis, _ = np.linalg.qr(
            np.column_stack((np.ones(self.count), self.t_s - self.centre_s))
        )
        self._left = self._project(self.value)
        self.total = float(self._left @ self._left)

    def _project(self, column: F64Array) -> F64Array:
        result: F64Array = column - self._basis @ (self._basis.T @ column)
        return result

    def misfit(self, averaging: str, window_s: float, delay_s: float) -> float:
        """Return the sum of squared residuals of the best levels."""
        shape = self._project(self.wave.respond(averaging, self.t_s - delay_s, window_s))
        length = float(shape @ shape)
        along = float(shape @ self._left)
        if length < 1e-6 * self.count or along <= 0:
            return self.total
        return max(self.total - along**2 / length, 0.0)

    def telling(self, fit: Fit) -> int:
        """Return how many updates lie clearly between low and high."""
        shape = self.wave.respond(fit.averaging, self.t_s - fit.delay_s, fit.window_s)
        return int(np.sum((shape > 0.02) & (shape < 0.98)))

    def thinned(self, points: int) -> Problem:
        """Return the same with at most so many updates, evenly taken, for coarse searches."""
        if self.count <= points:
            return self
        return self.seen_by(self.wave, np.linspace(0, self.count - 1, points).astype(np.int64))

    def seen_by(self, wave: Wave, use: np.ndarray | None = None) -> Problem:
        """Return the same updates (or some of them) against another wave."""
        alone = Updates(self.t_s, self.value, 0.0, 0.0, 0.0, np.zeros(self.count))
        return Problem(alone, wave, use)

    def solved(self, averaging: str, window_s: float, delay_s: float) -> Fit:
        """Return the fit with its levels."""
        shape = self.wave.respond(averaging, self.t_s - delay_s, window_s)
        columns = np.column_stack((np.ones(self.count), shape, self.t_s - self.centre_s))
        (low, contrast, drift), *_ = np.linalg.lstsq(columns, self.value, rcond=None)
        residual = self.value - columns @ np.array([low, contrast, drift])
        misfit = float(residual @ residual)
        scatter = float(np.sqrt(misfit / max(self.count - 5, 1)))
        levels = float(low), float(contrast), float(drift)
        excess = _excess(residual)
        return Fit(averaging, window_s, delay_s, misfit, *levels, scatter, excess)

    def best(self, averaging: str, starts: Sequence[tuple[float, float]]) -> tuple[float, float]:
        """Return window and delay of the least misfit, searched from several starts."""

        def cost(x: F64Array) -> float:
            return self.misfit(averaging, float(np.exp(x[0])), float(x[1]))

        found = []
        for window_s, delay_s in starts:
            x0 = np.array([float(np.log(window_s)), delay_s])
            # The misfit has kinks (an edge enters a window): a simplex, not a gradient.
            found.append(
                optimize.minimize(
                    cost,
                    x0,
                    method="Nelder-Mead",
                    options={
                        "initial_simplex": x0 + np.array([[0.0, 0.0], [0.25, 0.0], [0.0, 0.006]]),
                        "xatol": 1e-5,
                        "fatol": 0.0,
                        "maxfev": 220,
                    },
                )
            )
        chosen = min(found, key=lambda result: float(result.fun))
        return float(np.exp(chosen.x[0])), float(chosen.x[1])


def _excess(residual: F64Array) -> float:
    """Return the sum of the autocorrelation up to where it vanishes; at least 1.

    Residuals of an average of 10 updates go together 10 at a time, whoever made them.
    """
    size = 1 << (2 * len(residual) - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(residual, size)) ** 2
    correlation = np.fft.irfft(spectrum)[: max(len(residual) // 4, 1)]
    if correlation[0] <= 0:
        return 1.0
    correlation = correlation / correlation[0]
    ends = np.flatnonzero(correlation <= 0.05)
    return float(max(1.0, 2 * correlation[: ends[0] if len(ends) else None].sum() - 1))


def search(problem: Problem, averaging: str) -> Fit:
    """Return the best fit of one shape over all windows and delays."""
    coarse = problem.thinned(GRID_POINTS)
    tried: list[tuple[float, float, float]] = []
    for window_s in WINDOWS_S.tolist():
        for delay_s in np.arange(*DELAY_S, max(DELAY_STEP_S, window_s / 20)).tolist():
            tried.append((coarse.misfit(averaging, window_s, delay_s), window_s, delay_s))
    tried.sort()
    starts: list[tuple[float, float]] = []
    for _, window_s, delay_s in tried:
        # Neighbours in the grid lead to the same minimum.
        if all(abs(np.log(window_s / w)) > 0.4 or abs(delay_s - d) > 0.03 for w, d in starts):
            starts.append((window_s, delay_s))
        if len(starts) == STARTS:
            break
    return problem.solved(averaging, *problem.best(averaging, starts))


def evidence(problem: Problem, better: Fit, worse: Fit) -> float:
    """Return N·ln(misfit of the worse / misfit of the better), for independent residuals."""
    floor = problem.count * (FLOOR * better.contrast_w) ** 2
    ratio = (worse.misfit + floor) / (better.misfit + floor)
    return float(problem.count / better.excess * np.log(ratio))


def without_outliers(updates: Updates, problem: Problem, fit: Fit) -> np.ndarray:
    """Return which updates a fit is not far away from (garbled reads, bursts of others)."""
    residual = updates.value - fit.values(problem.wave, updates.t_s, problem.centre_s)
    spread = 1.4826 * float(np.median(np.abs(residual - np.median(residual))))
    return np.abs(residual) <= OUTLIER * max(spread, 0.03 * abs(fit.contrast_w))


def check_moved(problem: Problem, fit: Fit) -> None:
    """Refuse a fit that is no better than none, or that leaves too much unexplained.

    Raises:
        Refusal: In these cases.
    """
    ratio = problem.total / max(fit.misfit, 1e-300)
    if problem.total == 0:
        raise Refusal("the value never changed")
    if problem.count / fit.excess * np.log(ratio) < SIGNIFICANT:
        raise Refusal(
            "the load does not move the power by more than its own scatter of "
            f"{np.sqrt(problem.total / problem.count):.2g} W"
        )
    if fit.scatter_w > MAX_SCATTER * fit.contrast_w:
        raise Refusal(
            f"the power does not follow the load well enough: it moves by {fit.contrast_w:.3g} W "
            f"with a scatter of {fit.scatter_w:.3g} W beside it (a weak load, or somebody else on "
            "the GPU)"
        )
