"""A campaign on the virtual node in memory: offline recordings through the true pipeline."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from wattproof import calibration, clocks, config, energy, offsocket, plan, preflight
from wattproof.calibration import Calibration
from wattproof.offline.record import default_makers, draw_scene, tables_of
from wattproof.virtual import presets

SCHEMA = Path(__file__).resolve().parents[2] / "config" / "schema" / "campaign.schema.json"

MIXES: dict[str, dict[str, Any]] = {
    # Space, data set and meter of each node: other mixes of loads, other meters.
    "paper": {"space": "ea_has_tinyimagenet", "dataset": "tiny_imagenet", "cycle_s": 0.1, "a": 20},
    "workstation": {"space": "ea_has_cifar10", "dataset": "cifar10", "cycle_s": 1.0, "a": 12},
    "pcie8": {"space": "ea_has_tinyimagenet", "dataset": "cifar10", "cycle_s": 0.5, "a": 24},
    "sxm8": {"space": "ea_has_tinyimagenet", "dataset": "tiny_imagenet", "cycle_s": 0.2, "a": 36},
    "edge": {"space": "regnet_demo", "dataset": "fashion_mnist", "cycle_s": 0.1, "a": 2},
}


def _frame(table: pa.Table) -> pd.DataFrame:
    """As `tables.read_frame` gives it: whole numbers with nulls stay whole."""
    nullable = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype()}
    lacking = {field.type for field in table.schema if field.nullable}
    frame: pd.DataFrame = table.to_pandas(
        types_mapper=lambda kind: nullable.get(kind) if kind in lacking else None
    )
    return frame


@cache
def energies(
    preset: str, seed: int, runs: int = 24, size: int = 6, setting: str = "single"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables ``energy`` and ``channels`` of a campaign of trainings with all loads."""
    mix = MIXES[preset]
    raw: dict[str, Any] = {
        "campaign": "t",
        "node": {"kind": "virtual", "preset": preset, "mode": "offline", "seed": seed},
        "space": mix["space"],
        "plan": {"runs": runs, "runs_per_recording": size, "seed": seed, "setting": setting},
        "training": {
            "dataset": mix["dataset"],
            "image_size": 32,
            "train_images": 20_000,
            "feed": "loader",
            "precision": "amp",
            "eval_batch_size": 1000,
            "shorten": 1 if mix["space"] == "regnet_demo" else 25,
        },
        "calibration": {"idle_s": 20, "load_s": 20, "repeats": 3},
        "sources": {
            "nvml": {"period_s": 0.1, "counter_period_s": 0.1, "ring": False},
            "rapl": {"period_s": 0.1},
            "host": {"period_s": 1.0},
            "meter": {
                "driver": "lmg450",
                "range_v": 250,
                "range_a": mix["a"],
                "cycle_s": mix["cycle_s"],
            },
        },
        "analysis": {"min_samples": 5, "min_confidence": 0.3},
    }
    complete = preflight.check(config.validate(raw, config.load_schema(SCHEMA), "x"), "x")
    parameters = presets.get(preset)
    found: list[pd.DataFrame] = []
    listed: list[pd.DataFrame] = []
    for recording, rows in plan.by_recording(plan.make_plan(complete)).items():
        scene, staged = draw_scene(recording, rows, parameters, preset, seed, default_makers())
        made = tables_of(recording, scene, staged, complete["sources"])
        frames = {name: _frame(table) for name, table in made.items()}
        samples, channels, marks = (frames[name] for name in ("samples", "channels", "marks"))
        clock = clocks.align(samples, channels, marks, complete["analysis"])
        windows = energy.cut_windows(marks, frames["runs"])
        windows = windows[windows["level"] != "phase"]
        found.append(energy.integrate(samples, channels, clock, windows, complete["analysis"]))
        listed.append(channels)
    return pd.concat(found, ignore_index=True), pd.concat(listed, ignore_index=True)


def calibrated(
    preset: str, seed: int, runs: int = 24, size: int = 6, setting: str = "single"
) -> Calibration:
    """The estimators of such a campaign, scored against its meter."""
    energy_, channels = energies(preset, seed, runs, size, setting)
    memory = presets.get(preset).dram.memory_gib
    settings = {"alpha": 0.05, "memory_gib": memory}
    return calibration.calibrate(energy_, channels, offsocket.fit(energy_), settings)
