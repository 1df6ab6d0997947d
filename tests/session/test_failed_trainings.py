"""Trainings that fail inside a recording: each for its own reason, and the next one begins."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow as pa
from packed_recording import campaign, paths, results

from wattproof import energy, plan, session
from wattproof.session import seal


def test_what_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    """Setting ddp on two slots: diverged, out of time, and one that is well."""
    made = campaign(
        node={"kind": "virtual", "preset": "paper", "overrides": {"gpu": {"count": 2}}},
        space="regnet_demo",
        plan={"runs": 3, "replicates": 0, "setting": "ddp", "recipe": {"epochs": 4}},
        training={"image_size": 8, "train_images": 64, "inference": {"seconds": 0.3}},
        calibration={"sync": False, "idle_s": 0, "loads": []},
        sources={"nvml": {"ring": False}},
    )
    wild, late, well = (row for row in plan.make_plan(made) if row.config)
    wild = dataclasses.replace(wild, spec={**wild.spec, "config": {**wild.config, "lr": 1e30}})
    limited = {**late.spec["training"], "time_limit_s": 1e-3}
    late = dataclasses.replace(late, spec={**late.spec, "training": limited})
    rows = [wild, late, well]
    session.record("rec", rows, made, paths(tmp_path), lambda line: None)
    found = results(tmp_path)
    assert {row.run_id: found[row.run_id]["status"] for row in rows} == {
        wild.run_id: "failed",
        late.run_id: "failed",
        well.run_id: "ok",
    }
    assert "loss became nan" in found[wild.run_id]["reason"]
    assert found[late.run_id]["reason"] == "the time limit of 0.001 s was reached"
    sealed, _ = seal("rec", rows, paths(tmp_path))
    marks, runs = (pa.Table.to_pandas(sealed[name]) for name in ("marks", "runs"))
    windows = energy.cut_windows(marks, runs)
    assert set(windows["run_id"]) == {well.run_id}
    assert "throughput" in set(windows["kind"])
    assert windows["slot"].isna().all()
    assert marks["images"].max() > 0
