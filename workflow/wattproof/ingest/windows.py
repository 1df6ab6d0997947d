"""Windows of a manifest, and the one window of a set in which nothing marks any."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.ingest import timing
from wattproof.ingest.series import finding_of
from wattproof.units import NS_PER_S

EDGE_NS = 1000
"""The one window of a log without marks ends this much after its last reading, which it holds."""


def marked(name: str, windows: tuple[dict[str, Any], ...], file: str) -> dict[str, pa.Table]:
    """Tables marks, runs and windows of the manifest's own windows."""
    bounds = []
    for number, window in enumerate(windows):
        where = f"{file}: sets.{name}.windows[{number}]"
        start = timing.instant_ns(window["start"], f"{where}.start")
        end = timing.instant_ns(window["end"], f"{where}.end")
        if end <= start:
            raise WattproofError(f"{where} ends before it begins; correct start and end.")
        bounds.append((start, end))
    return _tables(name, windows, bounds, file)


def _tables(
    name: str, windows: tuple[dict[str, Any], ...], bounds: list[tuple[int, int]], file: str
) -> dict[str, pa.Table]:
    """Tables marks, runs and windows of windows with their edges in nanoseconds."""
    marks: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for number, (window, (start, end)) in enumerate(zip(windows, bounds, strict=True)):
        level, run_id = window["level"], window["run_id"]
        kind = window.get("kind") or level
        setting = "calibration" if level == "load" else "single"
        common = {"recording": name, "session": 0, "run_id": run_id}
        for edge, t_ns in (("begin", start), ("end", end)):
            marks.append(
                {
                    **common,
                    "kind": f"{level}_{edge}",
                    "name": kind if level == "load" else None,
                    "epoch": window["epoch"],
                    "mono_ns": t_ns,
                    "wall_ns": t_ns,
                }
            )
        if level != "epoch":
            runs.append(
                {
                    **common,
                    "setting": setting,
                    "status": "ok",
                    "reason": "",
                    "duration_s": (end - start) / NS_PER_S,
                }
            )
        suffix = "" if window["epoch"] is None else f"/{window['epoch']}"
        window_id = f"{name}/{run_id}/{kind}{suffix}"
        if any(row["window_id"] == window_id for row in rows):
            raise WattproofError(
                f"{file}: sets.{name}.windows[{number}] is the second one with run_id '{run_id}', "
                f"kind {kind} and the same epoch; give each window a run_id or epoch of its own."
            )
        rows.append(
            {
                **common,
                "window_id": window_id,
                "level": level,
                "kind": kind,
                "epoch": window["epoch"],
                "setting": setting,
                "start_ns": start,
                "end_ns": end,
            }
        )
    return {
        "marks": tables.conform(marks, "marks"),
        "runs": tables.conform(runs, "runs"),
        "windows": tables.conform(rows, "windows"),
    }


def whole_length(
    name: str, joined: dict[str, pa.Table], main: set[str], file: str
) -> dict[str, pa.Table]:
    """One run window over what the recording's own clock saw, for logs without any mark."""
    samples = joined["samples"]
    mine = samples.filter(pc.is_in(samples.column("source"), pa.array(sorted(main), pa.string())))
    if not mine.num_rows:
        return joined
    found = dict(joined)
    stamps = mine.column("start_ns")
    edges = (pc.min(stamps).as_py(), pc.max(stamps).as_py() + EDGE_NS)
    marked = _tables(name, ({"level": "run", "run_id": name, "epoch": None},), [edges], file)
    found |= {key: pa.concat_tables([joined[key], marked[key]]) for key in marked}
    row = finding_of(
        name,
        "no_marks",
        "Nothing marks runs or epochs in these logs; the whole length counts as one run, with "
        "whatever idle time is in it.",
        "Give 'windows' in the manifest.",
    )
    found["findings"] = pa.concat_tables([joined["findings"], tables.conform([row], "findings")])
    return found


def outside(
    name: str, own: pa.Table, joined: dict[str, pa.Table], main: set[str], file: str
) -> list[dict[str, Any]]:
    """Findings for windows of the manifest that see nothing of the log on the main clock.

    Raises:
        WattproofError: A log marks such a window itself.
    """
    theirs = set(joined["windows"].column("window_id").to_pylist())
    samples = joined["samples"]
    mine = samples.filter(pc.is_in(samples.column("source"), pa.array(sorted(main), pa.string())))
    stamps = mine.column("start_ns")
    found = []
    for number, row in enumerate(own.to_pylist()):
        where = f"sets.{name}.windows[{number}] (run_id '{row['run_id']}')"
        if row["window_id"] in theirs:
            raise WattproofError(
                f"{file}: {where} is marked by a log of the set, too; give it another run_id or "
                "remove it."
            )
        if not mine.num_rows:
            continue
        first, last = pc.min(stamps).as_py(), pc.max(stamps).as_py()
        if row["end_ns"] <= first or row["start_ns"] > last:
            shown = " to ".join(_utc(t_ns) for t_ns in (row["start_ns"], row["end_ns"]))
            found.append(
                finding_of(
                    name,
                    "no_samples",
                    f"{where}, {shown}, lies wholly outside the log, {_utc(first)} to "
                    f"{_utc(last)}.",
                    "Correct its start and end, or the log's time_zone; or remove it.",
                    severity="error",
                    file=file,
                    run_id=row["run_id"],
                    window_id=row["window_id"],
                )
            )
    return found


def _utc(t_ns: int) -> str:
    return pd.Timestamp(t_ns).isoformat(timespec="seconds") + "Z"
