"""Seal the raw files of a recording into the tables that analysis reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.plan import PlanRow
from wattproof.recorder import seal_session
from wattproof.session.paths import Paths, missing
from wattproof.training.marks import read_marks

IDENTITY = ("model", "name", "serial", "driver", "limit_w")
"""Facts of an instrument that travel in the provenance of every table."""


def _sealed_runs(recording: str, paths: Paths) -> pa.Table:
    keep = set(tables.schema("runs").names)
    rows = []
    for path in sorted(paths.runs.glob("*.json")):
        outcome = json.loads(path.read_text(encoding="utf-8"))
        row = {key: value for key, value in outcome.items() if key in keep}
        rows.append({**row, "recording": recording})
    return tables.conform(rows, "runs")


def seal(
    recording: str, rows: Sequence[PlanRow], paths: Paths
) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """Turn the raw files of a recording into its tables: pure reading, can be repeated.

    Returns:
        The tables ``samples``, ``channels``, ``health``, ``marks`` and ``runs`` by name, and the
        provenance found (host, instruments, simulated).

    Raises:
        WattproofError: If a planned run has no result yet.
    """
    lacking = missing(rows, paths)
    if lacking:
        raise WattproofError(
            f"Recording {recording} is not complete: {len(lacking)} run(s) have no result, e.g. "
            f"{lacking[0].run_id}; run the workflow again to train them."
        )
    parts: dict[str, list[pa.Table]] = {"samples": [], "channels": [], "health": []}
    marks: list[dict[str, Any]] = []
    hosts: set[str] = set()
    simulated = False
    memory_gib = None
    slots: dict[str, Any] = {}
    for session in paths.sessions():
        if not (session / "session.json").exists():
            continue  # it died before any instrument was started
        about = json.loads((session / "session.json").read_text(encoding="utf-8"))
        memory_gib = about["memory_gib"]
        hosts.add(about["host"])
        slots[session.name] = about.get("slots", [])
        simulated = simulated or about["simulated"]
        for name, table in seal_session(session, recording, about["session"]).items():
            parts[name].append(table)
        for mark in read_marks(session / "marks.jsonl"):
            marks.append({**mark, "recording": recording, "session": about["session"]})
    sealed = {name: pa.concat_tables(some) for name, some in parts.items()}
    sealed["marks"] = tables.conform(marks, "marks")
    planned = {row.run_id for row in rows}
    runs = _sealed_runs(recording, paths)
    sealed["runs"] = runs.filter(pa.array([r in planned for r in runs["run_id"].to_pylist()]))
    instruments: dict[str, Any] = {}
    for channel in sealed["channels"].to_pylist():
        identity = json.loads(channel["identity"])
        instruments.setdefault(channel["source"], {})[channel["device"]] = {
            key: identity[key]
            for key in ("model", "serial", "driver", "limit_w")
            if key in identity
        }
    about = {
        "host": ", ".join(sorted(hosts)),
        "instruments": instruments,
        "simulated": simulated,
        "extra": {"memory_gib": memory_gib, "slots": slots},
    }
    return sealed, about
