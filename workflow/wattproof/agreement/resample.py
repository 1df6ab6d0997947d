"""Intervals by resampling whole runs (epochs of one run are alike), and tests at the paper's n."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

F64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

RESAMPLES = 1000

CHUNK = 1_000_000
"""Draws held in memory at a time."""

SMALL_N, SMALL_DRAWS = 20, 200
"""The paper's smaller settings have 20 runs; a large set is shown at that size by so many draws."""

CONSTANT = 1e-12
"""Variance of standardised values below which a resample is constant."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % percentile interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Intervals:
    """What one set of resamples gives: of Pearson's r, Spearman's ρ and the mean difference."""

    pearson: Interval
    spearman: Interval
    difference: Interval


def _quantiles(values: F64Array) -> Interval:
    low, high = np.quantile(values, (0.025, 0.975))
    return Interval(float(low), float(high))


def _standard(values: F64Array) -> F64Array:
    result: F64Array = (values - values.mean()) / values.std()
    return result


def _correlation(n: F64Array, sums: F64Array) -> Interval:
    """Interval of r from the resampled n and Σx, Σy, Σx², Σy², Σxy of standardised values."""
    sx, sy, sxx, syy, sxy = sums.T
    var_x, var_y = sxx / n - (sx / n) ** 2, syy / n - (sy / n) ** 2
    usable = (var_x > CONSTANT) & (var_y > CONSTANT)
    covariance = (sxy / n - sx * sy / n**2)[usable]
    r = np.clip(covariance / np.sqrt(var_x[usable] * var_y[usable]), -1.0, 1.0)
    return _quantiles(r)


def intervals(x: F64Array, y: F64Array, groups: Int64Array, rng: np.random.Generator) -> Intervals:
    """Resample whole groups and return 95 % intervals.

    The moments of each group are summed up once, so a resample costs one small matrix product
    whatever the number of pairs. Spearman's ρ is resampled on the ranks of the whole set: ranking
    each resample anew would cost a sort of all pairs a thousand times.

    Args:
        x: Values, shape (n,), not constant.
        y: Reference, shape (n,), not constant.
        groups: Number of each pair's run, from 0, shape (n,).
        rng: Source of randomness.
    """
    from scipy import stats

    size = int(groups.max()) + 1
    columns: list[F64Array] = [np.ones_like(x), y - x]
    for a, b in ((x, y), (stats.rankdata(x), stats.rankdata(y))):
        a, b = _standard(a), _standard(b)
        columns += [a, b, a * a, b * b, a * b]
    moments = np.stack([np.bincount(groups, weights=c, minlength=size) for c in columns], axis=1)
    totals = np.empty((RESAMPLES, len(columns)))
    chunk = max(1, CHUNK // size)
    for start in range(0, RESAMPLES, chunk):
        rows = min(chunk, RESAMPLES - start)
        drawn = rng.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
        totals[start : start + rows] = counts @ moments
    n = totals[:, 0]
    return Intervals(
        _correlation(n, totals[:, 2:7]),
        _correlation(n, totals[:, 7:12]),
        _quantiles(totals[:, 1] / n),
    )


@lru_cache
def _rejected_from(n: int, alpha: float) -> float:
    """Smallest D = k/n at which two samples of n are told apart at level `alpha` (exact p)."""
    from scipy import stats

    for k in range(1, n + 1):
        # n − k common values: the distributions differ by exactly k/n.
        one, two = np.arange(n, dtype=np.float64), np.arange(n, dtype=np.float64) + k
        if stats.ks_2samp(one, two, method="exact").pvalue < alpha:
            return k / n
    return float("inf")


def at_small_n(
    x: F64Array, y: F64Array, alpha: float, rng: np.random.Generator
) -> tuple[float, float] | None:
    """Kolmogorov–Smirnov's test as a set of 20 would have given it.

    The verdict hangs on n: what 500 runs reject, 20 let pass (paper.md section 12). Pairs are drawn
    without replacement, 200 times.

    Returns:
        Median D and the share of draws that reject; None for fewer than 20 pairs.
    """
    if len(x) < SMALL_N:
        return None
    found = np.empty(SMALL_DRAWS)
    for draw in range(SMALL_DRAWS):
        which = rng.choice(len(x), SMALL_N, replace=False)
        one, two = np.sort(x[which]), np.sort(y[which])
        every = np.concatenate((one, two))
        below = (np.searchsorted(each, every, side="right") for each in (one, two))
        found[draw] = np.max(np.abs(np.subtract(*below))) / SMALL_N
    # Half a step of D: the threshold is a fraction whose rounding must not decide.
    rejected = found > _rejected_from(SMALL_N, alpha) - 0.5 / SMALL_N
    return float(np.median(found)), float(rejected.mean())
