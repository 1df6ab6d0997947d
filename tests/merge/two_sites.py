"""Two sites that share a plan: sealed recordings of two offline nodes, made in memory."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from wattproof import config, offline, outline, plan, preflight, tables

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = config.load_schema(ROOT / "config/schema/campaign.schema.json")

RAW: dict[str, Any] = {
    "node": {"kind": "virtual", "preset": "paper", "mode": "offline"},
    "plan": {"runs": 12, "replicates": 1, "runs_per_recording": 2, "seed": 3},
    "training": {"image_size": 64, "train_images": 4000},
    "calibration": {"idle_s": 10, "load_s": 10, "repeats": 2},
    "sources": {
        "nvml": {"period_s": 0.2, "counter_period_s": 0.2, "ring": False},
        "rapl": {"period_s": 0.2},
        "meter": {"driver": "lmg450", "cycle_s": 0.2, "range_v": 250, "range_a": 20},
    },
    "analysis": {"min_samples": 3, "min_confidence": 0.3},
    "surrogate": {"folds": 2, "trees": 20},
}


def raw(name: str, index: int, of: int = 2, **changes: Any) -> dict[str, Any]:
    """Campaign of one site; ``changes`` are merged into its keys."""
    made = copy.deepcopy(RAW)
    made["campaign"] = name
    made["node"]["seed"] = 10 * index
    made["plan"]["part"] = {"index": index, "of": of}
    for key, value in changes.items():
        made[key] = {**made[key], **value} if isinstance(value, dict) else value
    return made


def make(folder: Path, document: dict[str, Any]) -> Path:
    """Write what the rules plan and recording leave of a site; returns its results folder."""
    made = preflight.check(config.validate(document, SCHEMA, "site.yaml"), "site.yaml")
    rows = plan.make_plan(made)
    results = folder / made["campaign"]
    decided = {key: made[key] for key in outline.DECIDING}
    extra = {"config": decided, "version": plan.TRAINING_VERSION}
    meta = tables.Meta(made["campaign"], True, extra=extra)
    tables.write([row.as_row() for row in rows], "plan", results / "tables" / "plan.parquet", meta)
    for name, part in plan.by_recording(rows).items():
        sealed, about = offline.record(name, part, made, results / "truth" / name)
        meta = tables.Meta(made["campaign"], **about)
        for table, content in sealed.items():
            tables.write(content, table, results / "recordings" / name / f"{table}.parquet", meta)
    return results
