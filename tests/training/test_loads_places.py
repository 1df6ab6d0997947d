"""Loads on several slots, and FIRESTARTER in the place of our own stress."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wattproof.errors import WattproofError
from wattproof.training import firestarter
from wattproof.training.marks import read_marks
from wattproof.virtual import create_node, truth

PROGRAM = """#!/bin/sh
echo "$@" > "$SEEN"
echo "cuda=$CUDA_VISIBLE_DEVICES" >> "$SEEN"
{0}
"""


def play(folder: Path, environ: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    about = {
        "kind": "load",
        "run_id": "r",
        "setting": "calibration",
        "seed": 0,
        "slot": 0,
        "slots": [0],
        "marks": str(folder / "marks.jsonl"),
        "result": str(folder / "result.json"),
        "activity": None,
        "device": "cpu",
        **spec,
    }
    (folder / "spec.json").write_text(json.dumps(about))
    command = [sys.executable, "-m", "wattproof.training", str(folder / "spec.json")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | (environ or {}))
    found = {"code": done.returncode, "error": done.stderr}
    if (folder / "result.json").exists():
        found |= json.loads((folder / "result.json").read_text())
    return found


def test_the_gpu_load_is_published_on_all_its_slots(tmp_path: Path) -> None:
    spec = create_node(tmp_path / "node", tmp_path / "truth", "paper", 1)
    played = play(
        tmp_path, load="gpu", seconds=1.0, slots=[0, 1, 2, 3], activity=str(spec.activity_path)
    )
    assert played["status"] == "ok", played
    marks = read_marks(tmp_path / "marks.jsonl")
    assert [mark["kind"] for mark in marks] == ["load_begin", "load_end"], "one load, one window"
    true = truth.load(tmp_path / "truth")
    begin, end = (mark["mono_ns"] for mark in marks)
    last_stair = end - (end - begin) // 8
    idle_w, limit_w = spec.parameters.gpu.idle_w, spec.parameters.gpu.limit_w
    for slot in range(4):
        assert true.power_w(f"gpu{slot}", last_stair) > 0.9 * limit_w
        assert true.power_w(f"gpu{slot}", end + 10**9) == idle_w


def fake(folder: Path, then: str) -> dict[str, str]:
    program = folder / "bin" / firestarter.COMMAND
    program.parent.mkdir()
    program.write_text(PROGRAM.format(then))
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    return {"PATH": path, "SEEN": str(folder / "seen"), "CUDA_VISIBLE_DEVICES": "GPU-1"}


def test_firestarter_works_for_the_length_of_the_load(tmp_path: Path) -> None:
    environ = fake(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    played = play(tmp_path, environ, load="stress", seconds=1.0, program="firestarter")
    assert played["status"] == "ok", played
    assert played["duration_s"] == pytest.approx(1.0, abs=0.2)
    arguments, cuda = (tmp_path / "seen").read_text().splitlines()
    assert arguments.split() == ["-q", "-t", "32", "-n", str(len(os.sched_getaffinity(0)))]
    assert cuda == "cuda=", "it leaves the GPUs alone"
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_firestarter_that_ends_by_itself_or_is_not_there(tmp_path: Path, monkeypatch) -> None:
    environ = fake(tmp_path, "exit 3")
    played = play(tmp_path, environ, load="stress", seconds=1.0, program="firestarter")
    assert "status" not in played
    assert played["code"] != 0
    assert "ended by itself with status 3" in played["error"]
    monkeypatch.setenv("PATH", "")
    with pytest.raises(WattproofError, match=r"calibration\.stress: own"):
        firestarter.find()
