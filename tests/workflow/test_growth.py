"""A campaign that grows, by the real Snakemake: what was recorded stays, in one call."""

from __future__ import annotations

from pathlib import Path

import pytest
from campaigns import Campaign

from wattproof import tables

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CONFIG = """
campaign: mini
node: {kind: virtual, preset: paper, mode: offline}
plan: {runs: 5, replicates: 1, runs_per_recording: 3, seed: 3}
training: {image_size: 64, train_images: 4000}
calibration: {idle_s: 4, loads: []}
sources:
  nvml: {period_s: 0.2, counter_period_s: 0.2, ring: false}
analysis: {min_samples: 3, min_confidence: 0.3}
"""
GOAL = "results/mini/tables/findings.parquet"


def test_a_grown_plan_touches_only_what_grows(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path)
    done = campaign.snakemake(GOAL, config=CONFIG)
    assert done.returncode == 0, done.stderr[-3000:]
    here = campaign.results / "recordings"
    stamps = {path: path.stat().st_mtime_ns for path in here.rglob("samples.parquet")}
    plan = campaign.results / "tables" / "plan.parquet"
    assert campaign.snakemake(str(plan.relative_to(tmp_path)), config=CONFIG).returncode == 0
    more = CONFIG.replace("runs: 5,", "runs: 8,").replace("replicates: 1", "replicates: 2")
    done = campaign.snakemake(GOAL, str(plan.relative_to(tmp_path)), config=more)
    assert done.returncode == 0, done.stderr[-3000:]
    changed = {path.parent.name for path, t in stamps.items() if path.stat().st_mtime_ns != t}
    assert changed == {"single-001", "single-r000"}
    runs = tables.read_frame(here.glob("*/runs.parquet"), "runs")
    trained = runs[runs["setting"] == "single"]["run_id"]
    planned = tables.read_frame(plan, "plan")
    assert set(trained) == set(planned[planned["setting"] == "single"]["run_id"])
    assert len(trained) == 10
