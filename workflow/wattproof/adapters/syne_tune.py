"""Adapter to Syne Tune: a blackbox with learning curves, and a backend that simulates workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof.adapters import view
from wattproof.adapters.points import Axis
from wattproof.adapters.view import View
from wattproof.benchmark.api import Benchmark
from wattproof.benchmark.domain import check_epoch

try:
    from syne_tune import config_space
    from syne_tune.blackbox_repository import UserBlackboxBackend
    from syne_tune.blackbox_repository.blackbox import Blackbox
except ImportError as error:
    raise view.missing("Syne Tune", "syne-tune") from error

FIDELITY = "epoch"
ELAPSED = "time_s"


class BenchmarkBlackbox(Blackbox):
    """A benchmark as a blackbox: losses, energy and time of all epochs so far, by epoch.

    A training that is shorter than the longest of the space keeps its last values for the rest of
    the rows: it is finished, and costs nothing more. `backend` ends it there.

    Syne Tune has no word for a point that builds no allowed network: it is answered as the
    nearest that does; ``view.configuration`` tells which.
    """

    def __init__(
        self, bench: Benchmark, objectives: Sequence[str] = ("accuracy", "energy_j")
    ) -> None:
        """Look the objectives up and translate the space.

        Args:
            bench: A benchmark.
            objectives: Targets; an accuracy is minimised as ``error`` = 1 - accuracy. ``energy_j``
                and ``time_s`` are always among what is told.
        """
        self.view = View(bench, objectives)
        self.longest = self.view.longest()
        names = dict.fromkeys([*self.view.loss_names, "energy_j", ELAPSED])
        super().__init__(
            configuration_space=self.view.points.constants
            | {name: _domain(axis) for name, axis in self.view.points.axes.items()},
            fidelity_space={FIDELITY: config_space.randint(1, self.longest)},
            objectives_names=list(names),
        )

    @property
    def fidelity_values(self) -> NDArray[np.int64]:
        """Epochs, from 1 to those of the longest training."""
        return np.arange(1, self.longest + 1)

    def epochs(self, configuration: Mapping[str, Any]) -> int:
        """Epochs of the training of one configuration."""
        return self.view.bench.epochs(self.view.configuration(configuration))

    def _objective_function(
        self,
        configuration: Mapping[str, Any],
        fidelity: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> dict[str, float] | NDArray[np.float64]:
        config = self.view.configuration(configuration)
        curve = self.view.curve(config, seed, also=("energy_j", ELAPSED))
        rows = np.stack([curve[name] for name in self.objectives_names], axis=1)
        if fidelity is None:
            rest = np.repeat(rows[-1:], self.longest - len(rows), axis=0)
            return np.concatenate([rows, rest])
        epoch = check_epoch(fidelity[FIDELITY], self.longest)
        row = rows[min(epoch, len(rows)) - 1]
        return dict(zip(self.objectives_names, map(float, row), strict=True))


class BenchmarkBackend(UserBlackboxBackend):
    """Syne Tune's backend for blackboxes, whose trials end when their own training ends."""

    def config_objectives(self, config: dict[str, Any], seed: int) -> list[dict[str, Any]]:
        """Results of a trial, up to its own last epoch."""
        found: list[dict[str, Any]] = super().config_objectives(config, seed)
        return found[: self.blackbox.epochs(self._filter_config(config))]


def backend(
    bench: Benchmark,
    objectives: Sequence[str] = ("accuracy", "energy_j"),
    *,
    seed: int | None = None,
    **settings: Any,
) -> BenchmarkBackend:
    """Make a backend that simulates workers on the benchmark's seconds.

    Args:
        bench: A benchmark.
        objectives: As in `BenchmarkBlackbox`.
        seed: As in `Benchmark.query`, of all trials.
        settings: Passed to Syne Tune's `UserBlackboxBackend`.
    """
    blackbox = BenchmarkBlackbox(bench, objectives)
    return BenchmarkBackend(blackbox, elapsed_time_attr=ELAPSED, seed=seed, **settings)


def _domain(axis: Axis) -> Any:
    if axis.ordered:
        return config_space.ordinal(list(axis.values), kind="equal")
    return config_space.choice(list(axis.values))
