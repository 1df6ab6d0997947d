"""The whole way, by the real Snakemake, on a small campaign with real processes and trainings."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest
from campaigns import MINI, Campaign

from wattproof import tables

pytestmark = pytest.mark.timeout(900)  # whole campaigns, on a machine that does more than that

RECORDINGS = ("calibration-000", "single-000", "single-r000")
ANALYSIS = {
    *("align", "inspect", "integrate", "assess", "survey", "calibrate"),
    *("dataset", "fit", "benchmark", "report"),
}


def test_leaves_every_table_and_says_that_it_is_simulated(campaign: Campaign) -> None:
    per_recording = (
        "samples",
        "channels",
        "health",
        "marks",
        "runs",
        "clocks",
        "windows",
        "energy",
    )
    whole = (
        "plan",
        "agreement",
        "usage",
        "calibration",
        "estimates",
        "dataset",
        "curves",
        "scores",
    )
    paths = {n: [campaign.results / f"tables/{n}.parquet"] for n in whole}
    for name in per_recording:
        paths[name] = [campaign.results / f"recordings/{r}/{name}.parquet" for r in RECORDINGS]
    for name, files in paths.items():
        for path in files:
            table = tables.read(path, name)
            assert tables.conform(table, name).num_rows == table.num_rows
            assert tables.read_meta(path).simulated, path
    page = (campaign.results / "report.html").read_text(encoding="utf-8")
    assert "SIMULATED" in page
    scorecard = json.loads((campaign.results / "scorecard.json").read_text(encoding="utf-8"))
    assert scorecard["simulated"] is True


def test_all_sources_sampled_and_all_runs_trained(campaign: Campaign) -> None:
    for recording in RECORDINGS:
        folder = campaign.results / "recordings" / recording
        health = tables.read_frame(folder / "health.parquet", "health").set_index("source")
        lanes = {"nvml", "nvml@counter", "nvml@ring"}
        assert set(health.index) == {*lanes, "smi", "rapl", "host", "meter"}
        assert (health["outcome"] == "ok").all(), health["outcome"]
        assert (health["taken"] > health["failed"]).all()
        runs = tables.read_frame(folder / "runs.parquet", "runs")
        assert (runs["status"] == "ok").all(), runs["reason"].tolist()
    data = tables.read_frame(campaign.results / "tables/dataset.parquet", "dataset")
    assert len(data) == 4
    assert data["network_key"].nunique() == 3
    assert (data["gpu_energy_j"] > 0).all()
    assert (data["node_energy_j"] > data["gpu_energy_j"]).all()


def test_nothing_is_rerun(rules_to_run: Callable[..., set[str]]) -> None:
    assert rules_to_run() == set()


def test_an_analysis_setting_reruns_analysis_only(rules_to_run: Callable[..., set[str]]) -> None:
    changed = MINI.replace("min_samples: 3", "min_samples: 4")
    assert changed != MINI
    planned = rules_to_run(changed)
    assert "integrate" in planned
    assert planned <= ANALYSIS | {"all"}


def test_deleted_tables_are_sealed_again_without_training(
    campaign: Campaign, rules_to_run: Callable[..., set[str]]
) -> None:
    folder = campaign.results / "recordings/single-r000"
    before = (folder / "samples.parquet").read_bytes()
    shutil.rmtree(folder)
    assert {"recording", "align", "integrate"} <= rules_to_run()
    done = campaign.snakemake()
    assert done.returncode == 0, done.stderr[-3000:]
    assert "sealing" in done.stderr
    assert (folder / "samples.parquet").read_bytes() == before
    assert len(list((campaign.results / "raw/single-r000").glob("session-*"))) == 1
    assert rules_to_run() == set()


def test_the_truth_is_read_by_no_rule(campaign: Campaign) -> None:
    """DESIGN 13.13: without the truth folder every other output is identical."""
    kept = {
        path: path.read_bytes()
        for path in sorted(campaign.results.rglob("*"))
        if path.is_file()
        and path.relative_to(campaign.results).parts[0]
        in ("recordings", "tables", "benchmark", "figures", "report.html", "scorecard.json")
    }
    aside = campaign.folder / "truth-aside"
    (campaign.results / "truth").rename(aside)
    try:
        for folder in ("recordings", "tables", "benchmark", "figures"):
            shutil.rmtree(campaign.results / folder)
        done = campaign.snakemake()
        assert done.returncode == 0, done.stderr[-3000:]
    finally:
        shutil.rmtree(campaign.results / "truth", ignore_errors=True)
        aside.rename(campaign.results / "truth")
    different = [
        str(path.relative_to(campaign.results))
        for path, content in kept.items()
        if path.read_bytes() != content
    ]
    assert different == []


def test_benchmark_answers_without_torch_and_snakemake(campaign: Campaign) -> None:
    code = f"""
import sys
class Absent:
    names = ("torch", "snakemake", "lightgbm", "sklearn", "onnx", "matplotlib")
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import wattproof
b = wattproof.load({str(campaign.results / "benchmark")!r})
print(b.query(b.sample(seed=0)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "SIMULATED" in done.stdout.upper()


def test_report_of_snakemake_itself(campaign: Campaign) -> None:
    done = campaign.snakemake("--report", "snakemake-report.html")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (campaign.folder / "snakemake-report.html").stat().st_size > 100_000


def test_every_stage_left_log_and_timing(campaign: Campaign) -> None:
    stages = ("plan", "assess", "calibrate", "dataset", "fit", "benchmark", "report")
    for stage in stages:
        assert (campaign.results / f"logs/{stage}.log").exists()
        assert (campaign.results / f"timings/{stage}.tsv").exists()
    for stage in ("recording", "align", "integrate"):
        for recording in RECORDINGS:
            assert (campaign.results / f"logs/{stage}/{recording}.log").exists()
            assert (campaign.results / f"timings/{stage}/{recording}.tsv").exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("min_samples: 3", "min_sample: 3", ["mini.yaml", "analysis.min_sample", "min_samples"]),
        ("runs: 3,", "runs: none,", ["mini.yaml", "plan.runs", "whole number"]),
        ("runs: 3,", "runs: 0,", ["mini.yaml", "plan.runs", "at least 1"]),
        ("lmg450", "lmg4590", ["mini.yaml", "sources.meter.driver", "lmg450"]),
        (
            "{train_images: 128}",
            "{dataset: fashion_mnist, data_dir: /nowhere}",
            ["mini.yaml", "training.dataset", "/nowhere"],
        ),
        ("campaign: mini", "campaign: [mini]", ["mini.yaml", "campaign", "text"]),
    ],
)
def test_a_config_mistake_is_one_sentence_before_any_job(
    empty_campaign: Campaign, old: str, new: str, words: list[str]
) -> None:
    assert old in MINI
    done = empty_campaign.snakemake(config=MINI.replace(old, new))
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("wattproof: ")]
    assert len(said) == 1, done.stderr
    for word in words:
        assert word in said[0]
    assert "Traceback" not in done.stderr
    assert not (empty_campaign.folder / "results").exists()


def test_parquet_metadata_names_the_instruments(campaign: Campaign) -> None:
    path = campaign.results / "recordings/single-000/energy.parquet"
    meta = tables.read_meta(path)
    assert set(meta.instruments) >= {"nvml", "smi", "rapl", "meter"}
    assert meta.code_version
    assert pq.read_schema(path).metadata[tables.META_KEY]
