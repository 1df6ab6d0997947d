"""Adapter to SMAC, and to all that call a function with a ConfigSpace configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ConfigSpace import ConfigurationSpace

from wattproof.adapters import points, view
from wattproof.adapters.view import Invalid, View
from wattproof.benchmark.api import Benchmark

Losses = float | dict[str, float]


def space(bench: Benchmark) -> ConfigurationSpace:
    """Return the benchmark's space, a copy: SMAC seeds the space that it is given."""
    return points.own_space(bench)


def loss_names(bench: Benchmark, objectives: Sequence[str] = ("accuracy",)) -> list[str]:
    """Names of what is minimised, for ``Scenario(objectives=…)``."""
    return [objective.loss_name for objective in view.objectives(bench, objectives)]


def target(
    bench: Benchmark,
    objectives: Sequence[str] = ("accuracy",),
    *,
    budgets: bool = False,
    noise: bool = False,
    invalid: Invalid = "nearest",
) -> Callable[..., Losses]:
    """Make the target function: a loss, or a dictionary of several.

    Args:
        bench: A benchmark.
        objectives: Targets; an accuracy is minimised as ``error`` = 1 - accuracy.
        budgets: Whether the function takes a budget: epochs, of which shorter trainings use
            what they have. For the multi-fidelity facades.
        noise: Whether SMAC's seed draws what one training may give; else it is ignored.
        invalid: A point that builds no allowed network is answered as the nearest that does, or
            raises (``reject``): SMAC then counts the trial as crashed, with an infinite cost.
    """
    seen = View(bench, objectives, invalid)

    def ask(config: Mapping[str, Any], seed: int, epoch: int | None) -> Losses:
        losses = seen.ask(dict(config), epoch, seed if noise else None).losses
        return losses if len(losses) > 1 else next(iter(losses.values()))

    def at_the_end(config: Mapping[str, Any], seed: int = 0) -> Losses:
        return ask(config, seed, None)

    def at_a_budget(
        config: Mapping[str, Any], seed: int = 0, budget: float | None = None
    ) -> Losses:
        return ask(config, seed, None if budget is None else max(1, round(budget)))

    return at_a_budget if budgets else at_the_end
