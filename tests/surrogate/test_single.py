"""One configuration by plain numbers is what arrays of n say of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattproof.surrogate import novelty, shapes
from wattproof.surrogate.heads import Heads
from wattproof.surrogate.single import Single, plain
from wattproof.surrogate.targets import ALL, LEARNED

EPOCHS = np.array([12])


def heads(rising: str) -> Heads:
    rng = np.random.default_rng(0)
    cells = np.sort(rng.uniform(0.1, 0.9, size=(30, 12)), axis=1)
    bending = shapes.bending("splines", cells, np.full(30, 12))
    return Heads(tuple(LEARNED), bending, shapes.rising(rising))


@pytest.mark.parametrize("rising", ["line", "splines"])
@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([(1, 1), (4, 4), (3, 1), (1, 3)]),
    st.integers(1, 12),
    st.booleans(),
)
def test_rows_are_those_of_arrays(
    rising: str, seed: int, members: tuple[int, int], epoch: int, known: bool
) -> None:
    found, rng = heads(rising), np.random.default_rng(seed)
    curves, ends = found.of("cost", "curve"), found.of("cost", "end")
    accuracies = found.bending.size + len(found.of("accuracy", "end"))
    accuracy = rng.normal(0, 1, (members[0], 1, accuracies)).astype(np.float32)
    cost = rng.normal(3, 1, (members[1], 1, len(curves) + len(ends))).astype(np.float32)
    weights = rng.normal(0.2, 0.5, (1, len(curves) * found.rising.size)).astype(np.float32)
    width = len(found.targets)
    noise, quantile = rng.uniform(0, 0.1, (2, 1, width))
    if not known:  # of some targets nothing is known
        noise[0, ::2] = quantile[0, 1::3] = np.nan
    floor, shift = rng.uniform(0, 0.1, width), rng.normal(0, 0.1, width)

    moment = found.moment(np.array([epoch]), EPOCHS)
    guess, spread = np.zeros((2, 1, width))
    found.evaluate(accuracy, cost, weights, moment, guess, spread)
    half = quantile * np.sqrt(np.maximum(noise**2 + spread**2, floor**2))
    shares = np.array([ALL[name].scale == "unit" for name in found.targets])

    def natural(values: np.ndarray) -> np.ndarray:
        return np.where(shares, np.clip(values, 0, 1), np.exp(np.where(shares, 0.0, values)))[0]

    value, low, high = (natural(x) for x in (guess, guess - half, guess + half))
    expected = np.stack([value, low, high, noise[0], spread[0]], axis=1)
    single, at = Single(found, floor), plain(moment, noise, quantile)
    rows = single.rows(accuracy, cost, weights, at, None)
    assert np.array(rows) == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True)
    moved = np.where(shares, np.clip(value + shift, 0, 1), value * np.exp(shift))
    drawn = np.array(single.rows(accuracy, cost, weights, at, shift.tolist()))
    assert drawn[:, 0] == pytest.approx(moved, rel=1e-12)
    assert drawn[:, 1:] == pytest.approx(expected[:, 1:], rel=1e-12, abs=1e-12, nan_ok=True)


def test_absurd_extrapolations_are_infinite_not_an_error() -> None:
    found = heads("line")
    width = len(found.targets)
    moment = found.moment(np.array([12]), EPOCHS)
    accuracies = found.bending.size + len(found.of("accuracy", "end"))
    far = np.full((1, 1, width - 3), 800.0)  # without accuracies and power
    at = plain(moment, np.zeros((1, width)), np.ones((1, width)))
    rows = Single(found, np.ones(width)).rows(np.zeros((1, 1, accuracies)), far, None, at, None)
    assert max(row[0] for row in rows) == np.inf


@pytest.mark.parametrize("columns", [3, 70])
def test_novelty_of_one_is_that_of_many(columns: int) -> None:
    """Few inputs, and so many levels that their pairs need more than one word of bits."""
    rng = np.random.default_rng(columns)
    levels = rng.integers(0, 4, size=(600, columns)).astype(float)
    levels[:, 1] = np.where(levels[:, 0] > 1, levels[:, 1] % 2, 2 + levels[:, 1] % 2)
    levels[:, 2] = rng.normal(size=600)
    learned = novelty.learn(levels, rng.integers(0, 5, size=600))
    asked = rng.permuted(levels, axis=0)
    asked[::7] += rng.normal(size=asked[::7].shape)
    many = learned.score(asked)
    assert 0.02 < (many > 1).mean() < 1
    one = [learned.one(row[None]) for row in asked]
    assert one == pytest.approx(many, rel=1e-9)
