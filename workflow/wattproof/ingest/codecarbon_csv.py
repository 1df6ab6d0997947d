"""``emissions.csv`` of Code Carbon: one row a run (or a flush), energies in kWh, no readings.

Columns came and went with the versions (0.x and 1.x have neither run_id nor the parts; 3.x added
water and utilisations; files of tasks have task_name): those that are there are read. ``timestamp``
is the local time at which the row was written, without a zone. A tracker that is flushed writes
its totals so far under the same run_id, so such rows must not be added up.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.ingest import series as made
from wattproof.ingest import text, timing
from wattproof.ingest.base import Ingested, Log
from wattproof.ingest.codecarbon_checks import findings_of
from wattproof.ingest.reported import safe_name
from wattproof.units import kwh_to_j

SOURCE = "codecarbon"

SETTINGS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "project": {"type": ["string", "null"], "default": None},
        "time_zone": {"type": ["string", "null"], "default": None},
    },
}

PARTS = {
    "energy_consumed": ("node.total", None),
    "cpu_energy": ("cpu.total", "cpu_power"),
    "gpu_energy": ("gpu.total", "gpu_power"),
    "ram_energy": ("ram.total", "ram_power"),
}
"""Column of energy → our channel, and the column of its power.

The powers are those of the last interval (2.x) or an unweighted mean of intervals of unequal
length (3.x): no means over the run, so they are kept as metrics only.
"""

KEPT = (
    "project_name",
    "task_name",
    "codecarbon_version",
    "cpu_model",
    "gpu_model",
    "gpu_count",
    "cpu_count",
    "ram_total_size",
    "tracking_mode",
    "country_iso_code",
    "pue",
    "os",
)

F64Array = NDArray[np.float64]


def _frame(path: Path) -> tuple[pd.DataFrame, int]:
    """Cells as text, with the number of each row, and how many rows could not be read."""
    rows = list(csv.reader(io.StringIO(text.read_text(path))))
    names = [name.strip() for name in rows[0]]
    lacking = [c for c in ("timestamp", "duration") if c not in names]
    if lacking or not any(column in names for column in PARTS):
        raise WattproofError(
            f"{path} is no emissions.csv of Code Carbon: it lacks "
            f"{', '.join(lacking) or 'every column of energy'}."
        )
    body = [(n, row) for n, row in enumerate(rows[1:], start=1) if row and row != rows[0]]
    whole = [(n, row) for n, row in body if len(row) == len(names)]
    if not whole:
        what = "a header and no rows" if not body else "no row with as many cells as its header"
        raise WattproofError(f"{path} holds {what}; restore the file.")
    frame = pd.DataFrame([row for _, row in whole], columns=names, dtype="str")
    frame.insert(0, "#row", [n for n, _ in whole])
    return frame, len(body) - len(whole)


def _number(frame: pd.DataFrame, column: str) -> F64Array:
    if column not in frame:
        return np.full(len(frame), np.nan)
    return pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64)


@dataclass(frozen=True)
class _Group:
    """Rows of one run: their places in the frame, and whether they are totals so far."""

    run_id: str
    rows: list[int]
    totals: bool


def _groups(frame: pd.DataFrame, names: pd.Series, duration: F64Array) -> list[_Group]:
    """Rows by run; rows of one run whose duration grows are totals so far."""
    found = []
    numbers = frame["#row"].to_list()
    by_name: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        by_name.setdefault(name or f"row {numbers[i]}", []).append(i)
    for name, rows in by_name.items():
        grows = len(rows) > 1 and bool((np.diff(duration[rows]) > 0).all())
        if len(rows) == 1 or grows:
            found.append(_Group(name, rows, grows))
        else:
            found += [_Group(f"{name} row {numbers[i]}", [i], False) for i in rows]
    return found


def _names(frame: pd.DataFrame) -> pd.Series:
    if "run_id" not in frame:
        return pd.Series("", index=frame.index, dtype="str")
    names = frame["run_id"].str.strip()
    if "task_name" in frame:
        names = names.where(names == "", names + "/" + frame["task_name"].str.strip())
    return names


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _rows(
    log: Log, frame: pd.DataFrame, groups: list[_Group], end_ns: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Table ``reported``: each run once, and between totals so far the intervals."""
    duration = _number(frame, "duration")
    numbers = frame["#row"].to_list()
    kept = {f"config_{safe_name(k)}": frame[k].to_list() for k in KEPT if k in frame}
    found: list[dict[str, Any]] = []
    for column, (channel, power) in PARTS.items():
        if column not in frame:
            continue
        energy = np.asarray(kwh_to_j(1.0) * _number(frame, column))
        watts = _number(frame, power) if power else np.full(len(frame), np.nan)

        def row(
            group: _Group,
            at: int,
            level: str,
            span_s: float,
            energy_j: float,
            last_w: float,
            channel: str = channel,
        ) -> dict[str, Any]:
            known = np.isfinite(energy_j) and span_s > 0
            return {
                "recording": log.recording,
                "row": int(numbers[at]),
                "run_id": group.run_id,
                "level": level,
                "kind": level,
                "source": SOURCE,
                "channel": channel,
                "device": channel.partition(".")[0],
                "duration_s": _finite(span_s),
                "energy_j": _finite(energy_j),
                "mean_w": energy_j / span_s if known else None,
                "end_ns": None if end_ns[at] == timing.UNKNOWN else int(end_ns[at]),
                "simulated": False,
                "metric_stated_power_w": _finite(last_w),
                **{name: cells[at] for name, cells in kept.items()},
            }

        for group in groups:
            if group.totals:
                before = [None, *group.rows[:-1]]
                for at, first in zip(group.rows, before, strict=True):
                    part = energy[at] - (0.0 if first is None else energy[first])
                    span = duration[at] - (0.0 if first is None else duration[first])
                    found.append(row(group, at, "interval", span, part, watts[at]))
            at = group.rows[-1]
            found.append(row(group, at, "run", duration[at], energy[at], watts[at]))
    return found


def read(log: Log) -> Ingested:
    """Read an emissions.csv.

    Raises:
        WattproofError: The file is missing, empty, or no emissions.csv.
    """
    frame, broken = _frame(log.path)
    if log.settings["project"] is not None:
        projects = frame.get("project_name", pd.Series("", index=frame.index))
        frame = frame[projects == log.settings["project"]].reset_index(drop=True)
        if frame.empty:
            known = ", ".join(sorted(set(projects)))
            raise WattproofError(
                f"{log.path} has no row of the project '{log.settings['project']}'; it has {known}."
            )
    stamps = timing.parse(
        frame["timestamp"], f"{log.path}, timestamp", time_zone=log.settings["time_zone"]
    )
    names = _names(frame)
    groups = _groups(frame, names, _number(frame, "duration"))
    findings: list[dict[str, Any]] = []
    findings += made.inferred(log, stamps, "Say time_zone in the manifest.")
    findings += findings_of(
        log,
        frame,
        broken=broken,
        nameless=int((names == "").sum()),
        totals=[len(group.rows) for group in groups if group.totals],
    )
    versions = sorted(set(frame.get("codecarbon_version", pd.Series(dtype="str"))))
    return Ingested(
        reported=tables.conform(_rows(log, frame, groups, stamps.t_ns), "reported"),
        findings=tables.conform(findings, "findings"),
        instruments={SOURCE: {"versions": versions}},
    )


def sniff(path: Path, head: bytes) -> float:
    """How sure it is that a file is an emissions.csv of Code Carbon."""
    first = head.partition(b"\n")[0]
    wanted = (b"emissions", b"energy_consumed", b"duration")
    return 1.0 if all(word in first for word in wanted) else 0.0


def draft(path: Path) -> dict[str, Any]:
    """Settings that a drafted manifest shows."""
    return {"time_zone": None}
