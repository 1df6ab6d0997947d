"""The page of results: Markdown."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from figures import BARS, COVERAGE_BAR, LABELS, summary

COMMAND = ".venv/bin/python benchmarks/recorder/run.py"
SAMPLING_BARS = {"share": 0.999, "drift_ms": 5.0, "cpu_percent": 2.0}


def about(quick: bool) -> dict[str, Any]:
    """Return where and from what state of the code the numbers come."""
    root = Path(__file__).parents[2]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True
    ).stdout.strip()
    return {
        "command": COMMAND + (" --quick" if quick else ""),
        "quick": quick,
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": commit,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "wattproof": importlib.metadata.version("wattproof"),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _percent(value: float | None, digits: int = 2) -> str:
    if value is None or np.isnan(value):
        return "–"
    return f"{100.0 * value:.{digits}f} %"


def _verdict(holds: bool) -> str:
    return "reached" if holds else "**missed**"


def write(content: dict[str, Any], windows: pd.DataFrame) -> str:
    """Return the page; summaries of the windows are added to the content."""
    a = content["about"]
    parts = [
        "# The recorder and its peers",
        f"`{a['command']}`, {a['date']}, commit {a['commit']}, {a['took_s'] / 60:.1f} min. "
        f"{a['cores']} cores of {a['processor']}, Linux {a['kernel']}, Python {a['python']}, load "
        f"before the start {a['load_before']:.2f}. "
        + ("**Quick run: too few windows for a verdict.** " if a["quick"] else "")
        + "The GPU is simulated (stub `libnvidia-ml.so.1`, `tests/benches/stub_nvml`).",
    ]
    if "accuracy" in content:
        parts += _accuracy(content["accuracy"], windows[windows["condition"] != "part-time"])
    if "part_time" in content:
        part = windows[windows["condition"] == "part-time"]
        parts += _part_time(content["part_time"], part)
    if "sampling" in content:
        parts += _sampling(content["sampling"])
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _errors(windows: pd.DataFrame, label: dict[str, str]) -> str:
    table = summary(windows, ["tool", "length"]).set_index(["tool", "length"])
    rows = []
    for tool, text in label.items():
        cells = [text]
        for length in BARS:
            if (tool, length) not in table.index:
                cells += ["–", "–", "0"]
                continue
            row = table.loc[(tool, length)]
            refused = f" (+{int(row.refused)} refused)" if row.refused else ""
            cells += [
                _percent(row["median"]),
                _percent(row["p95"]),
                f"{int(row.n)}{refused}",
            ]
        if cells[1:] != ["–", "–", "0"] * len(BARS):
            rows.append(cells)
    head = ["energy error, median / 95th percentile of the absolute value"]
    for length in BARS:
        head += [f"{length}: median", "95 %", "windows"]
    return _table(head, rows)


def _accuracy(content: dict[str, Any], windows: pd.DataFrame) -> list[str]:
    ours = windows[windows["tool"] == "wattproof"]
    content["summary"] = summary(windows, ["tool", "length"]).to_dict("records")
    content["by_load"] = summary(windows, ["tool", "condition", "load", "length"]).to_dict(
        "records"
    )
    verdicts = []
    for length, (median_bar, p95_bar) in BARS.items():
        found = summary(ours[ours["length"] == length], ["tool"]).iloc[0]
        holds = bool(found["median"] <= median_bar and found["p95"] <= p95_bar)
        verdicts.append(
            f"- {length}: bar {_percent(median_bar, 1)} / {_percent(p95_bar, 1)}, found "
            f"{_percent(found['median'], 3)} / {_percent(found['p95'], 3)} over {found.n} "
            f"windows, {found.refused} refused: {_verdict(holds)}"
        )
    channels = {
        tool: f"`{tool.partition(' ')[2]}`"
        for tool in dict.fromkeys(windows["tool"])
        if tool.startswith("wattproof ")
    }
    by_load = summary(ours, ["condition", "load", "length"])
    loads = [
        [f"{row.load}, {row.condition}", row.length, _percent(row.median, 3), _percent(row.p95, 3),
         _percent(row.largest, 3), str(row.n)]
        for row in by_load.itertuples()
    ]  # fmt: skip
    idle, busy = (windows[windows["condition"] == name] for name in ("idle", "busy"))
    return [
        "## Energy of windows: driver whose counter and ring follow the true power",
        "Counter: a step each 100 ms, 3 ms a read. Ring: a mean each 20 ms. Random, overlapping "
        "windows of six loads (steady, square wave of 1 and 5 Hz, bursts, staircase, "
        "training-like), on the idle machine and beside two processes that burn both cores.",
        "\n".join(verdicts),
        "Our 90 % intervals hold the truth in "
        + " and ".join(
            f"{_percent(one['coverage'], 1)} ({condition}, median half width "
            f"{_percent(one['median_half_width'], 1)}, of {one['n']} windows)"
            for condition, one in content["intervals"].items()
        )
        + "; the boards' ±5 % is part of them.",
        "### All windows",
        _errors(windows, LABELS),
        "### Idle machine (nothing but the tools themselves)",
        _errors(idle, LABELS),
        "### Both cores busy",
        _errors(busy, LABELS),
        "### Wattproof by load",
        _table(["load", "windows of", "median", "95 %", "largest", "windows"], loads),
        "### Wattproof's other channels (for comparison; `gpu0.energy` is the one to use)",
        _errors(windows, channels),
        "### Cost and captured samples",
        _costs(content["costs"]),
        HOW,
    ]


def _costs(costs: dict[str, list[dict[str, Any]]]) -> str:
    by_tool: dict[str, dict[str, dict[str, Any]]] = {}
    for condition, rows in costs.items():
        for row in rows:
            by_tool.setdefault(row["tool"], {})[condition] = row
    lines = []
    for tool, text in LABELS.items():
        if tool not in by_tool:
            continue
        cells = [text]
        for condition in ("idle", "busy"):
            row = by_tool[tool].get(condition, {})
            cells.append(f"{row['cpu_percent']:.2f} %" if row else "–")
        for condition in ("idle", "busy"):
            row = by_tool[tool].get(condition, {})
            if "captured_by_lane" in row:
                cells.append(
                    ", ".join(
                        f"{lane} {_percent(share)}"
                        for lane, share in row["captured_by_lane"].items()
                    )
                )
            else:
                cells.append(_percent(row.get("captured"), 1) if row else "–")
        lines.append(cells)
    head = ["tool", "CPU of one core, idle", "busy", "samples taken of those meant, idle", "busy"]
    return _table(head, lines)


HOW = """\
How it was measured

- One script of true power a condition; all tools measure it at the same time, so they also stand
  in each other's way. The stub keeps no locks: tools do not slow each other down inside the driver.
- Wattproof: the recorder's own processes with the default settings of source `nvml`, then sealing,
  aligning, cutting windows and integrating with the functions of the rules; default settings.
- ZeusMonitor and Code Carbon: real calls at the edges of each window. A window counts from the
  middle of the call that began it to the middle of the call that ended it, which favours the tool
  most. Code Carbon runs one task at a time: six trackers share the windows, some get none; its
  CPU is the mean of one tracker.
- PowerMonitor: its own `get_energy`. Its period is given as 50 ms, because with the default
  (None) version 0.16.0 infers 0 s and polls without a pause, which burns a core. Equal values are
  dropped by it (cases F9 and F10): over constant power it has no samples.
- jpwr-style and perun-style are loops written after measurement.md (F13, section 9), not the
  packages. nvidia-smi: sleep 0.1 s, start `nvidia-smi -q -x` (30 ms in the stub), mean × duration.
- "Samples taken of those meant": rows over duration / period; of PowerMonitor, after dropping equal
  values. CPU: user and system time of all its processes while the script ran, over that time."""


def _part_time(content: dict[str, Any], windows: pd.DataFrame) -> list[str]:
    content["summary"] = summary(windows, ["tool", "length"]).to_dict("records")
    content["by_load"] = summary(windows, ["tool", "load", "length"]).to_dict("records")
    rows, verdicts = [], []
    for case, found in content["intervals"].items():
        for length, one in found.items():
            rows.append(
                [case, length, _percent(one["coverage"], 1), _percent(one["median_half_width"], 1),
                 str(one["n"]), str(one["without_interval"])]
            )  # fmt: skip
        coverage = found["all"]["coverage"]
        holds = coverage is not None and coverage >= COVERAGE_BAR
        verdicts.append(f"- {case}: {_percent(coverage, 1)}: {_verdict(holds)}")
    ours_label = {"wattproof": "wattproof, with the sensor's description"}
    return [
        "## A driver that senses 25 of each 100 ms",
        "Average, counter and ring derive from what the sensor saw. No tool can be exact here; "
        "what is stated must be true: our 90 % intervals shall hold the truth in ≥ "
        f"{COVERAGE_BAR:.0%} of the windows. Idle machine, same loads. The stub's gain is 1, so an "
        "interval that allows for the boards' ±5 % is wide enough for nearly anything: the last "
        "case leaves that out and is the hard one.",
        "\n".join(verdicts),
        _table(
            [
                "wattproof's 90 % interval",
                "windows of",
                "holds the truth",
                "median half width",
                "windows",
                "without interval",
            ],
            rows,
        ),
        "Errors of the values themselves (no peer states an interval):",
        _errors(windows, {**LABELS, **ours_label}),
        "### Wattproof on other drivers",
        "Full-time sensors at the same time, which differ from the one of the first part in one "
        "thing each; nothing told our analysis so (no sensor description). No bar.",
        _errors(windows, content["others"]),
    ]


def _sampling(rows: list[dict[str, Any]]) -> list[str]:
    def cell(row: dict[str, Any], key: str, digits: int) -> str:
        return f"{row[key]:.{digits}f}" if key in row else "–"

    lines, verdicts = [], []
    for row in rows:
        lines.append(
            [
                f"`{row['lane']}`",
                f"{row['rate_hz']:g}",
                f"{row['taken']} / {row['expected']}",
                _percent(row["share"]),
                cell(row, "drift_ms", 3),
                cell(row, "late_p50_ms", 2),
                cell(row, "late_p99_ms", 2),
                cell(row, "late_max_ms", 1),
                f"{row['cpu_percent']:.2f} %",
                str(row["failed"]),
            ]
        )
        holds = {
            # What nvidia-smi's own loop leaves out is not lost by the recorder.
            "samples": row["lane"] == "smi" or row["share"] >= SAMPLING_BARS["share"],
            "drift": abs(row.get("drift_ms", 0.0)) < SAMPLING_BARS["drift_ms"],
            "CPU": row["cpu_percent"] < SAMPLING_BARS["cpu_percent"],
        }
        missed = [name for name, fine in holds.items() if not fine]
        verdicts.append(
            f"- `{row['lane']}`: {_verdict(not missed)}"
            + (f" ({', '.join(missed)})" if missed else "")
        )
    head = ["lane", "Hz", "taken / expected", "share", "drift, ms", "late by, median ms",
            "99 % ms", "most ms", "CPU of one core", "failed"]  # fmt: skip
    return [
        "## On time at 100 Hz, both cores saturated",
        "All sources at once, one recorder. Bars: ≥ 99.9 % of the expected samples, drift < 5 ms, "
        "< 2 % of a core. Drift: median lateness of the last second minus that of the first. The "
        "counter's and the ring's lanes keep paces of their own; `smi` is nvidia-smi's own loop, "
        "which drops lines when it is late (on an H100: 49 of 50 at 20 ms): no verdict on those. "
        "Its CPU includes the nvidia-smi process.",
        "\n".join(verdicts),
        _table(head, lines),
    ]
