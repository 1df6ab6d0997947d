"""Curve families: exact on their own functions, rising by construction, honest on others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from wattproof.surrogate import shapes
from wattproof.surrogate.heads import Heads
from wattproof.surrogate.targets import ENERGY, TIME

LENGTHS = np.array([5, 10, 20, 12, 50])


def increments(shape: shapes.Shape, level: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Joules of each epoch of curves that the family writes exactly; R × E."""
    cells = np.full((len(level), LENGTHS.max()), np.nan)
    for run, length in enumerate(LENGTHS):
        functions = shape.at(np.arange(length + 1) / length)[1]
        functions[0] = 0.0
        total = np.exp(level[run]) * length
        cells[run, :length] = np.diff(functions @ weights[run]) * total
    return cells


@pytest.mark.parametrize("name", shapes.RISING)
@pytest.mark.parametrize("lost", [False, True])
def test_projection_of_costs_is_exact_on_its_own_functions(name: str, lost: bool) -> None:
    shape = shapes.rising(name)
    rng = np.random.default_rng(0)
    level = rng.normal(5.0, 1.0, len(LENGTHS))
    weights = rng.dirichlet(np.ones(shape.size), len(LENGTHS))
    cells = increments(shape, level, weights)
    if lost:  # an unknown epoch costs itself alone
        cells[2:, 7] = np.nan
    found_level, found = shapes.project_rising(shape, cells, LENGTHS)
    assert found.sum(axis=1) == pytest.approx(1.0)
    assert (found >= 0).all()
    assert found_level == pytest.approx(level, abs=1e-4)
    for run, length in enumerate(LENGTHS):
        functions = shape.at(np.arange(1, length + 1) / length)[1]
        assert functions @ found[run] == pytest.approx(functions @ weights[run], abs=1e-4)


@pytest.mark.parametrize("name", ["bezier", "splines"])
def test_projection_of_accuracies_is_exact_on_its_own_functions(name: str) -> None:
    rng = np.random.default_rng(1)
    lengths = np.array([12, 20, 50])
    plain = shapes.bending(name, rng.uniform(0.2, 0.8, (3, 50)), lengths)
    wanted = rng.normal(0.0, 0.2, (3, plain.size))
    cells = np.full((3, 50), np.nan)
    for run, length in enumerate(lengths):
        mean, functions = plain.at(np.arange(1, length + 1) / length)
        cells[run, :length] = mean + functions @ wanted[run]
    cells[1, 4] = np.nan
    found = shapes.project_bending(plain, cells, lengths)
    assert found[2] == pytest.approx(wanted[2], abs=1e-3)
    # A short curve says nothing of a function that is over before its first epoch.
    for run, length in enumerate(lengths):
        mean, functions = plain.at(np.arange(1, length + 1) / length)
        known = np.isfinite(cells[run, :length])
        curve = mean + functions @ found[run]
        assert curve[known] == pytest.approx(cells[run, :length][known], abs=1e-4)


def test_components_write_curves_that_differ_in_two_ways_by_two_numbers() -> None:
    """Final accuracy and speed vary: two components, and next to nothing is left."""
    rng = np.random.default_rng(2)
    epoch, lengths = np.arange(1, 21), np.full(200, 20)
    best, speed = rng.uniform(0.4, 0.8, (200, 1)), rng.normal(0.0, 0.05, (200, 1))
    cells = best * (1 - 0.8**epoch) + speed * np.sin(np.pi * epoch / 20)
    shape = shapes.bending("pca", cells, lengths)
    mean, functions = shape.at(epoch / 20)
    found = shapes.project_bending(shape, cells, lengths)
    assert shape.size == 2
    assert np.abs(mean + found @ functions.T - cells).max() < 0.02
    assert (np.mean(shape.functions**2, axis=0)) == pytest.approx(1.0)


def test_a_family_that_cannot_write_the_curves_leaves_more() -> None:
    """Half of the cost in the first epoch: the line cannot, the step can."""
    steps = np.full((4, 20), np.nan)
    for run, length in enumerate([5, 10, 20, 20]):
        steps[run, :length] = 1.0
        steps[run, 0] = 10.0
    lengths = np.array([5, 10, 20, 20])
    left = {}
    for name in ("line", "step"):
        shape = shapes.rising(name)
        level, weights = shapes.project_rising(shape, steps, lengths)
        so_far = np.cumsum(steps[3])
        share = shape.at(np.arange(1, 21) / 20)[1] @ weights[3]
        left[name] = np.abs(np.exp(level[3]) * 20 * share / so_far - 1).max()
    assert left["step"] < 1e-3
    assert left["line"] > 0.3


@given(st.data())
def test_costs_rise_strictly_whatever_the_models_say(data: st.DataObject) -> None:
    """Any coefficients, any length, any epoch: each epoch costs something."""
    name = data.draw(st.sampled_from(shapes.RISING))
    length = data.draw(st.integers(2, 400))
    numbers = st.floats(-5.0, 5.0, width=32)
    heads = Heads((ENERGY, TIME), shapes.rising("line"), shapes.rising(name))
    q = heads.rising.size
    weights = data.draw(arrays.arrays(np.float64, (1, 2 * q), elements=numbers))
    levels = data.draw(arrays.arrays(np.float64, (3, 1, 2), elements=numbers))
    epoch = np.arange(1, length + 1)
    many = [np.repeat(levels, length, axis=1), np.repeat(weights, length, axis=0)]
    row = heads.rising.at(epoch / length)[1]
    found = np.exp(heads.cost_at(*many, row, np.full(length, length)).mean(axis=0))
    assert (np.diff(found[:, :2], axis=0) > 0).all()
    assert (found[:, :2] > 0).all()
    assert found[:, 2] == pytest.approx(found[:, 0] / found[:, 1])


def test_runs_without_a_known_epoch_stay_unknown() -> None:
    cells = np.full((2, 5), np.nan)
    cells[0] = 2.0
    lengths = np.array([5, 5])
    level, weights = shapes.project_rising(shapes.rising("step"), cells, lengths)
    assert np.isfinite(level).tolist() == [True, False]
    assert np.isfinite(weights).all(axis=1).tolist() == [True, False]
    shape = shapes.bending("bezier", cells, lengths)
    found = shapes.project_bending(shape, cells, lengths)
    assert np.isfinite(found).all(axis=1).tolist() == [True, False]


def test_one_epoch_is_a_curve() -> None:
    cells, lengths = np.array([[3.0], [5.0]]), np.array([1, 1])
    for name in shapes.RISING:
        level, weights = shapes.project_rising(shapes.rising(name), cells, lengths)
        assert np.exp(level) == pytest.approx([3.0, 5.0], rel=1e-6)
        assert weights.sum(axis=1) == pytest.approx(1.0)
