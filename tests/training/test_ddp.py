"""Runs over several slots: the same training as in one process, and how such runs fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from wattproof import space
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
    folder.mkdir(exist_ok=True)
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
        spec = document(folder, slots)
        outcome = finish(folder, spec)
        assert (outcome["status"], outcome["reason"]) == ("ok", "")
        assert outcome["slot"] == (0 if len(slots) == 1 else None)
        found[len(slots)] = losses(spec)
    assert len(found[1]) == 3
    for world in (2, 4):
        np.testing.assert_allclose(found[world], found[1], rtol=1e-4)
