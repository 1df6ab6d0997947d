"""What answers hold: intervals, parts of energy, energies of one's choice, lengths, fronts."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import surrogate_campaign as synthetic
from published_artefact import make_artefact
from said import sentence

import wattproof
from wattproof import space
from wattproof.benchmark import manifest
from wattproof.benchmark.api import Benchmark
from wattproof.benchmark.units import (
    GRID_KG_PER_KWH,
    PUE_INDUSTRY_2023,
    kg_co2e,
    to_kwh,
    to_wh,
)

IDLE_W = 42.0
SMI_SHARE = 0.7
LINEAR = {"families": ["linear"], "splits": 1, "growth": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign that knows idle power and what nvidia-smi says, too."""
    campaign = synthetic.make()
    data = campaign.dataset.assign(idle_w=IDLE_W, gpu_idle_w=IDLE_W / 2)
    curves = campaign.curves.assign(smi_energy_j=campaign.curves["gpu_energy_j"] * SMI_SHARE)
    out = tmp_path_factory.mktemp("answers")
    return make_artefact(synthetic.Campaign(data, curves), out, **LINEAR)


@pytest.fixture(scope="module")
def rich(folder: Path) -> Benchmark:
    return wattproof.load(folder)


def test_intervals_hold_their_value_and_say_what_they_are_made_of(rich: Benchmark) -> None:
    found = rich.query_many(rich.sample(3, n=400), spread=True)
    for target in ("accuracy", "energy_j", "time_s", "power_w", "gpu_energy_j", "idle_energy_j"):
        assert (found[f"{target}_low"] <= found[target]).all()
        assert (found[target] <= found[f"{target}_high"]).all()
        assert (found[f"{target}_noise"] >= 0).all()
        assert (found[f"{target}_model"] >= 0).all()
    plain = rich.query_many(rich.sample(3, n=5))
    assert not [name for name in plain if name.endswith(("_noise", "_model"))]


def test_ten_thousand_random_curves_rise(rich: Benchmark) -> None:
    """Each of 10,000 configurations at each of its epochs, expected and drawn."""
    frame = rich.sample(1, n=10_000)
    lengths = frame["epochs"].to_numpy()
    for seed in (None, 5):
        steps = [
            rich.query_many(frame.assign(epoch=np.minimum(epoch, lengths)), seed=seed)
            for epoch in range(1, int(lengths.max()) + 1)
        ]
        for epoch, (before, after) in enumerate(itertools.pairwise(steps), start=1):
            goes_on = lengths > epoch
            for target in ("energy_j", "time_s", "gpu_energy_j", "idle_energy_j"):
                rise = after[target].to_numpy() - before[target].to_numpy()
                assert (rise[goes_on] > 0).all()
                assert (rise[~goes_on] == 0).all()
        assert (steps[0]["energy_j"] > 0).all()


@pytest.mark.parametrize("seed", [None, 3])
def test_rows_know_nothing_of_each_other(rich: Benchmark, seed: int | None) -> None:
    """Models compute in single precision, whose rounding may hang on the number of rows: 1e-5."""
    frame = rich.sample(2, n=300)
    everything = rich.query_many(frame, seed=seed)
    rng = np.random.default_rng(0)
    rows = rng.integers(300, size=500)
    some = rich.query_many(frame.iloc[rows].reset_index(drop=True), seed=seed)
    for name in everything:
        expected = everything[name].iloc[rows].to_numpy()
        if everything[name].dtype.kind == "f":
            assert some[name].to_numpy() == pytest.approx(expected, rel=1e-5)
        else:
            assert (some[name].to_numpy() == expected).all()
    for row in range(0, 300, 30):
        result = rich.query(frame.iloc[row].to_dict(), seed=seed)
        assert result.energy_j.value == pytest.approx(everything["energy_j"][row], rel=1e-5)
        assert result.in_domain == everything["in_domain"][row]


def test_parts_of_energy(rich: Benchmark) -> None:
    config = rich.sample(4)
    result = rich.query(config, epoch=2)
    assert result.idle_energy_j.value == pytest.approx(IDLE_W * result.time_s.value)
    assert result.idle_energy_j.unit == "J"
    assert result.gpu_energy_j.value == pytest.approx(0.6 * result.energy_j.value, rel=0.05)
    curve = rich.curve(config)
    assert curve["idle_energy_j"].iloc[1] == pytest.approx(result.idle_energy_j.value)
    assert curve["energy_j_low"].iloc[1] == pytest.approx(result.energy_j.low)
    assert "of which idle" in str(result)


def test_energy_of_choice(folder: Path, rich: Benchmark) -> None:
    assert rich.energies == ("node", "gpu", "smi")
    config = rich.sample(4)
    frame = rich.sample(0, n=20)
    told = {name: Benchmark(folder, energy=name) for name in rich.energies}
    assert told["node"].query(config) == rich.query(config)
    for name, target, share in (("gpu", "gpu_energy_j", 0.6), ("smi", "smi_energy_j", 0.42)):
        bench = told[name]
        result, whole = bench.query(config, seed=3), rich.query(config, seed=3)
        expected = rich.query_many(pd.DataFrame([config]), seed=3)
        assert result.energy_j.value == pytest.approx(expected[target][0])
        assert result.energy_j.low == pytest.approx(expected[f"{target}_low"][0])
        assert result.time_s == whole.time_s
        assert result.power_w.value == pytest.approx(result.energy_j.value / result.time_s.value)
        assert result.power_w.low < result.power_w.value < result.power_w.high
        assert result.idle_energy_j.value == pytest.approx(IDLE_W / 2 * result.time_s.value)
        many = bench.query_many(frame)
        assert many["energy_j"].to_numpy() == pytest.approx(many[target].to_numpy())
        ratio = bench.measured()["energy_j"] / rich.measured()["energy_j"]
        assert ratio.to_numpy() == pytest.approx(share)
    assert told["gpu"].query(config).energy_scope == "gpu"
    assert told["smi"].query(config).energy_scope == "gpu, by nvidia-smi"
    message = sentence(Benchmark, folder, energy="wall")
    assert "energy='wall' is none that this benchmark answers" in message
    assert "'smi'" in message


def test_campaigns_without_them_say_less(bench: Benchmark, artefact: Path) -> None:
    assert bench.energies == ("node", "gpu")
    result = bench.query(bench.sample(0))
    assert result.idle_energy_j is None
    assert "idle_energy_j" not in bench.curve(bench.sample(0))
    assert "energy='smi'" in sentence(Benchmark, artefact, energy="smi")


def test_shortened_trainings_have_shorter_lengths(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(folder, tmp_path / "short")
    content = manifest.read(copy)[0] | {"shorten": 4}
    (copy / "manifest.json").write_bytes(manifest.render(content))
    bench = wattproof.load(copy)
    for epochs, trained in ((4, 1), (6, 2)):
        config = bench.sample(0) | {"epochs": epochs}
        assert bench.epochs(config) == trained
        assert bench.query(config).epoch == trained
        assert len(bench.curve(config)) == trained
        assert f"epochs 1 to {trained};" in sentence(bench.query, config, epoch=trained + 1)
    assert bench.fidelity_space["epoch"].upper == 2


def test_draws_of_the_space(rich: Benchmark) -> None:
    frame = rich.sample(9, n=50)
    assert list(frame) == list(rich.space)
    assert not frame.duplicated().any()
    assert rich.sample(9, n=20).equals(frame.iloc[:20])
    assert not rich.sample(8, n=50).equals(frame)
    assert frame.iloc[0].to_dict() == rich.sample(9)
    for seed in (-1, "x", 1.5):
        assert f"seed={seed!r}" in sentence(rich.sample, seed)


def test_fidelities_and_statistics(rich: Benchmark) -> None:
    assert (rich.fidelity_space["epoch"].lower, rich.fidelity_space["epoch"].upper) == (1, 6)
    stats, table = rich.target_stats, rich.measured()
    for target in ("accuracy", "energy_j", "time_s", "power_w"):
        assert stats.loc[target].tolist() == [table[target].min(), table[target].max()]


def test_fronts_of_the_space(rich: Benchmark) -> None:
    objectives = ("accuracy", "energy_j", "gpu_energy_j")
    front = rich.pareto(objectives, over="space", n=500, seed=3)
    everything = rich.query_many(rich.sample(3, n=500))
    inside = everything[everything["in_domain"]]
    signs = np.array([-1.0, 1.0, 1.0])
    points, kept = inside[list(objectives)] * signs, front[list(objectives)] * signs
    assert front["in_domain"].all()
    assert set(rich.space) <= set(front)
    beats = (points.to_numpy()[:, None] <= kept.to_numpy()[None]).all(axis=2)
    beats &= (points.to_numpy()[:, None] < kept.to_numpy()[None]).any(axis=2)
    assert not beats.any()
    assert front["accuracy"].is_monotonic_decreasing
    assert "over='all'" in sentence(rich.pareto, over="all")
    assert "no objective" in sentence(rich.pareto, ("joules",), over="space")


def test_units() -> None:
    assert to_wh(7200.0) == 2.0
    assert to_kwh(np.array([3.6e6]))[0] == 1.0
    assert kg_co2e(7.2e6, 0.5) == 1.0
    assert kg_co2e(7.2e6, 0.5, pue=1.5) == 1.5
    assert kg_co2e(3.6e6, GRID_KG_PER_KWH["France 2023"], PUE_INDUSTRY_2023) == pytest.approx(
        0.056 * 1.58
    )
    assert kg_co2e(pd.Series([3.6e6]), 0.4).tolist() == [0.4]
    assert "grams" in sentence(kg_co2e, 1.0, 381)
    for pue in (0.9, float("nan"), 158):
        assert "pue=" in sentence(kg_co2e, 1.0, 0.4, pue)


def test_the_space_of_results_is_that_of_networks(rich: Benchmark) -> None:
    frame = rich.sample(5, n=30)
    keys = [space.get("regnet_demo").realise(c).key for c in frame.to_dict("records")]
    assert rich.query_many(frame)["network_key"].tolist() == keys
