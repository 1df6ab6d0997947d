"""Which configurations, and which points, no other one beats."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wattproof.errors import WattproofError, did_you_mean
from wattproof.surrogate.targets import ALL

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

BLOCK = 512
"""Points that are compared at once with four or more objectives."""


def check_objectives(objectives: Any, known: Collection[str]) -> list[str]:
    """Return the objectives as a list.

    Raises:
        WattproofError: One is unknown, or none is given.
    """
    if not objectives or isinstance(objectives, str):
        raise WattproofError(
            f"objectives={objectives!r} names no list of objectives; give some of "
            f"{', '.join(known)}."
        )
    for name in objectives:
        if name not in known:
            raise WattproofError(
                f"'{name}' is no objective of this benchmark.{did_you_mean(str(name), known)}"
            )
    return list(objectives)


def front(table: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """Keep the configurations that no other one beats in all objectives.

    Args:
        table: A configuration a row; those with an unknown objective are left out.
        objectives: Columns of it that are targets: accuracies are maximised, all others minimised.

    Returns:
        Rows of the table, best in the first objective first.
    """
    signs = [-1.0 if ALL[name].direction == "maximise" else 1.0 for name in objectives]
    known = table.dropna(subset=list(objectives))
    costs = np.stack(
        [
            known[name].to_numpy(np.float64) * sign
            for name, sign in zip(objectives, signs, strict=True)
        ],
        axis=1,
    )
    kept = known[non_dominated(costs)]
    return kept.sort_values(objectives[0], ascending=signs[0] > 0, ignore_index=True)


def non_dominated(costs: Floats) -> Mask:
    """Which of n points (rows) no other point dominates; all columns are minimised.

    A point dominates another if it is nowhere worse and somewhere better; of equal points none
    does. Up to three objectives cost O(n log n), more cost O(n · front).

    Args:
        costs: Finite numbers, n × m.
    """
    if len(costs) == 0:
        return np.zeros(0, dtype=bool)
    # In lexicographic order only earlier points can dominate later ones.
    order = np.lexsort(costs.T[::-1])
    ordered = costs[order]
    fresh = np.ones(len(costs), dtype=bool)
    fresh[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    points = ordered[fresh]
    kept = _SWEEPS.get(points.shape[1], _blocks)(points)
    keep = np.empty(len(costs), dtype=bool)
    keep[order] = kept[np.cumsum(fresh) - 1]
    return keep


def _one(points: Floats) -> Mask:
    return np.arange(len(points)) == 0


def _two(points: Floats) -> Mask:
    second = points[:, 1]
    best = np.minimum.accumulate(second)
    kept = np.ones(len(points), dtype=bool)
    kept[1:] = second[1:] < best[:-1]
    return kept


def _three(points: Floats) -> Mask:
    """Keep the stairs of the second and third objective of all points so far."""
    kept = np.ones(len(points), dtype=bool)
    seconds: list[float] = []  # rising
    thirds: list[float] = []  # falling
    for row, (second, third) in enumerate(points[:, 1:].tolist()):
        below = bisect_right(seconds, second)
        if below and thirds[below - 1] <= third:
            kept[row] = False
            continue
        start = end = bisect_left(seconds, second)
        while end < len(thirds) and thirds[end] >= third:
            end += 1
        seconds[start:end] = [second]
        thirds[start:end] = [third]
    return kept


def _blocks(points: Floats) -> Mask:
    front = np.zeros((0, points.shape[1]))
    kept = np.ones(len(points), dtype=bool)
    for start in range(0, len(points), BLOCK):
        block = points[start : start + BLOCK]
        alive = ~_beaten(block, front)
        alive[alive] = ~_beaten(block[alive], block[alive])
        kept[start : start + BLOCK] = alive
        front = np.concatenate([front, block[alive]])
    return kept


def _beaten(points: Floats, by: Floats) -> Mask:
    """Which points some other of `by` beats; there are no equal points in distinct rows."""
    found = np.zeros(len(points), dtype=bool)
    for start in range(0, len(by), BLOCK):
        some = by[None, start : start + BLOCK]
        worse = (points[:, None] >= some).all(axis=2) & (points[:, None] != some).any(axis=2)
        found |= worse.any(axis=1)
    return found


_SWEEPS = {1: _one, 2: _two, 3: _three}
