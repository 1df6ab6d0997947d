"""From raw streams and marks of a record to its tables: the same steps as in a campaign."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from wattproof import archive, clocks, energy, quality, tables
from wattproof.clocks import arrival
from wattproof.clocks.frames import as_frame, good, int64
from wattproof.measure.folder import Folder
from wattproof.recorder import seal_session
from wattproof.training.marks import read_marks
from wattproof.units import NS_PER_S

SESSION = 0
ARRIVAL = "arrival"
CLOCK_BY_ARRIVAL = "clock_by_arrival"
"""Flag: the clock could not be matched by the load, so values were placed by when they arrived."""
ARRIVAL_U_S = 0.05
"""Standard uncertainty of a latency that nobody measured: a serial line takes 10 to 100 ms."""
ARCHIVE_U_S = 0.4
"""The same if another machine's clock is between (MLPerf allows 0.4 s between two hosts)."""
NAMES = ("samples", "channels", "health", "marks", "clocks", "windows", "energy")


@dataclass(frozen=True, slots=True)
class Analysis:
    """Tables of a record.

    Attributes:
        tables: By name, see `NAMES`; pandas frames or Arrow tables.
        start_ns: Begin of the command; None if it never began.
        end_ns: Its end; None if it never began.
        complete: The end of the command was seen; else the recording ended before it.
        bad_marks: Lines of the command's own marks that are none.
    """

    tables: dict[str, Any]
    start_ns: int | None
    end_ns: int | None
    complete: bool
    bad_marks: int


def analyse(folder: Folder, about: Mapping[str, Any]) -> Analysis:
    """Read the raw files of a record and integrate its windows; pure reading.

    Args:
        folder: The record.
        about: What it is about (`folder.read_about`).

    Raises:
        WattproofError: If its streams are not the recorder's, or its marks were changed.
    """
    name = str(about["name"])
    sealed: dict[str, Any] = dict(seal_session(folder.raw, name, SESSION))
    samples = as_frame(sealed["samples"])
    channels = as_frame(sealed["channels"])
    marks, bad_marks = _marks(folder, name)
    begun = _stamp(marks, name, "run_begin")
    ended = _stamp(marks, name, "run_end")
    complete = ended is not None
    if begun is not None and ended is None:
        # We were killed: the command is known until the last sample.
        last = int(samples["end_ns"].max()) if len(samples) else begun
        ended = max(last, begun)
        marks.append({**_blank(name, "run_end"), "mono_ns": ended, "wall_ns": _wall(marks, ended)})
    rows = [{**mark, "recording": name, "session": SESSION} for mark in marks]
    marked = tables.conform(rows, "marks") if rows else _none("marks")
    settings = about.get("analysis") or {}
    found = clocks.align(samples, channels, marked, settings)
    _, archived = archive.split(about["sources"])
    late_u_s = ARRIVAL_U_S if archived is None else ARCHIVE_U_S
    found, by_arrival = _by_arrival(found, samples, channels, late_u_s)
    windows = energy.cut_windows(marked, _runs(marks, name))
    integrated = energy.integrate(samples, channels, found, windows, settings)
    integrated = quality.flag_windows(integrated, channels)
    if len(integrated) and by_arrival:
        integrated["flags"] = [
            [*flags, CLOCK_BY_ARRIVAL] if source in by_arrival else flags
            for flags, source in zip(integrated["flags"], integrated["source"], strict=True)
        ]
    sealed |= {"marks": marked, "clocks": found, "windows": windows, "energy": integrated}
    return Analysis(sealed, begun, ended, complete, bad_marks)


def meta(about: Mapping[str, Any], channels: pa.Table) -> tables.Meta:
    """Return the provenance of a record's tables."""
    instruments: dict[str, Any] = {}
    for channel in channels.to_pylist():
        identity = json.loads(channel["identity"] or "{}")
        keys = ("model", "name", "serial", "driver", "limit_w", "path")
        known = {key: identity[key] for key in keys if key in identity}
        instruments.setdefault(channel["source"], {}).setdefault(channel["device"], known)
    return tables.Meta(
        campaign=str(about["name"]),
        simulated=any(channels["simulated"].to_pylist()),
        code_version=str(about["wattproof"]),
        host=str(about["host"]),
        instruments=instruments,
        extra={"command": about["command"]},
    )


def write(folder: Folder, about: Mapping[str, Any], analysis: Analysis) -> None:
    """Write the tables of a record."""
    provenance = meta(about, analysis.tables["channels"])
    for name in NAMES:
        tables.write(analysis.tables[name], name, folder.table(name), provenance)


# ------------------------------------------------------------------------------------ marks


def _marks(folder: Folder, run_id: str) -> tuple[list[dict[str, Any]], int]:
    """Return our marks and those of the command, and how many lines of the command's are none."""
    ours = _known(read_marks(folder.marks)) if folder.marks.exists() else []
    theirs, bad = [], 0
    if folder.command_marks.exists():
        for line in folder.command_marks.read_bytes().splitlines():
            mark = _parsed(line)
            if mark is None:
                bad += 1
                continue
            mark["run_id"] = mark.get("run_id") or run_id
            # The command begins and ends when we say so; other runs of its own are its affair.
            if mark["run_id"] != run_id or not mark["kind"].startswith("run_"):
                theirs.append(mark)
    return sorted(ours + _known(theirs), key=lambda mark: mark["mono_ns"]), bad


_TYPES: dict[str, tuple[type, ...]] = {
    "kind": (str,),
    "mono_ns": (int,),
    "wall_ns": (int,),
    "run_id": (str, type(None)),
    "name": (str, type(None)),
    "epoch": (int, type(None)),
    "slot": (int, type(None)),
}


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return a mark that a command wrote; None if it is none."""
    try:
        mark = json.loads(line)
    except ValueError:
        return None
    if not isinstance(mark, dict):
        return None
    fine = all(isinstance(mark.get(key), types) for key, types in _TYPES.items())
    numbers = (v for k, v in mark.items() if k not in _TYPES)
    fine = fine and all(v is None or isinstance(v, int | float) for v in numbers)
    return mark if fine else None


def _known(marks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drop what table ``marks`` has no column for."""
    names = set(tables.schema("marks").names)
    return [{key: value for key, value in mark.items() if key in names} for mark in marks]


def _stamp(marks: list[dict[str, Any]], run_id: str, kind: str) -> int | None:
    for mark in marks:
        if mark["run_id"] == run_id and mark["kind"] == kind:
            return int(mark["mono_ns"])
    return None


def _blank(run_id: str, kind: str) -> dict[str, Any]:
    return {"kind": kind, "run_id": run_id, "name": None, "epoch": None, "slot": None}


def _wall(marks: list[dict[str, Any]], mono_ns: int) -> int:
    return int(marks[0]["wall_ns"]) + mono_ns - int(marks[0]["mono_ns"])


def _runs(marks: list[dict[str, Any]], name: str) -> pd.DataFrame:
    """Return a row for every run that was marked, whatever became of it: its energy was spent."""
    ids = dict.fromkeys([name, *(m["run_id"] for m in marks if m["run_id"] is not None)])
    row = {"recording": name, "session": SESSION, "setting": "single", "status": "ok"}
    return pd.DataFrame([{**row, "run_id": run_id, "slot": None} for run_id in ids])


# ------------------------------------------------------------------------------------ clocks


def _by_arrival(
    found: pd.DataFrame, samples: pd.DataFrame, channels: pd.DataFrame, late_u_s: float
) -> tuple[pd.DataFrame, set[str]]:
    """Place values of a clock that was refused by when they arrived.

    A campaign compares instruments, and refuses what it cannot align. Here the question is the
    energy of one command, mostly much longer than a line needs to arrive: so arrival will do,
    with its uncertainty, and flagged.
    """
    rows, sources = [], set()
    for row in found.to_dict("records"):
        if not row["accepted"] and row["clock"] == "device":
            prior = _arrival(row["source"], samples, channels)
            if prior is not None:
                sources.add(row["source"])
                row |= {
                    "offset_ns": prior.offset_ns,
                    "drift_ppm": prior.drift_ppm,
                    "anchor_ns": prior.anchor_ns,
                    "residual_ns": late_u_s * NS_PER_S,
                    "method": ARRIVAL,
                    "accepted": True,
                }
        rows.append(row)
    if not sources:
        return found, sources
    frame = pd.DataFrame(rows, columns=found.columns)
    for column in ("offset_ns", "anchor_ns"):
        frame[column] = pd.array([row[column] for row in rows], dtype="Int64")
    for column in ("drift_ppm", "residual_ns", "confidence"):
        frame[column] = frame[column].astype("float64")
    return frame, sources


def _arrival(source: str, samples: pd.DataFrame, channels: pd.DataFrame) -> arrival.Prior | None:
    own = channels[(channels["source"] == source) & (channels["clock"] == "device")]
    best: arrival.Prior | None = None
    most = 1
    for channel in own["channel"]:
        rows = samples[(samples["source"] == source) & (samples["channel"] == channel)]
        rows = rows[good(rows)]
        stamp, known = int64(rows, "device_ns")
        if np.count_nonzero(known) > most:
            end, _ = int64(rows, "end_ns")
            order = np.flatnonzero(known)[np.argsort(stamp[known], kind="stable")]
            most = len(order)
            best = arrival.fit(stamp[order], end[order])
    return best


# ------------------------------------------------------------------------------------ frames


def _none(name: str) -> pa.Table:
    return tables.schema(name).arrow().empty_table()
