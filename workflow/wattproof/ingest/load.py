"""One set of a manifest: its logs are read, put on their clocks, and joined."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from wattproof import config, tables
from wattproof.errors import WattproofError, did_you_mean
from wattproof.ingest import timing
from wattproof.ingest.base import NAMES, Ingested, Log
from wattproof.ingest.manifest import Manifest, Set
from wattproof.ingest.series import finding_of
from wattproof.units import NS_PER_S

EDGE_NS = 1000
"""The one window of a log without marks ends this much after its last reading, which it holds."""


def _apart(parts: list[Ingested]) -> list[Ingested]:
    """Give sources that two logs share names of their own: channels are told apart by them."""
    taken: set[tuple[str, str, str]] = set()
    found = []
    for part in parts:
        listed = part.channels.select(["recording", "source", "channel"]).to_pylist()
        keys = {(r["recording"], r["source"], r["channel"]) for r in listed}
        clash = {source for recording, source, channel in keys & taken}
        renamed: dict[str, str] = {}
        for source in sorted(clash):
            number = 2
            used = {s for _, s, _ in taken} | {s for _, s, _ in keys}
            while f"{source}-{number}" in used:
                number += 1
            renamed[source] = f"{source}-{number}"
        if renamed:
            part = replace(
                part,
                **{
                    name: _rename(getattr(part, name), renamed)
                    for name in ("samples", "channels", "exchanges")
                },
                instruments={renamed.get(k, k): v for k, v in part.instruments.items()},
            )
            keys = {(r, renamed.get(s, s), c) for r, s, c in keys}
        taken |= keys
        found.append(part)
    return found


def _rename(table: pa.Table, names: dict[str, str]) -> pa.Table:
    source = table.column("source")
    for old, new in names.items():
        source = pc.if_else(pc.equal(source, old), new, source)
    return table.set_column(table.column_names.index("source"), "source", source)


def _marked(name: str, windows: tuple[dict[str, Any], ...], file: str) -> dict[str, pa.Table]:
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


def _whole_length(
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


def _readable(joined: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """Leave out readings whose stamp a reader kept as unknown, and say so."""
    samples = joined["samples"]
    known = pc.not_equal(samples.column("start_ns"), timing.UNKNOWN)
    lost = samples.num_rows - (pc.sum(known).as_py() or 0)
    if not lost:
        return joined
    row = finding_of(
        samples.filter(pc.invert(known)).column("recording")[0].as_py(),
        "broken_stamps",
        f"{lost} of {samples.num_rows} readings have no readable time stamp and were left out.",
        "Look at these rows; a log that was cut off loses its last line.",
        severity="warning",
        affected=lost,
        of=samples.num_rows,
    )
    findings = pa.concat_tables([joined["findings"], tables.conform([row], "findings")])
    return joined | {"samples": samples.filter(known), "findings": findings}


def _outside(
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


def _check_reference(chosen: Set, joined: dict[str, pa.Table], file: str) -> None:
    """Refuse a reference that no log has.

    Raises:
        WattproofError: There is no such channel.
    """
    if chosen.reference is None:
        return
    source, channel = chosen.reference.get("source"), chosen.reference["channel"]
    rows = [
        row
        for each in ("channels", "reported")
        for row in joined[each].select(["source", "channel"]).to_pylist()
    ]
    if any(r["channel"] == channel and source in (None, r["source"]) for r in rows):
        return
    wanted = f"{source}:{channel}" if source else channel
    known = {f"{r['source']}:{r['channel']}" if source else r["channel"] for r in rows}
    raise WattproofError(
        f"{file}: sets.{chosen.name}.reference is the channel '{wanted}', which no log of the set "
        f"has.{did_you_mean(wanted, known)} Correct it."
    )


def _concat(parts: list[Ingested], name: str) -> pa.Table:
    found = [getattr(part, name) for part in parts]
    # Open columns (config_*, metric_*) differ between logs.
    return tables.conform(pa.concat_tables(found, promote_options="default"), name)


def load(manifest: Manifest, chosen: Set, reader: dict[str, ModuleType]) -> Ingested:
    """Read all logs of a set and join them.

    Args:
        manifest: The manifest.
        chosen: One of its sets.
        reader: Readers by format.

    Raises:
        WattproofError: A log cannot be read; one sentence names it.
    """
    file = str(manifest.path)
    parts: list[Ingested] = []
    main: set[str] = set()
    for form, log in chosen.logs:
        part: Ingested = reader[form].read(checked(manifest, chosen.name, reader[form], log))
        parts.append(part)
    parts = _apart(parts)
    for (_, log), part in zip(chosen.logs, parts, strict=True):
        if log.main:
            main |= set(part.channels.column("source").to_pylist())
    joined = {name: _concat(parts, name) for name in NAMES}
    joined = _readable(joined)
    _check_reference(chosen, joined, file)
    own = _marked(chosen.name, chosen.windows, file)
    outside = _outside(chosen.name, own["windows"], joined, main, file)
    joined["findings"] = pa.concat_tables([joined["findings"], tables.conform(outside, "findings")])
    joined |= {
        name: tables.conform(pa.concat_tables([joined[name], own[name]]), name) for name in own
    }
    if not joined["windows"].num_rows and joined["samples"].num_rows:
        joined = _whole_length(chosen.name, joined, main, file)
    instruments: dict[str, Any] = {}
    extra: dict[str, Any] = {"origin": manifest.origin, "licence": manifest.licence}
    notes: list[str] = []
    for part in parts:
        instruments |= part.instruments
        extra |= part.extra
        notes += part.notes
    hosts = sorted({part.host for part in parts if part.host})
    return Ingested(
        **joined,
        host=hosts[0] if len(hosts) == 1 else "",
        instruments=instruments,
        extra=extra,
        notes=tuple(notes),
    )


def checked(manifest: Manifest, name: str, module: ModuleType, log: Log) -> Log:
    """The log with its reader's settings checked and completed.

    Args:
        manifest: The manifest.
        name: Name of the set.
        module: The reader.
        log: One of the set's logs.

    Raises:
        WattproofError: A setting is wrong; one sentence with its key.
    """
    number = [other for _, other in manifest.sets[name].logs].index(log)
    where = f"sets.{name}.logs[{number}]"
    settings = config.validate(log.settings, module.SETTINGS, str(manifest.path), where)
    return replace(log, settings=_filled(settings, module.SETTINGS))


def _filled(value: Any, schema: dict[str, Any]) -> Any:
    """Fill in the defaults inside lists, which the campaign's schema has none of."""
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for key, part in known.items():
            if key not in value and "default" in part:
                value[key] = part["default"]
        return {key: _filled(item, known.get(key, {})) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, schema.get("items", {})) for item in value]
    return value
