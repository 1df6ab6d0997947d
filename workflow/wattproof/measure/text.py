"""The summary of a record as lines for a terminal."""

from __future__ import annotations

import math
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from wattproof import quality
from wattproof.doctor.findings import ENERGY_SOURCES, percent
from wattproof.measure.analysis import CLOCK_BY_ARRIVAL
from wattproof.measure.energies import kind_of

FLAGS = {
    CLOCK_BY_ARRIVAL: "The meter's clock could not be matched with the load; its values were "
    "placed by when they arrived (good to 0.1 s; from another machine's archive, to 1 s).",
}
NOT_KNOWN = "unknown"
MANY = 3
"""From so many GPUs on, their other channels are told in one line."""
_KINDS = {"gpu": "GPU", "cpu": "CPU", "node": "node"}


def lines(summary: Mapping[str, Any], width: int = 100) -> list[str]:
    """Return the summary as lines."""
    found = _head(summary, width)
    if summary["simulated"]:
        found.append("SIMULATED: some of these values come from a virtual node.")
    energies = [e for e in summary["energy"] if e["energy_j"] is not None or e["samples"]]
    if energies:
        found += ["", *_energy_table(summary, energies)]
    if not summary["energy_measured"]:
        found += ["", _no_energy(summary)]
    found += _flag_lines(energies, width)
    context = _context_lines(summary["context"])
    found += ["", *context] if context else []
    if summary["not_measured"]:
        found.append("")
        found.append("Not measured:")
        for item in summary["not_measured"]:
            found += _missing_lines(item, width)
    if summary["sources"]:
        found += ["", *_source_table(summary["sources"])]
    for text in summary["notes"]:
        found += _wrapped(text, width)
    return [*found, "", *_tail(summary)]


def _no_energy(summary: Mapping[str, Any]) -> str:
    if set(summary["asked"]) & set(ENERGY_SOURCES):
        return "No energy could be measured."
    return f"No energy was measured: {', '.join(summary['asked'])} measures none."


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _head(summary: Mapping[str, Any], width: int) -> list[str]:
    command = shlex.join(summary["command"]).replace("\n", " ")
    if len(command) > width - 2:
        command = command[: width - 5] + "..."
    words = []
    if summary["duration_s"] is not None:
        words.append(f"{summary['duration_s']:.2f} s")
    if summary["cpu_s"] is not None:
        words.append(f"{summary['cpu_s']:.2f} s of CPU")
    if summary["signal"]:
        words.append(f"ended by {summary['signal']}")
    elif summary["exit_code"] is not None:
        words.append(f"exit code {summary['exit_code']}")
    return [command, ", ".join(words)] if words else [command]


# ------------------------------------------------------------------------------------ energy


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with so many digits, and thin groups of thousands; never in powers of ten."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(decimals, 6)}f}".replace(",", " ")


def _uncertainty(item: Mapping[str, Any]) -> str:
    if item["u90_j"] is None or item["energy_j"] is None:
        return NOT_KNOWN
    if not item["energy_j"]:
        return f"{item['u90_j']:.2g} J"
    share = abs(item["u90_j"] / item["energy_j"])
    return percent(share, 1 if share >= 0.0005 else 2)


def _energy_table(summary: Mapping[str, Any], energies: Sequence[Mapping[str, Any]]) -> list[str]:
    above = any(e["above_idle_j"] is not None for e in energies)
    head = ["energy of the command", "J", "Wh", "mean W", "± 90 %"]
    head += ["above idle J"] if above else []
    head += ["covered", "by"]
    gpus = sum(e["main"] and kind_of(e) == "gpu" for e in energies)
    rows = []
    for item in energies:
        if item["main"]:
            rows.append(_energy_row(_name(item), item, above, _by(item)))
            rows += _total_rows(summary, item, above)
        elif gpus < MANY:
            what = f"  by {item['channel']}"
            if item["source"] != "nvml":
                what += f" ({item['source']})"
            rows.append(_energy_row(what, item, above, _by(item)))
    found = table([head, *rows], left=(0, len(head) - 1))
    if gpus >= MANY:
        found += _others(energies)
    return found


def _name(item: Mapping[str, Any]) -> str:
    kind = kind_of(item)
    stem, _, what = str(item["channel"]).partition(".")
    if item["estimate"]:
        return f"estimate of {what}  ({item['source']})"
    if kind == "gpu":
        label = str(item["label"]).removeprefix("NVIDIA ")
        scope = f" {what}" if what.startswith("power_m") else ""
        return f"GPU {stem.removeprefix('gpu')}{scope}  {label}"
    if kind == "cpu":
        return f"CPU {stem.removeprefix('cpu')} {what}"
    return f"{_KINDS.get(kind, stem)} {what}  {item['label']}"


def _by(item: Mapping[str, Any]) -> str:
    how = {"counter": "counter", "integral": "power", "mean": "mean of power"}
    return f"{item['source']} {how.get(str(item['method']), item['method'])}"


def _energy_row(name: str, item: Mapping[str, Any], above: bool, by: str) -> list[str]:
    cells = [name, number(item["energy_j"], 5), number(item.get("energy_wh"), 4)]
    cells += [number(item["mean_w"], 4), _uncertainty(item)]
    if above:
        value = item["above_idle_j"]
        cells.append("" if value is None else number(value, 4))
    coverage = item["coverage"]
    return [*cells, "" if coverage is None else f"{math.floor(coverage * 1000) / 10:.4g} %", by]


def _total_rows(
    summary: Mapping[str, Any], item: Mapping[str, Any], above: bool
) -> list[list[str]]:
    """Return the row of a sum behind the last device that is in it."""
    return [
        _energy_row(f"sum of {len(t['of'])} {_SUMS[t['what']]}", t, above, "sum")
        for t in summary["totals"]
        if t["of"][-1] == item["channel"]
    ]


_SUMS = {"GPUs": "GPUs", "CPUs and memory": "CPU domains"}


def _signed(share: float) -> str:
    return f"{'+' if share >= 0 else '−'}{percent(abs(share))}"


def _others(energies: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say in one line how far the other channels are from the best ones."""
    best = {e["group"]: e["energy_j"] for e in energies if e["main"]}
    away = [
        e["energy_j"] / best[e["group"]] - 1
        for e in energies
        if not e["main"] and e["energy_j"] is not None and best[e["group"]]
    ]
    if not away:
        return []
    return [
        f"The GPUs' {len(away)} other channels are {_signed(min(away))} to {_signed(max(away))} "
        "away (energy.parquet)."
    ]


def table(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """Align cells in columns; the first row is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            f"{cell:<{w}}" if i in left else f"{cell:>{w}}"
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _flag_lines(energies: Sequence[Mapping[str, Any]], width: int) -> list[str]:
    where: dict[str, list[str]] = {}
    for item in energies:
        for flag in item["flags"]:
            where.setdefault(flag, []).append(str(item["channel"]))
    found = []
    for flag, channels in where.items():
        shown = ", ".join(dict.fromkeys(channels))
        text = FLAGS.get(flag) or quality.describe(flag)
        found += _wrapped(f"{shown}: {text}", width, "  ")
    return ["", *found] if found else []


# ------------------------------------------------------------------------------------ context

_SHOWN = {
    "cpu.load": ("CPU load", "mean", "mean"),
    "memory.used": ("memory", "max", "at most"),
    "cpu.frequency": ("CPU clock", "mean", "mean"),
    "utilisation": ("busy", "mean", "mean"),
    "memory_used": ("memory", "max", "at most"),
    "temperature": ("temperature", "max", "at most"),
    "clock_sm": ("clock", "mean", "mean"),
}
_UNITS = {
    "bytes": (2**30, "GiB", 2),
    "Hz": (1e9, "GHz", 2),
    "%": (1, "%", 1),
    "C": (1, "°C", 0),
}


def _context_lines(context: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say how busy the machine was, a line for the host and one for each GPU."""
    words: dict[str, list[str]] = {}
    for item in context:
        stem, _, what = str(item["channel"]).partition(".")
        device = f"GPU {stem.removeprefix('gpu')}" if kind_of(item) == "gpu" else "host"
        shown = _SHOWN.get(what if kind_of(item) == "gpu" else item["channel"])
        if shown is None or item["source"] not in ("host", "nvml"):
            continue
        title, which, how = shown
        factor, unit, decimals = _UNITS.get(item["unit"], (1, item["unit"], 1))
        value = f"{item[which] / factor:.{decimals}f} {unit}"
        words.setdefault(device, []).append(f"{title} {how} {value}")
    width = max(map(len, words), default=0)
    return [f"{device:<{width}}  {', '.join(parts)}" for device, parts in sorted(words.items())]


# ------------------------------------------------------------------------------------ sources


def _missing_lines(item: Mapping[str, Any], width: int) -> list[str]:
    found = _wrapped(f"  {item['source']:<6}{item['reason']}", width, " " * 8)
    if item["remedy"]:
        found += _wrapped(f"{' ' * 8}-> {item['remedy']}", width, " " * 11)
    return found


def _source_table(sources: Sequence[Mapping[str, Any]]) -> list[str]:
    head = ["readings of", "taken", "expected", "failed", "missed", "late", "longest gap", "CPU s"]
    rows = []
    remarks = []
    for item in sources:
        if not item["taken"]:
            source, _, lane = str(item["source"]).partition("@")
            others = any(s["taken"] and str(s["source"]).startswith(source) for s in sources)
            if lane and others:  # a whole source that is missing is told elsewhere
                remarks.append(f"  {item['source']}: {item['outcome']}")
            continue
        gap = item["longest_gap_s"]
        rows.append(
            [
                str(item["source"]),
                *(_count(item[key]) for key in ("taken", "expected", "failed", "missed", "late")),
                "" if gap is None else f"{gap:.3g} s",
                "" if item["cpu_s"] is None else f"{item['cpu_s']:.2f}",
            ]
        )
        if item["outcome"] != "ok":
            remarks.append(f"  {item['source']}: {item['outcome']}")
    return [*table([head, *rows]), *remarks] if rows else []


def _count(value: Any) -> str:
    return "-" if value is None else str(value)


def _tail(summary: Mapping[str, Any]) -> list[str]:
    cost = summary["measuring"]
    found = []
    share = cost["share_of_a_core"]
    part = "" if share is None else f" ({percent(share)} of one core)"
    spent = f"{cost['cpu_s']:.2f} s of CPU{part}"
    found.append(f"Measuring took {spent}, and {cost['cpu_start_s']:.1f} s to start.")
    if summary["windows"]:
        parts = ", ".join(f"{count} {level}(s)" for level, count in summary["windows"].items())
        found.append(f"The command marked {parts}: their energies are in energy.parquet.")
    return [*found, f"Tables and summary: {summary['files']}"]
