"""Turning the raw streams of a session into the tables ``samples``, ``channels``, ``health``.

Pure reading: it can be repeated, and it does not mind streams of processes that were killed. What
can be counted from the samples is counted from them; the health record of a process adds only
what the samples cannot tell.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wattproof import tables
from wattproof.recorder.process import RUNNING
from wattproof.recorder.streams import FLUSH_S, read_stream
from wattproof.sources.base import Pacing, Status
from wattproof.units import s_to_ns

_FILE = re.compile(r"(?P<source>[^.]+)(?:\.(?P<restart>\d+))?\.(?:arrows|json)")


@dataclass(frozen=True, slots=True)
class _Part:
    """One start of a source: its stream and its health record, either of which may be absent."""

    restart: int
    samples: pa.Table | None
    description: dict[str, Any]
    truncated: bool
    info: dict[str, Any]


def _parts(folder: Path) -> dict[str, list[_Part]]:
    starts: dict[str, set[int]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _FILE.fullmatch(path.name)
        if match is not None:
            starts.setdefault(match["source"], set()).add(int(match["restart"] or 0))
    return {
        source: [_part(folder, source, restart) for restart in sorted(restarts)]
        for source, restarts in starts.items()
    }


def _part(folder: Path, source: str, restart: int) -> _Part:
    stem = source if restart == 0 else f"{source}.{restart}"
    stream, info = folder / f"{stem}.arrows", folder / f"{stem}.json"
    about = json.loads(info.read_text(encoding="utf-8")) if info.exists() else {}
    if not stream.exists():
        return _Part(restart, None, about.get("description") or {}, False, about)
    samples, description, truncated = read_stream(stream)
    return _Part(restart, samples, description, truncated, about)


def _outcome(part: _Part) -> str:
    outcome = part.info.get("health", {}).get("outcome", RUNNING)
    if outcome == RUNNING:
        outcome = "killed"
    if part.truncated:
        outcome += f"; its stream has no end: up to {FLUSH_S:g} s of samples are lost"
    if part.restart:
        outcome = f"restart {part.restart}: {outcome}"
    return str(outcome)


def _went_well(part: _Part) -> bool:
    return not part.truncated and part.info.get("health", {}).get("outcome") == "ok"


def _channel_rows(parts: Sequence[_Part], key: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the channels as the latest start describes them, each once."""
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        for channel in part.description.get("channels", ()):
            row = dict(channel)
            row["channel"] = row.pop("name")
            row["identity"] = json.dumps(row["identity"], sort_keys=True)
            found[row["channel"]] = {**key, **row, "simulated": part.description["simulated"]}
    return list(found.values())


def _longest_gap_s(samples: pa.Table, channels: Sequence[dict[str, Any]]) -> float | None:
    """Return the longest time between good reads among the source's fastest channels."""
    periods = [c["period_s"] for c in channels if c["period_s"] is not None]
    fastest = min(periods, default=None)
    longest: float | None = None
    for channel in channels:
        if channel["period_s"] != fastest:
            continue
        good = pc.and_(
            pc.equal(samples["channel"], channel["channel"]),
            pc.equal(samples["status"], Status.OK.value),
        )
        ends = np.sort(samples.filter(good)["end_ns"].to_numpy())
        if len(ends) > 1:
            gap_s = float(np.diff(ends).max()) / 1e9
            longest = gap_s if longest is None else max(longest, gap_s)
    return longest


def _counts(samples: pa.Table) -> dict[str, int]:
    """Return reads by outcome, for the channel where it is largest.

    Channels of a source are read at different rates: a read shows in its fastest channel.
    """
    missing = pc.equal(samples["status"], Status.MISSING.value)
    ok = pc.equal(samples["status"], Status.OK.value)

    def most(mask: pa.ChunkedArray) -> int:
        counted = pc.value_counts(samples.filter(mask)["channel"])
        return max((item["counts"] for item in counted.to_pylist()), default=0)

    return {
        "taken": most(pc.invert(missing)),
        "failed": most(pc.invert(pc.or_(ok, missing))),
        "missing": most(missing),
    }


def _health_row(
    parts: Sequence[_Part], samples: pa.Table, channels: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    counts = _counts(samples)
    info = next((part.info for part in parts if part.info.get("pacing")), {})
    pacing, period_s = info.get("pacing"), float(info.get("period_s") or 0.0)
    expected: int | None = None
    missed = counts["missing"]
    scheduled = samples["scheduled_ns"].drop_null()
    if pacing == Pacing.DEADLINE and len(scheduled):
        span_ns = pc.max(scheduled).as_py() - pc.min(scheduled).as_py()
        expected = round(span_ns / s_to_ns(period_s)) + 1
        ticks = pc.count_distinct(scheduled).as_py()
        # From the grid, not from the processes' own counts: so the time between a process and its
        # successor counts as missed too.
        missed = max(0, expected - ticks)
        counts["taken"] = ticks
    elif pacing == Pacing.PAUSE and samples.num_rows:
        span_s = (pc.max(samples["start_ns"]).as_py() - pc.min(samples["start_ns"]).as_py()) / 1e9
        expected = round(span_s / period_s) + 1
    duration_s: float | None = None
    if samples.num_rows:
        duration_s = (pc.max(samples["end_ns"]).as_py() - pc.min(samples["start_ns"]).as_py()) / 1e9
    cpu = [part.info["health"]["cpu_s"] for part in parts if "cpu_s" in part.info.get("health", {})]
    outcomes = [_outcome(part) for part in parts if not _went_well(part)]
    return {
        "expected": expected,
        "taken": counts["taken"],
        "failed": counts["failed"],
        "missed": missed,
        "longest_gap_s": _longest_gap_s(samples, channels),
        "cpu_s": sum(cpu) if cpu else None,
        "duration_s": duration_s,
        "restarts": max(part.restart for part in parts),
        "outcome": " | ".join(outcomes) or "ok",
    }


def seal_session(
    session_dir: str | os.PathLike[str], recording: str, session: int
) -> dict[str, pa.Table]:
    """Read the streams of a session.

    Args:
        session_dir: Folder of the session.
        recording: Name of the recording, for the rows.
        session: Number of the session, for the rows.

    Returns:
        Tables ``samples``, ``channels`` and ``health`` by name.

    Raises:
        WattproofError: If a stream is not one of the recorder's.
    """
    samples: list[pa.Table] = []
    channels: list[dict[str, Any]] = []
    health: list[dict[str, Any]] = []
    for source, parts in _parts(Path(session_dir) / "streams").items():
        key = {"recording": recording, "session": session, "source": source}
        streams = [part.samples for part in parts if part.samples is not None]
        mine = _with_key(pa.concat_tables(streams), key) if streams else _no_samples()
        described = _channel_rows(parts, key)
        samples.append(mine)
        channels += described
        health.append({**key, **_health_row(parts, mine, described)})
    return {
        "samples": tables.conform(pa.concat_tables([_no_samples(), *samples]), "samples"),
        "channels": tables.conform(channels, "channels") if channels else _none("channels"),
        "health": tables.conform(health, "health") if health else _none("health"),
    }


def _with_key(table: pa.Table, key: dict[str, Any]) -> pa.Table:
    fixed = {
        name: pa.array([value]).take(pa.array(np.zeros(table.num_rows, np.int64)))
        for name, value in key.items()
    }
    columns = {**fixed, **{name: table.column(name) for name in table.column_names}}
    return tables.conform(pa.table(columns), "samples")


def _none(name: str) -> pa.Table:
    return tables.schema(name).arrow().empty_table()


def _no_samples() -> pa.Table:
    return _none("samples")
