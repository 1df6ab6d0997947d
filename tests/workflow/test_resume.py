"""Kills, resumes and retrainings, with real processes and signals."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from campaigns import MINI, Campaign

from wattproof import tables
from wattproof.recorder import read_stream

pytestmark = pytest.mark.timeout(900)  # whole campaigns, on a machine that does more than that

CONFIG = MINI.replace(
    "runs: 3, replicates: 1, runs_per_recording: 3", "runs: 3, runs_per_recording: 3"
)
TARGET = "results/mini/recordings/single-000/samples.parquet"
TRAINING = "single-[0-9][0-9][0-9][0-9][0-9]-*"
"""Trainings only: loads are called after their recording (single-000-00-sync-…)."""


def start(campaign: Campaign) -> subprocess.Popen[bytes]:
    (campaign.folder / "mini.yaml").write_text(CONFIG, encoding="utf-8")
    log = (campaign.folder / "first.log").open("wb")
    return subprocess.Popen(
        campaign.command(TARGET),
        cwd=campaign.folder,
        stdout=log,
        stderr=log,
        env=campaign.environment(),
        start_new_session=True,
    )


def wait_for_runs(campaign: Campaign, number: int, seconds: float = 120) -> list[Path]:
    """Wait until so many trainings have finished and the next one has begun."""
    raw = campaign.results / "raw/single-000"
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done = sorted((raw / "runs").glob(f"{TRAINING}.json"))
        begun = list(raw.glob(f"session-000/runs/{TRAINING}/log"))
        if len(done) >= number and len(begun) > number:
            return done
        time.sleep(0.2)
    raise AssertionError((campaign.folder / "first.log").read_text())


def streams(campaign: Campaign) -> dict[str, int]:
    """Samples on disk by source of the first session; lanes (``nvml@ring``) are one source."""
    folder = campaign.results / "raw/single-000/session-000/streams"
    found: dict[str, int] = {}
    for path in folder.glob("*.arrows"):
        source = path.stem.split(".")[0].split("@")[0]
        found[source] = found.get(source, 0) + read_stream(path)[0].num_rows
    return found


@pytest.mark.parametrize("whole_group", [False, True], ids=["snakemake", "process-group"])
def test_kill_9_in_the_middle_of_a_recording(empty_campaign: Campaign, whole_group: bool) -> None:
    campaign = empty_campaign
    process = start(campaign)
    finished = wait_for_runs(campaign, 1)
    stamps = {path: path.stat().st_mtime_ns for path in finished}
    if whole_group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    on_disk = streams(campaign)
    assert on_disk
    assert campaign.snakemake("--unlock", config=CONFIG).returncode == 0
    done = campaign.snakemake("--rerun-incomplete", TARGET, config=CONFIG)
    assert done.returncode == 0, done.stderr[-4000:]
    for path, stamp in stamps.items():
        assert path.stat().st_mtime_ns == stamp, f"{path.name} was trained again"
    samples = tables.read_frame(campaign.folder / TARGET, "samples")
    first = samples[samples["session"] == 0].groupby("source").size()
    for source, rows in on_disk.items():
        assert first[source] >= rows
    runs = tables.read_frame(campaign.results / "recordings/single-000/runs.parquet", "runs")
    trained = runs[runs["setting"] == "single"]
    assert len(trained) == 3
    assert set(trained["session"]) == {0, 1}
    assert (trained["status"] == "ok").all()
    left = [p.info for p in psutil.process_iter(["cmdline"]) if _is_ours(p, campaign)]
    assert left == [], "a killed workflow left processes behind"


def _is_ours(process: psutil.Process, campaign: Campaign) -> bool:
    return any(str(campaign.folder) in part for part in process.info["cmdline"] or [])


def test_ctrl_c_stops_cleanly_and_the_rest_is_trained_later(empty_campaign: Campaign) -> None:
    campaign = empty_campaign
    process = start(campaign)
    wait_for_runs(campaign, 1)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) != 0
    text = (campaign.folder / "first.log").read_text()
    assert "Traceback" not in text
    done = campaign.snakemake("--rerun-incomplete", TARGET, config=CONFIG)
    assert done.returncode == 0, done.stderr[-4000:]


def test_retrains_only_the_recording_whose_data_are_gone(empty_campaign: Campaign) -> None:
    """DESIGN 13.2: deleting raw and tables retrains that recording, and no other."""
    import shutil

    campaign = empty_campaign
    config = MINI.replace(
        "runs: 3, replicates: 1, runs_per_recording: 3", "runs: 2, runs_per_recording: 1"
    )
    goals = [f"results/mini/recordings/single-00{i}/samples.parquet" for i in (0, 1)]
    assert campaign.snakemake(*goals, config=config).returncode == 0
    raw = campaign.results / "raw"
    kept = {path: path.stat().st_mtime_ns for path in (raw / "single-000/runs").iterdir()}
    shutil.rmtree(raw / "single-001")
    shutil.rmtree(campaign.results / "recordings/single-001")
    done = campaign.snakemake(*goals, config=config)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(list((raw / "single-001/runs").glob(f"{TRAINING}.json"))) == 1
