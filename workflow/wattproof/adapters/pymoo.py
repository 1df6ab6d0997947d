"""Adapter to pymoo: a problem of mixed variables, a population a query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof.adapters import view
from wattproof.adapters.points import Axis, Config
from wattproof.adapters.view import Invalid, View
from wattproof.benchmark.api import Benchmark

try:
    from pymoo.core.problem import Problem
    from pymoo.core.variable import Choice, Integer, Variable
except ImportError as error:
    raise view.missing("pymoo", "pymoo") from error


class BenchmarkProblem(Problem):
    """A benchmark as a problem for pymoo's mixed-variable algorithms.

    Variables of ordered parameters are places among their values (0 is the first), so that
    operators step from one value to the next; others are choices. `configuration` translates.

    Attributes:
        loss_names: What the columns of ``F`` are; all are minimised.
    """

    def __init__(
        self,
        bench: Benchmark,
        objectives: Sequence[str] = ("accuracy", "energy_j"),
        *,
        invalid: Invalid = "nearest",
        epoch: int | None = None,
        seed: int | None = None,
    ) -> None:
        """Look the objectives up and translate the space.

        Args:
            bench: A benchmark.
            objectives: Targets; an accuracy is minimised as ``error`` = 1 - accuracy.
            invalid: A point that builds no allowed network has the losses of the nearest that
                does; with ``reject`` it also violates the problem's one constraint.
            epoch: After so many epochs, or at the end of shorter trainings; None for the end.
            seed: As in `Benchmark.query`.
        """
        self._view = View(bench, objectives)
        view.check_invalid(invalid)
        self._rejects = invalid == "reject"
        self._epoch, self._seed = epoch, seed
        self.loss_names = self._view.loss_names
        super().__init__(
            vars={name: _variable(axis) for name, axis in self._view.points.axes.items()},
            n_obj=len(self.loss_names),
            n_ieq_constr=int(self._rejects),
        )

    def configuration(self, point: Mapping[str, Any]) -> Config:
        """Return the configuration that a solution (``X``) stands for."""
        return self._view.configuration(self._plain(point))

    def point(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the solution (``X``) that stands for a configuration of the space."""
        axes = self._view.points.axes
        return {n: a.position(config[n]) if a.ordered else config[n] for n, a in axes.items()}

    def _plain(self, point: Mapping[str, Any]) -> Config:
        axes = self._view.points.axes
        return {n: a.values[int(point[n])] if a.ordered else point[n] for n, a in axes.items()}

    def _evaluate(
        self, x: NDArray[Any], out: dict[str, Any], *args: object, **kwargs: object
    ) -> None:
        """Fill in the losses, and the violation: 1 where no network is built, else -1."""
        out["F"] = self._view.ask_many(
            [self.configuration(one) for one in x], self._epoch, self._seed
        )
        if self._rejects:
            points = self._view.points
            good = [points.valid(points.plain(self._plain(one))) for one in x]
            out["G"] = np.where(good, -1.0, 1.0)[:, None]


def _variable(axis: Axis) -> Variable:
    if axis.ordered:
        return Integer(bounds=(0, len(axis.values) - 1))
    return Choice(options=list(axis.values))
