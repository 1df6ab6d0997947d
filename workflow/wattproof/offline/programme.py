"""Calibration loads and plain trainings as timelines: what the loops do, written down at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wattproof.offline.base import RunTimeline
from wattproof.plan import CALIBRATION, PlanRow
from wattproof.training import loads
from wattproof.units import ns_to_s, s_to_ns
from wattproof.virtual.activity import DTYPE, KINDS
from wattproof.virtual.load import CALIBRATION_LOADS, Load
from wattproof.virtual.presets import Parameters

IDLE = Load()
TRAINING = Load(0.3, 0.3, 0.25, 0.3)


def record(at_ns: int, slot: int, kind: str, load: Load = IDLE, level: float = 1.0) -> Any:
    """Return one record of the activity log as a tuple in the order of `activity.DTYPE`."""
    shares = (load.gpu_compute, load.gpu_memory, load.cpu_load, load.dram_load)
    return (at_ns, slot, KINDS.index(kind), *(level * share for share in shares))


def log(records: Sequence[Any]) -> Any:
    """Return records as an array."""
    return np.array(list(records), DTYPE)


def mark(
    kind: str,
    at_ns: int,
    run_id: str,
    name: str | None = None,
    epoch: int | None = None,
    slot: int | None = 0,
    **metrics: float | None,
) -> dict[str, Any]:
    """Return one mark."""
    return {
        "kind": kind,
        "run_id": run_id,
        "name": name,
        "epoch": epoch,
        "slot": slot,
        "mono_ns": int(at_ns),
        **metrics,
    }


def result(row: PlanRow, duration_s: float, **more: Any) -> dict[str, Any]:
    """Return a row of table ``runs`` of a run that went well."""
    return {
        "run_id": row.run_id,
        "setting": row.setting,
        "slot": 0,
        "status": "ok",
        "reason": "",
        "epochs": 0,
        "duration_s": duration_s,
        **more,
    }


def load_events(
    row: PlanRow, parameters: Parameters, start_ns: int, rng: np.random.Generator
) -> RunTimeline:
    """Return what a calibration load does: the same steps as `training.loads.play` plays."""
    del rng
    load = row.spec["load"]
    every = row.spec.get("gpus", parameters.gpu.count) if row.spec.get("everywhere") else 1
    # As in `training.activity`: the clock pattern switches the load that `gpu` climbs in stairs.
    level_of = CALIBRATION_LOADS["gpu" if load == "sync" else load]
    records, at_ns, passed_s = [], start_ns, 0.0
    for step in loads.programme(load, row.spec["seconds"], row.seed):
        kind = load if step.level else "idle"
        for slot in range(every):
            what = level_of if step.level else IDLE
            records.append(record(at_ns, slot, kind, what, step.level))
        passed_s += step.seconds
        at_ns = start_ns + s_to_ns(passed_s)
    records += [record(at_ns, slot, "idle") for slot in range(every)]
    marks = [
        mark(kind, when, row.run_id, load)
        for kind, when in (("load_begin", start_ns), ("load_end", at_ns))
    ]
    return RunTimeline(marks, log(records), at_ns, result(row, ns_to_s(at_ns - start_ns)))


@dataclass(frozen=True, slots=True)
class Training:
    """A plain training for tests: epochs of one length and level, each with an evaluation.

    Attributes:
        epochs: Number of them.
        epoch_s: Length of each.
        load: Of the training phase.
        eval_share: Share of the epoch that is evaluation, at 0.8 of the load.
        pause_s: Without work between phases, e.g. while data are read.
    """

    epochs: int = 3
    epoch_s: float = 5.0
    load: Load = TRAINING
    eval_share: float = 0.15
    pause_s: float = 0.05


def plain_events(
    row: PlanRow, parameters: Parameters, start_ns: int, rng: np.random.Generator
) -> RunTimeline:
    """Return what a `Training` (in ``spec["plain"]``) does. For tests: nothing is learnt."""
    del parameters, rng
    work: Training = row.spec["plain"]
    softer = replace(work.load, gpu_compute=0.8 * work.load.gpu_compute)
    at_ns, records = start_ns, [record(start_ns, 0, "idle")]
    marks = [mark("run_begin", at_ns, row.run_id)]
    for epoch in range(work.epochs):
        end_ns = at_ns + s_to_ns(work.epoch_s)
        turn_ns = end_ns - s_to_ns(work.epoch_s * work.eval_share)
        marks.append(mark("epoch_begin", at_ns, row.run_id, epoch=epoch))
        for kind, load, begin, end in (
            ("train", work.load, at_ns, turn_ns),
            ("eval", softer, turn_ns, end_ns),
        ):
            marks.append(mark("phase_begin", begin, row.run_id, kind, epoch))
            records.append(record(begin, 0, kind, load))
            records.append(record(end - s_to_ns(work.pause_s), 0, "idle"))
            marks.append(mark("phase_end", end, row.run_id, kind, epoch))
        marks.append(mark("epoch_end", end_ns, row.run_id, epoch=epoch))
        at_ns = end_ns
    marks.append(mark("run_end", at_ns, row.run_id))
    outcome = result(row, ns_to_s(at_ns - start_ns), epochs=work.epochs)
    return RunTimeline(marks, log(records), at_ns, outcome)


Item = tuple[str, float] | Training
"""A load with its length in seconds, or a training."""


def rows_of(programme: Sequence[Item], seed: int, recording: str) -> list[PlanRow]:
    """Make rows of a plan from a plain programme."""
    found = []
    for position, item in enumerate(programme):
        if isinstance(item, Training):
            run_id, setting, key = f"{recording}-{position:02d}-train", "single", "plain"
            spec: dict[str, Any] = {"kind": "train", "plain": item}
        else:
            load, seconds = item
            run_id, setting, key = f"{recording}-{position:02d}-{load}", CALIBRATION, None
            spec = {"kind": "load", "load": load, "seconds": seconds}
        row_seed = seed + position
        found.append(PlanRow(run_id, setting, recording, position, key, row_seed, spec, run_id, {}))
    return found
