"""EA-HAS-Bench CIFAR-10 configurations, trained for real through Snakemake on a small made set."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from campaigns import Campaign

import made_sets
from wattproof import tables

FEW = """
campaign: mini
node: {{kind: virtual, preset: laptop, mode: live}}
space: ea_has_cifar10
plan: {{runs: {runs}, replicates: 0, runs_per_recording: {runs}, seed: 10}}
training:
  dataset: cifar10
  data_dir: {data_dir}
  image_size: {side}
  train_images: null
  shorten: {shorten}
"""

QUICK = """
calibration: {sync: false, idle_s: 0, loads: []}
sources: {nvml: {}}
"""

WHOLE = """
calibration: {idle_s: 2, load_s: 2, repeats: 1}
sources:
  nvml: {}
  smi: {}
  rapl: {}
  host: {}
  meter: {driver: lmg450}
analysis: {min_samples: 3, min_confidence: 0.3}
surrogate: {folds: 2, trees: 20}
"""


def reference_rate(policy: str, base: float, epoch: int, of: int) -> float:
    """Section 6 of the facts page on EA-HAS-Bench, written out once more."""
    m = 1e-6
    factor = {
        "cos": (1 - m) * (1 + math.cos(math.pi * epoch / of)) / 2 + m,
        "lin": (1 - m) * (1 - epoch / of) + m,
        "exp": math.exp(math.log(m) * epoch / of),
    }[policy]
    return base * factor


def trained(campaign: Campaign, recording: str):
    """Configurations by run, and the tables of a recording's runs and marks."""
    plan = tables.read_frame(campaign.results / "tables/plan.parquet", "plan")
    specs = {row.run_id: json.loads(row.spec) for row in plan.itertuples()}
    configs = {run: spec["config"] for run, spec in specs.items() if spec["kind"] == "train"}
    folder = campaign.results / "recordings" / recording
    runs = tables.read_frame(folder / "runs.parquet", "runs").set_index("run_id")
    return configs, runs.loc[list(configs)], tables.read_frame(folder / "marks.parquet", "marks")


def check_rates(configs, runs, marks, shorten: int) -> None:
    """The learning rate of each epoch is the reference's, over the whole schedule."""
    ends = marks[marks["kind"] == "epoch_end"]
    for run, config in configs.items():
        rates = ends[ends["run_id"] == run].sort_values("epoch")["learning_rate"].to_numpy()
        whole = config["epochs"]
        assert len(rates) == runs.loc[run, "epochs"] == whole // shorten
        kept = np.rint(np.linspace(0, whole - 1, whole // shorten)).astype(int)
        expected = [reference_rate(config["policy"], config["lr"], int(e), whole) for e in kept]
        assert rates == pytest.approx(expected, rel=1e-12), config


def test_four_configurations_are_recorded_for_real(tmp_path: Path) -> None:
    data_dir = made_sets.cifar10(tmp_path / "data", train=200, test=50)
    config = FEW.format(runs=4, data_dir=data_dir, side=8, shorten=50) + QUICK
    campaign = Campaign(tmp_path)
    done = campaign.snakemake("results/mini/recordings/single-000/marks.parquet", config=config)
    assert done.returncode == 0, done.stderr[-3000:]
    configs, runs, marks = trained(campaign, "single-000")
    assert len(configs) == 4
    assert (runs["status"] == "ok").all(), runs["reason"].tolist()
    check_rates(configs, runs, marks, shorten=50)
    # 180 training and 50 test images: the parts of the made set, and no others.
    accuracies = runs["test_accuracy"].to_numpy() * 50
    assert accuracies == pytest.approx(np.round(accuracies))
    assert (runs["macs"] < 130e6 / 15).all()


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_twenty_configurations_with_all_optimizers_and_schedules(tmp_path: Path) -> None:
    """Must show 3 of the sweeps: 20 runs for real on the CPU, to the report."""
    data_dir = made_sets.cifar10(tmp_path / "data", train=500, test=100)
    config = FEW.format(runs=20, data_dir=data_dir, side=16, shorten=25) + WHOLE
    campaign = Campaign(tmp_path)
    done = campaign.snakemake(config=config)
    assert done.returncode == 0, done.stderr[-3000:]
    configs, runs, marks = trained(campaign, "single-000")
    assert len(configs) == 20
    assert runs["status"].tolist() == ["ok"] * 20, runs["reason"].tolist()
    met = Counter((config["optimizer"], config["policy"]) for config in configs.values())
    assert len(met) == 9, met
    assert {config["epochs"] for config in configs.values()} == {50, 100, 200}
    check_rates(configs, runs, marks, shorten=25)
    data = tables.read_frame(campaign.results / "tables/dataset.parquet", "dataset")
    assert len(data) == 20
    assert data["network_key"].nunique() == 20
    assert (data["gpu_energy_j"] > 0).all()
    assert (data["node_energy_j"] > data["gpu_energy_j"]).all()
    assert "SIMULATED" in (campaign.results / "report.html").read_text(encoding="utf-8")
