"""The demo campaign through a real Slurm: several nodes, four slots each (issue 5, proof 2)."""

import re
import subprocess
import sys
from pathlib import Path

import cluster
import pytest
import yaml
from cluster import Cluster
from slurm_campaign import ROOT, SlurmCampaign, Watch

from wattproof import tables

pytestmark = pytest.mark.timeout(1200)

TRAINING = re.compile(r"packed-\d{5}-")
"""Trainings only: loads are called after their recording (packed-000-00-sync-…)."""
NODE_WIDE = {"meter": 0.1, "rapl": 0.1, "host": 0.25}
"""Sources that see the whole node, and their periods in seconds."""


def test_demo_campaign_on_several_nodes(slurm: Cluster, slurm_campaign: SlurmCampaign) -> None:
    campaign = slurm_campaign
    with Watch(campaign.folder) as watch:
        campaign.run()
    page = (campaign.results / "report.html").read_text(encoding="utf-8")
    assert "SIMULATED" in page

    jobs = {job["comment"]: job for job in slurm.jobs().values()}
    assert {job["state"] for job in jobs.values()} == {"COMPLETED"}
    # One job for each recording, one for the analysis of all of them.
    shards = [jobs.pop(comment) for comment in list(jobs) if comment.startswith("rule_analysis")]
    assert len(shards) == 1
    recordings = sorted(path.name for path in (campaign.results / "recordings").iterdir())
    assert recordings == ["calibration-000", "packed-000", "packed-001"]
    assert sorted(jobs) == [f"rule_recording_wildcards_{name}" for name in recordings]
    # Meters see a whole node: no two recordings shared one.
    nodes = {job["node"] for job in jobs.values()}
    assert len(nodes) == len(recordings)
    assert nodes <= set(slurm.names)

    trained = {seen for seen in watch.seen if TRAINING.match(seen.run_id)}
    for name in ("packed-000", "packed-001"):
        mine = {seen for seen in trained if seen.run_id in campaign.run_ids(name)}
        assert len(mine) == len({seen.devices for seen in mine}) == 4, "a slot for each run"
        assert {seen.node for seen in mine} == {jobs[f"rule_recording_wildcards_{name}"]["node"]}
    for moment in watch.together:
        places = [(seen.node, seen.devices) for seen in moment & trained]
        assert len(places) == len(set(places)), "two runs at once on one slot"
    assert max(len({seen.devices for seen in moment & trained}) for moment in watch.together) > 1

    for name in recordings:
        folder = campaign.results / "recordings" / name
        samples = tables.read_frame(folder / "samples.parquet", "samples")
        assert set(samples["session"]) == {0}
        for source, period_s in NODE_WIDE.items():
            streams = (campaign.results / "raw" / name).rglob(f"{source}*.arrows")
            assert len(list(streams)) == 1
            ends_ns = samples.loc[samples["source"] == source].groupby("channel")["end_ns"]
            span_s = (ends_ns.max() - ends_ns.min()) / 1e9
            assert (ends_ns.size() > 10).all()
            assert (ends_ns.size() <= 1.1 * span_s / period_s + 2).all(), "recorded twice"
        gpus = {c.split(".")[0] for c in samples.loc[samples["source"] == "nvml", "channel"]}
        assert gpus == {"gpu0", "gpu1", "gpu2", "gpu3"}


@pytest.mark.parametrize("profile", ["slurm", "profiles/slurm"])
def test_profile_is_found_by_both_names(profile: str) -> None:
    command = [sys.executable, "-m", "snakemake", "--profile", profile, "--dry-run"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Using profiles {profile} and" in done.stderr
    recording = (done.stdout + done.stderr).split("rule recording:")[1].split("\n\n")[0]
    for asked in ("slurm_extra=--exclusive", "gres=gpu:1", "whole_node=1", "runtime=120"):
        assert asked in recording
    # The same name here and there, or all recordings would start at once on this machine.
    local = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text(encoding="utf-8"))
    assert local["resources"] == ["whole_node=1"]


def test_refuses_a_slurm_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ETC", tmp_path)
    monkeypatch.setattr(cluster.os, "geteuid", lambda: 0)
    theirs = tmp_path / "slurm.conf"
    theirs.write_text("ClusterName=production\n")
    with pytest.raises(cluster.NotHereError, match="belongs to a Slurm of somebody else"):
        Cluster().start()
    assert theirs.read_text() == "ClusterName=production\n"


def test_puts_back_what_was_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ETC", tmp_path / "etc")
    monkeypatch.setattr(cluster, "RUN", tmp_path / "run")
    (tmp_path / "etc").mkdir()
    (tmp_path / "run").mkdir()
    before = tmp_path / "etc" / "gres.conf"
    before.write_text("Name=gpu File=/dev/nvidia0\n")
    monkeypatch.setattr(cluster.os, "mknod", lambda *_: None)
    Cluster()._configure()
    assert before.read_text().startswith(cluster.MARKER)
    cluster.stop()
    assert before.read_text() == "Name=gpu File=/dev/nvidia0\n"
    assert sorted(path.name for path in (tmp_path / "etc").iterdir()) == ["gres.conf"]
