"""From the few numbers that models give to values at any epoch: pure array arithmetic.

One `Heads` describes all outputs. It is used alike on models in memory (held-out scores) and on a
published graph (queries), so what was scored is what is answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof.surrogate import shapes
from wattproof.surrogate.cells import Mask
from wattproof.surrogate.curves import RunTable
from wattproof.surrogate.encoding import Floats
from wattproof.surrogate.shapes import Shape
from wattproof.surrogate.targets import ACCURACY, ENERGY, LEARNED, POWER, TIME, to_scale


@dataclass(frozen=True, slots=True)
class Moment:
    """Where n trainings are: the curve families' functions there.

    Attributes:
        bending: Mean accuracy and functions of accuracies; n × (1 + q).
        rising: Functions of costs; n × q.
        length: Length of the training, in epochs; n × 1.
        spent: Logarithm of the epochs' share of a cost, where the line is the only function and
            models have no say in it; n × 1.
    """

    bending: Floats
    rising: Floats
    length: NDArray[np.int64]
    spent: Floats | None


@dataclass(frozen=True)
class Heads:
    """Meaning of the models' outputs.

    Outputs of n configurations by B members that may disagree:

    * group ``accuracy``, B × n × M: coefficients of the accuracy curve, then targets of kind
      ``end``;
    * group ``cost``, B × n × M: one for each curve, the logarithm of the mean time of an epoch, or
      of the mean power (noise of time, which energies share, then spoils no power); then logarithms
      of targets of kind ``end``;
    * weights, n × (curves · q): of the rising functions, curve after curve.

    Attributes:
        learned: Targets with a model, in the order of `wattproof.surrogate.targets.LEARNED`.
        bending: How accuracies by epoch are written.
        rising: How cumulative costs by epoch are written.
    """

    learned: tuple[str, ...]
    bending: Shape
    rising: Shape

    def of(self, group: str, kind: str) -> tuple[str, ...]:
        """Targets of a group and kind, in order."""
        return tuple(
            name
            for name in self.learned
            if LEARNED[name].group == group and LEARNED[name].kind == kind
        )

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """Targets that are answered: columns of `evaluate`."""
        return (*self.learned, POWER)

    @cached_property
    def _table(self) -> Floats:
        """Mean accuracy, functions of accuracy, functions of costs, on the grid."""
        both = [self.bending.mean[:, None], self.bending.functions, self.rising.functions]
        return np.ascontiguousarray(np.concatenate(both, axis=1))

    @cached_property
    def _curves(self) -> tuple[int, int, int]:
        """Number of cost curves, and places of energy and time among them."""
        names = self.of("cost", "curve")
        return len(names), names.index(ENERGY), names.index(TIME)

    def moment(self, epoch: NDArray[np.int64], epochs: NDArray[np.int64]) -> Moment:
        """Return all that values depend on beside the models' outputs.

        Args:
            epoch: Epochs finished, 1 to `epochs`; n.
            epochs: Length of the training; n.
        """
        row = shapes.read(self._table, epoch / epochs)
        border = 1 + self.bending.size
        length = epochs[:, None]
        spent = np.log(row[:, border:] * length) if self.rising.size == 1 else None
        return Moment(row[:, :border], row[:, border:], length, spent)

    def evaluate(
        self,
        accuracy: NDArray[Any],
        cost: NDArray[Any],
        weights: NDArray[Any],
        moment: Moment,
        value: Floats,
        spread: Floats,
    ) -> None:
        """Evaluate n configurations, each at its moment, into arrays.

        Args:
            accuracy: Outputs of group ``accuracy``, in any precision.
            cost: Outputs of group ``cost``.
            weights: Of the rising functions.
            moment: Result of `moment`.
            value: Gets the values; n × len(targets).
            spread: Zeros; gets the standard deviations where members may disagree.
        """
        border = accuracy.shape[2] - self.bending.size + 1
        if len(accuracy) == len(cost) > 1:  # both groups at once: a query is too short for loops
            found = np.empty((len(cost), *value.shape))
            self._accuracy_into(accuracy, weights, moment, found[:, :, :border])
            self._cost_into(cost, weights, moment, found[:, :, border:])
            settle_into(found, value, spread)
            return
        for members, columns, fill in (
            (accuracy, slice(border), self._accuracy_into),
            (cost, slice(border, None), self._cost_into),
        ):
            if len(members) == 1:
                fill(members, weights, moment, value[None, :, columns])
            else:
                found = np.empty((len(members), *value[:, columns].shape))
                fill(members, weights, moment, found)
                settle_into(found, value[:, columns], spread[:, columns])

    def accuracy_at(self, members: Floats, row: Floats) -> Floats:
        """Values of group ``accuracy``, from mean and functions (n × (1 + q)); B × n × targets."""
        q = self.bending.size
        found = np.empty((*members.shape[:2], members.shape[2] - q + 1))
        length = np.ones((len(row), 1), dtype=np.int64)
        self._accuracy_into(members, row, Moment(row, row, length, None), found)
        return found

    def _accuracy_into(
        self, members: NDArray[Any], _: NDArray[Any], moment: Moment, found: Floats
    ) -> None:
        q, row = self.bending.size, moment.bending
        curve = found[:, :, 0]
        np.add.reduce(members[:, :, :q] * row[:, 1:], axis=2, out=curve)
        curve += row[:, 0]
        found[:, :, 1:] = members[:, :, q:]

    def cost_at(
        self, members: Floats, weights: Floats, row: Floats, epochs: NDArray[np.int64]
    ) -> Floats:
        """Logarithms of group ``cost``, from functions (n × q); B × n × targets, power last."""
        spent = np.log(row * epochs[:, None]) if self.rising.size == 1 else None
        found = np.empty((*members.shape[:2], members.shape[2] + 1))
        self._cost_into(members, weights, Moment(row, row, epochs[:, None], spent), found)
        return found

    def _cost_into(
        self, members: NDArray[Any], weights: NDArray[Any], moment: Moment, found: Floats
    ) -> None:
        curves, energy, time = self._curves
        spent = moment.spent
        if spent is None:
            shaped = weights.reshape(len(moment.length), curves, self.rising.size)
            share = shapes.combine(shaped.astype(np.float64), moment.rising[:, None, :])
            spent = np.log(share * moment.length)
        found[:, :, :-1] = members
        found[:, :, :curves] += spent
        # Models tell powers; a power times the time is an energy.
        level = members[:, :, time : time + 1]
        found[:, :, :time] += level
        found[:, :, time + 1 : curves] += level
        np.subtract(found[:, :, energy], found[:, :, time], out=found[:, :, -1])

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold, exactly."""
        return {
            "learned": list(self.learned),
            "bending": self.bending.as_dict(),
            "rising": self.rising.as_dict(),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Heads:
        """Read what `as_dict` gave."""
        return cls(
            tuple(content["learned"]),
            Shape.from_dict(content["bending"]),
            Shape.from_dict(content["rising"]),
        )


def settle(members: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of members along the first axis; the latter is 0 for one."""
    value, spread = np.empty(members.shape[1:]), np.zeros(members.shape[1:])
    if len(members) == 1:
        value[:] = members[0]
    else:
        settle_into(members.copy(), value, spread)
    return value, spread


def settle_into(members: Floats, value: Floats, spread: Floats) -> None:
    """As `settle`, of two members or more, which are overwritten.

    NumPy's own standard deviation takes longer than all the rest of a query.
    """
    np.add.reduce(members, axis=0, out=value)
    value /= len(members)
    members -= value
    members *= members
    np.add.reduce(members, axis=0, out=spread)
    spread /= len(members) - 1
    np.sqrt(spread, out=spread)


@dataclass(frozen=True)
class Goals:
    """What the models of one group learn: measured curves, written by the curve families.

    Attributes:
        main: R × M, see `Heads`; NaN where unknown.
        weights: R × (curves · q); of group ``cost`` only.
        misfit: Root mean square of what the family cannot express, on the targets' scales.
    """

    main: Floats
    weights: Floats | None
    misfit: float


def goals(table: RunTable, heads: Heads, group: str, which: Mask) -> Goals:
    """Write some runs of a table by the curve families of `heads`."""
    epochs = table.epochs[which]
    ends = [to_scale(name, table.ends[name][which]) for name in heads.of(group, "end")]
    if group == "accuracy":
        cells = table.increments[ACCURACY][which]
        main = shapes.project_bending(heads.bending, cells, epochs)
        run, column = np.nonzero(np.isfinite(cells))
        mean, functions = heads.bending.at((column + 1) / epochs[run])
        rest = cells[run, column] - mean - (main[run] * functions).sum(axis=1)
        misfit = float(np.sqrt(np.mean(rest**2))) if len(rest) else float("nan")
        return Goals(np.column_stack([main, *ends]), None, misfit)
    levels, weights, squares = [], [], []
    for name in heads.of(group, "curve"):
        cells = table.increments[name][which]
        level, weight = shapes.project_rising(heads.rising, cells, epochs)
        levels.append(level)
        weights.append(weight)
        so_far = np.cumsum(cells, axis=1)
        run, column = np.nonzero(np.isfinite(so_far))
        functions = heads.rising.at((column + 1) / epochs[run])[1]
        share = (weight[run] * functions).sum(axis=1)
        rest = np.log(so_far[run, column] / (share * epochs[run])) - level[run]
        squares.append(rest**2)
    misfit = float(np.sqrt(np.mean(np.concatenate(squares))))
    time = levels[heads.of(group, "curve").index(TIME)]
    levels = [level if level is time else level - time for level in levels]
    return Goals(np.column_stack([*levels, *ends]), np.concatenate(weights, axis=1), misfit)
