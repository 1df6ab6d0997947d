"""One set of a manifest: its logs are read, put on their clocks, and joined."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from wattproof import config, tables
from wattproof.errors import WattproofError
from wattproof.ingest import timing
from wattproof.ingest.base import NAMES, Ingested, Log
from wattproof.ingest.manifest import Manifest, Set
from wattproof.units import NS_PER_S


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
    marks, runs, rows = [], [], []
    for number, window in enumerate(windows):
        where = f"{file}: sets.{name}.windows[{number}]"
        start = timing.instant_ns(window["start"], f"{where}.start")
        end = timing.instant_ns(window["end"], f"{where}.end")
        if end <= start:
            raise WattproofError(f"{where} ends before it begins; correct start and end.")
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
        rows.append(
            {
                **common,
                "window_id": f"{name}/{run_id}/{kind}{suffix}",
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
    marked = _marked(
        name,
        (
            {
                "level": "run",
                "run_id": name,
                "epoch": None,
                "start": pc.min(mine.column("start_ns")).as_py() / NS_PER_S,
                "end": pc.max(mine.column("start_ns")).as_py() / NS_PER_S + 1e-6,
            },
        ),
        file,
    )
    found |= {key: pa.concat_tables([joined[key], marked[key]]) for key in marked}
    row = {
        "recording": name,
        "flag": "no_marks",
        "severity": "note",
        "principle": "reliable",
        "source": "",
        "channel": "",
        "file": "",
        "unit": "",
        "evidence": "Nothing marks runs or epochs in these logs; the whole length counts as one "
        "run, with whatever idle time is in it.",
        "remedy": "Give 'windows' in the manifest.",
    }
    found["findings"] = pa.concat_tables([joined["findings"], tables.conform([row], "findings")])
    return found


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
    own = _marked(chosen.name, chosen.windows, file)
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
