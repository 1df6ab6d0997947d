"""Fewer points that look the same: smallest and largest value of each stretch of a series."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def thinned(
    t_s: NDArray[np.float64], value: NDArray[np.float64], points: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Keep minimum and maximum of each of `points` / 2 stretches, in the order of time.

    Peaks and dips survive, which a mean or each n-th value would lose.

    Args:
        t_s: Increasing instants, shape (n,).
        value: Shape (n,), NaN where there is none.
        points: At most so many points come back (n if that is fewer).
    """
    n = len(t_s)
    if n <= points or points < 4:
        return t_s, value
    parts = np.array_split(np.arange(n), points // 2)
    kept: list[int] = []
    for part in parts:
        values = value[part]
        if np.isnan(values).all():
            kept.append(int(part[0]))
            continue
        pair = {int(part[np.nanargmin(values)]), int(part[np.nanargmax(values)])}
        kept += sorted(pair)
    where = np.array(kept)
    return t_s[where], value[where]
