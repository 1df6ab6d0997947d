"""Tables of the page on usage, estimators, instruments, clocks and flags."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from wattproof import quality
from wattproof.report.inputs import ReportInputs
from wattproof.report.reliable import delivered
from wattproof.report.select import source_name
from wattproof.report.text import UNKNOWN, count, fixed, known, number, percent, whole
from wattproof.report.view import Notes, View, or_refused


def usage(inputs: ReportInputs) -> View:
    """Range of power and utilisation by device."""
    notes = Notes()
    rows = []
    for _, row in inputs.usage.iterrows():
        why = str(row["refused"] or "")

        def cell(name: str, text: str, row: Any = row, why: str = why) -> str:
            return or_refused(text, row[name], why, notes)

        watts = [
            cell(c, number(row[c]))
            for c in ("idle_w", "min_w", "q05_w", "median_w", "q95_w", "max_w", "limit_w")
        ]
        use = [cell(c, number(row[c])) for c in ("utilisation_min", "utilisation_max")]
        rows.append(
            (
                str(row["device"]),
                str(row["setting"]),
                source_name(str(row["source"])),
                str(row["n"]),
                *watts,
                cell("span", percent(row["span"], 0)),
                cell("peak_share", percent(row["peak_share"], 0)),
                *use,
                cell("pearson_utilisation", fixed(row["pearson_utilisation"])),
            )
        )
    return View(
        "usage",
        "Mean power of the epochs by GPU. Span: (max − min) / (limit − idle); r: Pearson "
        "correlation of power with utilisation.",
        (
            *("GPU", "setting", "source", "epochs"),
            *("idle (W)", "min (W)", "5 % (W)", "median (W)", "95 % (W)", "max (W)", "limit (W)"),
            *("span", "max / limit", "utilisation min (%)", "utilisation max (%)", "r"),
        ),
        tuple(rows),
        "" if rows else "No GPU power was recorded, so its range is not known.",
        tuple(notes.texts),
        source="usage",
    )


def _parameters(text: str) -> str:
    parts = []
    for name, item in json.loads(text or "{}").items():
        unit = str(item.get("unit") or "")
        doubt = f" ± {number(item['u'], 2)}" if known(item.get("u")) else ""
        parts.append(f"{name} = {number(item.get('value'), 4)}{doubt} {unit}".rstrip())
    return "; ".join(parts) or "no parameters"


def _ranges(text: str) -> str:
    parts = []
    for name, (low, high, *unit) in json.loads(text or "{}").items():
        parts.append(f"{name}: {number(low)} to {number(high)} {''.join(map(str, unit))}".rstrip())
    return "; ".join(parts) or "not limited"


def calibration(inputs: ReportInputs) -> View:
    """Estimators of node energy with held-out errors."""
    notes = Notes()
    rows = []
    for _, row in inputs.calibration.iterrows():
        why = str(row["refused"] or "")
        errors = [
            or_refused(percent(row[c]), row[c], why, notes)
            for c in ("error_median", "error_q1", "error_q3", "error_max")
        ]
        covered = percent(row["coverage"], 0) if known(row["coverage"]) else "no interval stated"
        rows.append(
            (
                str(row["label"] or row["estimator"]),
                str(row["device"]),
                str(row["n"]),
                *errors,
                covered,
                str(row["held_out"] or "not stated"),
                _parameters(str(row["parameters"])),
                _ranges(str(row["valid_range"])),
            )
        )
    return View(
        "calibration",
        "Estimators of node energy against the meter, over run windows. Error: (meter − estimate) "
        "/ meter, positive = underestimate; largest is of the absolute error. Coverage: share of "
        "runs inside the stated 90 % interval.",
        (
            *("estimator", "device", "runs", "median error", "lower quartile", "upper quartile"),
            *("largest error", "coverage", "held out", "parameters", "valid for"),
        ),
        tuple(rows),
        "" if rows else "No estimator of node energy was calibrated.",
        tuple(notes.texts),
        source="calibration",
    )


def health(inputs: ReportInputs) -> View:
    """Readings expected and delivered, by source over all sessions."""
    shares = delivered(inputs.health)["share"]
    rows = []
    for source, group in inputs.health.groupby("source", sort=True):
        share = shares.get(source)
        used = group["cpu_s"].astype("float64") - group["cpu_start_s"].astype("float64").fillna(0)
        cpu_s, time_s = used.sum(min_count=1), group["duration_s"].sum(min_count=1)
        busy = cpu_s / time_s if known(cpu_s) and known(time_s) and time_s > 0 else None
        outcomes = Counter(str(o) for o in group["outcome"])
        expected = group["expected"].sum() if group["expected"].notna().all() else None
        rows.append(
            (
                source_name(str(source)),
                str(len(group)),
                whole(expected) if known(expected) else "stream of unknown rate",
                whole(group["taken"].sum()),
                whole(group["failed"].sum()),
                whole(group["missed"].sum()),
                whole(group["late"].sum()) if group["late"].notna().any() else "does not apply",
                percent(share, 2) if known(share) else "does not apply",
                number(group["longest_gap_s"].max(), unit="s"),
                percent(busy, 2),
                str(int(group["restarts"].sum())),
                str(int(group["hangs"].sum())),
                "; ".join(f"{name}: {n}" for name, n in sorted(outcomes.items())),
            )
        )
    return View(
        "health",
        "Instruments over all sessions, a row for each process. Late: begun more than half a "
        "period after the deadline. Delivered: good readings over expected. CPU: seconds of "
        "the process, after its start, per second recorded. Hangs: ended by the watchdog.",
        (
            *("source", "sessions", "expected", "taken", "failed", "missed", "late", "delivered"),
            *("longest gap", "CPU", "restarts", "hangs", "outcome"),
        ),
        tuple(rows),
        "" if rows else "There is no record of the instruments' health.",
        source="health",
    )


def clocks(inputs: ReportInputs) -> View:
    """Alignment of every source's clock in every session."""
    rows = []
    for _, row in inputs.clocks.sort_values(["source", "recording", "session"]).iterrows():
        offset = f"{int(row['offset_ns']) / 1e9:.6f}" if known(row["offset_ns"]) else UNKNOWN
        residual = row["residual_ns"] / 1e6 if known(row["residual_ns"]) else None
        accepted = "accepted" if row["accepted"] else f"refused: {row['reason'] or 'no reason'}"
        rows.append(
            (
                source_name(str(row["source"])),
                str(row["recording"]),
                str(row["session"]),
                str(row["method"]),
                offset,
                number(row["drift_ppm"]),
                number(residual),
                fixed(row["confidence"]),
                accepted,
            )
        )
    return View(
        "clocks",
        "Clock of each source against the recording's. Energies are never compared on a clock "
        "that was refused.",
        (
            *("source", "recording", "session", "method", "offset (s)", "drift (ppm)"),
            *("residual (ms)", "confidence", "verdict"),
        ),
        tuple(rows),
        "" if rows else "No clock was checked.",
        source="clocks",
    )


def flags(inputs: ReportInputs) -> View:
    """Quality flags with their sentences and how often they occur."""
    found: Counter[tuple[str, str]] = Counter()
    for source, names in zip(inputs.energy["source"], inputs.energy["flags"], strict=True):
        found.update((str(name), str(source)) for name in names)
    total = len(inputs.energy)
    rows = []
    for name in sorted({flag for flag, _ in found}):
        sources = {s: n for (flag, s), n in found.items() if flag == name}
        by = ", ".join(f"{source_name(s)} {n}" for s, n in sorted(sources.items()))
        rows.append((name, quality.describe(name), str(sum(sources.values())), by))
    missing = "No window carries a flag." if total else "There are no energies to flag."
    return View(
        "flags",
        f"Quality flags over {count(total, 'energy', 'energies')} (window × channel; training "
        "phases of epochs are left out).",
        ("flag", "meaning", "energies", "by source"),
        tuple(rows),
        "" if rows else missing,
        source="energy",
    )
