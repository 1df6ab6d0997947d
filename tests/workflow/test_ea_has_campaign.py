"""EA-HAS-Bench CIFAR-10 configurations, trained for real through Snakemake on a small made set."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from campaigns import REST, ROOT, Campaign

import made_sets
from wattproof import config, plan, preflight, tables

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
  warmup_epochs: 5
  ema: true
  precise_bn_images: 8192
  drop_last: true
  eval_batch_size: 1000
"""

QUICK = """
calibration: {sync: false, idle_s: 0, loads: []}
sources: {nvml: {}}
"""


def reference_rate(policy: str, base: float, epoch: int, of: int) -> float:
    """Section 6 of the facts page on EA-HAS-Bench, written out once more, with 5 warm-up epochs."""
    m = 1e-6
    factor = {
        "cos": (1 - m) * (1 + math.cos(math.pi * epoch / of)) / 2 + m,
        "lin": (1 - m) * (1 - epoch / of) + m,
        "exp": math.exp(math.log(m) * epoch / of),
    }[policy]
    if epoch < 5:
        factor *= 0.1 * (1 - epoch / 5) + epoch / 5
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
    for run, chosen in configs.items():
        rates = ends[ends["run_id"] == run].sort_values("epoch")["learning_rate"].to_numpy()
        whole = chosen["epochs"]
        assert len(rates) == runs.loc[run, "epochs"] == whole // shorten
        kept = np.rint(np.linspace(0, whole - 1, whole // shorten)).astype(int)
        expected = [reference_rate(chosen["policy"], chosen["lr"], int(e), whole) for e in kept]
        assert rates == pytest.approx(expected, rel=1e-12), chosen


REFERENCE = {
    "warmup_epochs": 5,
    "label_smoothing": 0.1,
    "ema": True,
    "precise_bn_images": 8192,
    "precision": "amp",
    "drop_last": True,
    "eval_batch_size": 1000,
    "deterministic": False,
    "feed": "loader",
    "workers": 4,
    "image_size": 32,
    "shorten": 1,
}
"""The training recipe of EA-HAS-Bench as its sweep files set it, by our keys."""


def test_the_campaign_file_is_the_reference_and_passes_the_checks(tmp_path: Path) -> None:
    raw = config.read_yaml(ROOT / "config/campaigns/ea_has_cifar10.yaml")
    schema = config.load_schema(ROOT / "config/schema/campaign.schema.json")
    full = config.validate(raw, schema, "ea_has_cifar10.yaml")
    assert {key: full["training"][key] for key in REFERENCE} == REFERENCE
    full["training"]["data_dir"] = str(made_sets.cifar10(tmp_path))
    preflight.check(full, "ea_has_cifar10.yaml")
    rows = [row for row in plan.make_plan(full) if row.config]
    assert Counter(row.setting for row in rows) == {"single": 525, "packed": 20, "ddp": 20}
    single = [row for row in rows if row.setting == "single"]
    assert len({row.network_key for row in single}) == 334
    assert {row.config["batch_size"] for row in rows} == {1024}
    for key, values in (("optimizer", 3), ("policy", 3), ("cutout", 2), ("lr", 10), ("epochs", 3)):
        assert len({row.config[key] for row in rows}) == values


def test_damaged_data_blame_no_run_and_mended_three_configurations_are_trained(
    tmp_path: Path,
) -> None:
    """Damage that only reading finds stops the recording; then it goes on where it stopped."""
    data_dir = made_sets.cifar10(tmp_path / "data", train=200, test=50)
    batch = data_dir / "cifar-10-batches-py" / "data_batch_3"
    whole = batch.read_bytes()
    batch.write_bytes(whole[:-2000] + b"." * 2000)
    text = FEW.format(runs=3, data_dir=data_dir, side=8, shorten=50) + QUICK
    campaign = Campaign(tmp_path)
    targets = [
        f"results/mini/{name}.parquet" for name in ("tables/plan", "recordings/single-000/marks")
    ]
    done = campaign.snakemake(*targets, config=text)
    assert done.returncode != 0
    assert "could not begin and is still to be done" in done.stderr
    assert f"{batch} is not a file of data set 'cifar10', or it is damaged" in done.stderr
    assert not list((campaign.results / "raw" / "single-000" / "runs").glob("*.json"))

    batch.write_bytes(whole)
    done = campaign.snakemake(*targets, config=text)
    assert done.returncode == 0, done.stderr[-3000:]
    configs, runs, marks = trained(campaign, "single-000")
    assert len(configs) == 3
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
    data_dir = made_sets.cifar10(tmp_path / "data", train=300, test=60)
    text = FEW.format(runs=20, data_dir=data_dir, side=16, shorten=25) + REST
    campaign = Campaign(tmp_path)
    done = campaign.snakemake(config=text)
    assert done.returncode == 0, done.stderr[-3000:]
    configs, runs, marks = trained(campaign, "single-000")
    assert len(configs) == 20
    assert runs["status"].tolist() == ["ok"] * 20, runs["reason"].tolist()
    met = Counter((chosen["optimizer"], chosen["policy"]) for chosen in configs.values())
    assert len(met) == 9, met
    assert {chosen["epochs"] for chosen in configs.values()} == {50, 100, 200}
    check_rates(configs, runs, marks, shorten=25)
    data = tables.read_frame(campaign.results / "tables/dataset.parquet", "dataset")
    assert len(data) == 20
    assert data["network_key"].nunique() == 20
    assert (data["gpu_energy_j"] > 0).all()
    assert (data["node_energy_j"] > data["gpu_energy_j"]).all()
    assert "SIMULATED" in (campaign.results / "report.html").read_text(encoding="utf-8")
