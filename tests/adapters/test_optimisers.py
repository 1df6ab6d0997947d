"""Each package's own optimiser runs 50 trials on a published benchmark, and beats random draws.

What a run must show: its values are those that a query of the same configuration gives, equal
seeds give equal runs, and the half of the trials that it chose knowingly is better than draws.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from random_draws import RandomSearch

from wattproof.benchmark.api import Benchmark

TRIALS = 50
BOTH = ["accuracy", "energy_j"]


def losses_by_query(bench: Benchmark, configs: list[dict[str, Any]]) -> NDArray[np.float64]:
    results = [bench.query(config) for config in configs]
    return np.array([(1 - r.accuracy.value, r.energy_j.value) for r in results])


# Optuna


def optuna_study(bench: Benchmark, seed: int, **settings: Any) -> Any:
    import optuna

    from wattproof.adapters import optuna as adapter

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=15),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
    )
    study.optimize(adapter.objective(bench, **settings), n_trials=TRIALS)
    return study


def test_optuna_with_pruning(bench: Benchmark, at_random: RandomSearch) -> None:
    study = optuna_study(bench, 0)
    done = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    pruned = [trial for trial in study.trials if trial.state.name == "PRUNED"]
    assert len(study.trials) == TRIALS
    assert pruned
    asked = losses_by_query(bench, [trial.user_attrs["config"] for trial in done])
    np.testing.assert_allclose([1 - t.value for t in done], asked[:, 0], rtol=1e-6)
    np.testing.assert_allclose([t.user_attrs["energy_j"] for t in done], asked[:, 1], rtol=1e-6)
    for trial in pruned:  # a pruned trial costs what it was trained for, and its values are known
        epoch, config = trial.user_attrs["epoch"], trial.user_attrs["config"]
        assert list(trial.intermediate_values) == list(range(1, epoch + 1))
        at = bench.query(config, epoch)
        assert trial.user_attrs["energy_j"] == pytest.approx(at.energy_j.value)
        assert trial.intermediate_values[epoch] == pytest.approx(at.accuracy.value)
    later = [1 - trial.value for trial in done if trial.number >= TRIALS // 2]
    assert np.median(later) < at_random.error
    assert 1 - study.best_value < at_random.best_error(5)
    again = optuna_study(bench, 0)
    assert [t.params for t in again.trials] == [t.params for t in study.trials]


def test_optuna_prunes_points_that_are_no_networks_if_told_to(bench: Benchmark) -> None:
    study = optuna_study(bench, 1, invalid="reject", prune=False)
    pruned = [trial for trial in study.trials if trial.state.name == "PRUNED"]
    assert 0 < len(pruned) < TRIALS - 10
    assert all("config" not in trial.user_attrs for trial in pruned)
    assert all(t.user_attrs["moved"] is False for t in study.trials if t not in pruned)


def test_optuna_with_two_objectives(bench: Benchmark, at_random: RandomSearch) -> None:
    import optuna

    from wattproof.adapters import optuna as adapter

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        directions=adapter.directions(bench, BOTH),
        sampler=optuna.samplers.NSGAIISampler(seed=0, population_size=10),
    )
    study.optimize(adapter.objective(bench, BOTH), n_trials=TRIALS)
    losses = np.array([(1 - trial.values[0], trial.values[1]) for trial in study.trials])
    asked = losses_by_query(bench, [trial.user_attrs["config"] for trial in study.trials])
    np.testing.assert_allclose(losses, asked, rtol=1e-6)
    assert at_random.volume(losses) > at_random.median_volume(10)


# pymoo


@pytest.mark.parametrize("invalid", ["nearest", "reject"])
def test_pymoo(bench: Benchmark, at_random: RandomSearch, invalid: str) -> None:
    from pymoo.algorithms.moo.nsga2 import RankAndCrowdingSurvival
    from pymoo.core.mixed import MixedVariableGA
    from pymoo.optimize import minimize

    from wattproof.adapters import pymoo as adapter

    def run() -> tuple[Any, adapter.BenchmarkProblem]:
        problem = adapter.BenchmarkProblem(bench, BOTH, invalid=invalid)
        algorithm = MixedVariableGA(pop_size=10, survival=RankAndCrowdingSurvival())
        return minimize(problem, algorithm, ("n_eval", TRIALS), seed=3), problem

    result, problem = run()
    assert result.algorithm.evaluator.n_eval == TRIALS
    configs = [problem.configuration(x) for x in result.X]
    np.testing.assert_allclose(result.F, losses_by_query(bench, configs), rtol=1e-6)
    assert at_random.volume(result.F) > at_random.median_volume(10)
    if invalid == "reject":  # what is found is feasible, so it was not moved
        assert (result.G < 0).all()
        assert configs == [problem.configuration(problem.point(c)) for c in configs]
        assert all(problem.point(c) == dict(x) for c, x in zip(configs, result.X, strict=True))
    np.testing.assert_array_equal(run()[0].F, result.F)


# SMAC


def smac_run(
    bench: Benchmark, folder: Path, trials: int, target: Callable[..., Any], **scenario: Any
) -> Any:
    """SMAC's usual facade, with a forest that does not reserve a gigabyte of leaves."""
    from smac import HyperparameterOptimizationFacade as Facade
    from smac import Scenario
    from smac.model.random_forest import RandomForest

    from wattproof.adapters import smac as adapter

    settings = Scenario(
        adapter.space(bench),
        deterministic=True,
        n_trials=trials,
        seed=0,
        output_directory=folder,
        **scenario,
    )
    forest = RandomForest(
        settings.configspace, log_y=True, n_trees=10, max_leaf_nodes=64, n_jobs=1, seed=0
    )
    facade = Facade(
        settings,
        target,
        model=forest,
        initial_design=Facade.get_initial_design(settings, n_configs=5),
        config_selector=Facade.get_config_selector(settings, retrain_after=4),
        acquisition_maximizer=Facade.get_acquisition_maximizer(
            settings, challengers=100, local_search_iterations=1
        ),
        overwrite=True,
        logging_level=50,
    )
    facade.optimize()
    return facade.runhistory


def test_smac(bench: Benchmark, at_random: RandomSearch, tmp_path: Path) -> None:
    from wattproof.adapters import smac as adapter
    from wattproof.adapters.points import Points

    points = Points(bench)
    history = smac_run(bench, tmp_path, TRIALS, adapter.target(bench))
    costs = np.array([value.cost for value in history.values()])
    asked = [history.get_config(key.config_id) for key in history]
    configs = [points.nearest(points.plain(dict(config))) for config in asked]
    np.testing.assert_allclose(costs, losses_by_query(bench, configs)[:, 0], rtol=1e-6)
    assert len(costs) == TRIALS
    assert np.median(costs[TRIALS // 2 :]) < at_random.error
    assert costs.min() < at_random.best_error(5)
    short = smac_run(bench, tmp_path, 20, adapter.target(bench))
    assert [value.cost for value in short.values()] == costs[:20].tolist()


def test_smac_counts_rejected_points_as_crashed(bench: Benchmark, tmp_path: Path) -> None:
    from wattproof.adapters import smac as adapter

    target = adapter.target(bench, invalid="reject")
    history = smac_run(bench, tmp_path, 20, target, crash_cost=1.0)
    states = [value.status.name for value in history.values()]
    assert 0 < states.count("CRASHED") < 20
    assert {v.cost for v in history.values() if v.status.name == "CRASHED"} == {1.0}


def test_smacs_budgets_are_epochs_and_its_seeds_draw(bench: Benchmark) -> None:
    from wattproof.adapters import smac as adapter

    config = bench.sample(seed=1)
    target = adapter.target(bench, BOTH, budgets=True)
    early, end = bench.query(config, 2), bench.query(config)
    assert target(config, budget=2.0)["energy_j"] == pytest.approx(early.energy_j.value)
    assert target(config, budget=99.0)["error"] == pytest.approx(1 - end.accuracy.value)
    assert target(config, seed=5) == target(config)
    noisy = adapter.target(bench, noise=True)
    assert noisy(config, seed=5) == pytest.approx(1 - bench.query(config, seed=5).accuracy.value)


# Syne Tune


def syne_tune_run(bench: Benchmark, monkeypatch: pytest.MonkeyPatch, folder: Path) -> pd.DataFrame:
    monkeypatch.setenv("SYNETUNE_FOLDER", str(folder))
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend.simulator_backend.simulator_callback import SimulatorCallback
    from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

    from wattproof.adapters import syne_tune as adapter

    np.random.seed(0)  # noqa: NPY002 - MOASHA draws from the global generator
    backend = adapter.backend(bench, BOTH)
    blackbox = backend.blackbox
    results = SimulatorCallback()
    Tuner(
        trial_backend=backend,
        scheduler=MOASHA(
            blackbox.configuration_space,
            metrics=["error", "energy_j"],
            time_attr="epoch",
            max_t=blackbox.longest,
        ),
        stop_criterion=StoppingCriterion(max_num_trials_finished=TRIALS),
        n_workers=4,
        sleep_time=0,
        callbacks=[results],
        save_tuner=False,
        print_update_interval=1e9,
    ).run()
    return pd.DataFrame(results.results)


def test_syne_tune(
    bench: Benchmark,
    at_random: RandomSearch,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from wattproof.adapters.points import Points

    found = syne_tune_run(bench, monkeypatch, tmp_path)
    points = Points(bench)
    names = [name for name in found if name.startswith("config_")]
    assert found["trial_id"].nunique() >= TRIALS
    for _, row in found.iterrows():
        point = {name.removeprefix("config_"): row[name] for name in names}
        config = points.nearest(points.plain(point))
        at = bench.query(config, int(row["epoch"]))  # no epoch after the end of its own training
        assert row["error"] == pytest.approx(1 - at.accuracy.value)
        assert row["energy_j"] == pytest.approx(at.energy_j.value)
    ends = found.groupby("trial_id").agg({"epoch": "max", "energy_j": "max"})
    assert (ends["epoch"] < 4).any(), "no trial was stopped early"
    # Random search that trains to the end pays as much for fewer trials and no better a front.
    spent = ends["energy_j"].sum()
    affordable = int(spent / at_random.losses[:, 1].mean())
    assert affordable < TRIALS
    front = found[["error", "energy_j"]].to_numpy()
    assert at_random.volume(front) > at_random.median_volume(min(affordable, 10))
    # Its simulated clock counts the tuner's own real time, so that the order of results is not
    # ours to repeat; which trials there are, and what they report, is.
    again = syne_tune_run(bench, monkeypatch, tmp_path)
    keys = ["trial_id", "epoch"]
    both = found.merge(again, on=keys, suffixes=("", "_again"))
    assert both["trial_id"].nunique() >= TRIALS - 4
    for name in ("error", "energy_j", "time_s", *names):
        assert (both[name] == both[f"{name}_again"]).all(), name


def test_a_finished_training_costs_nothing_more(bench: Benchmark) -> None:
    from wattproof.adapters import syne_tune as adapter

    blackbox = adapter.BenchmarkBlackbox(bench, BOTH)
    short = bench.sample(seed=0) | {"epochs": 4}
    rows = blackbox(short)
    assert blackbox.objectives_names == ["error", "energy_j", "time_s"]
    assert rows.shape == (6, 3)
    assert (rows[4:] == rows[3]).all()
    assert (np.diff(rows[:4, 1:], axis=0) > 0).all()
    assert blackbox(short, 2)["energy_j"] == rows[1, 1]
    assert blackbox(short, {"epoch": 6})["time_s"] == rows[5, 2]
    assert blackbox.epochs(short) == 4
