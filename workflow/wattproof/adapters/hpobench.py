"""A call as HPOBench offers it: configuration, fidelity and generator, told apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ConfigSpace import ConfigurationSpace, Integer

from wattproof.adapters import points
from wattproof.adapters.jahs import number_of
from wattproof.adapters.view import Invalid, View
from wattproof.benchmark.api import Benchmark
from wattproof.benchmark.domain import check_epoch
from wattproof.errors import WattproofError

COSTS = ("energy_j", "time_s")


class HPOBenchmark:
    """``objective_function(configuration, fidelity, rng)`` → value, cost, info."""

    def __init__(
        self,
        bench: Benchmark,
        objective: str = "accuracy",
        *,
        cost: str = "energy_j",
        invalid: Invalid = "nearest",
    ) -> None:
        """Look the objective up.

        Args:
            bench: A benchmark.
            objective: Target; an accuracy is minimised as 1 - accuracy.
            cost: What an evaluation costs: ``energy_j`` (joules) or ``time_s`` (seconds) of all
                epochs so far.
            invalid: A point that builds no allowed network is answered as the nearest that does,
                or refused (``reject``).
        """
        if cost not in COSTS:
            raise WattproofError(f"cost={cost!r} is no cost; give {' or '.join(COSTS)}.")
        self._view = View(bench, [objective], invalid)
        self._cost = cost
        self._longest = self._view.longest()

    def objective_function(
        self,
        configuration: Mapping[str, Any],
        fidelity: Mapping[str, Any] | None = None,
        rng: int | np.random.RandomState | np.random.Generator | None = None,
    ) -> dict[str, Any]:
        """Evaluate a configuration.

        Args:
            configuration: A point of the space.
            fidelity: ``{"epoch": n}``: after so many epochs, or at the end of a shorter training;
                None for the end.
            rng: None for the prediction, a number or a generator for what one training may give.

        Returns:
            ``function_value`` (minimised), ``cost``, and ``info``: ``fidelity`` (epochs that were
            trained), ``configuration`` (that was asked about), ``moved`` (whether it is another
            than the point), ``function_value_is``, ``cost_is`` and ``in_domain``.

        Raises:
            WattproofError: As `Benchmark.query`; or an unknown fidelity.
        """
        answer = self._view.ask(
            dict(configuration),
            self._epoch(dict(fidelity or {})),
            None if rng is None else number_of(rng),
        )
        name, value = next(iter(answer.losses.items()))
        return {
            "function_value": value,
            "cost": float(getattr(answer.result, self._cost).value),
            "info": {
                "fidelity": {"epoch": answer.result.epoch},
                "configuration": answer.config,
                "moved": answer.moved,
                "function_value_is": name,
                "cost_is": self._cost,
                "in_domain": answer.result.in_domain,
            },
        }

    def get_configuration_space(self, seed: int | None = None) -> ConfigurationSpace:
        """Return a copy of the space, seeded if asked for."""
        space = points.own_space(self._view.bench)
        if seed is not None:
            space.seed(seed)
        return space

    def get_fidelity_space(self, seed: int | None = None) -> ConfigurationSpace:
        """Return the space of fidelities: epochs, by default all."""
        space = ConfigurationSpace(seed=seed)
        space.add(Integer("epoch", (1, self._longest), default=self._longest))
        return space

    def get_meta_information(self) -> dict[str, Any]:
        """Name, licence, and whether the energies are simulated."""
        bench = self._view.bench
        return {
            "name": bench.name,
            "space": str(bench.space.name),
            "licence": bench.licence,
            "simulated": bench.simulated,
            "cost_is": self._cost,
        }

    def _epoch(self, fidelity: dict[str, Any]) -> int | None:
        epoch = fidelity.pop("epoch", None)
        if fidelity:
            raise WattproofError(
                f"The fidelity has the unknown key '{next(iter(fidelity))}'; the only one is "
                "'epoch'."
            )
        return None if epoch is None else check_epoch(epoch, self._longest)
