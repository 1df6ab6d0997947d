"""Search methods of well-kept libraries, each as a generator that asks and is told.

Asking and telling, and not the libraries' own loops, because the budget is energy: their
loops and simulators count trials or seconds. All begin with the same random configurations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from wattproof.search.atlas import Atlas, Floats, identity
from wattproof.search.priority import ranks
from wattproof.search.race import Ask, Method, Search, Task

POPULATION = 20
SAMPLE = 5
"""Candidates among which regularised evolution picks a parent."""

ETA = 3
LEVELS = (1, 3, 9)
"""Successive halving: ninths of a training after which it is judged; a third goes on."""

ATTEMPTS = 5

WORST = 1e3
"""Cost told to a library that must have a number for a configuration that was refused."""


def random(task: Task) -> Search:
    """Random search: uniform among distinct networks, then among trainings."""
    for genes in _stream(task):
        yield Ask(genes[None, :])


def evolution(task: Task) -> Search:
    """Regularised evolution, multi-objective (Syne Tune)."""
    from syne_tune.optimizer.schedulers.multiobjective import (
        multi_objective_regularized_evolution as library,
    )

    domains = _syne_tune_domains(task.atlas)
    searcher = library.MultiObjectiveRegularizedEvolution(
        domains,
        points_to_evaluate=[_as_values(task.atlas, genes) for genes in task.start],
        population_size=POPULATION,
        sample_size=SAMPLE,
        multiobjective_priority=_syne_tune_priority(),
        random_seed=task.seed,
    )
    trial = 0
    while True:
        with _own_random_numbers(task):
            values = searcher.suggest()
        costs = yield Ask(_as_genes(task.atlas, values)[None, :])
        if np.isfinite(costs).all():
            searcher.on_trial_complete(trial, values, costs[0].tolist())
        trial += 1


def nsga2(task: Task) -> Search:
    """NSGA-II (pymoo), on the cube."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem
    from pymoo.core.termination import NoTermination
    from pymoo.problems.static import StaticProblem

    problem = Problem(
        n_var=len(task.atlas.names), n_obj=task.objectives, xl=0.0, xu=1.0, elementwise=False
    )
    algorithm = NSGA2(pop_size=POPULATION, sampling=task.start)
    algorithm.setup(problem, termination=NoTermination(), seed=task.seed, verbose=False)
    while True:
        offspring = algorithm.ask()
        genes = offspring.get("X").astype(np.float64)
        costs = yield Ask(genes)
        algorithm.evaluator.eval(
            StaticProblem(problem, F=np.where(np.isfinite(costs), costs, WORST)), offspring
        )
        algorithm.tell(infills=offspring)


def tpe(task: Task) -> Search:
    """Multi-objective tree-structured Parzen estimator (Optuna).

    Near the corners of the cube it proposes what it has already tried, again and again. Such a
    proposal is thrown away, and after `ATTEMPTS` of them a random configuration is tried.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions: dict[str, Any] = {}
    for name, size, loose in zip(
        task.atlas.names, task.atlas.sizes, task.atlas.categorical, strict=True
    ):
        distributions[name] = (
            optuna.distributions.CategoricalDistribution(list(range(size)))
            if loose
            else optuna.distributions.FloatDistribution(0.0, 1.0)
        )
    sampler = optuna.samplers.TPESampler(seed=task.seed, n_startup_trials=len(task.start))
    study = optuna.create_study(
        directions=["minimize"] * task.objectives,
        sampler=sampler,
    )
    for genes in task.start:
        study.enqueue_trial(_as_values(task.atlas, genes))
    known: set[str] = set()
    while True:
        for attempt in range(ATTEMPTS + 1):
            if attempt == ATTEMPTS:
                study.enqueue_trial(_as_values(task.atlas, task.atlas.draw(1, task.rng)[0]))
            trial = study.ask(distributions)
            proposal = _as_genes(task.atlas, trial.params)[None, :]
            name = identity(task.atlas.decode(proposal)[0])
            if name not in known or attempt == ATTEMPTS:
                break
            # Told again what it knows, it would propose nothing else any more.
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        known.add(name)
        costs = yield Ask(proposal)
        if np.isfinite(costs).all():
            study.tell(trial, costs[0].tolist())
        else:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)


def moasha(task: Task) -> Search:
    """Asynchronous successive halving, multi-objective (Syne Tune's scheduler, one worker)."""
    from datetime import datetime

    from syne_tune.backend.trial_status import Trial
    from syne_tune.optimizer.scheduler import SchedulerDecision
    from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

    names = [f"cost{i}" for i in range(task.objectives)]
    scheduler = MOASHA(
        _syne_tune_domains(task.atlas),
        metrics=names,
        time_attr="level",
        max_t=LEVELS[-1],
        grace_period=LEVELS[0],
        reduction_factor=ETA,
        multiobjective_priority=_syne_tune_priority(),
        random_seed=task.seed,
    )
    for number, genes in enumerate(_stream(task)):
        trial = Trial(number, {}, datetime(2000, 1, 1))
        with _own_random_numbers(task):
            scheduler.on_trial_add(trial)
        for level in LEVELS:
            costs = yield Ask(genes[None, :], level / LEVELS[-1])
            if not np.isfinite(costs).all():
                scheduler.on_trial_remove(trial)
                break
            result = {"level": level, **dict(zip(names, costs[0].tolist(), strict=True))}
            if scheduler.on_trial_result(trial, result) == SchedulerDecision.STOP:
                break


METHODS: dict[str, Method] = {
    "random": random,
    "evolution": evolution,
    "nsga2": nsga2,
    "tpe": tpe,
    "moasha": moasha,
}

TITLES = {
    "random": "Random search",
    "evolution": "Regularised evolution",
    "nsga2": "NSGA-II",
    "tpe": "MO-TPE",
    "moasha": "MO-ASHA",
}


def _stream(task: Task) -> Iterator[Floats]:
    """The common random configurations, then more of them without end."""
    yield from task.start
    while True:
        yield task.atlas.draw(1, task.rng)[0]


def _as_values(atlas: Atlas, genes: Floats) -> dict[str, Any]:
    """Genes as libraries with named, typed parameters take them."""
    return {
        name: min(int(gene * size), size - 1) if loose else float(gene)
        for name, size, loose, gene in zip(
            atlas.names, atlas.sizes, atlas.categorical, genes, strict=True
        )
    }


def _as_genes(atlas: Atlas, values: dict[str, Any]) -> Floats:
    return np.array(
        [
            (values[name] + 0.5) / size if loose else values[name]
            for name, size, loose in zip(atlas.names, atlas.sizes, atlas.categorical, strict=True)
        ]
    )


def _syne_tune_domains(atlas: Atlas) -> dict[str, Any]:
    from syne_tune.config_space import choice, uniform

    return {
        name: choice(list(range(size))) if loose else uniform(0.0, 1.0)
        for name, size, loose in zip(atlas.names, atlas.sizes, atlas.categorical, strict=True)
    }


def _syne_tune_priority() -> Any:
    from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import MOPriority

    class Ranks(MOPriority):  # type: ignore[misc, unused-ignore]
        def priority_unsafe(self, objectives: Any) -> Any:
            return ranks(np.asarray(objectives, dtype=np.float64))

    return Ranks()


@contextmanager
def _own_random_numbers(task: Task) -> Iterator[None]:
    """Syne Tune draws from NumPy's global state: give it one of ours, and put the old one back."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(int(task.rng.integers(2**31)))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
