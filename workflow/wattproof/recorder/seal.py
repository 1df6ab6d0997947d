"""Turning the raw streams of a session into the tables ``samples``, ``channels``, ``health``.

Pure reading: it can be repeated, and it does not mind streams of processes that were killed. What
can be counted from the samples is counted from them; the health record of a process adds only
what the samples cannot tell.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wattproof import tables
from wattproof.recorder import health as health_of
from wattproof.recorder.health import Part
from wattproof.recorder.streams import read_stream

_FILE = re.compile(r"(?P<lane>[^.]+)(?:\.(?P<restart>\d+))?\.(?:arrows|json)")
"""``nvml.arrows``, ``nvml@counter.arrows``; after a restart ``nvml.1.arrows``."""


def _parts(folder: Path) -> dict[str, list[Part]]:
    starts: dict[str, set[int]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _FILE.fullmatch(path.name)
        if match is not None:
            starts.setdefault(match["lane"], set()).add(int(match["restart"] or 0))
    return {
        lane: [_part(folder, lane, restart) for restart in sorted(restarts)]
        for lane, restarts in starts.items()
    }


def _part(folder: Path, lane: str, restart: int) -> Part:
    stem = lane if restart == 0 else f"{lane}.{restart}"
    stream, info = folder / f"{stem}.arrows", folder / f"{stem}.json"
    about = json.loads(info.read_text(encoding="utf-8")) if info.exists() else {}
    if not stream.exists():
        return Part(restart, None, about.get("description") or {}, False, about)
    samples, description, truncated = read_stream(stream)
    return Part(restart, samples, description, truncated, about)


def _channel_rows(parts: Sequence[Part], key: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the channels as the latest start describes them, each once."""
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        for channel in part.description.get("channels", ()):
            row = dict(channel)
            row["channel"] = row.pop("name")
            row["identity"] = json.dumps(row["identity"], sort_keys=True)
            found[row["channel"]] = {**key, **row, "simulated": part.description["simulated"]}
    return list(found.values())


def _joined(parts: Sequence[Part], channels: Sequence[dict[str, Any]]) -> pa.Table | None:
    """Join the streams of a lane's starts; a sample of a driver's ring that two had counts once.

    A process that takes the place of another one begins with the whole ring, so that nothing is
    lost between them.
    """
    periods = {c["channel"]: c["period_s"] for c in channels if c["clock"] == "wall"}
    latest: dict[str, int] = {}
    kept: list[pa.Table] = []
    for samples in (part.samples for part in parts):
        if samples is None:
            continue
        doubled = np.zeros(samples.num_rows, dtype=bool)
        for name, period_s in periods.items():
            stamped = pc.and_(pc.equal(samples["channel"], name), pc.is_valid(samples["device_ns"]))
            at = np.flatnonzero(stamped.to_numpy(zero_copy_only=False))
            if not len(at):
                continue
            instants = health_of.device_mono_ns(samples.take(at))
            if name in latest:
                doubled[at] = instants < latest[name] + (period_s or 0.0) / 2 * 1e9
            latest[name] = max(int(instants.max()), latest.get(name, 0))
        kept.append(samples.filter(pa.array(~doubled)) if doubled.any() else samples)
    return pa.concat_tables(kept) if kept else None


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
    return seal_parts(_parts(Path(session_dir) / "streams"), recording, session)


def seal_parts(
    lanes: Mapping[str, Sequence[Part]], recording: str, session: int
) -> dict[str, pa.Table]:
    """Join what the lanes of a session recorded, each by one process or by several in turn.

    Args:
        lanes: By name of the lane (``nvml@counter``), the starts of its process.
        recording: Name of the recording, for the rows.
        session: Number of the session, for the rows.

    Returns:
        Tables ``samples``, ``channels`` and ``health`` by name.
    """
    samples: list[pa.Table] = []
    channels: list[dict[str, Any]] = []
    health: list[dict[str, Any]] = []
    for lane, parts in lanes.items():
        # The lanes of an instrument are one source; only their health is told apart.
        source = lane.partition("@")[0]
        key = {"recording": recording, "session": session, "source": source}
        described = _channel_rows(parts, key)
        joined = _joined(parts, described)
        mine = _no_samples() if joined is None else _with_key(joined, key)
        samples.append(mine)
        channels += described
        health.append({**key, "source": lane, **health_of.row(parts, mine, described)})
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
