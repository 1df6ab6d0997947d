"""The assumed model of learning curves: its shape, its seeds, what each option does."""

from __future__ import annotations

import numpy as np
import pytest

from wattproof import space
from wattproof.offline import learning

TINY = learning.task("tiny_imagenet")
SPACE = space.get("ea_has_tinyimagenet")
RECIPE = {"lr": 0.1, "optimizer": "sgd", "policy": "cos", "cutout": 0, "epochs": 100}
SMALL = {"depth": 6, "w_0": 48, "w_a": 8.0, "w_m": 2.5, "group_width": 1}
LARGE = {"depth": 15, "w_0": 128, "w_a": 32.0, "w_m": 3.0, "group_width": 32}


def curve(architecture=LARGE, seed=0, **changes):
    costs = SPACE.realise(architecture, 32, 200).complexity()
    return learning.curve(costs, RECIPE | changes, TINY, np.random.default_rng(seed))


def final(architecture=LARGE, **changes):
    """Mean over seeds: what the options do, without noise."""
    runs = [curve(architecture, seed, **changes).test_accuracy for seed in range(12)]
    return float(np.mean(runs))


def test_equal_seeds_are_equal_and_others_scatter_a_little() -> None:
    assert curve(seed=3).test_accuracy == curve(seed=3).test_accuracy
    finals = [curve(seed=seed).test_accuracy for seed in range(100)]
    assert 0.003 < np.std(finals) < 0.02


@pytest.mark.parametrize("epochs", [50, 100, 200])
@pytest.mark.parametrize("policy", ["cos", "exp", "lin"])
def test_curves_rise_from_chance_to_what_is_published(epochs, policy) -> None:
    found = curve(epochs=epochs, policy=policy)
    for values in (found.val_accuracy, found.train_accuracy):
        assert len(values) == epochs
        assert ((values >= 0) & (values <= 1)).all()
    smooth = np.convolve(found.val_accuracy, np.ones(10) / 10, "valid")
    assert (np.diff(smooth) > -0.01).all()
    assert found.val_accuracy[0] < 0.5 * found.val_accuracy[-1]
    # EA-HAS-Bench shows up to 61 % (ea_has_bench.md, section 1.3).
    assert 0.35 < found.test_accuracy < 0.66
    assert (found.train_accuracy[-10:] > found.val_accuracy[-10:]).all()
    assert (np.diff(found.learning_rate) <= 0).all()


def test_losses_fall_as_accuracies_rise() -> None:
    found = curve()
    assert np.corrcoef(found.val_loss, found.val_accuracy)[0, 1] < -0.9
    assert found.val_loss[0] < np.log(200) + 0.5  # not worse than guessing
    assert (found.val_loss > 0).all()


def test_what_helps_a_training_helps() -> None:
    assert final(LARGE) > final(SMALL) + 0.02
    assert final(epochs=200) > final(epochs=100) > final(epochs=50)
    assert final(policy="cos") > final(policy="exp")
    # Cutout slows short trainings and helps long ones.
    assert final(cutout=16, epochs=200) > final(cutout=0, epochs=200)
    assert final(cutout=16, epochs=50) < final(cutout=0, epochs=50) + 0.005


@pytest.mark.parametrize(("optimizer", "best"), [("sgd", 0.1), ("adam", 0.003), ("adamw", 0.003)])
def test_each_optimiser_has_its_learning_rate(optimizer, best) -> None:
    rates = SPACE.training["lr"]
    finals = {lr: final(optimizer=optimizer, lr=lr) for lr in rates}
    assert max(finals, key=finals.__getitem__) == best
    below = [finals[lr] for lr in rates if lr <= best]
    above = [finals[lr] for lr in rates if lr >= best]
    assert below == sorted(below)
    assert above == sorted(above, reverse=True)


def test_adam_at_a_learning_rate_of_one_learns_next_to_nothing() -> None:
    assert final(optimizer="adam", lr=1.0) < 0.1


def test_the_draws_of_a_campaign_spread() -> None:
    finals = []
    for seed, config in enumerate(SPACE.sample(300, 1)):
        costs = SPACE.realise(config, 32, 200).complexity()
        run = learning.curve(costs, config, TINY, np.random.default_rng(seed))
        finals.append(run.test_accuracy)
    low, high = np.percentile(finals, [5, 95])
    assert low < 0.2
    assert high > 0.5
    assert max(finals) < 0.68
