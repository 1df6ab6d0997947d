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

from wattproof.agreement.resample import at_small_n, intervals

F64Array = NDArray[np.float64]

MIN_PAIRS = 3
"""Pairs needed for any statistic of association."""

MIN_RUNS = 5
"""Runs needed for bootstrap intervals: below, resampling runs says little about new ones."""

LIMITS_SD = 1.96
"""Limits of agreement lie so many standard deviations from the mean difference."""

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
    spearman_low: float | None = None
    spearman_high: float | None = None
    slope: float | None = None
    intercept: float | None = None
    rmse: float | None = None
    bias: float | None = None
    bias_low: float | None = None
    bias_high: float | None = None
    loa_low: float | None = None
    loa_high: float | None = None
    wasserstein: float | None = None
    ks_d: float | None = None
    ks_p: float | None = None
    ks_reject: bool | None = None
    ks20_d: float | None = None
    ks20_reject: float | None = None
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


def _association(
    x: F64Array, y: F64Array, groups: NDArray[np.int64], rng: np.random.Generator
) -> tuple[dict[str, Any], list[str]]:
    from scipy import stats

    if len(x) < MIN_PAIRS:
        return {}, [f"correlation: n = {len(x)}, {MIN_PAIRS} are needed"]
    for name, series in (("reference", y), ("values", x)):
        if _is_constant(series):
            return {}, [f"correlation: constant {name}"]
    line = stats.linregress(x, y)
    rest = y - (line.intercept + line.slope * x)
    found: dict[str, Any] = {
        "spearman": float(stats.spearmanr(x, y).statistic),
        "pearson": float(np.corrcoef(x, y)[0, 1]),
        "slope": float(line.slope),
        "intercept": float(line.intercept),
        "rmse": float(np.sqrt(np.mean(rest**2))),
    }
    runs = int(groups.max()) + 1
    if runs < MIN_RUNS:
        return found, [f"intervals of r and bias: {runs} run(s), {MIN_RUNS} are needed"]
    by_run = intervals(x, y, groups, rng)
    found |= {
        "pearson_low": by_run.pearson.low,
        "pearson_high": by_run.pearson.high,
        "spearman_low": by_run.spearman.low,
        "spearman_high": by_run.spearman.high,
        "bias_low": by_run.difference.low,
        "bias_high": by_run.difference.high,
    }
    return found, []


def _differences(x: F64Array, y: F64Array) -> dict[str, Any]:
    """Bland–Altman's mean difference and limits of agreement, and the distance of distributions.

    The limits hold 95 % of single differences if these are normal (Bland & Altman 1986).
    """
    from scipy import stats

    difference = y - x
    found = {
        "bias": float(difference.mean()),
        "wasserstein": float(stats.wasserstein_distance(x, y)),
    }
    if len(x) >= MIN_PAIRS:
        reach = LIMITS_SD * float(difference.std(ddof=1))
        found["loa_low"], found["loa_high"] = found["bias"] - reach, found["bias"] + reach
    return found


def _same_distribution(
    x: F64Array, y: F64Array, alpha: float, rng: np.random.Generator
) -> tuple[dict[str, Any], list[str]]:
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
    found = {"ks_d": float(test.statistic), "ks_p": p, "ks_reject": p < alpha}
    small = at_small_n(x, y, alpha, rng)
    if small is not None:
        found["ks20_d"], found["ks20_reject"] = small
    return found, []


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

    Pairs of which either is NaN or infinite are left out. Spearman, Pearson, and the mean
    difference with its Bland–Altman limits (95 % bootstrap intervals; whole runs are resampled,
    since epochs of a run are alike), the least-squares line from values to reference, the
    two-sample Kolmogorov–Smirnov test on the two sets (exact p up to n = 10 000, SciPy) and their
    Wasserstein distance, and quartiles of the relative error (reference − value)/reference.

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
    distribution, more = _same_distribution(x, y, alpha, rng)
    errors, last = _errors(x, y)
    differences = _differences(x, y)
    return Comparison(
        n=len(x),
        runs=len(distinct),
        **association,
        **distribution,
        **errors,
        **differences,
        refused="; ".join([*refused, *more, *last]),
    )
