"""Learn the models of some runs, and predict runs that they did not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wattproof.errors import WattproofError
from wattproof.surrogate import models, shapes
from wattproof.surrogate.cells import Cells, HeldOut, Ints, Mask
from wattproof.surrogate.curves import RunTable
from wattproof.surrogate.encoding import Floats
from wattproof.surrogate.heads import Goals, Heads, goals, settle
from wattproof.surrogate.models import Fitted, Linear, Scaler
from wattproof.surrogate.targets import ACCURACY, ALL, GROUPS, STRAIGHT


@dataclass(frozen=True)
class Choice:
    """One way to model a group of targets.

    Attributes:
        family: One of `models.FAMILIES`.
        curve: Family of curves: one of `shapes.BENDING` or `shapes.RISING`.
    """

    family: str
    curve: str


@dataclass(frozen=True)
class Part:
    """Fitted models of one group.

    Attributes:
        heads: What the outputs mean; of the other group's curves it knows nothing.
        scaler: Standardisation of the inputs.
        fitted: Models of the main outputs.
        weights: Models of the weights of rising functions; none for group ``accuracy``.
        misfit: What the family of curves cannot express, see `heads.Goals`.
    """

    heads: Heads
    scaler: Scaler
    fitted: Fitted
    weights: Linear | None
    misfit: float

    @property
    def operations(self) -> int:
        """Counted cost of a query."""
        extra = 0 if self.weights is None else int(self.weights.coefficients.size)
        return self.fitted.operations + (extra if self.heads.rising.size > 1 else 0)


class Learner:
    """Learns from runs of one table; remembers what all fits have in common."""

    def __init__(self, table: RunTable, settings: Mapping[str, Any]) -> None:
        """Prepare a table.

        Args:
            table: All runs.
            settings: ``trees`` and ``seed``.
        """
        self.table = table
        self.trees: int = settings["trees"]
        self.seed: int = settings["seed"]
        self._costs: dict[str, tuple[Heads, Goals]] = {}

    @cached_property
    def cells(self) -> Cells:
        """Measured cells of all runs."""
        return self.table.cells()

    def targets(self, group: str) -> tuple[str, ...]:
        """Targets of a group that are answered, in order."""
        return tuple(name for name in self.table.targets if ALL[name].group == group)

    def learn(self, group: str, choice: Choice, train: Mask) -> Part:
        """Fit one group to some runs.

        Raises:
            WattproofError: A target is not known for a single run.
        """
        heads, wanted = self._goals(group, choice.curve, train)
        _need(heads, group, wanted.main)
        networks = self.table.networks[train]
        scaler = Scaler.of(self.table.static[train])
        matrix = scaler.apply(self.table.static[train])
        fitted = models.fit_family(
            choice.family,
            matrix,
            wanted.main,
            networks,
            self.trees,
            self.seed,
            even=group == "accuracy",
            straight=[
                place
                for place, name in enumerate(heads.of(group, "curve"))
                if group == "cost" and name in STRAIGHT
            ],
        )
        weights = None
        if wanted.weights is not None:
            weights = models.fit_ridge(matrix, wanted.weights, networks)
        return Part(heads, scaler, fitted, weights, wanted.misfit)

    def predict(self, group: str, part: Part, cells: Cells) -> tuple[Floats, Floats]:
        """Values and spreads of cells on the targets' scales, both C × targets of the group."""
        runs, of = np.unique(cells.run, return_inverse=True)
        matrix = part.scaler.apply(self.table.static[runs])
        members = part.fitted.predict(matrix)[:, of.reshape(-1)]
        progress = cells.epoch / cells.epochs
        if group == "accuracy":
            mean, functions = part.heads.bending.at(progress)
            row = np.column_stack([mean, functions])
            return settle(part.heads.accuracy_at(members, row))
        assert part.weights is not None
        weights = part.weights.predict(matrix)[of.reshape(-1)]
        row = part.heads.rising.at(progress)[1]
        return settle(part.heads.cost_at(members, weights, row, cells.epochs))

    def held_out(self, group: str, choice: Choice, folds: Ints) -> tuple[HeldOut, int]:
        """Predict every run by models that saw no run of its network.

        Args:
            group: Targets to predict.
            choice: How.
            folds: Fold of each run.

        Returns:
            Held-out predictions of the group's targets, and counted cost of a query (the largest of
            the folds).
        """
        whole = self.group_cells(group)
        guess, spread = np.full(whole.truth.shape, np.nan), np.zeros(whole.truth.shape)
        fold = folds[whole.run]
        cost = 0
        for one in np.unique(folds):
            part = self.learn(group, choice, folds != one)
            mine = fold == one
            guess[mine], spread[mine] = self.predict(group, part, whole.take(mine))
            cost = max(cost, part.operations)
        return HeldOut(whole, guess, spread, fold), cost

    def group_cells(self, group: str) -> Cells:
        """Cells with the targets of one group alone."""
        return pick(self.cells, self.targets(group))

    def _goals(self, group: str, curve: str, train: Mask) -> tuple[Heads, Goals]:
        table = self.table
        line = shapes.rising("line")
        if group == "accuracy":
            cells = table.increments[ACCURACY][train]
            if not np.isfinite(cells).any():
                raise _unknown(ACCURACY)
            bending = shapes.bending(curve, cells, table.epochs[train])
            heads = Heads(table.learned, bending, line)
            return heads, goals(table, heads, group, train)
        if curve not in self._costs:
            heads = Heads(table.learned, line, shapes.rising(curve))
            every = np.ones(len(table.epochs), dtype=bool)
            self._costs[curve] = heads, goals(table, heads, group, every)
        heads, found = self._costs[curve]
        assert found.weights is not None
        return heads, Goals(found.main[train], found.weights[train], found.misfit)


def pick(cells: Cells, targets: tuple[str, ...]) -> Cells:
    """Cells of some targets alone."""
    from dataclasses import replace

    columns = [cells.targets.index(name) for name in targets]
    scales = tuple(cells.scales[column] for column in columns)
    return replace(cells, targets=targets, scales=scales, truth=cells.truth[:, columns])


def join(parts: Mapping[str, HeldOut], cells: Cells) -> HeldOut:
    """Put the predictions of all groups side by side."""
    whole = [parts[group] for group in GROUPS]
    return HeldOut(
        cells,
        np.concatenate([one.guess for one in whole], axis=1),
        np.concatenate([one.spread for one in whole], axis=1),
        whole[0].fold,
    )


def _need(heads: Heads, group: str, wanted: Floats) -> None:
    names = [*heads.of(group, "curve"), *heads.of(group, "end")]
    if group == "accuracy":
        names[:1] = [ACCURACY] * heads.bending.size
    for name, column in zip(names, wanted.T, strict=True):
        if not np.isfinite(column).any():
            raise _unknown(name)


def _unknown(name: str) -> WattproofError:
    return WattproofError(
        f"Too few networks have known values of '{name}' to fit a surrogate of it and check it on "
        "others; look for refused windows in table 'energy' and failed runs in table 'runs'."
    )
