"""An offline campaign through the real Snakemake: every stage, verified against the truth."""

import json

import pytest
from campaigns import Campaign

from wattproof import tables, verification

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OFFLINE = """
campaign: mini
node: {kind: virtual, preset: paper, mode: offline}
plan: {runs: 12, replicates: 2, runs_per_recording: 5, seed: 3}
training: {dataset: tiny_imagenet, image_size: 64, train_images: 50000, feed: loader}
calibration: {idle_s: 20, load_s: 30, repeats: 2}
sources:
  nvml: {period_s: 0.1}
  smi: {}
  rapl: {}
  host: {}
  meter: {driver: lmg450, range_v: 250, range_a: 20}
analysis: {min_confidence: 0.3}
surrogate: {folds: 2, trees: 20}
"""


def test_the_campaign_is_made_verified_and_made_again(tmp_path):
    campaign = Campaign(tmp_path)
    done = campaign.snakemake(config=OFFLINE)
    assert done.returncode == 0, done.stderr[-3000:]
    found = verification.verify(campaign.results)
    assert len(found.energies) == 14
    assert found.passed, str(found)
    assert found.offsets["accepted"].all()
    # Fed by loaders a run takes a minute and more: limits are those of long windows.
    assert found.energies["nvml_error"].abs().max() < 0.002
    assert found.energies["meter_error"].abs().max() < 0.003
    assert not (campaign.results / "raw").exists()
    assert "imulated" in (campaign.results / "report.html").read_text(encoding="utf-8")
    plan = tables.read_frame(campaign.results / "tables" / "plan.parquet", "plan")
    runs = [json.loads(spec) for spec in plan.spec]
    assert sum(spec["kind"] == "train" for spec in runs) == 14

    # A table that is lost comes back as it was, and nothing else is made anew.
    lost = campaign.results / "recordings" / "single-001" / "samples.parquet"
    before = lost.read_bytes()
    lost.unlink()
    again = campaign.snakemake(str(lost.relative_to(tmp_path)), config=OFFLINE)
    assert again.returncode == 0, again.stderr[-3000:]
    assert lost.read_bytes() == before
    assert (again.stdout + again.stderr).count("rule recording:") == 1
