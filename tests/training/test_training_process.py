"""``python -m wattproof.training``: results, exit statuses, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from wattproof import space, tables, virtual
from wattproof.errors import WattproofError
from wattproof.training import spec as specs
from wattproof.training.marks import read_marks

TRAINING = {
    "dataset": "digits",
    "data_dir": None,
    "image_size": 8,
    "train_images": 64,
    "threads": 1,
    "time_limit_s": 60,
}
DEMO = space.get("regnet_demo")
CONFIG = {
    **DEMO.networks["regnet-s8-w16x24-d1x1-g8"][0],
    "lr": 0.01,
    "optimizer": "sgd",
    "policy": "cos",
    "cutout": 0,
    "batch_size": 32,
    "epochs": 4,
}


@pytest.fixture
def document(tmp_path):
    """A spec that trains; the activity log lies beside the description of its node."""
    virtual.create_node(tmp_path / "node", tmp_path, "laptop", seed=7)
    return {
        "run_id": "single-00000-abc",
        "kind": "train",
        "setting": "single",
        "space": "regnet_demo",
        "config": CONFIG,
        "seed": 3,
        "slot": 0,
        "training": TRAINING,
        "marks": str(tmp_path / "marks.jsonl"),
        "result": str(tmp_path / "result.json"),
        "activity": str(tmp_path / "activity.bin"),
        "device": "cpu",
    }


@pytest.fixture
def load_document(document):
    """A spec that plays a load."""
    rest = {k: v for k, v in document.items() if k not in ("space", "config")}
    return rest | {"kind": "load", "setting": "calibration", "load": "idle", "seconds": 0.3}


def command(tmp_path, document):
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(document))
    return [sys.executable, "-m", "wattproof.training", str(path)]


def run(tmp_path, document):
    return subprocess.run(
        command(tmp_path, document), capture_output=True, text=True, timeout=60, check=False
    )


def result(document):
    with open(document["result"], encoding="utf-8") as stream:
        return json.load(stream)


def levels(document):
    """Records of the activity file, read without the package (32 bytes each)."""
    return np.fromfile(
        document["activity"],
        np.dtype([("mono_ns", "<i8"), ("slot", "<i4"), ("kind", "<i4"), ("level", "<f4", 4)]),
    )


def wait_for(path, words, seconds=30.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.path.exists(path) and words in Path(path).read_text(encoding="utf-8"):
            return
        time.sleep(0.02)
    pytest.fail(f"{path} never held {words!r}")


def test_a_training_leaves_its_result_marks_activity_and_progress(tmp_path, document):
    done = run(tmp_path, document)
    assert (done.returncode, done.stderr) == (0, "")
    outcome = result(document)
    assert set(outcome) | {"recording", "session"} == set(tables.TABLES["runs"].names)
    costs = DEMO.realise(CONFIG, resolution=8).complexity()
    assert (outcome["status"], outcome["reason"], outcome["epochs"]) == ("ok", "", 4)
    assert [outcome[k] for k in ("macs", "params", "activations")] == [
        costs.macs,
        costs.params,
        costs.activations,
    ]
    marks = read_marks(document["marks"])
    assert [m["kind"] for m in marks].count("epoch_end") == 4
    progress = [json.loads(line) for line in done.stdout.splitlines()]
    assert [p["epoch"] for p in progress] == [0, 1, 2, 3]
    assert progress[-1] == {
        "event": "epoch",
        "run_id": "single-00000-abc",
        "epoch": 3,
        "of": 4,
        "val_accuracy": outcome["val_accuracy"],
    }
    activity = levels(document)
    assert activity["level"][:, 0].max() > 0
    assert not activity["level"][-1].any()
    inside = (activity["mono_ns"] > marks[0]["mono_ns"]) & (
        activity["mono_ns"] < marks[-1]["mono_ns"]
    )
    assert inside.sum() > 8
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_failed_run_exits_0_and_says_why(tmp_path, document):
    done = run(tmp_path, document | {"training": TRAINING | {"time_limit_s": 0.0}})
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    outcome = result(document)
    assert outcome["status"] == "failed"
    assert "time limit" in outcome["reason"]
    assert read_marks(document["marks"])[-1]["kind"] == "run_end"


def test_sigterm_leaves_no_result_but_the_marks(tmp_path, document):
    slow = document | {"training": TRAINING | {"image_size": 32, "train_images": 1024}}
    with subprocess.Popen(command(tmp_path, slow), stdout=subprocess.DEVNULL) as process:
        wait_for(document["marks"], "phase_begin")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143
    assert not os.path.exists(document["result"])
    kinds = [m["kind"] for m in read_marks(document["marks"])]
    assert "run_begin" in kinds
    assert "run_end" not in kinds
    assert not levels(document)["level"][-1].any()


@pytest.mark.parametrize("load", ["idle", "prime", "stress", "gpu", "sync"])
def test_loads_are_marked_and_published(tmp_path, load_document, load):
    spec = load_document | {"load": load, "seconds": 0.4}
    done = run(tmp_path, spec)
    assert (done.returncode, done.stderr) == (0, "")
    outcome = result(spec)
    assert (outcome["status"], outcome["setting"]) == ("ok", "calibration")
    assert outcome["macs"] is None
    begin, end = read_marks(spec["marks"])
    assert (begin["kind"], end["kind"]) == ("load_begin", "load_end")
    assert {m["name"] for m in (begin, end)} == {load}
    assert (end["mono_ns"] - begin["mono_ns"]) / 1e9 == pytest.approx(
        0.4 if load != "sync" else 0.5, abs=0.25
    )
    assert outcome["duration_s"] == (end["mono_ns"] - begin["mono_ns"]) / 1e9
    activity = levels(spec)
    assert not activity["level"][-1].any()
    gpu, cpu = activity["level"][:, 0].max(), activity["level"][:, 2].max()
    assert (gpu == 1) == (load in ("gpu", "sync"))
    assert (cpu == 1) == (load in ("prime", "stress"))


def test_a_gpu_load_without_a_gpu_is_a_failed_run(tmp_path, load_document):
    spec = load_document | {"load": "gpu", "activity": None}
    assert run(tmp_path, spec).returncode == 0
    outcome = result(spec)
    assert outcome["status"] == "failed"
    assert "CUDA" in outcome["reason"]


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stream:
            return stream.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
@pytest.mark.parametrize("load", ["idle", "stress"])
def test_it_ends_when_its_starter_is_killed(tmp_path, load_document, load):
    spec = load_document | {"load": load, "seconds": 60, "activity": None}
    starter = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen({command(tmp_path, spec)!r})\n"
        "sys.stdout.write(f'{p.pid}\\n'); sys.stdout.flush(); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        wait_for(spec["marks"], "load_begin")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        parent.kill()
        deadline = time.monotonic() + 10
        while any(map(alive, [pid, *children])) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert [p for p in [pid, *children] if alive(p)] == []
    assert not os.path.exists(spec["result"])


@pytest.mark.parametrize("content", ["{", "[]", None])
def test_a_spec_that_cannot_be_read_exits_78_with_one_sentence(tmp_path, content):
    path = tmp_path / "s.json"
    if content is not None:
        path.write_text(content)
    done = subprocess.run(
        [sys.executable, "-m", "wattproof.training", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert str(path) in done.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "trian"}, "'kind' is 'trian'.*Did you mean 'train'"),
        ({"space": "regnet_dmo"}, "Did you mean 'regnet_demo'"),
        ({"seed": "3"}, "'seed' must be a whole number, but is '3'"),
        ({"seed": True}, "'seed' must be a whole number"),
        ({"seed": -1}, "'seed' must be at least 0"),
        ({"device": "tpu"}, "'device' is 'tpu'"),
        ({"activity": 3}, "'activity' must be a path or null"),
        ({"config": CONFIG | {"optimizer": "adm"}}, "Did you mean 'adam'"),
        ({"config": CONFIG | {"w_0": 17}}, "'w_0' is 17"),
        ({"config": {k: v for k, v in CONFIG.items() if k != "lr"}}, "'lr' is missing"),
        ({"config": CONFIG | {"lr": float("nan")}}, "'lr' must be at least 0, but is nan"),
        ({"training": TRAINING | {"dataset": "digit"}}, "Did you mean 'digits'"),
        ({"training": TRAINING | {"train_images": 5000}}, "at most 1077"),
        ({"training": TRAINING | {"threads": 0}}, "'threads' must be at least 1"),
        ({"training": None}, "'training' must be a group of keys"),
        ({"kind": "load", "load": "primes", "seconds": 1}, "Did you mean 'prime'"),
        ({"kind": "load", "load": "prime"}, "'seconds' is missing"),
    ],
)
def test_wrong_specs_are_refused_in_one_sentence(document, change, words):
    with pytest.raises(WattproofError, match=words) as error:
        specs.parse_spec(document | change)
    assert "\n" not in str(error.value)


def test_a_missing_key_is_named(document):
    for key in ("run_id", "setting", "slot", "marks", "result", "device", "space"):
        with pytest.raises(WattproofError, match=f"'{key}' is missing"):
            specs.parse_spec({k: v for k, v in document.items() if k != key})


def test_whole_numbers_may_come_as_floats(document):
    config = {k: float(v) if isinstance(v, int) else v for k, v in CONFIG.items()}
    assert specs.parse_spec(document | {"config": config}) == specs.parse_spec(document)
