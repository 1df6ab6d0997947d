"""How well window and delay are known: profile intervals, and single periods against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from wattproof.characterise.response import Fit, Problem
from wattproof.characterise.wave import F64Array

BLOCK_FLOOR = 0.01
"""No stretch of the load tells its window better than to this share."""
MIN_TELLING = 10
"""Least number of updates between the levels: the others say nothing about window or shape."""


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
