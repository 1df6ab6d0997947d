"""Packed runs side by side on a virtual node: slots, crashes, stops, resumes, the log."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from packed_recording import campaign, events, paths, results, rows, run, wait_for

from wattproof import session
from wattproof.recorder import read_stream
from wattproof.session import run as runs
from wattproof.session.summary import summarise
from wattproof.training.marks import read_marks
from wattproof.virtual import NodeSpec, truth

VISIBLE = "CUDA_VISIBLE_DEVICES"


def spans(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Begin, end and slot of each run that has both marks."""
    found: dict[str, dict[str, Any]] = {}
    for mark in read_marks(paths(folder).sessions()[-1] / "marks.jsonl"):
        found.setdefault(mark["run_id"], {})[mark["kind"]] = mark
    return {
        run_id: (own["load_begin"]["mono_ns"], own["load_end"]["mono_ns"], own["load_end"]["slot"])
        for run_id, own in found.items()
        if len(own) == 2
    }


def environments(pids: list[int]) -> list[str]:
    return [psutil.Process(pid).environ()[VISIBLE] for pid in pids]


def test_five_runs_on_four_slots(tmp_path: Path) -> None:
    seen: list[str] = []

    def look() -> None:
        begun = wait_for(lambda: len(found := events(tmp_path, "run_begin")) >= 4 and found)
        seen.extend(environments([event["pid"] for event in begun]))

    watcher = threading.Thread(target=look)
    watcher.start()
    run(tmp_path, [2.5, 5.0, 5.0, 5.0, 1.0])
    watcher.join()

    node = NodeSpec.load(paths(tmp_path).truth / "session-000")
    assert sorted(seen) == sorted(node.gpu_uuids), "each run sees one board, and no two the same"
    begun = events(tmp_path, "run_begin")
    assert [event["slots"] for event in begun[:4]] == [
        [{"slot": k, "uuid": node.gpu_uuids[k]}] for k in range(4)
    ]
    # The fifth takes the slot of the first, which is free first.
    assert begun[4]["slots"] == begun[0]["slots"]
    took = spans(tmp_path)
    assert len(took) == 5
    first, second, third, fourth, fifth = (
        took[row.run_id] for row in rows([2.5, 5.0, 5.0, 5.0, 1.0])
    )
    assert [run[2] for run in (first, second, third, fourth, fifth)] == [0, 1, 2, 3, 0]
    assert max(run[0] for run in (first, second, third, fourth)) < first[1], "side by side"
    assert first[1] < fifth[0] < min(second[1], third[1], fourth[1])
    assert {outcome["status"] for outcome in results(tmp_path).values()} == {"ok"}

    # Node-wide sources run once, and see all runs at once.
    streams = paths(tmp_path).raw / "session-000/streams"
    assert sorted(path.name for path in streams.glob("*.arrows")) == [
        "meter.arrows",
        "nvml.arrows",
        "nvml@counter.arrows",
    ]
    true = truth.load(paths(tmp_path).truth / "session-000")
    middle = (max(run[0] for run in (first, second, third, fourth)) + first[1]) // 2
    powers = [true.power_w(f"gpu{k}", middle) for k in range(4)]
    assert min(powers) > 1.5 * node.parameters.gpu.idle_w, "each run's load is on its own board"
    table, _, _ = read_stream(streams / "meter.arrows")
    assert len(table) > 20


def test_the_log_tells_how_things_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session.progress, "STATUS_S", 1.0)
    monkeypatch.setattr(session.progress, "TELL_S", 2.0)
    lines: list[str] = []
    made = campaign()
    session.record("rec", rows([4.0, 4.0]), made, paths(tmp_path), lines.append)
    log = events(tmp_path)
    assert [event["event"] for event in log if event["event"] not in ("status",)] == [
        "session_begin",
        "run_begin",
        "run_begin",
        "run_end",
        "run_end",
        "session_end",
    ]
    assert all(event["simulated"] is True and event["recording"] == "rec" for event in log)
    stamps = [event["mono_ns"] for event in log]
    assert stamps == sorted(stamps)
    middle = events(tmp_path, "status")[1]
    assert (middle["done"], middle["failed"], middle["running"], middle["left"]) == (0, 0, 2, 0)
    assert 0 < middle["left_s"] < 8.0
    end = log[-1]
    assert (end["done"], end["left"], end["how"]) == (2, 0, "complete")
    # Energy so far is the true one, as far as a meter's own stamps go.
    true = truth.load(paths(tmp_path).truth / "session-000")
    begin_ns = log[0]["mono_ns"]
    for name, channels in (("node_j", ["node.ac"]), ("gpus_j", [f"gpu{k}" for k in range(4)])):
        joules = sum(float(true.energy_j(one, begin_ns, end["mono_ns"])) for one in channels)
        assert end[name] == pytest.approx(joules, rel=0.25), name
    told = [line for line in lines if "W now" in line]
    assert told
    assert all("(simulated power)" in line for line in told)
    summary = summarise(tmp_path)
    assert (summary["done"], summary["running"], summary["left"]) == (2, 0, 0)
    assert summary["node_j"] == end["node_j"]


def test_kill_9_of_one_run_leaves_the_others_alone(tmp_path: Path) -> None:
    def killer() -> None:
        wait_for(lambda: len(marks_of(tmp_path)) == 3)
        victim = next(e for e in events(tmp_path, "run_begin") if e["slots"][0]["slot"] == 1)
        os.kill(victim["pid"], signal.SIGKILL)

    thread = threading.Thread(target=killer)
    thread.start()
    run(tmp_path, [3.0, 60.0, 3.0])
    thread.join()
    found = results(tmp_path)
    by_slot = {outcome["slot"]: outcome for outcome in found.values()}
    assert {slot: outcome["status"] for slot, outcome in by_slot.items()} == {
        0: "ok",
        1: "failed",
        2: "ok",
    }
    assert "signal 9" in by_slot[1]["reason"]
    (failed,) = events(tmp_path, "run_failed")
    assert failed["slots"][0]["slot"] == 1
    true = truth.load(paths(tmp_path).truth / "session-000")
    idle_w = true.spec.parameters.gpu.idle_w
    assert true.power_w("gpu1", failed["mono_ns"]) == idle_w, "its board is idle from then on"
    assert true.power_w("gpu0", failed["mono_ns"]) > idle_w


def marks_of(folder: Path) -> list[dict[str, Any]]:
    path = paths(folder).raw / "session-000/marks.jsonl"
    return read_marks(path) if path.exists() else []


def started(folder: Path, *seconds: float) -> subprocess.Popen[bytes]:
    here = Path(__file__).parent
    command = [sys.executable, str(here / "packed_recording.py"), str(folder)]
    return subprocess.Popen(
        [*command, *map(str, seconds)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )


def test_sigterm_in_the_middle_and_resume(tmp_path: Path) -> None:
    process = started(tmp_path, 1.0, 60.0, 60.0, 60.0)
    wait_for(lambda: len(results(tmp_path)) == 1 if paths(tmp_path).runs.exists() else False)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert b"stopped by SIGTERM" in errors
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    kept = results(tmp_path)
    assert [outcome["status"] for outcome in kept.values()] == ["ok"]
    end = events(tmp_path, "session_end")[-1]
    assert (end["how"], end["done"], end["left"]) == ("interrupted", 1, 3)
    stopped = [event for event in events(tmp_path, "run_end") if event["status"] == "stopped"]
    assert len(stopped) == 3

    # The same runs, but shorter: their names are what counts.
    short = rows([1.0, 60.0, 60.0, 60.0])
    short = [
        type(row)(
            **{**{n: getattr(row, n) for n in row.__slots__}, "spec": {**row.spec, "seconds": 1}}
        )
        for row in short
    ]
    session.record("rec", short, campaign(), paths(tmp_path), print)
    found = results(tmp_path)
    (first,) = kept
    assert found[first] == kept[first], "trained again"
    assert {outcome["session"] for name, outcome in found.items() if name != first} == {1}
    assert len(found) == 4
    assert events(tmp_path, "session_end")[-1]["how"] == "complete"
    energies = [event["node_j"] for event in events(tmp_path, "session_end")]
    assert energies[1] > energies[0], "energy so far counts all sessions"


STUB = """
import json, os, sys, time
spec = json.load(open(sys.argv[1]))
time.sleep(0.5)
found = {"run_id": spec["run_id"], "setting": spec["setting"], "slot": spec["slot"], "status": "ok",
         "reason": "", "epochs": 1, "duration_s": 0.5, "seen": os.environ["CUDA_VISIBLE_DEVICES"],
         "slots": spec["slots"]}
json.dump(found, open(spec["result"], "w"))
"""


def test_ddp_has_all_slots_in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)
    monkeypatch.setattr(
        runs, "training_command", lambda spec: [sys.executable, str(stub), str(spec)]
    )
    session.record("rec", rows([1.0, 1.0], "ddp"), campaign(), paths(tmp_path), print)
    node = NodeSpec.load(paths(tmp_path).truth / "session-000")
    for outcome in results(tmp_path).values():
        assert outcome["slot"] is None
        assert outcome["slots"] == [0, 1, 2, 3]
        assert outcome["seen"] == ",".join(node.gpu_uuids)
    kinds = [e["event"] for e in events(tmp_path) if e["event"].startswith("run")]
    assert kinds == ["run_begin", "run_end"] * 2, "one after the other"


def test_slurms_indices_choose_the_boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "3,1")
    run(tmp_path, [1.0, 1.0, 1.0])
    assert os.environ[VISIBLE] == "3,1"
    monkeypatch.delenv(VISIBLE)
    other = tmp_path / "other"
    run(other, [0.5])
    machine = NodeSpec.load(paths(other).truth / "session-000").gpu_uuids
    begun = events(tmp_path, "session_begin")[0]
    assert [slot["uuid"] for slot in begun["slots"]] == [machine[3], machine[1]]
    ended = events(tmp_path, "run_end")
    assert max(event["slots"][0]["slot"] for event in ended) == 1, "two slots, no more"
    # Channels are numbered as slots are.
    _, about, _ = read_stream(paths(tmp_path).raw / "session-000/streams/nvml.arrows")
    devices = {c["name"]: c["device"] for c in about["channels"]}
    assert devices["gpu0.power_instant"] == machine[3]
    assert devices["gpu1.power_instant"] == machine[1]


def test_a_run_that_is_told_to_stop_is_no_failure(tmp_path: Path) -> None:
    def killer() -> None:
        wait_for(lambda: len(marks_of(tmp_path)) == 2)
        time.sleep(0.3)
        os.kill(events(tmp_path, "run_begin")[0]["pid"], signal.SIGTERM)

    thread = threading.Thread(target=killer)
    thread.start()
    with pytest.raises(session.InterruptedRecordingError, match="was told to stop"):
        run(tmp_path, [60.0, 2.0])
    thread.join()
    assert [outcome["status"] for outcome in results(tmp_path).values()] == ["ok"]
