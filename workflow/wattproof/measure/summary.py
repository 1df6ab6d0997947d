"""The summary of a record: energies, how sure they are, and what is not known.

Plain data, for people (`wattproof.measure.text`) and for machines (``summary.json``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from wattproof.clocks.frames import as_frame, records
from wattproof.doctor import ENERGY_SOURCES, Finding
from wattproof.measure.analysis import Analysis
from wattproof.units import NS_PER_S, j_to_wh

SCHEMA_VERSION = 1
K90 = 1.645
"""Half the 90 % interval of a normal distribution, in standard uncertainties."""
SETTLED_SHARE = 0.05
SETTLED_W = 2.0
"""Idle before and after that differ by more than 5 % and 2 W are worth a word."""
MOSTLY_BUSY = 0.9

_BEST = ("energy", "power_samples", "power_instant", "power_usage", "power_average", "power")
"""Channels of one GPU, best first: they tell the same energy, so only one of them counts."""
_SCOPES = ("power_module", "power_memory")
_GPU = re.compile(r"gpu\d+")
_CPU = re.compile(r"cpu\d+")


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
    energies = _energies(run, idle, channels)
    sources = _sources(sealed["health"])
    missing = _missing(about, sources, energies, findings)
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
        "energy_measured": any(e["energy_j"] is not None for e in energies if not e["estimate"]),
        "energy": energies,
        "totals": _totals(energies),
        "idle": _idle(idle),
        "context": _context(sealed["samples"], channels, analysis),
        "windows": _windows(table, about["name"]),
        "sources": sources,
        "not_measured": missing,
        "measuring": _cost(sources, about),
        "notes": _notes(about, analysis, idle, energies),
        "files": about["path"],
    }


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


# ------------------------------------------------------------------------------------ energy


def _energies(
    run: pd.DataFrame, idle: pd.DataFrame, channels: pd.DataFrame
) -> list[dict[str, Any]]:
    known = {(c["source"], c["channel"]): c for c in records(channels)}
    found = []
    for row in records(run):
        channel = known[row["source"], row["channel"]]
        u_j = _number(row["energy_u_j"])
        energy_j = _number(row["energy_j"])
        item = {
            "source": row["source"],
            "channel": row["channel"],
            "device": row["device"],
            "label": _label(channel),
            "group": _group(row["source"], row["channel"]),
            "main": False,
            "estimate": row["source"] == "codecarbon",
            "energy_j": energy_j,
            "energy_wh": None if energy_j is None else j_to_wh(energy_j),
            "mean_w": _number(row["mean_w"]),
            "u90_j": None if u_j is None else K90 * u_j,
            "coverage": _number(row["coverage"]),
            "samples": int(row["samples"]),
            "expected": _number(row["expected"]),
            "longest_gap_s": _number(row["longest_gap_s"]),
            "method": row["method"],
            "counter_ratio": _number(row["counter_ratio"]),
            "flags": list(row["flags"]),
        }
        found.append(item | _above_idle(item, idle, float(row["duration_s"])))
    _choose(found)
    return sorted(found, key=_order)


def _above_idle(
    item: Mapping[str, Any], idle: pd.DataFrame, duration_s: float
) -> dict[str, float | None]:
    """Energy less what the device would have taken idle, by the idle windows of this record."""
    mine = idle[(idle["source"] == item["source"]) & (idle["channel"] == item["channel"])]
    mine = mine[mine["mean_w"].notna()]
    nothing: dict[str, float | None] = {
        "idle_w": None,
        "above_idle_j": None,
        "above_idle_u90_j": None,
    }
    if not len(mine) or item["energy_j"] is None:
        return nothing
    idle_w = float(mine["mean_w"].mean())
    # The gain of a sensor errs in both the same way; added in quadrature, it is on the safe side.
    each_w = (mine["energy_u_j"] / mine["duration_s"]).fillna(0.0)
    spread_w = float(mine["mean_w"].max() - mine["mean_w"].min()) / math.sqrt(12)
    idle_u90_j = K90 * math.hypot(float(each_w.mean()), spread_w) * duration_s
    return {
        "idle_w": idle_w,
        "above_idle_j": item["energy_j"] - idle_w * duration_s,
        "above_idle_u90_j": math.hypot(item["u90_j"] or 0.0, idle_u90_j),
    }


def _label(channel: Mapping[str, Any]) -> str:
    identity = json.loads(channel["identity"] or "{}")
    return str(identity.get("name") or identity.get("model") or channel["device"])


def _group(source: str, channel: str) -> str:
    """Return what a channel measures: channels of one group tell the same energy."""
    stem, _, what = channel.partition(".")
    if source == "codecarbon":
        return f"{source}.{channel}"
    if _GPU.fullmatch(stem) and what not in _SCOPES:
        return stem
    return channel


def _rank(item: Mapping[str, Any]) -> tuple[bool, bool, int]:
    what = str(item["channel"]).partition(".")[2]
    place = _BEST.index(what) if what in _BEST else len(_BEST)
    return item["energy_j"] is None, item["source"] == "smi", place


def _choose(found: list[dict[str, Any]]) -> None:
    """Mark the best channel of each group: the counter where it counted, else power."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for item in found:
        groups.setdefault(item["group"], []).append(item)
    for group in groups.values():
        min(group, key=_rank)["main"] = True


def _order(item: Mapping[str, Any]) -> tuple[Any, ...]:
    kind = ("node", "gpu", "cpu").index(kind_of(item)) if kind_of(item) else 3
    number = re.search(r"\d+", str(item["group"]))
    return (
        item["estimate"],
        kind,
        int(number[0]) if number else 0,
        str(item["group"]).partition(".")[2] == "dram",
        str(item["group"]),
        not item["main"],
        _rank(item),
        str(item["channel"]),
    )


def kind_of(item: Mapping[str, Any]) -> str:
    """Return what an energy belongs to: ``node``, ``gpu``, ``cpu``; empty for anything else."""
    stem = str(item["channel"]).partition(".")[0]
    if stem == "node":
        return "node"
    if _GPU.fullmatch(stem):
        return "gpu"
    return "cpu" if _CPU.fullmatch(stem) else ""


def _totals(energies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Sums over devices of a kind: sums, never means; unknown if one of them is."""
    found = []
    for kind, label in (("gpu", "GPUs"), ("cpu", "CPUs and memory")):
        parts = [
            e
            for e in energies
            if e["main"]
            and not e["estimate"]
            and kind_of(e) == kind
            and str(e["channel"]).partition(".")[2] not in _SCOPES
        ]
        if len(parts) < 2:
            continue
        total: dict[str, Any] = {
            "what": label,
            "of": [e["channel"] for e in parts],
        }
        for key in ("energy_j", "energy_wh", "mean_w", "above_idle_j"):
            values = [e[key] for e in parts]
            total[key] = None if None in values else sum(values)
        # Boards of one kind may err the same way: their limits are added, not their squares.
        for key in ("u90_j", "above_idle_u90_j"):
            values = [e[key] for e in parts]
            total[key] = None if None in values or total["energy_j"] is None else sum(values)
        total["coverage"] = min((e["coverage"] or 0.0) for e in parts)
        found.append(total)
    return found


def _idle(idle: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "source": row["source"],
            "channel": row["channel"],
            "window": row["window_id"],
            "duration_s": _number(row["duration_s"]),
            "mean_w": _number(row["mean_w"]),
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
    energies: Sequence[Mapping[str, Any]],
    findings: Mapping[str, Sequence[Finding]],
) -> list[dict[str, Any]]:
    """Say of every source that gave nothing why, and what would help."""
    found = []
    told = {e["source"] for e in energies if e["energy_j"] is not None}
    for name in dict.fromkeys([*about["sources"], *findings]):
        lanes = [s for s in sources if str(s["source"]).partition("@")[0] == name]
        if name in told or (name not in ENERGY_SOURCES and any(s["taken"] for s in lanes)):
            continue
        bad = [f for f in findings.get(name, ()) if f.grade == "missing"]
        if bad:
            found.append(_item(name, bad[0].sentence, bad[0].remedy))
        elif any(s["taken"] for s in lanes):
            reason = "it was read, but too little of the command is covered to tell an energy"
            flags = {f for e in energies if e["source"] == name for f in e["flags"]}
            found.append(_item(name, reason, "", sorted(flags)))
        else:
            outcomes = [str(s["outcome"]).removeprefix("failed: ") for s in lanes]
            found.append(_item(name, outcomes[0] if outcomes else "it never started", ""))
    return found


def _item(source: str, reason: str, remedy: str, flags: Sequence[str] = ()) -> dict[str, Any]:
    return {"source": source, "reason": reason, "remedy": remedy, "flags": list(flags)}


def _cost(sources: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> dict[str, Any]:
    """CPU that measuring took, start-up of the instruments apart."""
    running_s = sum(max(0.0, (s["cpu_s"] or 0.0) - (s.get("cpu_start_s") or 0.0)) for s in sources)
    spans = [s["duration_s"] for s in sources if s["duration_s"]]
    own_s = float((about.get("ended") or {}).get("own_cpu_s") or 0.0)
    return {
        "cpu_s": running_s + own_s,
        "cpu_start_s": sum(s.get("cpu_start_s") or 0.0 for s in sources),
        "share_of_a_core": (running_s + own_s) / max(spans) if spans and max(spans) > 0 else None,
    }


def _notes(
    about: Mapping[str, Any],
    analysis: Analysis,
    idle: pd.DataFrame,
    energies: Sequence[Mapping[str, Any]],
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
    for item in energies:
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
