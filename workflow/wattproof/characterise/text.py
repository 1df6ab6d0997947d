"""Findings as a compact table for people."""

from __future__ import annotations

from collections.abc import Sequence

from wattproof.characterise.channel import Finding
from wattproof.sensing import SensorDescription

HEAD = ("channel", "update", "window", "delay", "averaging", "sees")


def milliseconds(value_s: float | None, u_s: float | None) -> str:
    """Return a duration in ms with its uncertainty, as many digits as that allows; ``?``: None."""
    if value_s is None:
        return "?"
    value, u = value_s * 1e3, (u_s or 0.0) * 1e3
    digits = 0 if u >= 2 else 1 if u >= 0.2 else 2 if u >= 0.02 else 3
    return f"{value:.{digits}f} ± {u:.{digits}f} ms"


def _row(sensor: SensorDescription) -> tuple[str, ...]:
    names = ("update_s", "window_s", "delay_s")
    numbers = [milliseconds(getattr(sensor, n), sensor.uncertainty.get(n)) for n in names]
    averaging = sensor.averaging if sensor.averaging != "unknown" else "?"
    if sensor.window_s == 0.0:
        averaging = "point"
    sees = ""
    if sensor.window_s and sensor.update_s and sensor.averaging == "boxcar":
        sees = f"{min(1.0, sensor.window_s / sensor.update_s):.0%}"
    return (sensor.channel, *numbers, averaging, sees)


def table(findings: Sequence[Finding]) -> str:
    """Return the table, and below it what was refused and remarked, a line each."""
    rows = [HEAD, *(_row(finding.sensor) for finding in findings)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    for finding in findings:
        notes = [finding.sensor.refused, *(f"{r[0].upper()}{r[1:]}." for r in finding.remarks)]
        lines += [f"{finding.sensor.channel}: {note}" for note in notes if note]
    return "\n".join(lines)
