"""Choose, for each group of targets, model and curve family: by held-out error and counted cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wattproof.surrogate import models, shapes
from wattproof.surrogate.cells import HeldOut, Ints
from wattproof.surrogate.learning import Choice, Learner

FIRST_CURVE = {"accuracy": "pca", "cost": "line"}
"""Curve families on which models are compared; then curve families, with the best model."""

CURVES = {"accuracy": shapes.BENDING, "cost": shapes.RISING}

MOST_OPERATIONS = 150_000
"""Counted cost that a group may have. Ten thousand queries of it take about 40 ms on one core,
which leaves as much for everything else within the bar of 100 ms."""

SMALLEST = 1e-9
"""Smaller residuals are rounding."""

TIE = 0.01
"""Errors that differ by less, relatively, are equal: the simpler choice wins."""


@dataclass(frozen=True)
class Trial:
    """One choice that was tried.

    Attributes:
        choice: What.
        held: Its held-out predictions.
        operations: Counted cost of a query.
    """

    choice: Choice
    held: HeldOut
    operations: int

    @property
    def error(self) -> float:
        """Mean absolute residual on the targets' scales over epochs; geometric mean over targets.

        So no target outweighs the others because it is noisier, or of another unit.
        """
        found = np.abs(self.held.residuals)
        means = [float(column[np.isfinite(column)].mean()) for column in found.T]
        return float(np.exp(np.mean(np.log(np.maximum(means, SMALLEST)))))


def choose(
    learner: Learner, group: str, folds: Ints, families: Sequence[str] = models.FAMILIES
) -> tuple[Trial, list[Trial]]:
    """Compare the models on one curve family, then the curve families on the best model.

    Args:
        learner: Of the table.
        group: Of targets.
        folds: Fold of each run, by network.
        families: Models to compare; the mean is always among them.

    Returns:
        The chosen trial, and all of them in the order of preference between equals.
    """
    first = FIRST_CURVE[group]
    some = [f for f in models.FAMILIES if f == models.FAMILIES[0] or f in families]
    found = {(f, first): _try(learner, group, Choice(f, first), folds) for f in some}
    family = _best([found[f, first] for f in some]).choice.family
    for curve in CURVES[group]:
        if curve != first:
            found[family, curve] = _try(learner, group, Choice(family, curve), folds)
    trials = [
        found[family, curve]
        for family in some
        for curve in CURVES[group]
        if (family, curve) in found
    ]
    return _best([one for one in trials if one.choice.family == family]), trials


def _try(learner: Learner, group: str, choice: Choice, folds: Ints) -> Trial:
    return Trial(choice, *learner.held_out(group, choice, folds))


def _best(trials: list[Trial]) -> Trial:
    """The simplest of those that are as good as the best one that is cheap enough."""
    cheap = [one for one in trials if one.operations <= MOST_OPERATIONS]
    least = min(one.error for one in cheap)
    return next(one for one in cheap if one.error <= least * (1 + TIE))
