"""Calls as JAHS-Bench-201 and HPOBench offer them; those packages do not install on Python 3.11."""

import numpy as np
import pytest
from random_draws import RandomSearch

from wattproof.adapters.hpobench import HPOBenchmark
from wattproof.adapters.jahs import JAHSBenchmark
from wattproof.benchmark.api import Benchmark
from wattproof.errors import WattproofError

TRIALS = 50


def evolve(b: JAHSBenchmark, seed: int) -> list[tuple[dict[str, object], dict[str, float]]]:
    """Regularised evolution as users of JAHS-Bench-201 write it: config in, last epoch out."""
    rng = np.random.default_rng(seed)
    population: list[tuple[dict[str, object], dict[str, float]]] = []
    history = []
    while len(history) < TRIALS:
        config = b.sample_config(rng)
        if len(population) >= 10:
            chosen = rng.choice(len(population), 5, replace=False)
            parent = max((population[i] for i in chosen), key=lambda one: one[1]["valid-acc"])[0]
            key = str(rng.choice(list(config)))
            config = {**parent, key: config[key]}
        try:
            answer = b(config)
        except WattproofError:
            continue
        population = [*population[-9:], (config, answer[max(answer)])]
        history.append(population[-1])
    return history


def test_jahs_call(bench: Benchmark, at_random: RandomSearch) -> None:
    b = JAHSBenchmark(bench)
    history = evolve(b, 0)
    for config, metrics in history:
        end = bench.query(config)
        assert metrics["valid-acc"] == pytest.approx(100 * end.accuracy.value)
        assert metrics["runtime"] == pytest.approx(end.time_s.value)
        assert metrics["energy_j"] == pytest.approx(end.energy_j.value)
        assert metrics["power_w"] == pytest.approx(end.power_w.value)
    errors = [1 - metrics["valid-acc"] / 100 for _, metrics in history]
    assert np.median(errors[TRIALS // 2 :]) < at_random.error
    assert min(errors) < at_random.best_error(5)
    assert evolve(b, 0) == history


def test_jahs_trajectory(bench: Benchmark) -> None:
    b = JAHSBenchmark(bench)
    config = b.sample_config(3)
    assert config == bench.sample(seed=3)
    whole = b(config, full_trajectory=True)
    curve = bench.curve(config)
    assert list(whole) == curve["epoch"].tolist()
    energies = [metrics["energy_j"] for metrics in whole.values()]
    np.testing.assert_allclose(energies, curve["energy_j"])
    assert list(b(config, nepochs=2)) == [2]
    assert b(config, nepochs=2)[2] == pytest.approx({k: whole[2][k] for k in b(config, 2)[2]})
    assert list(b(config, nepochs=3, full_trajectory=True)) == [1, 2, 3]
    with pytest.raises(WattproofError, match="out of range"):
        b(config, nepochs=99)
    with pytest.raises(WattproofError, match="is no seed"):
        b.sample_config()


def test_jahs_refuses_what_builds_no_network(
    bench: Benchmark, no_network: dict[str, object]
) -> None:
    with pytest.raises(WattproofError, match="builds no allowed network"):
        JAHSBenchmark(bench)(no_network)
    assert JAHSBenchmark(bench, invalid="nearest")(no_network)


def halve(b: HPOBenchmark, seed: int) -> tuple[list[dict[str, object]], float]:
    """Successive halving as users of HPOBench write it; stops at 50 evaluations."""
    space = b.get_configuration_space(seed)
    longest = b.get_fidelity_space().get_default_configuration()["epoch"]
    rung, answers = [dict(config) for config in space.sample_configuration(32)], []
    for epoch in (1, 2, 4, longest):
        found = [b.objective_function(config, {"epoch": epoch}) for config in rung]
        answers += found
        order = np.argsort([one["function_value"] for one in found], kind="stable")
        rung = [rung[i] for i in order[: max(1, len(rung) // 3)]]
    spent = sum(one["cost"] for one in answers)
    return answers[:TRIALS], spent


def test_hpobench_call(bench: Benchmark, at_random: RandomSearch) -> None:
    b = HPOBenchmark(bench)
    answers, spent = halve(b, 0)
    assert len(answers) >= 45
    for one in answers:
        info = one["info"]
        at = bench.query(info["configuration"], info["fidelity"]["epoch"])
        assert one["function_value"] == pytest.approx(1 - at.accuracy.value)
        assert one["cost"] == pytest.approx(at.energy_j.value)
    assert spent < 0.8 * 32 * at_random.losses[:, 1].mean()  # 32 trainings to the end
    assert min(one["function_value"] for one in answers) < at_random.error
    assert halve(b, 0)[0] == answers


def test_hpobench_costs_fidelities_and_draws(
    bench: Benchmark, no_network: dict[str, object]
) -> None:
    config = bench.sample(seed=5) | {"epochs": 4}
    seconds = HPOBenchmark(bench, cost="time_s")
    beyond = seconds.objective_function(config, {"epoch": 6})
    assert beyond["cost"] == pytest.approx(bench.query(config).time_s.value)
    assert beyond["info"]["fidelity"] == {"epoch": 4}
    energy = HPOBenchmark(bench, "energy_j").objective_function(config, rng=3)
    assert energy["function_value"] == pytest.approx(bench.query(config, seed=3).energy_j.value)
    moved = seconds.objective_function(no_network)["info"]
    assert moved["moved"]
    bench.query(moved["configuration"])
    assert seconds.get_meta_information()["simulated"] is True
    for fidelity, message in (({"epochs": 3}, "unknown key"), ({"epoch": 7}, "out of range")):
        with pytest.raises(WattproofError, match=message):
            seconds.objective_function(config, fidelity)
    with pytest.raises(WattproofError, match="is no cost"):
        HPOBenchmark(bench, cost="co2")
    with pytest.raises(WattproofError, match="builds no allowed network"):
        HPOBenchmark(bench, invalid="reject").objective_function(no_network)


def test_seeding_a_copy_leaves_the_benchmark_alone(bench: Benchmark) -> None:
    before = bench.space.random.get_state()[1].copy()
    HPOBenchmark(bench).get_configuration_space(3).sample_configuration(5)
    np.testing.assert_array_equal(bench.space.random.get_state()[1], before)
