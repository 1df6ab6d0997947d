"""Pareto fronts against the definition, and in time for large sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from wattproof.benchmark.fronts import non_dominated


def by_definition(costs: np.ndarray) -> list[bool]:
    return [
        not any((other <= point).all() and (other < point).any() for other in costs)
        for point in costs
    ]


@given(
    st.integers(1, 5).flatmap(
        lambda m: arrays.arrays(
            np.float64,
            st.tuples(st.integers(0, 40), st.just(m)),
            elements=st.integers(0, 6).map(float),
        )
    )
)
def test_fronts_are_those_of_the_definition(costs: np.ndarray) -> None:
    """Small whole numbers: many ties and many equal points."""
    assert non_dominated(costs).tolist() == by_definition(costs)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_larger_sets(objectives: int) -> None:
    costs = np.random.default_rng(objectives).normal(size=(1500, objectives))
    assert non_dominated(costs).tolist() == by_definition(costs)


@pytest.mark.parametrize("objectives", [2, 3])
def test_points_that_all_stay(objectives: int) -> None:
    """The slow case of naive methods: 30,000 points on a sphere, none beats another."""
    points = np.abs(np.random.default_rng(0).normal(size=(30_000, objectives)))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    assert non_dominated(-points).all()
    assert non_dominated(np.concatenate([-points, 1 - points])).sum() == 30_000
