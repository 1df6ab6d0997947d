"""How a sensor answers to a known load: least squares for window and delay, and which shape fits.

A value read at an update is ``low + (high − low) · r(update − delay)``, where r is the load's mean
over the window (boxcar) or its first-order lag. Low level, contrast and a slow drift are linear
and are projected out, so only two numbers are searched for. The load's edges are the only truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from wattproof.characterise.updates import Refusal, Updates
from wattproof.characterise.wave import F64Array, PartTimeWave, Wave

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
PART_TIME_FROM = 1.5
"""Averages over more update periods than this may be averages of part-time updates."""
PART_TIME_SHARES = (0.05, 0.1, 0.17, 0.25, 0.35, 0.5, 0.7, 0.85)
PART_TIME_POINTS = 400
SHARE_STEP = 0.02
MAX_SCATTER = 0.35
"""Largest scatter around the fit, as a share of the contrast."""
BLOCK_FLOOR = 0.01
MIN_TELLING = 10
"""Least number of updates between the levels: the others say nothing about window or shape."""
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


@dataclass(frozen=True, slots=True)
class Explained:
    """A fit, what it was fitted to, and what the wave that it assumes leaves open.

    Attributes:
        problem: The updates, and the load as the sensor sees it.
        fit: The fit.
        window_u_s: Standard uncertainty of the window by the share of the time that is seen.
        delay_u_s: Likewise of the delay.
    """

    problem: Problem
    fit: Fit
    window_u_s: float = 0.0
    delay_u_s: float = 0.0


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
    delays = np.arange(max(fit.delay_s - period_s, DELAY_S[0]), fit.delay_s + period_s, 0.006)

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
    finer = optimize.minimize_scalar(
        lambda x: tried(x, best.fit).fit.misfit,
        bounds=(shares[max(at - 1, 0)], shares[min(at + 1, len(shares) - 1)]),
        method="bounded",
        options={"xatol": 0.002, "maxiter": 16},
    )
    if finer.fun < best.fit.misfit:
        share = float(finer.x)
        best = tried(share, best.fit)
    low, high = (tried(share + step, best.fit).fit for step in (-SHARE_STEP, SHARE_STEP))
    bend = max(low.misfit + high.misfit - 2 * best.fit.misfit, 1e-12) / 2
    # The misfit may rise by one variance: so many steps of the share.
    steps = min(float(np.sqrt(best.fit.variance / bend)), 1 / SHARE_STEP)
    return replace(
        best,
        window_u_s=steps * abs(high.window_s - low.window_s) / 2,
        delay_u_s=steps * abs(high.delay_s - low.delay_s) / 2,
    )


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


def _bound(rises: Callable[[float], float], inside: float, outside: float, target: float) -> float:
    """Where a function that grows away from `inside` passes `target`, or `outside`."""
    if rises(outside) < target:
        return outside
    for _ in range(14):
        middle = (inside + outside) / 2
        if rises(middle) < target:
            inside = middle
        else:
            outside = middle
    return (inside + outside) / 2


@dataclass(frozen=True, slots=True)
class Interval:
    """Interval of one standard uncertainty around a best value."""

    low: float
    high: float

    @property
    def u(self) -> float:
        """Standard uncertainty: half of the interval."""
        return (self.high - self.low) / 2


def intervals(problem: Problem, fit: Fit) -> tuple[Interval, Interval]:
    """Profile intervals of window and delay: where the misfit rises by one variance.

    The other parameter is free meanwhile. (No derivatives: the misfit has kinks, and for a window
    that is short against the spacing of the updates it is flat in places.)
    """
    base = problem.misfit(fit.averaging, fit.window_s, fit.delay_s)
    target = base + fit.variance
    half = 0.5 * fit.window_s if fit.averaging == "boxcar" else fit.window_s

    def by_window(window_s: float) -> float:
        # The centre of gravity of the response is what is known best: it moves little.
        moved = (fit.window_s - window_s) * (0.5 if fit.averaging == "boxcar" else 1.0)
        centre, reach = fit.delay_s + moved, 0.003 + abs(moved) / 2
        return _least(lambda d: problem.misfit(fit.averaging, window_s, d), centre, reach)

    def by_delay(delay_s: float) -> float:
        moved = (fit.delay_s - delay_s) * (2.0 if fit.averaging == "boxcar" else 1.0)
        centre, reach = fit.window_s + moved, 0.2 * fit.window_s + abs(moved) / 2
        return _least(lambda w: problem.misfit(fit.averaging, max(w, 1e-4), delay_s), centre, reach)

    window = Interval(
        _bound(by_window, fit.window_s, 0.0, target),
        _bound(by_window, fit.window_s, 2.0 * fit.window_s + 0.01, target),
    )
    reach = half + 0.02
    delay = Interval(
        _bound(by_delay, fit.delay_s, fit.delay_s - reach, target),
        _bound(by_delay, fit.delay_s, fit.delay_s + reach, target),
    )
    return window, delay


def _least(cost: Callable[[float], float], centre: float, reach: float) -> float:
    bounds = (centre - reach, centre + reach)
    result = optimize.minimize_scalar(
        cost, bounds=bounds, method="bounded", options={"xatol": 1e-5, "maxiter": 18}
    )
    return min(float(result.fun), cost(centre))


@dataclass(frozen=True, slots=True)
class BlockFit:
    """Window and delay by one stretch of the load alone, with standard uncertainties."""

    name: str
    updates: int
    window_s: float
    window_u_s: float
    delay_s: float
    delay_u_s: float


def block_fit(name: str, problem: Problem, fit: Fit, centre_s: float) -> BlockFit | None:
    """Fit one stretch alone, near the fit of all; None if it tells nothing about both.

    Its levels are those of the fit of all: a short stretch cannot tell them as well.
    """
    if problem.telling(fit) < MIN_TELLING:
        return None
    start = np.array([fit.window_s, fit.delay_s])
    steps = np.array([max(0.1 * fit.window_s, 5e-4), max(0.05 * fit.window_s, 1e-3)])

    def cost(x: F64Array) -> float:
        window_s, delay_s = start + x * steps
        tried = replace(fit, window_s=max(float(window_s), 0.0), delay_s=float(delay_s))
        residual = problem.value - tried.values(problem.wave, problem.t_s, centre_s)
        return float(residual @ residual)

    found = optimize.minimize(cost, np.zeros(2), method="Nelder-Mead", options={"maxfev": 120})
    variance = fit.variance
    right, down = np.eye(2)
    x = found.x
    diagonal = [cost(x + side) + cost(x - side) - 2 * found.fun for side in (right, down)]
    mixed = cost(x + right + down) + cost(x - right - down)
    mixed -= cost(x + right - down) + cost(x - right + down)
    hessian = np.array([[diagonal[0], mixed / 4], [mixed / 4, diagonal[1]]])
    if not np.all(np.linalg.eigvalsh(hessian) > 2 * variance / 25):
        return None
    u = np.sqrt(np.diag(2 * variance * np.linalg.inv(hessian))) * steps
    window_s, delay_s = start + x * steps
    # Kinks make the curvature look better than it is: no short stretch is trusted to less.
    least = BLOCK_FLOOR * fit.window_s
    return BlockFit(
        name,
        problem.count,
        float(window_s),
        float(np.hypot(u[0], least)),
        float(delay_s),
        float(np.hypot(u[1], least)),
    )


def birge(values: Sequence[float], u: Sequence[float], best: float) -> float:
    """Return by how much values scatter more than their uncertainties say; at least 1."""
    if len(values) < 2:
        return 1.0
    pulls = (np.asarray(values) - best) / np.asarray(u)
    return max(1.0, float(np.sqrt(np.mean(pulls**2))))


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
