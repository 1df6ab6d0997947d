"""Accuracies of trainings that never took place: a seeded model of learning curves, ASSUMED.

Nothing here is measured, and nothing is claimed of any real network: offline campaigns need curves
of a plausible shape, so that data set, surrogate and benchmark can be tried at scale. The form:

* final accuracy = chance + (ceiling − chance) · capacity · tuning · schedule · budget, where
  capacity saturates with multiply-accumulates, tuning falls with the distance of the learning rate
  from its optimiser's best one, and budget grows with the epochs of the schedule;
* the curve rises like 1 − (1 + e/τ)^−1.2 and takes its last step as the learning rate falls;
* noise: one draw a run (initial weights), one an epoch (order), both seeded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof.errors import WattproofError, did_you_mean
from wattproof.space import Complexity
from wattproof.training.schedule import learning_rate

HALF_MACS, MACS_EXPONENT = 4e6, 0.45
BEST_LR = {"sgd": 0.1, "adam": 0.003, "adamw": 0.003}
LR_DECADES = 0.9
"""A learning rate so many decades from the best one costs 40 % of what can be learnt."""
POLICY_BONUS = {"cos": 1.0, "lin": 0.99, "exp": 0.96}
HALF_EPOCHS = 6.0
RISE, RISE_SHARE = 1.2, 0.08
RUN_NOISE, EPOCH_NOISE = 0.006, 0.008


@dataclass(frozen=True, slots=True)
class Task:
    """A data set as far as an offline training needs it.

    Attributes:
        classes: Of its images.
        train_images: Most that an epoch can have.
        eval_images: Of validation and of test, each.
        ceiling: Best accuracy that any network reaches, ASSUMED.
    """

    classes: int
    train_images: int
    eval_images: int
    ceiling: float


TASKS: Mapping[str, Task] = {
    "digits": Task(10, 1_437, 180, 0.99),
    "mnist": Task(10, 50_000, 10_000, 0.997),
    "fashion_mnist": Task(10, 50_000, 10_000, 0.94),
    "cifar10": Task(10, 50_000, 10_000, 0.96),
    "cifar100": Task(100, 50_000, 10_000, 0.80),
    "tiny_imagenet": Task(200, 100_000, 10_000, 0.66),
}
"""Data sets that an offline campaign may name; none of their files is read."""


def task(name: str) -> Task:
    """Return a data set by its name.

    Raises:
        WattproofError: There is none of that name.
    """
    if name not in TASKS:
        raise WattproofError(
            f"There is no data set '{name}' for offline trainings.{did_you_mean(name, TASKS)}"
        )
    return TASKS[name]


@dataclass(frozen=True, slots=True)
class Curve:
    """Metrics by epoch; accuracies from 0 to 1."""

    train_loss: NDArray[np.float64]
    train_accuracy: NDArray[np.float64]
    val_loss: NDArray[np.float64]
    val_accuracy: NDArray[np.float64]
    learning_rate: NDArray[np.float64]
    test_accuracy: float


def curve(
    costs: Complexity, config: Mapping[str, Any], of: Task, rng: np.random.Generator
) -> Curve:
    """Return the learning curve of a run.

    Args:
        costs: Of the realised network.
        config: Training parameters: lr, optimizer, policy, cutout, epochs.
        of: The data set.
        rng: Of this run.
    """
    epochs, lr = int(config["epochs"]), float(config["lr"])
    chance = 1.0 / of.classes
    size = (costs.macs / HALF_MACS) ** MACS_EXPONENT
    capacity = 0.6 + 0.4 * size / (1.0 + size)
    decades = math.log10(lr / BEST_LR[config["optimizer"]])
    tuning = math.exp(-0.5 * (decades / LR_DECADES) ** 2)
    budget = 1.0 - 0.25 / (1.0 + epochs / HALF_EPOCHS)
    # Hiding a part of each image slows short trainings and helps long ones.
    hidden = 1.0 if not config["cutout"] else 0.985 + 0.03 * epochs / (epochs + 50.0)
    share = capacity * tuning * POLICY_BONUS[config["policy"]] * budget * hidden
    final = chance + (of.ceiling - chance) * min(1.0, share)
    final += RUN_NOISE * float(rng.standard_normal())

    epoch = np.arange(1, epochs + 1)
    rate = np.array([learning_rate(config["policy"], lr, e, epochs) for e in range(epochs)])
    rise = 1.0 - (1.0 + epoch / (RISE_SHARE * epochs + 1.0)) ** -RISE
    rise = 0.75 * rise / rise[-1] + 0.25 * (1.0 - rate / lr * (1.0 - epoch / epochs))
    noise = EPOCH_NOISE * rng.standard_normal((2, epochs)) * np.sqrt(rate / lr + 0.05)
    val = np.clip(chance + (final - chance) * rise + noise[0], 0.0, 1.0)
    # Training accuracy runs ahead of validation by what is learnt by heart.
    gap = 0.1 * rise**2 * capacity
    train = np.clip(val + gap + 0.3 * noise[1], 0.0, 1.0)
    test = float(np.clip(val[-1] - 0.005 + 0.004 * rng.standard_normal(), 0.0, 1.0))
    return Curve(_loss(train, of), train, _loss(val, of), val, rate, test)


def _loss(accuracy: NDArray[np.float64], of: Task) -> NDArray[np.float64]:
    """Cross-entropy of a classifier of this accuracy that errs evenly among the other classes."""
    right = np.clip(accuracy, 1e-3, 1.0 - 1e-3)
    wrong = (1.0 - right) / (of.classes - 1)
    found: NDArray[np.float64] = -(right * np.log(right) + (1.0 - right) * np.log(wrong))
    return found
