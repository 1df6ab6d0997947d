"""Text of the Power Measurement Toolkit and PowerSensor: a heading, then times and watts.

``timestamp gpu_instant gpu_average`` and lines of seconds since 1970 and watts; lines that begin
with M mark moments of the program: ``M 10.098 "start"``, in seconds since the first line. Dump
files of PowerSensor3 (another heading) are read as well, see `wattproof.ingest.powersensor_dump`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.ingest import powersensor_dump, spans, text, timing
from wattproof.ingest import series as made
from wattproof.ingest.base import Ingested, Log
from wattproof.ingest.series import Series
from wattproof.ingest.spans import Span
from wattproof.units import s_to_ns

SETTINGS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "source": {"type": "string", "default": "pmt"},
        "gpu": {"type": "integer", "minimum": 0, "default": 0},
        # When the program was started: dump files of PowerSensor3 count from there.
        "start": {"default": None},
    },
}

AVERAGING_S = {"power_average": 1.0}
NAMES = {
    "gpu_instant": "power_instant",
    "gpu_average": "power_average",
    "device": "power",
    "total": "power",
}

_MARK = re.compile(r'^M\s+(\d+(?:\.\d*)?)\s+"([^"]*)"')
_NUMBERS = re.compile(r"^\s*-?\d")


def read(log: Log) -> Ingested:
    """Read a log of PMT.

    Raises:
        WattproofError: The file is missing, empty, or no log of PMT.
    """
    lines = text.read_text(log.path).splitlines()
    if lines and lines[0].startswith(powersensor_dump.HEAD):
        return powersensor_dump.read(log, lines)
    names = lines[0].split() if lines else []
    if not names or names[0] != "timestamp" or len(names) < 2:
        raise WattproofError(f"{log.path} is no log of PMT: its first line names no 'timestamp'.")
    rows: list[list[str]] = []
    marks: list[tuple[float, str]] = []
    broken = 0
    for line in lines[1:]:
        mark = _MARK.match(line)
        if mark:
            marks.append((float(mark[1]), mark[2]))
            continue
        words = line.split()
        if len(words) == len(names) and _NUMBERS.match(line):
            rows.append(words)
        elif line.strip():
            broken += 1
    if not rows:
        raise WattproofError(f"{log.path} holds no line of readings; restore the file.")
    frame = pd.DataFrame(rows, columns=names)
    stamps = timing.parse(frame["timestamp"], str(log.path), time_format="epoch_s")
    keep = stamps.known
    t_ns = stamps.t_ns[keep]
    findings: list[dict[str, Any]] = []
    total = len(lines) - 1
    findings += made.left_out(
        log, broken, total, f"{broken} of {total} lines could not be read and were left out."
    )
    source, gpu = log.settings["source"], log.settings["gpu"]
    found = []
    for name in names[1:]:
        quantity = NAMES.get(name, made_name(name))
        value = pd.to_numeric(frame[name][keep], errors="coerce").to_numpy(dtype=np.float64)
        found.append(
            Series(
                source,
                f"gpu{gpu}.{quantity}",
                "W",
                "power",
                t_ns,
                value,
                device=f"gpu{gpu}",
                slot=gpu,
                averaging_s=AVERAGING_S.get(quantity),
                identity={"column": name, "format": "PMT"},
            )
        )
    marked = spans.of_log(log, _spans(log, marks, int(t_ns.min())), findings)
    return Ingested(
        samples=made.samples(log, found),
        channels=made.channels(log, found),
        findings=tables.conform(findings, "findings"),
        instruments={source: {"tool": "PMT", "file": log.shown}},
        **marked,
    )


def made_name(column: str) -> str:
    """Series of a column that is not known by name."""
    return f"power_{re.sub(r'[^a-z0-9]+', '_', column.lower()).strip('_')}"


def _spans(log: Log, marks: list[tuple[float, str]], first_ns: int) -> list[Span]:
    """One run for each "start" that an "end" follows."""
    found: list[Span] = []
    begun: float | None = None
    for at_s, name in marks:
        if name == "start":
            begun = at_s
        elif name == "end" and begun is not None:
            begin, end = (first_ns + s_to_ns(s) for s in (begun, at_s))
            run_id = f"{log.settings['source']}-kernel-{len(found) + 1}"
            found.append(Span(run_id, begin, end, slot=log.settings["gpu"]))
            begun = None
    return found


def sniff(path: Path, head: bytes) -> float:
    """How sure it is that a file is a log of PMT."""
    if head.startswith(b"marker time dt_micro "):
        return 1.0
    return 0.9 if re.match(rb"timestamp( \w+)+\n\d{9,}\.\d+ ", head) else 0.0


def draft(path: Path) -> dict[str, Any]:
    """Settings that a drafted manifest shows."""
    return {"source": "pmt", "gpu": 0}
