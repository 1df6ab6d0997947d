"""Runs over several slots: the same training as in one process, and how such runs fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wattproof import space, virtual
from wattproof.training.marks import read_marks

DEMO = space.get("regnet_demo")
CONFIG = {
    **DEMO.networks["regnet-s8-w16x24-d1x1-g8"][0],
    "lr": 0.05,
    "optimizer": "sgd",
    "policy": "cos",
    "cutout": 2,
    "batch_size": 32,
    "epochs": 3,
}
TRAINING: dict[str, Any] = {
    "dataset": "digits",
    "data_dir": None,
    "image_size": 8,
    "train_images": 150,  # 32 · 4 + 22: the last step falls into unequal shares of 4
    "threads": 1,
    "time_limit_s": 100,
    "warmup_epochs": 1,
    "ema": True,
    "precise_bn_images": 64,
}


def document(folder: Path, slots: list[int], **changes: Any) -> dict[str, Any]:
    # The activity log lies beside the description of its node.
    virtual.create_node(folder / "node", folder, "paper", seed=7)
    several = len(slots) > 1
    return {
        "run_id": "ddp-00000-abc",
        "kind": "train",
        "setting": "ddp" if several else "single",
        "space": "regnet_demo",
        "config": CONFIG | changes.pop("config", {}),
        "seed": 3,
        "slot": None if several else slots[0],
        "slots": slots,
        "training": TRAINING | changes.pop("training", {}),
        "marks": str(folder / "marks.jsonl"),
        "result": str(folder / "result.json"),
        "activity": str(folder / "activity.bin"),
        "device": "cpu",
        **changes,
    }


def start(folder: Path, spec: dict[str, Any], **more: Any) -> subprocess.Popen[str]:
    path = folder / "spec.json"
    path.write_text(json.dumps(spec))
    return subprocess.Popen(
        [sys.executable, "-m", "wattproof.training", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def finish(folder: Path, spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    process = start(folder, spec, **more)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return result(spec)


def result(spec: dict[str, Any]) -> dict[str, Any]:
    return json.loads(Path(spec["result"]).read_text(encoding="utf-8"))


def losses(spec: dict[str, Any]) -> list[list[float]]:
    keys = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
    return [[m[k] for k in keys] for m in read_marks(spec["marks"]) if m["kind"] == "epoch_end"]


def test_several_processes_train_as_one_does(tmp_path):
    """Same global batch: losses of every epoch agree to float tolerance, for 1, 2 and 4."""
    found = {}
    for slots in ([0], [0, 1], [3, 1, 0, 2]):
        folder = tmp_path / str(len(slots))
        # Nor does it matter how they are fed.
        feeding = {"feed": "loader", "workers": 1} if len(slots) == 2 else {}
        spec = document(folder, slots, training=feeding)
        outcome = finish(folder, spec)
        assert (outcome["status"], outcome["reason"]) == ("ok", "")
        assert outcome["slot"] == (0 if len(slots) == 1 else None)
        found[len(slots)] = losses(spec)
    assert len(found[1]) == 3
    for world in (2, 4):
        np.testing.assert_allclose(found[world], found[1], rtol=1e-4)


LONG = {"epochs": 200, "batch_size": 16}


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def gone(pids: list[int], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(alive, pids))


def started(
    folder: Path, spec: dict[str, Any], world: int
) -> tuple[subprocess.Popen[str], list[int]]:
    """A run in its first epochs, and its further processes in their order."""
    process = start(folder, spec)
    deadline = time.monotonic() + 120
    marks = Path(spec["marks"])
    while not (marks.exists() and "epoch_end" in marks.read_text()):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    others = children(process.pid)
    assert len(others) == world - 1
    return process, others


def activity(spec: dict[str, Any]) -> np.ndarray:
    """Records of the activity file, read without the package (32 bytes each)."""
    return np.fromfile(
        spec["activity"],
        np.dtype([("mono_ns", "<i8"), ("slot", "<i4"), ("kind", "<i4"), ("level", "<f4", 4)]),
    )


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_a_killed_process_ends_the_run_within_seconds(tmp_path):
    spec = document(tmp_path, [0, 1, 2], config=LONG)
    process, others = started(tmp_path, spec, 3)
    os.kill(others[1], signal.SIGKILL)
    begin = time.monotonic()
    assert process.wait(60) == 0
    assert time.monotonic() - begin < 30
    outcome = result(spec)
    assert outcome["status"] == "failed"
    assert outcome["reason"] == "process 2 (slot 2) ended with signal 9"
    assert gone(others)
    assert read_marks(spec["marks"])[-1]["kind"] == "run_end"
    levels = activity(spec)
    for slot in (0, 1, 2):
        own = levels[levels["slot"] == slot]
        assert own["level"][:, 0].max() > 0
        assert not own["level"][-1].any()
        # The host's part is published once.
        assert bool(own["level"][:, 2].any()) == (slot == 0)


@linux
@pytest.mark.parametrize(
    "how", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_all_end_with_the_first(tmp_path, how):
    spec = document(tmp_path, [0, 1], config=LONG)
    process, others = started(tmp_path, spec, 2)
    process.send_signal(how)
    assert process.wait(15) == (143 if how == signal.SIGTERM else -9)
    assert gone(others)
    assert not Path(spec["result"]).exists()
    if how == signal.SIGTERM:
        for slot in (0, 1):
            assert not activity(spec)["level"][activity(spec)["slot"] == slot][-1].any()


@linux
def test_all_processes_agree_when_to_give_up(tmp_path):
    spec = document(tmp_path, [0, 1], config=LONG, training={"time_limit_s": 1.0})
    outcome = finish(tmp_path, spec)
    assert (outcome["status"], outcome["reason"]) == ("failed", "the time limit of 1 s was reached")


@linux
@pytest.mark.slow
@pytest.mark.realtime
def test_a_hung_process_ends_the_run_after_a_minute(tmp_path):
    spec = document(tmp_path, [0, 1], config=LONG)
    process, others = started(tmp_path, spec, 2)
    os.kill(others[0], signal.SIGSTOP)
    begin = time.monotonic()
    assert process.wait(120) == 0
    assert 50 < time.monotonic() - begin < 100
    assert result(spec)["reason"].startswith("PyTorch: ")
    assert gone(others)


@linux
@pytest.mark.slow
def test_a_process_that_dies_at_its_start_ends_the_run(tmp_path):
    spec = document(tmp_path, [0, 1], config=LONG)
    process = start(tmp_path, spec)
    deadline = time.monotonic() + 120
    while not children(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    assert process.wait(60) == 0
    assert result(spec)["reason"] == "process 1 (slot 1) ended with signal 9"
    assert result(spec)["duration_s"] is None
