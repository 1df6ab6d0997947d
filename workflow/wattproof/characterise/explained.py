"""A fit that needs one more number about how the load reaches the sensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from wattproof.characterise.response import Fit, Problem


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


def refined(
    tried: Callable[[float, Fit], Explained],
    best: Explained,
    number: float,
    bounds: tuple[float, float],
    step: float,
) -> Explained:
    """Return the best fit over the number, and what its uncertainty adds to the fit's.

    Args:
        tried: Fits with one value of the number, beginning near another fit.
        best: The best fit so far.
        number: Its number.
        bounds: Between which to search.
        step: Of the number, small against what it may be.
    """
    finer = optimize.minimize_scalar(
        lambda x: tried(x, best.fit).fit.misfit,
        bounds=bounds,
        method="bounded",
        options={"xatol": step / 10, "maxiter": 16},
    )
    if finer.fun < best.fit.misfit:
        number = float(finer.x)
        best = tried(number, best.fit)
    low, high = (tried(number + way, best.fit).fit for way in (-step, step))
    bend = max(low.misfit + high.misfit - 2 * best.fit.misfit, 1e-12) / 2
    # The misfit may rise by one variance: so many steps of the number.
    steps = min(float(np.sqrt(best.fit.variance / bend)), (bounds[1] - bounds[0]) / step)
    return replace(
        best,
        window_u_s=steps * abs(high.window_s - low.window_s) / 2,
        delay_u_s=steps * abs(high.delay_s - low.delay_s) / 2,
    )
