"""Faults put into trainings: each ends its run as failed with the reason, and exits 0."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_training import DATA, LOADS, NETWORK, FakeWriter, edges, go
from test_loop_recipe import WHOLE

from wattproof import space
from wattproof.training import failures, loop
from wattproof.training.activity import Activity
from wattproof.training.marks import MarkWriter, read_marks
from wattproof.training.regnet import RegNet
from wattproof.training.spec import TrainSpec

PHASES = ("train", "precise_bn", "eval", "test", "throughput", "latency")


@pytest.fixture
def when(monkeypatch):
    """Returns a function: it does something when a phase begins (in its first epoch)."""

    def arrange(phase, do):
        mark = MarkWriter.mark

        def marked(self, kind, run_id=None, name=None, epoch=None, slot=None, **more):
            stamp = mark(self, kind, run_id, name, epoch, slot, **more)
            if (kind, name, epoch or 0) == ("phase_begin", phase, 0):
                do()
            return stamp

        monkeypatch.setattr(MarkWriter, "mark", marked)

    return arrange


def stays_open(marks, phase):
    """The phase it failed in has no end; what follows a training does not undo its run."""
    kinds = edges(marks)
    begins = [edge for edge in kinds if edge[:2] == ("phase_begin", phase)]
    ends = [edge for edge in kinds if edge[:2] == ("phase_end", phase)]
    assert (len(begins), len(ends)) == (1, 0)
    assert kinds.count(("run_end", None, None)) == 1


@pytest.mark.parametrize("phase", PHASES)
def test_the_time_limit_holds_in_every_phase(tmp_path, monkeypatch, when, phase):
    late = []
    when(phase, lambda: late.append(True))
    monkeypatch.setattr(failures.Deadline, "passed", lambda self: bool(late))
    recipe = replace(WHOLE, inference=replace(WHOLE.inference, seconds=60, latency_seconds=60))
    if phase == "latency":
        recipe = replace(recipe, inference=replace(recipe.inference, seconds=0.1))
    begin = time.monotonic()
    outcome, marks = go(tmp_path / "m", recipe=recipe)
    assert time.monotonic() - begin < 30
    assert outcome.status == "failed"
    assert outcome.reason == "the time limit of 100 s was reached"
    if phase in ("throughput", "latency"):
        # These end in any case: how many images were classified is known.
        assert edges(marks)[-1] == ("phase_end", phase, None)
    else:
        stays_open(marks, phase)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to …"), "out of memory: CUDA"),
        (MemoryError("std::bad_alloc"), "out of memory: std::bad_alloc"),
    ],
)
def test_memory_may_run_out_in_every_phase(tmp_path, monkeypatch, when, phase, error, words):
    armed = []
    when(phase, lambda: armed.append(True))
    forward = RegNet.forward

    def fail(self, x):
        if armed:
            raise error
        return forward(self, x)

    monkeypatch.setattr(RegNet, "forward", fail)
    writer = FakeWriter()
    outcome, marks = go(tmp_path / "m", recipe=WHOLE, activity=Activity(writer, 1, LOADS))
    assert outcome.status == "failed"
    assert words in outcome.reason
    stays_open(marks, phase)
    assert writer.records[-1][1] == "idle"


def test_data_that_do_not_fit_end_the_run(tmp_path):
    def load():
        raise MemoryError("Unable to allocate 7 TiB")

    spec = TrainSpec(NETWORK, WHOLE, "made up", None, 96, 100.0)
    marks = MarkWriter(tmp_path / "m")
    outcome = loop.train(spec, load, marks, Activity(None, 0), run_id="r")
    assert (outcome.status, outcome.reason) == ("failed", "out of memory: Unable to allocate 7 TiB")
    assert read_marks(tmp_path / "m") == []


def loader_workers():
    task = Path(f"/proc/{os.getpid()}/task")
    return [int(p) for t in task.iterdir() for p in (t / "children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_dead_loader_process_ends_the_run(tmp_path, when):
    before = set(loader_workers())

    def kill():
        for pid in set(loader_workers()) - before:
            os.kill(pid, signal.SIGKILL)

    when("train", kill)
    outcome, marks = go(tmp_path / "m", data=DATA, feed="loader", workers=1)
    assert outcome.status == "failed"
    assert outcome.reason.startswith("a process of the data loader died: DataLoader worker")
    stays_open(marks, "train")


DOCUMENT = {
    "run_id": "single-00000-abc",
    "kind": "train",
    "setting": "single",
    "space": "regnet_demo",
    "config": {
        **space.get("regnet_demo").networks["regnet-s8-w16x24-d1x1-g8"][0],
        "lr": 0.01,
        "optimizer": "sgd",
        "policy": "cos",
        "cutout": 0,
        "batch_size": 1024,
        "epochs": 3,
    },
    "seed": 3,
    "slot": 0,
    "training": {
        "dataset": "digits",
        "data_dir": None,
        "image_size": 64,
        "train_images": 1024,
        "threads": 1,
        "time_limit_s": 100,
    },
    "activity": None,
    "device": "cpu",
}


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_a_process_under_a_memory_limit_fails_and_exits_0(tmp_path):
    """A batch of 1,024 images of 64 × 64 pixels wants more than the 300 MB left to it."""
    spec = DOCUMENT | {"marks": str(tmp_path / "m"), "result": str(tmp_path / "r.json")}
    (tmp_path / "s.json").write_text(json.dumps(spec))
    code = (
        "import resource, runpy, sys, torch\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + 300_000_000,) * 2)\n"
        f"sys.argv = ['wattproof.training', {str(tmp_path / 's.json')!r}]\n"
        "runpy.run_module('wattproof.training', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
    outcome = json.loads((tmp_path / "r.json").read_text())
    assert outcome["status"] == "failed"
    assert outcome["reason"].startswith("out of memory")
    assert outcome["run_id"] == "single-00000-abc"
