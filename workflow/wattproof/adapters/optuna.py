"""Adapter to Optuna: an objective of one or more targets, pruned by epoch if it is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np

from wattproof.adapters import view
from wattproof.adapters.points import Axis, Points
from wattproof.adapters.view import Invalid, NotANetwork, View
from wattproof.benchmark.api import Benchmark

try:
    import optuna
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )
except ImportError as error:
    raise view.missing("Optuna", "optuna") from error

COSTS = ("energy_j", "time_s")
"""What each trial tells of its cost, as user attributes."""


def distributions(bench: Benchmark) -> dict[str, BaseDistribution]:
    """Return the space as Optuna wants it, for `study.ask` or `enqueue_trial`.

    Evenly spaced numbers are ranges with a step, others categories; constants are left out.
    """
    return {name: _distribution(axis) for name, axis in Points(bench).axes.items()}


def directions(bench: Benchmark, objectives: Sequence[str] = ("accuracy",)) -> list[str]:
    """Return ``maximize`` or ``minimize`` of each objective, for `optuna.create_study`."""
    found = view.objectives(bench, objectives)
    return ["maximize" if objective.maximise else "minimize" for objective in found]


def objective(
    bench: Benchmark,
    objectives: Sequence[str] = ("accuracy",),
    *,
    prune: bool = True,
    invalid: Invalid = "nearest",
    seed: int | None = None,
) -> Callable[[optuna.trial.Trial], float | tuple[float, ...]]:
    """Make the function that `study.optimize` calls.

    A trial carries the user attributes ``config`` (the configuration that was asked about),
    ``moved`` (whether it is another than the trial's point), ``epoch`` (the last one trained), and
    ``energy_j`` and ``time_s`` (what training to there costs).

    Args:
        bench: A benchmark.
        objectives: Targets; their values are returned as they are, see `directions`.
        prune: Whether a single objective is reported by epoch, so that a pruner may end the
            training; Optuna prunes no studies of several objectives.
        invalid: A point that builds no allowed network is answered as the nearest that does, or
            the trial is pruned (``reject``).
        seed: As in `Benchmark.query`.
    """
    seen = View(bench, objectives, invalid)
    by_name = distributions(bench)

    def call(trial: optuna.trial.Trial) -> float | tuple[float, ...]:
        point = {name: _suggest(trial, name, one) for name, one in by_name.items()}
        try:
            config = seen.configuration(point)
        except NotANetwork as finding:
            raise optuna.TrialPruned(str(finding)) from finding
        trial.set_user_attr("config", config)
        trial.set_user_attr("moved", config != seen.points.plain(point))
        single = len(seen.objectives) == 1
        curve = seen.curve(config, seed, also=COSTS)
        values = np.stack([o.loss(curve[o.loss_name]) for o in seen.objectives], axis=1)
        for index, value in enumerate(values[:, 0] if single and prune else ()):
            trial.report(float(value), step=index + 1)
            if index + 1 < len(values) and trial.should_prune():
                _tell_costs(trial, curve, index)
                raise optuna.TrialPruned()
        _tell_costs(trial, curve, len(values) - 1)
        last = tuple(map(float, values[-1]))
        return last[0] if single else last

    return call


def _tell_costs(trial: optuna.trial.Trial, curve: dict[str, Any], index: int) -> None:
    trial.set_user_attr("epoch", index + 1)
    for name in COSTS:
        trial.set_user_attr(name, float(curve[name][index]))


def _distribution(axis: Axis) -> BaseDistribution:
    # In decimals: Optuna drops the last value of a range that its step misses by a digit.
    values = [Decimal(str(value)) for value in axis.values] if axis.ordered else []
    steps = {after - before for before, after in pairwise(values)}
    if len(values) > 2 and len(steps) == 1:
        low, high, step = axis.values[0], axis.values[-1], steps.pop()
        if all(isinstance(value, int) for value in axis.values):
            return IntDistribution(low, high, step=int(step))
        return FloatDistribution(low, high, step=float(step))
    return CategoricalDistribution(axis.values)


def _suggest(trial: optuna.trial.Trial, name: str, one: BaseDistribution) -> Any:
    if isinstance(one, IntDistribution):
        return trial.suggest_int(name, one.low, one.high, step=one.step)
    if isinstance(one, FloatDistribution):
        return trial.suggest_float(name, one.low, one.high, step=one.step)
    assert isinstance(one, CategoricalDistribution)
    return trial.suggest_categorical(name, one.choices)
