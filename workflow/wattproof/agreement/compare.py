"""Statistics of paired values against a reference, or in words why there are none.

Correlation alone hides a bias and a missing power band, and a Kolmogorov–Smirnov verdict alone
hides n (paper.md section 12); so every comparison carries n, correlations, D, p and the relative
errors.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import comb
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

F64Array = NDArray[np.float64]

MIN_PAIRS = 3
"""Pairs needed for any statistic of association."""

MIN_RUNS = 5
"""Runs needed for a bootstrap interval: below, resampling runs says little about new ones."""

RESAMPLES = 1000

CHUNK = 1_000_000
"""Draws held in memory at a time."""

LARGE = 100
"""From here on a Kolmogorov–Smirnov test can reject at any level that anybody asks for."""

CONSTANT = 1e-12
"""Relative spread below which a series is constant: correlations divide by its variation."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Agreement of values with a reference; fields as in table ``agreement``, None if refused.

    Errors are (reference − value)/reference; `error_max` is the largest absolute one. `refused`
    names every statistic that the data cannot carry, with the reason.
    """

    n: int
    runs: int
    spearman: float | None = None
    pearson: float | None = None
    pearson_low: float | None = None
    pearson_high: float | None = None
    ks_d: float | None = None
    ks_p: float | None = None
    ks_reject: bool | None = None
    error_median: float | None = None
    error_q1: float | None = None
    error_q3: float | None = None
    error_max: float | None = None
    refused: str = ""

    def as_row(self) -> dict[str, Any]:
        """Return the fields as columns of table ``agreement``."""
        return asdict(self)


def seeded(seed: int, *names: str) -> np.random.Generator:
    """Return a generator for one row, independent of which other rows exist."""
    return np.random.default_rng([seed, zlib.crc32("\x1f".join(names).encode())])


def _is_constant(values: F64Array) -> bool:
    return bool(np.ptp(values) <= CONSTANT * np.max(np.abs(values)))


def _bootstrap(
    x: F64Array, y: F64Array, groups: NDArray[np.int64], rng: np.random.Generator
) -> tuple[float, float]:
    """95 % percentile interval of Pearson's r when whole groups are resampled.

    The moments of each group are summed up once, so a resample costs one small matrix product
    whatever the number of pairs.
    """
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    size = int(groups.max()) + 1
    columns = (np.ones_like(x), x, y, x * x, y * y, x * y)
    moments = np.stack([np.bincount(groups, weights=c, minlength=size) for c in columns], axis=1)
    totals = np.empty((RESAMPLES, len(columns)))
    chunk = max(1, CHUNK // size)
    for start in range(0, RESAMPLES, chunk):
        rows = min(chunk, RESAMPLES - start)
        drawn = rng.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
        totals[start : start + rows] = counts @ moments
    n, sx, sy, sxx, syy, sxy = totals.T
    var_x, var_y = sxx / n - (sx / n) ** 2, syy / n - (sy / n) ** 2
    usable = (var_x > CONSTANT) & (var_y > CONSTANT)
    covariance = (sxy / n - sx * sy / n**2)[usable]
    r = np.clip(covariance / np.sqrt(var_x[usable] * var_y[usable]), -1.0, 1.0)
    low, high = np.quantile(r, (0.025, 0.975))
    return float(low), float(high)


def _association(
    x: F64Array, y: F64Array, groups: NDArray[np.int64], rng: np.random.Generator
) -> tuple[dict[str, Any], list[str]]:
    from scipy import stats

    if len(x) < MIN_PAIRS:
        return {}, [f"correlation: n = {len(x)}, {MIN_PAIRS} are needed"]
    for name, series in (("reference", y), ("values", x)):
        if _is_constant(series):
            return {}, [f"correlation: constant {name}"]
    found: dict[str, Any] = {
        "spearman": float(stats.spearmanr(x, y).statistic),
        "pearson": float(np.corrcoef(x, y)[0, 1]),
    }
    runs = int(groups.max()) + 1
    if runs < MIN_RUNS:
        return found, [f"interval of Pearson's r: {runs} run(s), {MIN_RUNS} are needed"]
    found["pearson_low"], found["pearson_high"] = _bootstrap(x, y, groups, rng)
    return found, []


def _same_distribution(x: F64Array, y: F64Array, alpha: float) -> tuple[dict[str, Any], list[str]]:
    from scipy import stats

    n = len(x)
    # Smallest p that two samples of n can give (D = 1): above alpha the test cannot reject.
    if n < LARGE and 2.0 / comb(2 * n, n) > alpha:
        return {}, [f"Kolmogorov–Smirnov test: n = {n} cannot reject at α = {alpha:g}"]
    with warnings.catch_warnings():
        # Rounding can lift an exact p of 1 above 1; SciPy then says so and gives the asymptotic 1.
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation", RuntimeWarning)
        test = stats.ks_2samp(x, y)
    p = float(test.pvalue)
    return {"ks_d": float(test.statistic), "ks_p": p, "ks_reject": p < alpha}, []


def _errors(x: F64Array, y: F64Array) -> tuple[dict[str, Any], list[str]]:
    positive = y > 0
    refused = []
    if not positive.all():
        refused.append(f"relative error: {int((~positive).sum())} reference(s) not above zero")
    if not positive.any():
        return {}, refused
    error = (y[positive] - x[positive]) / y[positive]
    found: dict[str, Any] = {
        "error_median": float(np.median(error)),
        "error_max": float(np.max(np.abs(error))),
    }
    if len(error) < MIN_PAIRS:
        refused.append(f"quartiles of the error: n = {len(error)}, {MIN_PAIRS} are needed")
    else:
        found["error_q1"], found["error_q3"] = (float(q) for q in np.quantile(error, (0.25, 0.75)))
    return found, refused


def compare(
    values: ArrayLike,
    reference: ArrayLike,
    runs: Sequence[Any] | pd.Series,
    *,
    alpha: float,
    rng: np.random.Generator,
    no_reference: str = "no reference",
) -> Comparison:
    """Compare paired values with their reference.

    Pairs of which either is NaN or infinite are left out. Spearman, Pearson (95 % bootstrap
    interval; whole runs are resampled, since epochs of a run are alike), the two-sample
    Kolmogorov–Smirnov test on the two sets (exact p up to n = 10 000, SciPy), and quartiles of the
    relative error (reference − value)/reference.

    Args:
        values: Energies or powers, shape (n,).
        reference: The reference's, in the same unit, shape (n,).
        runs: The run of each pair, shape (n,).
        alpha: Level of the Kolmogorov–Smirnov test.
        rng: Source of the bootstrap's randomness.
        no_reference: Reason to give when there is not one known reference.

    Returns:
        The statistics, and in `refused` those that the data cannot carry, with the reason.
    """
    x = np.asarray(values, dtype=np.float64)
    y = np.asarray(reference, dtype=np.float64)
    if not np.isfinite(y).any():
        return Comparison(0, 0, refused=no_reference)
    both = np.isfinite(x) & np.isfinite(y)
    if not both.any():
        return Comparison(0, 0, refused="no window has both a value and a reference")
    x, y = x[both], y[both]
    groups, distinct = pd.factorize(np.asarray(runs, dtype=object)[both], use_na_sentinel=False)
    association, refused = _association(x, y, groups.astype(np.int64), rng)
    distribution, more = _same_distribution(x, y, alpha)
    errors, last = _errors(x, y)
    return Comparison(
        n=len(x),
        runs=len(distinct),
        **association,
        **distribution,
        **errors,
        refused="; ".join([*refused, *more, *last]),
    )
