"""One set of a manifest: its logs are read, put on their clocks, and joined."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from wattproof import config, tables
from wattproof.errors import WattproofError, did_you_mean
from wattproof.ingest import timing, windows
from wattproof.ingest.base import NAMES, Ingested, Log
from wattproof.ingest.manifest import Manifest, Set
from wattproof.ingest.series import finding_of


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
    own = windows.marked(chosen.name, chosen.windows, file)
    unseen = windows.outside(chosen.name, own["windows"], joined, main, file)
    joined["findings"] = pa.concat_tables([joined["findings"], tables.conform(unseen, "findings")])
    joined |= {
        name: tables.conform(pa.concat_tables([joined[name], own[name]]), name) for name in own
    }
    if not joined["windows"].num_rows and joined["samples"].num_rows:
        joined = windows.whole_length(chosen.name, joined, main, file)
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
