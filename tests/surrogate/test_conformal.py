"""Intervals: closed forms of the conformal quantile, and coverage by simulation."""

import made_cells as made
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattproof.surrogate import conformal


def ranked(residuals: np.ndarray, level: float) -> float | None:
    """Conformal quantile of residuals of one run a network."""
    return conformal.quantile(np.abs(residuals), np.arange(len(residuals)), level)


@pytest.mark.parametrize(
    ("n", "level", "rank"), [(9, 0.9, 9), (19, 0.9, 18), (24, 0.9, 23), (99, 0.9, 90), (1, 0.5, 1)]
)
def test_half_width_is_the_ranked_residual(n: int, level: float, rank: int) -> None:
    residuals = np.arange(1.0, n + 1) * np.where(np.arange(n) % 2, 1, -1)
    assert ranked(residuals, level) == rank


def test_too_few_residuals_are_refused() -> None:
    """With n residuals no finite width guarantees more than n/(n + 1): 8 cannot carry 90 %."""
    assert ranked(np.ones(8), 0.9) is None
    assert ranked(np.ones(9), 0.9) == 1.0
    assert ranked(np.array([]), 0.9) is None


@pytest.mark.parametrize(("known", "carries"), [(8, False), (9, True)])
def test_unknown_residuals_do_not_count(known: int, carries: bool) -> None:
    residuals = np.array([np.nan] * 5 + [1.0] * known)
    found = conformal.learn(made.held(residuals), np.ones((len(residuals), 1)), 0.9)
    assert np.isfinite(found.quantiles).all() == carries
    assert np.isnan(found.quantiles).all() != carries


def test_coverage_of_exchangeable_residuals() -> None:
    """Theory: rank/(n + 1), whatever the distribution (here heavy-tailed)."""
    rng = np.random.default_rng(0)
    trials = 4000
    draws = rng.standard_t(2, size=(trials, 25))
    covered = [abs(row[24]) <= ranked(row[:24], 0.9) for row in draws]
    assert np.mean(covered) == pytest.approx(23 / 25, abs=4 * np.sqrt(0.92 * 0.08 / trials))


@given(
    st.lists(st.floats(-10, 10), min_size=20, max_size=40),
    st.integers(2, 5),
)
def test_fold_widths_ignore_their_own_fold(values: list[float], folds: int) -> None:
    residuals, fold = np.array(values), np.arange(len(values)) % folds
    noise = np.ones((len(values), 1))
    before = conformal.held_out_half_widths(made.held(residuals, fold=fold), noise, 0.5)
    residuals[fold == 0] = 1e6
    after = conformal.held_out_half_widths(made.held(residuals, fold=fold), noise, 0.5)
    assert np.array_equal(before[fold == 0], after[fold == 0], equal_nan=True)
