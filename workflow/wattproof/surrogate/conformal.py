"""Intervals from held-out residuals, and coverage measured on residuals that did not set them.

The half-width is the conformal quantile of absolute residuals of runs whose network the model
had not seen: rank ceil((n + 1)·level) of n (Vovk et al., "Algorithmic Learning in a Random World",
2005). Energy, time and power have residuals of logarithms, so their intervals are factors.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from wattproof.surrogate.encoding import Floats


def half_width(residuals: Floats, level: float) -> float | None:
    """Conformal quantile of |residuals|.

    Args:
        residuals: Held-out residuals; NaN where unknown.
        level: Nominal coverage, 0 to 1.

    Returns:
        The half-width, or None if there are too few residuals for this level: with n of them no
        finite width guarantees more than n/(n + 1).
    """
    known = np.sort(np.abs(residuals[np.isfinite(residuals)]))
    rank = needed_rank(len(known), level)
    return None if rank > len(known) else float(known[rank - 1])


def needed_rank(n: int, level: float) -> int:
    """Rank of the residual that sets the width; more than n if n are too few."""
    # 0.9·10 is 9.000000000000002 in floating point for some levels; it must not become 10.
    return math.ceil(round((n + 1) * level, 9))


def fold_widths(residuals: Floats, folds: NDArray[np.int64], level: float) -> Floats:
    """Half-width for each run from the residuals of the *other* folds.

    Args:
        residuals: One a run; NaN where unknown.
        folds: Fold of each run.
        level: Nominal coverage.

    Returns:
        One half-width a run; NaN where the other folds have too few residuals.
    """
    widths = np.full(len(residuals), np.nan)
    for fold in np.unique(folds):
        width = half_width(residuals[folds != fold], level)
        widths[folds == fold] = np.nan if width is None else width
    return widths
