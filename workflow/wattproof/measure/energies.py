"""Energies of a command by device: the best channel of each, sums, and energy above idle."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from wattproof.clocks.frames import records
from wattproof.units import j_to_wh

K90 = 1.645
"""Half the 90 % interval of a normal distribution, in standard uncertainties."""

ESTIMATES = "codecarbon"
"""A source that estimates energy and measures none."""
_BEST = ("energy", "power_samples", "power_instant", "power_usage", "power_average", "power")
"""Channels of one GPU, best first: they tell the same energy, so only one of them counts."""
_SCOPES = ("power_module", "power_memory")
_GPU = re.compile(r"gpu\d+")
_CPU = re.compile(r"cpu\d+")


def number(value: Any) -> float | None:
    """Return a finite number, or None."""
    return None if value is None or not math.isfinite(value := float(value)) else value


def energies(run: pd.DataFrame, idle: pd.DataFrame, channels: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what each channel tells of the command, best channels first.

    Args:
        run: Rows of table ``energy`` of the command's own window.
        idle: Those of idle windows.
        channels: Table ``channels``.
    """
    known = {(c["source"], c["channel"]): c for c in records(channels)}
    found = []
    for row in records(run):
        channel = known[row["source"], row["channel"]]
        # How wrong an estimate is, its scatter does not tell.
        u_j = None if row["source"] == ESTIMATES else number(row["energy_u_j"])
        energy_j = number(row["energy_j"])
        item = {
            "source": row["source"],
            "channel": row["channel"],
            "device": row["device"],
            "label": _label(channel),
            "group": _group(row["source"], row["channel"]),
            "main": False,
            "estimate": row["source"] == ESTIMATES,
            "energy_j": energy_j,
            "energy_wh": None if energy_j is None else j_to_wh(energy_j),
            "mean_w": number(row["mean_w"]),
            "u90_j": None if u_j is None else K90 * u_j,
            "coverage": number(row["coverage"]),
            "samples": int(row["samples"]),
            "expected": number(row["expected"]),
            "longest_gap_s": number(row["longest_gap_s"]),
            "method": row["method"],
            "counter_ratio": number(row["counter_ratio"]),
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
    if source == ESTIMATES:
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


def totals(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Sums over devices of a kind: sums, never means; unknown if one of them is."""
    sums = []
    for kind, label in (("gpu", "GPUs"), ("cpu", "CPUs and memory")):
        parts = [
            e
            for e in found
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
        sums.append(total)
    return sums
