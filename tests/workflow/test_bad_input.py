"""What cannot be done is one sentence before anything is queued, also in a dry run."""

from __future__ import annotations

from pathlib import Path

import pytest
from campaigns import MINI, Campaign

from wattproof import config, preflight
from wattproof.errors import WattproofError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = config.load_schema(ROOT / "config/schema/campaign.schema.json")

MISTAKES = {
    "space": ("campaign: mini", "campaign: mini\nspace: regnet_dmo", ["space", "regnet_demo"]),
    "slots": (
        "runs: 3,",
        "runs: 3, setting: packed, slots: 9,",
        ["plan.slots", "9", "GPU(s)", "lower it"],
    ),
    "too many runs": ("runs: 3,", "runs: 3000000,", ["plan.runs", "3000000"]),
    "part": ("runs: 3,", "runs: 3, part: {index: 3, of: 2},", ["plan.part", "3 of 2"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_refused_by_preflight(name: str, tmp_path: Path) -> None:
    old, new, words = MISTAKES[name]
    file = tmp_path / "mini.yaml"
    file.write_text(MINI.replace(old, new), encoding="utf-8")
    with pytest.raises(WattproofError) as caught:
        preflight.check(config.validate(config.read_yaml(file), SCHEMA, "mini.yaml"), "mini.yaml")
    text = str(caught.value)
    assert text.startswith("mini.yaml: ")
    assert "\n" not in text
    assert all(word in text for word in words), text


def test_by_the_real_snakemake_in_a_dry_run(empty_campaign: Campaign) -> None:
    old, new, words = MISTAKES["slots"]
    done = empty_campaign.snakemake("-n", config=MINI.replace(old, new))
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("wattproof: ")]
    assert len(said) == 1, done.stderr
    assert all(word in said[0] for word in words)
    assert "Traceback" not in done.stderr
    assert "Job stats" not in done.stdout + done.stderr
    assert not (empty_campaign.folder / "results").exists()


def test_a_real_node_without_a_gpu_is_told_before_the_first_job(empty_campaign: Campaign) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a GPU")
    text = MINI.replace("campaign: mini", "campaign: mini\nnode: {kind: real}")
    text = text.replace("meter: {driver: lmg450}", "meter: {driver: lmg450, port: /dev/ttyUSB0}")
    done = empty_campaign.snakemake(config=text)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("wattproof: ")]
    assert len(said) == 1, done.stderr
    assert "GPU" in said[0]
    assert not (empty_campaign.folder / "results" / "mini" / "raw").exists()


def test_on_a_cluster_only_the_analysis_goes_in_shards() -> None:
    """A recording in a group would share its job with others, and lose its samples with them."""
    profile = config.read_yaml(ROOT / "profiles/slurm/config.yaml")
    grouped = dict(entry.split("=") for entry in profile["groups"])
    assert set(grouped) == {"align", "integrate", "inspect"}
    assert len(set(grouped.values())) == 1
    assert profile["group-components"] == ["analysis=20"]
