"""The summary of a record: energies, how sure they are, and what is not known.

Plain data, for people (`wattproof.measure.text`) and for machines (``summary.json``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from wattproof.clocks.frames import as_frame, records
from wattproof.doctor import ENERGY_SOURCES, Finding
from wattproof.measure.analysis import Analysis
from wattproof.measure.energies import energies, number, totals
from wattproof.units import NS_PER_S

SCHEMA_VERSION = 1
SETTLED_SHARE = 0.05
SETTLED_W = 2.0
"""Idle before and after that differ by more than 5 % and 2 W are worth a word."""
MOSTLY_BUSY = 0.9
EARLY = "it was stopped before its first reading"


def summarise(
    about: Mapping[str, Any], analysis: Analysis, findings: Mapping[str, Sequence[Finding]]
) -> dict[str, Any]:
    """Return the summary of a record.

    Args:
        about: What it is about, with how the command ended.
        analysis: Its tables.
        findings: What the doctor says of the sources that are not there.
    """
    sealed = analysis.tables
    channels = as_frame(sealed["channels"])
    table = as_frame(sealed["energy"])
    run = table[(table["level"] == "run") & (table["run_id"] == about["name"])]
    idle = table[(table["level"] == "load") & (table["kind"] == "idle") & table["run_id"].isna()]
    duration_s = None
    if analysis.start_ns is not None and analysis.end_ns is not None:
        duration_s = (analysis.end_ns - analysis.start_ns) / NS_PER_S
    found = energies(run, idle, channels)
    sources = _sources(sealed["health"])
    missing = _missing(about, sources, found, findings)
    ended = about.get("ended") or {}
    return {
        "schema": SCHEMA_VERSION,
        "wattproof": about["wattproof"],
        "name": about["name"],
        "command": about["command"],
        "directory": about["directory"],
        "host": about["host"],
        "started": about["started"],
        "duration_s": duration_s,
        "exit_code": ended.get("exit_code"),
        "signal": ended.get("signal"),
        "cpu_s": ended.get("cpu_s"),
        "complete": analysis.complete,
        "simulated": bool(channels["simulated"].any()) if len(channels) else False,
        "asked": list(about["sources"]),
        "energy_measured": any(e["energy_j"] is not None for e in found if not e["estimate"]),
        "energy": found,
        "totals": totals(found),
        "idle": _idle(idle),
        "context": _context(sealed["samples"], channels, analysis),
        "windows": _windows(table, about["name"]),
        "sources": sources,
        "not_measured": missing,
        "measuring": _cost(sources, about),
        "notes": _notes(about, analysis, idle, found),
        "files": about["path"],
    }


def _idle(idle: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "source": row["source"],
            "channel": row["channel"],
            "window": row["window_id"],
            "duration_s": number(row["duration_s"]),
            "mean_w": number(row["mean_w"]),
        }
        for row in records(idle)
    ]


def _context(samples: Any, channels: pd.DataFrame, analysis: Analysis) -> list[dict[str, Any]]:
    """Mean and extremes of everything that is no energy, while the command ran."""
    frame = as_frame(samples)
    if analysis.start_ns is None or not len(frame):
        return []
    inside = (frame["end_ns"] >= analysis.start_ns) & (frame["end_ns"] <= analysis.end_ns)
    frame = frame[inside & (frame["status"] == "ok")]
    found = []
    for channel in records(channels):
        if channel["kind"] in ("power", "energy", "state", "limit"):
            continue
        mine = (frame["source"] == channel["source"]) & (frame["channel"] == channel["channel"])
        values = frame.loc[mine, "value"].astype("float64")
        if not len(values):
            continue
        found.append(
            {
                "source": channel["source"],
                "channel": channel["channel"],
                "unit": channel["unit"],
                "mean": float(values.mean()),
                "min": float(values.min()),
                "max": float(values.max()),
                "samples": len(values),
            }
        )
    return found


def _windows(table: pd.DataFrame, name: str) -> dict[str, int]:
    """Count the windows that the command marked itself."""
    own = table[table["run_id"].notna() & ~((table["level"] == "run") & (table["run_id"] == name))]
    if not len(own):
        return {}
    counts = own.drop_duplicates("window_id")["level"].value_counts()
    return {str(level): int(count) for level, count in counts.items()}


# ------------------------------------------------------------------------------------ sources


def _sources(health: pa.Table) -> list[dict[str, Any]]:
    keep = (
        *("source", "expected", "taken", "failed", "late", "missed", "longest_gap_s"),
        *("cpu_s", "cpu_start_s", "duration_s", "restarts", "hangs", "outcome"),
    )
    return [{key: row[key] for key in keep if key in row} for row in health.to_pylist()]


def _missing(
    about: Mapping[str, Any],
    sources: Sequence[Mapping[str, Any]],
    found: Sequence[Mapping[str, Any]],
    findings: Mapping[str, Sequence[Finding]],
) -> list[dict[str, Any]]:
    """Say of every source that gave nothing why, and what would help."""
    lacking = []
    told = {e["source"] for e in found if e["energy_j"] is not None}
    for name in dict.fromkeys([*about["sources"], *findings]):
        lanes = [s for s in sources if str(s["source"]).partition("@")[0] == name]
        if name in told or (name not in ENERGY_SOURCES and any(s["taken"] for s in lanes)):
            continue
        bad = [f for f in findings.get(name, ()) if f.grade == "missing"]
        if bad:
            lacking.append(_item(name, bad[0].sentence, bad[0].remedy))
        elif any(s["taken"] for s in lanes):
            reason = "it was read, but too little of the command is covered to tell an energy"
            flags = {f for e in found if e["source"] == name for f in e["flags"]}
            lacking.append(_item(name, reason, "", sorted(flags)))
        else:
            outcomes = [str(s["outcome"]).removeprefix("failed: ") for s in lanes]
            reason = outcomes[0] if outcomes else "it never started"
            lacking.append(_item(name, EARLY if reason == "ok" else reason, ""))
    return lacking


def _item(source: str, reason: str, remedy: str, flags: Sequence[str] = ()) -> dict[str, Any]:
    return {"source": source, "reason": reason, "remedy": remedy, "flags": list(flags)}


SHARE_FROM_S = 5.0
"""Shorter measurements consist of our own start and end: a share of them means nothing."""


def _cost(sources: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> dict[str, Any]:
    """CPU that measuring took, start-up of the instruments apart."""
    # What a source that never came up took was all start-up: it has no `cpu_start_s`.
    starts_s = [
        (s["cpu_s"] or 0.0) if s.get("cpu_start_s") is None else s["cpu_start_s"] for s in sources
    ]
    running_s = sum(
        max(0.0, (s["cpu_s"] or 0.0) - start_s)
        for s, start_s in zip(sources, starts_s, strict=True)
    )
    spans = [s["duration_s"] for s in sources if s["duration_s"]]
    span_s = max(spans, default=0.0)
    own_s = float((about.get("ended") or {}).get("own_cpu_s") or 0.0)
    return {
        "cpu_s": running_s + own_s,
        "cpu_start_s": sum(starts_s),
        "share_of_a_core": (running_s + own_s) / span_s if span_s >= SHARE_FROM_S else None,
    }


def _notes(
    about: Mapping[str, Any],
    analysis: Analysis,
    idle: pd.DataFrame,
    found: Sequence[Mapping[str, Any]],
) -> list[str]:
    notes = []
    if analysis.start_ns is None:
        notes.append("The command was never started.")
    elif not analysis.complete:
        notes.append(
            "The recording ended before the command: what is here is what was measured until then."
        )
    if analysis.bad_marks:
        notes.append(
            f"{analysis.bad_marks} line(s) of the command's marks are no marks and were left out."
        )
    for item in found:
        if not item["main"] or item["idle_w"] is None:
            continue
        mine = idle[(idle["source"] == item["source"]) & (idle["channel"] == item["channel"])]
        means = mine.sort_values("window_id")["mean_w"].dropna()
        gap = float(means.max() - means.min())
        if len(means) > 1 and gap > max(SETTLED_W, SETTLED_SHARE * item["idle_w"]):
            notes.append(
                f"{item['channel']}: idle was {means.iloc[0]:.1f} W before and "
                f"{means.iloc[-1]:.1f} W after; the energy above idle uses their mean, and its "
                "uncertainty says so."
            )
    shared = about.get("cpus_allowed")
    cpu_s, duration = (about.get("ended") or {}).get("cpu_s"), None
    if analysis.start_ns is not None and analysis.end_ns is not None:
        duration = (analysis.end_ns - analysis.start_ns) / NS_PER_S
    if shared and cpu_s and duration and duration > 1 and cpu_s / duration > MOSTLY_BUSY * shared:
        notes.append(
            f"The command used {cpu_s / duration:.1f} of {shared:g} CPUs: the instruments had to "
            "share them with it."
        )
    return notes
