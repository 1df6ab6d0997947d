"""Noise of replicates and seeded draws, against laws that are known."""

import json
import subprocess
import sys
from dataclasses import replace

import made_cells as made
import numpy as np
import pytest

from wattproof.surrogate import noise
from wattproof.surrogate.cells import BINS, Cells, bin_of, some_epochs


def replicated(groups: int, size: int, std: float, seed: int, draw: str = "normal") -> Cells:
    rng = np.random.default_rng(seed)
    network = np.repeat(np.arange(groups), size)
    level = rng.normal(8, 1, groups)[network]
    errors = rng.standard_normal(len(network))
    if draw == "heavy":
        errors = rng.standard_t(3, len(network)) / np.sqrt(3)
    return made.ends(level + std * errors, network)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_pooled_noise_is_unbiased(size: int) -> None:
    """The mean of pooled variances over many campaigns of pairs is the true variance."""
    found = [
        noise.estimate(replicated(12, size, 0.02, seed)).about["energy_j"].std
        for seed in range(300)
    ]
    squares = np.square(found)
    error = squares.std(ddof=1) / np.sqrt(len(squares))
    assert squares.mean() == pytest.approx(0.02**2, abs=4 * error)


def test_groups_of_unequal_size_are_pooled_by_their_degrees_of_freedom() -> None:
    cells = made.ends(np.array([0.0, 2.0, 5.0, 5.0, 8.0, 1.0]), np.array([0, 0, 1, 1, 1, 2]))
    about = noise.estimate(cells).about["energy_j"]
    assert about.std == pytest.approx(np.sqrt((2.0 + 6.0) / 3))
    assert (about.groups, about.freedom) == (2, 3)


def test_its_own_interval_covers_the_true_noise() -> None:
    inside = []
    for seed in range(400):
        about = noise.estimate(replicated(15, 2, 0.02, seed)).about["energy_j"]
        inside.append(about.low <= 0.02 <= about.high)
    assert np.mean(inside) == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / 400))


def test_two_runs_of_one_seed_are_no_replicates() -> None:
    cells = made.ends(np.array([1.0, 3.0]), np.zeros(2), seed=np.zeros(2, dtype=np.int64))
    assert noise.estimate(cells).about["energy_j"].source == "none"


def test_noise_by_progress() -> None:
    """Noise that falls along the training is found where it is; the end has its own."""
    rng = np.random.default_rng(0)
    runs, epochs = 400, 10
    true = np.linspace(0.05, 0.01, epochs)
    truth = 0.5 + true * rng.standard_normal((runs, epochs))
    cells = made.curves(runs, epochs, truth, np.arange(runs) // 2, np.arange(runs) % 2)
    found = noise.estimate(cells)
    by_epoch = found.at(np.arange(1, epochs + 1), np.full(epochs, epochs))[:, 0]
    assert by_epoch == pytest.approx(true, rel=0.25)
    assert by_epoch[-1] == found.about["accuracy"].std


def test_few_replicates_share_one_noise_over_the_training() -> None:
    rng = np.random.default_rng(0)
    cells = made.curves(4, 10, rng.normal(0.5, 0.01, (4, 10)), np.arange(4) // 2, np.arange(4) % 2)
    inside = noise.estimate(cells).by_bin[:BINS, 0]
    assert np.ptp(inside) == 0


def test_without_replicates_held_out_residuals_stand_in_and_say_so() -> None:
    rng = np.random.default_rng(0)
    held = made.held(rng.normal(0, 0.05, 500))
    about = noise.estimate(held.cells, held).about["energy_j"]
    assert about.std == pytest.approx(0.05, rel=0.1)
    assert about.source == "held-out residuals"
    assert "model's error" in about.words
    alone = noise.estimate(held.cells)
    assert alone.about["energy_j"].std is None
    assert "unknown" in alone.about["energy_j"].words
    assert np.isnan(alone.by_bin).all()


def many(draw: str = "normal") -> noise.Noise:
    """Energy and time that move together, accuracy on its own, a latency without noise."""
    rng = np.random.default_rng(3)
    base = replicated(150, 2, 1.0, 0)
    errors = rng.standard_normal((300, 2)) if draw == "normal" else rng.standard_t(3, (300, 2))
    columns = np.stack(
        [
            0.01 * errors[:, 0],
            0.01 * errors[:, 0] + 0.002 * errors[:, 1],
            0.5 + 0.007 * errors[:, 1],
            np.zeros(300),
        ],
        axis=1,
    )
    cells = replace(
        base,
        targets=("energy_j", "time_s", "accuracy", "latency_s"),
        scales=("log", "log", "unit", "log"),
        truth=columns,
    )
    return noise.estimate(cells)


def numbers(n: int) -> np.ndarray:
    return np.random.default_rng(9).integers(0, 2**64, n, dtype=np.uint64)


@pytest.mark.parametrize("draw", ["normal", "heavy"])
def test_draws_have_the_covariance_of_the_replicates(draw: str) -> None:
    found = many(draw)
    assert found.law == ("normal" if draw == "normal" else "resampled")
    shifts = found.draw(numbers(40_000))
    assert shifts.mean(axis=0) == pytest.approx(0, abs=3e-4)
    assert shifts.std(axis=0) == pytest.approx(found.by_bin[BINS], rel=0.05)
    assert np.corrcoef(shifts[:, 0], shifts[:, 1])[0, 1] == pytest.approx(0.98, abs=0.02)
    assert (shifts[:, 3] == 0).all()


def test_resampled_draws_keep_the_heavy_tails() -> None:
    from scipy import stats

    assert stats.kurtosis(many("heavy").draw(numbers(40_000))[:, 0]) > 1.0
    assert abs(stats.kurtosis(many().draw(numbers(40_000))[:, 0])) < 0.1


@pytest.mark.parametrize("draw", ["normal", "heavy"])
def test_fifty_seeds_give_fifty_values(draw: str) -> None:
    shifts = many(draw).draw(np.arange(50, dtype=np.uint64))
    assert all(len(np.unique(shifts[:, column])) == 50 for column in range(3))


@pytest.mark.parametrize("draw", ["normal", "heavy"])
def test_a_draw_does_not_hang_on_what_is_drawn_beside_it(draw: str) -> None:
    found, wanted = many(draw), numbers(1000)
    whole = found.draw(wanted)
    for row in (0, 17, 999):
        assert np.array_equal(found.draw(wanted[row : row + 1])[0], whole[row])


SCRIPT = """
import json, sys
import numpy as np
from wattproof.surrogate.noise import Noise
before = np.random.get_state()[1].tolist()
found = Noise.from_dict(json.load(sys.stdin)).draw(np.arange(5, dtype=np.uint64))
assert np.random.get_state()[1].tolist() == before
print([value.hex() for value in found.ravel().tolist()])
"""


def test_another_process_draws_the_same_bits() -> None:
    found = many("heavy")
    text = json.dumps(found.as_dict(), allow_nan=False)
    out = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=text, capture_output=True, text=True, check=True
    )
    here = found.draw(np.arange(5, dtype=np.uint64))
    assert out.stdout.strip() == str([value.hex() for value in here.ravel().tolist()])


def test_the_generator_is_that_of_its_authors() -> None:
    """Splitmix64 from state 1234567, as published (Vigna): the same on another day and machine."""
    found = noise._mixed(np.array([1234567], dtype=np.uint64), 3)[0].tolist()
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_random_state_is_untouched() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    many().draw(numbers(10))
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_json_round_trip() -> None:
    for found in (many(), many("heavy"), noise.estimate(made.ends(np.arange(3.0)))):
        again = noise.Noise.from_dict(json.loads(json.dumps(found.as_dict(), allow_nan=False)))
        assert again.about == found.about
        assert np.array_equal(again.by_bin, found.by_bin, equal_nan=True)
        assert np.array_equal(again.draw(numbers(20)), found.draw(numbers(20)))


@pytest.mark.parametrize("epochs", [1, 3, 5, 7, 10, 20, 200])
def test_bins_and_chosen_epochs(epochs: int) -> None:
    epoch = np.arange(1, epochs + 1)
    bins = bin_of(epoch, np.full(epochs, epochs))
    assert bins[-1] == BINS
    assert (np.diff(bins) >= 0).all()
    run, chosen = some_epochs(np.array([epochs, 4]))
    mine = chosen[run == 0]
    assert mine[-1] == epochs
    assert len(mine) == min(epochs, BINS)
    assert (np.diff(mine) > 0).all()
    # Each bin that has an epoch is represented.
    assert set(bins[mine - 1]) == set(bins) or epochs > BINS
