"""Windows: the half-open intervals between begin and end marks."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa

from wattproof import tables
from wattproof.clocks.frames import as_frame, records

LEVELS = ("run", "epoch", "phase", "load")
CALIBRATION = "calibration"


def _integer(value: Any) -> int | None:
    """Return a whole number, also from a column that nulls have turned into floats."""
    return None if pd.isna(value) else int(value)


def _known(value: Any) -> Any:
    """Return a scalar, or None for any kind of null."""
    return None if pd.isna(value) else value


def _name(level: str, kind: str, epoch: int | None) -> str:
    if level in ("run", "load"):
        return kind
    stem = f"epoch-{epoch:03d}" if epoch is not None else kind
    return stem if level == "epoch" or epoch is None else f"{stem}/{kind}"


def _pairs(marks: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any], int]]:
    """Return (level, begin mark, end) of every begun and ended interval of one run in a session.

    A second ``run_begin`` means that the run was started anew: what came before it is void.
    """
    found: list[tuple[str, dict[str, Any], int]] = []
    begun: dict[tuple[Any, ...], dict[str, Any]] = {}
    for mark in marks:
        level, _, side = str(mark["kind"]).rpartition("_")
        if level not in LEVELS or side not in ("begin", "end"):
            continue
        key = (level, _known(mark["name"]), _integer(mark["epoch"])) if level != "run" else ("run",)
        if side == "begin":
            if level == "run":
                found, begun = [], {}
            begun[key] = mark
        elif key in begun:
            found.append((level, begun.pop(key), int(mark["mono_ns"])))
    return found


def cut_windows(marks: pd.DataFrame | pa.Table, runs: pd.DataFrame | pa.Table) -> pd.DataFrame:
    """Cut windows for the runs that ended well, from the session in which each of them ended.

    Args:
        marks: Table ``marks``.
        runs: Table ``runs``; only runs with status ``ok`` get windows. A run that broke off in
            one session and was trained anew in a later one has windows of the later one only.

    Returns:
        Table ``windows``: levels run, epoch, phase (kind train or eval) and load (kind idle,
        prime, stress, gpu, sync). Calibration loads outside any run (run_id null) are kept, with
        setting ``calibration``. Intervals that were begun and not ended give no window.
    """
    ended: dict[str, dict[str, Any]] = {}
    for run in records(as_frame(runs)):
        before = ended.get(run["run_id"])
        if run["status"] == "ok" and (before is None or run["session"] >= before["session"]):
            ended[run["run_id"]] = run
    by_run: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for mark in records(as_frame(marks).sort_values("mono_ns", kind="stable")):
        key = (mark["recording"], mark["session"], _known(mark["run_id"]))
        by_run.setdefault(key, []).append(mark)

    rows: list[dict[str, Any]] = []
    names: dict[str, int] = {}
    for (recording, session, run_id), own in by_run.items():
        of_run = ended.get(run_id) if run_id is not None else None
        if run_id is not None and (
            of_run is None or (of_run["recording"], of_run["session"]) != (recording, session)
        ):
            continue
        for level, mark, end_ns in _pairs(own):
            if of_run is None and level != "load":
                continue
            name = _known(mark["name"])
            kind = level if level in ("run", "epoch") else str(name or level)
            epoch = _integer(mark["epoch"]) if level in ("epoch", "phase") else None
            slot = _integer(mark["slot"])
            if of_run is not None and _integer(of_run["slot"]) is not None:
                slot = _integer(of_run["slot"])
            stem = run_id if run_id is not None else f"{recording}/session-{int(session):03d}"
            window_id = f"{stem}/{_name(level, kind, epoch)}"
            names[window_id] = names.get(window_id, 0) + 1
            if names[window_id] > 1:
                window_id += f"-{names[window_id]}"
            rows.append(
                {
                    "recording": recording,
                    "session": session,
                    "window_id": window_id,
                    "run_id": run_id,
                    "level": level,
                    "kind": kind,
                    "epoch": epoch,
                    "setting": CALIBRATION if of_run is None else of_run["setting"],
                    "slot": slot,
                    "start_ns": int(mark["mono_ns"]),
                    "end_ns": end_ns,
                }
            )
    if not rows:
        return tables.empty("windows")
    frame = pd.DataFrame(rows)
    for column in ("epoch", "slot"):
        frame[column] = pd.array([row[column] for row in rows], dtype="Int32")
    order = ["recording", "session", "start_ns"]
    return frame.sort_values(order, kind="stable", ignore_index=True)
