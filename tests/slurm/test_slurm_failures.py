"""Nodes that die, cancelled jobs, time limits, preemption, a killed Snakemake: nothing is lost.

Most of each test is waiting: for Slurm to notice, for instruments, for the next status check.
"""

import signal
import subprocess
from dataclasses import dataclass

import pytest
from cluster import Cluster, wait_until
from slurm_campaign import SlurmCampaign, Watch

from wattproof import tables

pytestmark = [pytest.mark.slow, pytest.mark.realtime, pytest.mark.timeout(1200)]

FAILING = """
campaign: mini
plan:
  seed: 3
  recipe: {epochs: [4]}
  groups:
    - {name: dies, runs: 3, runs_per_recording: 3}
    - {name: cancelled, runs: 3, runs_per_recording: 3}
    - {name: preempted, runs: 3, runs_per_recording: 3}
    - {name: late, runs: 8, runs_per_recording: 8}
training: {train_images: 128}
calibration: {idle_s: 2, loads: []}
sources:
  nvml: {ring: false}
  host: {}
  meter: {driver: lmg450}
"""
EVENTS = ("dies", "cancelled", "preempted", "late")

ORPHAN = """
campaign: mini
plan: {runs: 3, runs_per_recording: 3, seed: 3, recipe: {epochs: [4]}}
training: {train_images: 128}
calibration: {idle_s: 2, loads: []}
sources:
  nvml: {ring: false}
  meter: {driver: lmg450}
"""


def table(recording: str, name: str = "samples") -> str:
    return f"results/mini/recordings/{recording}/{name}.parquet"


@dataclass
class Kept:
    """What a recording had on disk when something happened to it."""

    runs: dict[str, tuple[int, int]]
    samples: dict[tuple[int, str], int]


def keep(campaign: SlurmCampaign, recording: str) -> Kept:
    return Kept(campaign.finished_runs(recording), campaign.on_disk(recording))


def assert_nothing_lost(campaign: SlurmCampaign, recording: str, kept: Kept) -> None:
    """Finished runs were not touched, and every sample on disk is in the sealed table."""
    now = campaign.finished_runs(recording)
    # The clocks' pattern is played in each session.
    runs = {name: stamp for name, stamp in kept.runs.items() if "-sync-" not in name}
    assert runs.items() <= now.items(), f"{recording}: a finished run was trained again"
    samples = tables.read_frame(campaign.folder / table(recording), "samples")
    sealed = samples.groupby(["session", "source"]).size().to_dict()
    assert sealed == campaign.on_disk(recording)
    for place, count in kept.samples.items():
        assert sealed[place] >= count, f"{recording}: samples of {place} are gone"


def job_of(slurm: Cluster, recording: str, *, state: str) -> tuple[str, str]:
    """The recording's newest job in a state, and its node; empty if there is none."""
    found = [
        (number, job["node"])
        for number, job in slurm.jobs().items()
        if job["comment"] == f"rule_recording_wildcards_{recording}" and job["state"] == state
    ]
    return max(found, key=lambda one: int(one[0]), default=("", ""))


def trained(campaign: SlurmCampaign, recording: str) -> int:
    return len(campaign.trainings(recording))


def scontrol(*words: str) -> None:
    subprocess.run(["scontrol", *words], check=True, capture_output=True, timeout=30)


def hurry(slurm: Cluster, number: str) -> None:
    """Let a requeued job start now: Slurm would have it wait two minutes."""
    wait_until(lambda: slurm.jobs()[number]["state"] == "PENDING", f"job {number} queues", 60)
    scontrol("update", f"JobId={number}", "StartTime=now")


def test_four_failures_at_once(slurm: Cluster, slurm_campaign: SlurmCampaign) -> None:
    """A dead node, `scancel`, preemption and a time limit: the same workflow completes all."""
    campaign = slurm_campaign
    names = {event: f"{event}-000" for event in EVENTS}
    process = campaign.start(*map(table, names.values()), config=FAILING)
    jobs: dict[str, tuple[str, str]] = {}
    for event, name in names.items():
        wait_until(lambda n=name: job_of(slurm, n, state="RUNNING")[0], f"{name} runs", 120)
        jobs[event] = job_of(slurm, name, state="RUNNING")
    assert len({node for _, node in jobs.values()}) == 4, "recordings shared a node"

    kept = {}
    for event in EVENTS:
        name, (number, node) = names[event], jobs[event]
        wait_until(lambda n=name: trained(campaign, n), f"a run of {name} has ended", 120)
        if event == "dies":
            slurm.kill_node(node)
            kept[event] = keep(campaign, name)
            continue
        kept[event] = keep(campaign, name)
        if event == "cancelled":
            subprocess.run(["scancel", number], check=True, timeout=30)
        elif event == "late":
            scontrol("update", f"JobId={number}", "EndTime=now")  # seen within half a minute
        else:
            urgent = ["sbatch", "-p", "urgent", "-w", node, "--exclusive", "--wrap", "sleep 1"]
            subprocess.run(
                [*urgent, "-o", "/dev/null"], check=True, capture_output=True, timeout=30
            )
    for event in ("preempted", "dies"):
        hurry(slurm, jobs[event][0])
    wait_until(
        lambda: job_of(slurm, names["late"], state="TIMEOUT")[0], "the time limit is noticed", 150
    )
    kept["late"] = keep(campaign, names["late"])

    assert process.wait(timeout=300) == 0, campaign.log[-6000:]
    slurm.revive()
    for event, name in names.items():
        assert_nothing_lost(campaign, name, kept[event])
        results = campaign.trainings(name)
        assert len(results) == (8 if event == "late" else 3)
        assert all(result["status"] == "ok" for result in results)
        sessions = {result["session"] for result in results}
        assert len(sessions) > 1, f"{name} was not interrupted between its runs"
    # A requeued job keeps its number; a cancelled one and one out of time are submitted anew.
    for event, again in (("dies", 0), ("preempted", 0), ("cancelled", 1), ("late", 1)):
        number, _ = job_of(slurm, names[event], state="COMPLETED")
        assert (number != jobs[event][0]) == bool(again)


def test_snakemake_killed_while_its_job_goes_on(
    slurm: Cluster, slurm_campaign: SlurmCampaign
) -> None:
    """The rerun waits for the orphan instead of training the same recording a second time."""
    campaign = slurm_campaign
    name = "single-000"
    with Watch(campaign.folder) as watch:
        first = campaign.start(table(name), config=ORPHAN)
        wait_until(lambda: trained(campaign, name), "a run has ended", 120)
        first.send_signal(signal.SIGKILL)
        first.wait()
        orphan, _ = job_of(slurm, name, state="RUNNING")
        assert orphan, "the job of the killed workflow does not go on"
        assert campaign.start("--unlock", config=ORPHAN).wait(timeout=60) == 0
        second = campaign.start(table(name), config=ORPHAN)
        wait_until(lambda: len(running(slurm, name)) == 2, "the rerun's job runs beside it", 60)
        assert second.wait(timeout=200) == 0, campaign.log[-6000:]
        wait_until(lambda: not running(slurm, name), "the orphan has ended", 60)
    assert max(len(moment) for moment in watch.together) == 1, "trained twice at the same time"
    assert len(watch.seen) == 6  # synchronisation twice, idle, three trainings
    results = campaign.trainings(name)
    assert [(result["status"], result["session"]) for result in results] == [("ok", 0)] * 3
    log = (campaign.results / f"logs/recording/{name}.log").read_text(encoding="utf-8")
    assert f"Slurm job {orphan}" in log
    samples = tables.read_frame(campaign.folder / table(name), "samples")
    assert samples.groupby(["session", "source"]).size().to_dict() == campaign.on_disk(name)


def running(slurm: Cluster, recording: str) -> list[str]:
    """Jobs of a recording that are at work."""
    comment = f"rule_recording_wildcards_{recording}"
    return [
        number
        for number, job in slurm.jobs().items()
        if job["comment"] == comment and job["state"] == "RUNNING"
    ]


def test_whole_workflow_as_a_batch_job(slurm: Cluster, slurm_campaign: SlurmCampaign) -> None:
    """As documented, and requeued in the middle: it unlocks and goes on beside its own orphan."""
    campaign = slurm_campaign
    name = "single-000"
    number = campaign.sbatch(table(name, "clocks"), config=ORPHAN)
    wait_until(lambda: trained(campaign, name), "a run has ended", 150)
    orphan, _ = job_of(slurm, name, state="RUNNING")
    kept = keep(campaign, name)
    scontrol("requeue", number)
    hurry(slurm, number)
    wait_until(lambda: slurm.jobs()[number]["state"] == "COMPLETED", "the workflow ends", 200)
    text = (campaign.folder / "workflow.log").read_text(encoding="utf-8")
    assert "Unlocked working directory" in text or "Unlocking" in text
    assert_nothing_lost(campaign, name, kept)
    assert [(r["status"], r["session"]) for r in campaign.trainings(name)] == [("ok", 0)] * 3
    assert job_of(slurm, name, state="COMPLETED")[0] != orphan
    comments = [job["comment"] for job in slurm.jobs().values()]
    assert any("align" in comment for comment in comments), "analysis is a job as well"
