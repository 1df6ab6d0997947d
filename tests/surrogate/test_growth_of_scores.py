"""Learning curve of the surrogate: nested parts, a known power law, and when it is refused."""

import itertools

import made_cells as made
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattproof import tables
from wattproof.surrogate import growth
from wattproof.surrogate.cells import BINS, HeldOut
from wattproof.surrogate.noise import Noise, TargetNoise

NOISE = Noise(
    *(("energy_j",), ("log",)),
    {"energy_j": TargetNoise(0.01, 0.009, 0.011, 50, 50, "replicates", "as made")},
    *(np.full((BINS + 1, 1), 0.01), np.array([[0.01]]), np.zeros((0, 1))),
)


def test_parts_are_nested_by_network_and_tested_on_the_same_networks() -> None:
    networks = np.repeat(np.arange(300), 2)
    found = growth.parts(networks, seeds=3)
    assert len(found) == 15
    assert sorted({one.networks for one in found}) == [15, 30, 60, 120, 240]
    for one in found:
        assert np.array_equal(one.test, found[0].test)
        assert not set(networks[one.train]) & set(networks[one.test])
        assert len(set(networks[one.train])) == one.networks
    for seed in range(3):
        mine = [one.train for one in found if one.seed == seed]
        for smaller, larger in itertools.pairwise(mine):
            assert (larger | ~smaller).all()
    whole = [set(networks[one.train]) for one in found if one.networks == 15]
    assert whole[0] != whole[1]


def test_small_campaigns_have_no_small_parts() -> None:
    assert [one.networks for one in growth.parts(np.arange(20), seeds=1)] == [8, 16]
    assert growth.parts(np.arange(5), seeds=2) == []


@given(
    st.floats(0.05, 2.0),
    st.floats(0.2, 1.2),
    st.sampled_from([0.0, 0.005, 0.01]),
    st.integers(0, 9),
)
def test_power_law_recovers_what_was_made(
    scale: float, exponent: float, rest: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    networks = np.repeat(np.array([100.0, 200, 400, 800, 1600]), 3)
    true = scale * networks**-exponent + rest
    found = growth.power_law(networks, true * np.exp(rng.normal(0, 0.003, 15)))
    assert not isinstance(found, str)
    a, b, c, scatter = found
    twice = a * 3200.0**-b + c
    assert twice == pytest.approx(scale * 3200.0**-exponent + rest, rel=0.1)
    assert scatter < 0.02


@pytest.mark.parametrize(
    ("networks", "errors", "why"),
    [
        ([10, 20, 40], [0.3, 0.2, 0.1], "too few"),
        ([10, 20, 40, 80], [0.1, 0.1, 0.1, 0.2], "does not fall"),
        ([10, 20, 40, 80], [0.1, 0.05, 0.0, 0.0], "zero"),
        ([10, 20, 40, 80] * 2, [0.9, 0.1, 0.9, 0.1, 0.1, 0.9, 0.1, 0.3], "off any curve"),
    ],
)
def test_what_the_data_cannot_carry_is_refused(
    networks: list[float], errors: list[float], why: str
) -> None:
    found = growth.power_law(np.array(networks, dtype=float), np.array(errors))
    assert isinstance(found, str)
    assert why in found


def test_a_size_that_has_not_begun_to_learn_is_left_out() -> None:
    networks = np.array([100.0, 200, 400, 800, 1600])
    errors = 0.5 * networks**-0.5
    errors[0] = 1.0
    found = growth.power_law(networks, errors)
    assert not isinstance(found, str)
    assert found[0] * 3200.0 ** -found[1] + found[2] == pytest.approx(0.5 * 3200.0**-0.5, rel=0.02)


def test_scatter_among_equals_is_pooled() -> None:
    networks = np.array([10.0, 10, 20, 20, 40])
    errors = np.exp(np.array([0.1, -0.1, 0.3, 0.3, 5.0]))
    assert growth.among_equals(networks, errors) == pytest.approx(np.sqrt(0.02 / 2))
    assert growth.among_equals(networks[[0, 2]], errors[[0, 2]]) is None


def measured(errors: dict[int, float], noise: float | None = 0.01) -> list[dict]:
    return [{"networks": n, "mape": e, "mae": e, "noise": noise} for n, e in errors.items()]


def test_nothing_falls_below_the_noise() -> None:
    """Errors that reach the mean absolute noise (0.8 %) stay there, whatever the curve was."""
    errors = {100: 0.04, 200: 0.02, 400: 0.0095, 800: 0.0082, 1600: 0.008}
    row = growth.expected("energy_j", measured(errors), True)
    assert row["mape"] == pytest.approx(0.008, rel=0.03)
    assert row["words"].startswith("Stop here")
    assert "another model" not in row["words"]


def test_a_builder_is_told_what_twice_as_many_bring() -> None:
    row = growth.expected(
        "energy_j", measured({n: 4 * n**-0.5 for n in (100, 200, 400, 800)}, None), True
    )
    assert row["networks"] == 1600
    assert row["mape"] == pytest.approx(0.1, rel=0.02)
    assert "1,600 networks instead of 800" in row["words"]
    assert "10.0" in row["words"]
    assert "29% less" in row["words"]
    assert row["words"].startswith("More runs help")


def test_a_builder_is_told_to_stop() -> None:
    errors = {100: 0.0301, 200: 0.0204, 400: 0.0199, 800: 0.0201}
    row = growth.expected("energy_j", measured(errors), True)
    assert row["words"].startswith("Stop here")
    assert "settles at 2.00%, 2.5 times what noise alone makes (0.80%)" in row["words"]
    assert "another model would help" in row["words"]


def test_nobody_is_promised_less_than_noise_makes() -> None:
    """Replicates that are 1 % apart leave an error of 0.80 %, whatever the power law says."""
    falling = {n: 0.14 * n**-0.4 for n in (100, 200, 400, 800)}
    row = growth.expected("energy_j", measured(falling), True)
    assert 0.01 * np.sqrt(2 / np.pi) <= row["mape"] < falling[800]
    assert row["words"].startswith("More runs help")
    there = {n: 0.12 * n**-0.4 for n in (100, 200, 400, 800)}
    row = growth.expected("energy_j", measured(there), True)
    assert row["mape"] >= 0.0079
    assert row["words"] == (
        "Stop here: the error is 0.83%, and noise alone makes 0.80%; no model can do better."
    )


def test_a_builder_is_told_that_it_cannot_be_told() -> None:
    row = growth.expected("energy_j", measured({100: 0.1, 200: 0.05}), True)
    assert row["words"].startswith("What more runs would bring cannot be told: 2 sizes")
    assert row["kind"] == "expected"
    assert "mape" not in row


def test_rows_fit_their_table() -> None:
    rng = np.random.default_rng(0)
    networks = np.arange(400)
    parts = growth.parts(networks, seeds=3)
    held = []
    for part in parts:
        n = int(part.test.sum())
        residuals = rng.normal(0, 0.01 + 2 * part.networks**-1.0, n)
        cells = made.ends(3 + rng.normal(0, 1, n) + residuals)
        guess = cells.truth - residuals[:, None]
        held.append(HeldOut(cells, guess, np.zeros((n, 1)), np.arange(n) % 5))
    rows = growth.rows(parts, held, NOISE, 0.9)
    frame = tables.conform(rows, "growth").to_pandas()
    assert (frame["kind"] == "measured").sum() == len(parts)
    last = frame[frame["kind"] == "expected"].iloc[0]
    assert last["networks"] == 640
    assert 0.005 < last["mape"] < 0.02
    whole = frame[frame["networks"] == 320]
    assert (whole["coverage"] > 0.8).all()
    assert growth.rows([], [], NOISE, 0.9) == []
