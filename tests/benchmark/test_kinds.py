"""Kinds table and live: measured runs alone, and trainings here by the campaign's own recipe."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import surrogate_campaign as synthetic
import tiny_campaign
from published_artefact import make_artefact

import wattproof
from wattproof import plan
from wattproof.benchmark import snapshot, train
from wattproof.benchmark.api import Benchmark
from wattproof.errors import WattproofError

CORE = ("accuracy", "energy_j", "time_s", "power_w")


@pytest.fixture(scope="module")
def table(artefact: Path) -> Benchmark:
    return wattproof.load(artefact, kind="table")


@pytest.fixture(scope="module")
def runs(table: Benchmark) -> pd.DataFrame:
    return table.dataset.sort_values(["seed", "run_id"], ignore_index=True)


def configuration(bench: Benchmark, run: pd.Series) -> dict[str, Any]:
    values = {name: run[f"config_{name}"] for name in bench.space}
    return {name: v.item() if hasattr(v, "item") else v for name, v in values.items()}


def epochs_of(bench: Benchmark, run_id: str, upto: int) -> pd.DataFrame:
    rows = bench.curves[bench.curves["run_id"] == run_id].sort_values("epoch")
    return rows[rows["epoch"] < upto]


# ------------------------------------------------------------------------------- table


def test_a_measured_run_answers_as_it_was_measured(table: Benchmark, runs: pd.DataFrame) -> None:
    run = runs.iloc[20]  # of a configuration that was trained once
    config = configuration(table, run)
    for epoch in (1, 2, config["epochs"]):
        result = table.query(config, epoch=epoch)
        rows = epochs_of(table, run["run_id"], epoch)
        joules = rows["node_energy_j"].sum()
        assert result.provenance == "measured, n=1"
        assert result.in_domain
        assert result.simulated
        assert result.level == 0.9
        assert result.network_key == run["network_key"]
        assert result.energy_j.value == pytest.approx(joules)
        assert result.energy_j.low == pytest.approx(
            joules * run["node_energy_low_j"] / run["node_energy_j"]
        )
        assert result.energy_j.high == pytest.approx(
            joules * run["node_energy_high_j"] / run["node_energy_j"]
        )
        assert result.accuracy.value == rows["val_accuracy"].iloc[-1]
        assert result.time_s.value == pytest.approx(rows["time_s"].sum())
        assert result.power_w.value == pytest.approx(joules / rows["time_s"].sum())
        assert result.accuracy.low is None
        assert result.energy_j.noise is None  # one run tells no noise
        assert result.energy_j.model == 0.0
    assert "no interval" in str(result)
    assert "campaign was too small" not in str(result)


def test_seed_picks_the_replicate_and_none_averages(table: Benchmark, runs: pd.DataFrame) -> None:
    first = runs.iloc[0]
    config = configuration(table, first)
    alike = runs[(runs["network_key"] == first["network_key"])]
    assert alike["seed"].tolist() == [0, 1]
    joules = [epochs_of(table, r, config["epochs"])["node_energy_j"].sum() for r in alike["run_id"]]
    mean = table.query(config)
    assert mean.provenance == "measured, n=2"
    assert mean.energy_j.value == pytest.approx(np.mean(joules))
    assert mean.energy_j.noise == pytest.approx(np.std(joules, ddof=1) / np.mean(joules))
    low = alike["node_energy_low_j"] / alike["node_energy_j"] * joules
    assert mean.energy_j.low == pytest.approx(low.mean())
    for seed, value in ((0, joules[0]), (1, joules[1]), (2, joules[0]), (-1, joules[1])):
        one = table.query(config, seed=seed)
        assert one.provenance == "measured, n=1"
        assert one.energy_j.value == pytest.approx(value)
    assert table.query(config, seed=0) == table.query(config, seed=0)


def test_curve_of_the_table_is_the_measured_one(table: Benchmark, runs: pd.DataFrame) -> None:
    run = runs.iloc[20]
    config = configuration(table, run)
    curve = table.curve(config)
    rows = epochs_of(table, run["run_id"], config["epochs"])
    assert curve["epoch"].tolist() == list(range(1, config["epochs"] + 1))
    np.testing.assert_allclose(curve["energy_j"], rows["node_energy_j"].cumsum())
    np.testing.assert_allclose(curve["accuracy"], rows["val_accuracy"])
    for epoch in curve["epoch"]:
        assert table.query(config, epoch=epoch).energy_j.value == pytest.approx(
            curve["energy_j"][epoch - 1]
        )


def test_many_answers_agree_with_the_measured_table(table: Benchmark) -> None:
    measured = table.measured()
    found = table.query_many(measured[list(table.space)])
    for target in ("accuracy", "energy_j", "time_s"):
        np.testing.assert_allclose(found[target], measured[target])
    assert found["in_domain"].all()
    assert (found["network_key"] == measured["network_key"]).all()


def test_gpu_energy_of_the_table(artefact: Path, runs: pd.DataFrame) -> None:
    bench = wattproof.load(artefact, kind="table", energy="gpu")
    config = configuration(bench, runs.iloc[20])
    rows = epochs_of(bench, runs.iloc[20]["run_id"], config["epochs"])
    result = bench.query(config)
    assert result.energy_scope == "gpu"
    assert result.energy_j.value == pytest.approx(rows["gpu_energy_j"].sum())
    assert result.energy_j.low is None


def test_an_energy_that_is_not_asked_for_may_be_unknown(tmp_path: Path) -> None:
    """As on a machine without a meter."""
    campaign = synthetic.make(runs=24, replicates=0)
    curves = campaign.curves.copy()
    run = campaign.dataset.loc[0, "run_id"]
    curves.loc[curves["run_id"] == run, "node_energy_j"] = math.nan
    folder = make_artefact(synthetic.Campaign(campaign.dataset, curves), tmp_path, trees=5)
    bench = wattproof.load(folder, kind="table", energy="gpu")
    config = configuration(bench, campaign.dataset.loc[0])
    result = bench.query(config)
    joules = curves[curves["run_id"] == run]["gpu_energy_j"].sum()
    assert result.energy_j.value == pytest.approx(joules)
    assert result.power_w.value == pytest.approx(joules / result.time_s.value)


def test_what_was_not_trained_has_no_measured_answer(table: Benchmark) -> None:
    config = table.sample(seed=4711)
    for ask in (table.query, table.curve, lambda c: table.query_many(pd.DataFrame([c]))):
        with pytest.raises(WattproofError, match="was not trained") as caught:
            ask(config)
        assert "kind='surrogate' answers it" in str(caught.value)


def test_what_the_gate_left_out_is_not_answered(tmp_path: Path) -> None:
    campaign = synthetic.make(runs=24, replicates=0)
    data = campaign.dataset.assign(excluded="", fold=0)
    data.loc[3, "excluded"] = "flagged gap"
    folder = make_artefact(synthetic.Campaign(data, campaign.curves), tmp_path, trees=5)
    bench = wattproof.load(folder, kind="table")
    with pytest.raises(WattproofError, match=r"left out .*flagged gap"):
        bench.query(configuration(bench, data.loc[3]))
    assert bench.query(configuration(bench, data.loc[4])).provenance == "measured, n=1"


def test_an_epoch_without_energy_is_not_made_up(tmp_path: Path) -> None:
    campaign = synthetic.make(runs=24, replicates=0)
    curves = campaign.curves.copy()
    run = campaign.dataset.loc[0, "run_id"]
    curves.loc[(curves["run_id"] == run) & (curves["epoch"] == 1), "node_energy_j"] = math.nan
    folder = make_artefact(synthetic.Campaign(campaign.dataset, curves), tmp_path, trees=5)
    bench = wattproof.load(folder, kind="table")
    config = configuration(bench, campaign.dataset.loc[0])
    assert bench.query(config, epoch=1).energy_j.value > 0
    with pytest.raises(WattproofError, match=f"Run {run} has no known 'energy_j' after epoch 2"):
        bench.query(config, epoch=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "tabel"}, "Did you mean 'table'"),
        ({"kind": None}, "no kind of benchmark"),
        ({"folder": "x"}, "folder is for kind='live'"),
        ({"kind": "table", "settings": {}}, "settings is for kind='live'"),
        ({"kind": "live"}, "kind='live' cannot train"),  # of what was no campaign
    ],
)
def test_kinds_that_cannot_be_had(artefact: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(WattproofError, match=words) as caught:
        wattproof.load(artefact, **arguments)
    assert "\n" not in str(caught.value)


# -------------------------------------------------------------------------------- live


@pytest.fixture(scope="module")
def live(tiny: Path) -> Benchmark:
    return wattproof.load(tiny, kind="live")


def test_live_lies_where_the_surrogate_says(tiny: Path, live: Benchmark) -> None:
    """Configurations that the campaign has not trained; their energies were not seen by any fit."""
    surrogate = wattproof.load(tiny)
    inside = []
    for seed in (50, 51, 52, 53):
        config = live.sample(seed=seed)
        measured, predicted = live.query(config), surrogate.query(config)
        assert measured.provenance == "live"
        assert measured.simulated
        assert measured.epoch == config["epochs"]
        assert measured.network_key == predicted.network_key
        assert measured.energy_j.low < measured.energy_j.value < measured.energy_j.high
        assert abs(measured.energy_j.value / predicted.energy_j.value - 1) < 0.2
        inside.append(predicted.energy_j.low < measured.energy_j.value < predicted.energy_j.high)
    assert sum(inside) >= 3


def test_live_trains_what_the_campaign_trained(tiny: Path, live: Benchmark) -> None:
    """The digest of a run says all that determines it: recipe, node, instruments, seed."""
    run = live.dataset.sort_values("run_id").iloc[0]
    config = configuration(live, run)
    row = plan.rows_of(train.recipe(snapshot.take(tiny_campaign.complete()), None), "live",
                       [config], 0)  # fmt: skip
    again = next(one for one in row if one.config)
    assert again.run_id.rpartition("-")[2] == run["run_id"].rpartition("-")[2]
    measured = wattproof.load(tiny, kind="table").query(config)
    result = live.query(config, seed=0)
    assert result.energy_j.value == pytest.approx(measured.energy_j.value, rel=0.05)
    assert result.time_s.value == pytest.approx(measured.time_s.value, rel=0.05)
    assert live.query(config) == result  # trained once, and 0 is the seed of None
    assert wattproof.load(tiny, kind="live").query(config) == result


def test_seeds_curves_and_frames_of_live(live: Benchmark) -> None:
    config = live.sample(seed=50)
    one, other = live.query(config, seed=1), live.query(config, seed=2)
    assert one.accuracy.value != other.accuracy.value
    curve = live.curve(config, seed=1)
    assert curve["energy_j"].is_monotonic_increasing
    assert curve["energy_j"].iloc[-1] == one.energy_j.value
    frame = live.query_many(pd.DataFrame([config, live.sample(seed=51)]), seed=1)
    assert frame["energy_j"].iloc[0] == one.energy_j.value
    assert live.query(config, epoch=1, seed=1).energy_j.value == curve["energy_j"].iloc[0]


def test_live_keeps_its_trainings_in_a_folder(tiny: Path, tmp_path: Path) -> None:
    bench = wattproof.load(tiny, kind="live", folder=tmp_path / "mine")
    bench.query(bench.sample(seed=50))
    assert list((tmp_path / "mine").iterdir())


def test_settings_of_live(tiny: Path) -> None:
    changed = {"node": {"overrides": {"smi": {"stall_probability": 0.0}}}}
    wattproof.load(tiny, kind="live", settings=changed)
    with pytest.raises(WattproofError, match=r"unknown key 'training.dataste'.*'dataset'"):
        wattproof.load(tiny, kind="live", settings={"training": {"dataste": "mnist"}})

    with pytest.raises(WattproofError, match="no group of keys under 'node'"):
        wattproof.load(tiny, kind="live", settings={"node": "real"})


def test_live_without_the_extras_says_so(tiny: Path) -> None:
    code = (
        "import importlib.abc, sys\n"
        "class Absent(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('torch', 'pynvml', 'psutil', 'serial'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import wattproof\n"
        "bench = wattproof.load(sys.argv[1], kind='live', settings={'node': {'mode': 'live'}})\n"
        "try: bench.query(bench.sample(seed=0))\n"
        "except wattproof.errors.WattproofError as error: print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", code, tiny], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert "is missing here; install it with pip install" in out.stdout


def test_snapshot_withholds_what_is_private() -> None:
    config = tiny_campaign.complete(
        results="/home/me/results",
        cluster={"account": "secret"},
        analysis={"sensors": "/home/me/sensors.json"},
        training={"data_dir": "/home/me/data", "train_images": 256},
        sources={
            "nvml": {"gpus": ["GPU-12345"]},
            "meter": {"driver": "shelly", "port": "10.1.2.3", "user": "me", "password_env": "PW"},
        },
    )
    taken = snapshot.take(config)
    text = json.dumps(taken)
    for word in ("/home/me", "secret", "10.1.2.3", "PW", "GPU-12345"):
        assert word not in text
    assert taken["withheld"] == [
        "analysis.sensors",
        "sources.meter.password_env",
        "sources.meter.port",
        "sources.meter.user",
        "sources.nvml.gpus",
        "training.data_dir",
    ]
    assert taken["training"]["train_images"] == 256
    assert snapshot.take(taken) == taken
    assert config["training"]["data_dir"] == "/home/me/data"  # the campaign is left as it is


@pytest.mark.slow
def test_live_really_trains(tiny: Path, tmp_path: Path) -> None:
    """On the CPU, with torch, while the instruments of a simulated node record in real time."""
    settings = {
        "node": {"mode": "live"},
        "training": {"inference": {"seconds": 0, "latency_seconds": 0}},
        "calibration": {"idle_s": 2},
    }
    bench = wattproof.load(tiny, kind="live", folder=tmp_path, settings=settings)
    config = bench.sample(seed=51)
    result = bench.query(config, epoch=2)
    assert result.provenance == "live"
    assert result.simulated
    assert 0 < result.accuracy.value < 1
    assert result.energy_j.low < result.energy_j.value < result.energy_j.high
    assert 30 < result.power_w.value < 300
    finished = list(tmp_path.rglob("runs/*.json"))
    assert len(finished) == 4  # pattern, idle, training, pattern
    again = wattproof.load(tiny, kind="live", folder=tmp_path, settings=settings)
    assert again.query(config, epoch=2) == result  # nothing was trained anew
    assert sorted(tmp_path.rglob("runs/*.json")) == sorted(finished)
