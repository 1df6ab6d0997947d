"""DCGM: ``dcgmi dmon -e 155,156,…`` text, and scrapes of dcgm-exporter (Prometheus text).

``dmon`` prints no time; its step is that of ``-d`` (1 s unless asked otherwise), which the manifest
has to say. A scrape has a stamp of its own only where the exporter was asked for it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.ingest import series as made
from wattproof.ingest import text, timing
from wattproof.ingest.base import Ingested, Log
from wattproof.ingest.cells import numbers
from wattproof.ingest.series import Series, finding
from wattproof.units import mj_to_j, s_to_ns

SOURCE = "dcgm"

SETTINGS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "start": {"default": None},
        "step_s": {"type": ["number", "null"], "exclusiveMinimum": 0, "default": None},
    },
}

FIELDS = {
    "POWER": ("power_average", "power", "W", 1.0),
    "DCGM_FI_DEV_POWER_USAGE": ("power_average", "power", "W", 1.0),
    "PWINST": ("power_instant", "power", "W", 1.0),
    "DCGM_FI_DEV_POWER_USAGE_INSTANT": ("power_instant", "power", "W", 1.0),
    "TOTEC": ("energy", "energy", "J", mj_to_j(1.0)),
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": ("energy", "energy", "J", mj_to_j(1.0)),
    "GPUTL": ("utilisation", "utilisation", "%", 1.0),
    "DCGM_FI_DEV_GPU_UTIL": ("utilisation", "utilisation", "%", 1.0),
    "MCUTL": ("memory_utilisation", "utilisation", "%", 1.0),
    "DCGM_FI_DEV_MEM_COPY_UTIL": ("memory_utilisation", "utilisation", "%", 1.0),
    "TMPTR": ("temperature", "temperature", "C", 1.0),
    "DCGM_FI_DEV_GPU_TEMP": ("temperature", "temperature", "C", 1.0),
    "SMCLK": ("sm_clock", "clock", "Hz", 1e6),
    "DCGM_FI_DEV_SM_CLOCK": ("sm_clock", "clock", "Hz", 1e6),
}
"""Short name in dmon, or name of the metric → series, kind, unit, factor to it.

Field 155 (POWER) is an average, 157 the instant one (NVIDIA/DCGM #157).
"""

_METRIC = re.compile(
    r"^(DCGM_FI_DEV_\w+)\{([^}]*)\}\s+([-+\d.eE]+|NaN)(?:\s+(\d{10,16}))?\s*$", re.MULTILINE
)
_DEFAULT_STEP_S = 1.0


def _scrapes(log: Log, content: str) -> pd.DataFrame | None:
    rows = []
    for match in _METRIC.finditer(content):
        if match[1] not in FIELDS:
            continue
        labels = dict(re.findall(r'(\w+)="([^"]*)"', match[2]))
        rows.append((match[4], labels.get("gpu", "0"), labels.get("UUID", ""), match[1], match[3]))
    if not rows:
        return None
    frame = pd.DataFrame(rows, columns=["stamp", "gpu", "uuid", "field", "value"])
    if frame["stamp"].isna().any():
        raise WattproofError(
            f"{log.path}: its metrics have no time stamps, so it cannot be said when they were; "
            "scrape with honour_timestamps, or log with 'dcgmi dmon'."
        )
    stamps = timing.parse(frame["stamp"], str(log.path), time_format="epoch_ms")
    return frame.assign(t_ns=stamps.t_ns)


def _dmon(log: Log, content: str, findings: list[dict[str, Any]]) -> pd.DataFrame | None:
    head = re.search(r"(?m)^\s*#?\s*Entity\s+(.*)$", content)
    if head is None:
        return None
    names = head[1].split()
    step_s = log.settings["step_s"]
    if step_s is None:
        step_s = _DEFAULT_STEP_S
        findings.append(
            finding(
                log,
                "inferred_step",
                "dcgmi dmon prints no time; a step of 1 s was taken, its default.",
                "Give step_s (the option -d of dcgmi dmon) in the manifest.",
                severity="warning",
            )
        )
    start = log.settings["start"]
    first = 0 if start is None else timing.instant_ns(start, f"{log.path}, key 'start'")
    rows, polls = [], dict[str, int]()
    for line in content.splitlines():
        match = re.match(r"^\s*GPU[ -](\d+)\s+(.*)$", line)
        if match is None:
            continue
        words = match[2].split()
        if len(words) != len(names):
            continue
        poll = polls.get(match[1], 0)
        polls[match[1]] = poll + 1
        t_ns = first + s_to_ns(step_s * (poll + 1))
        rows += [
            (t_ns, match[1], "", name, word)
            for name, word in zip(names, words, strict=True)
            if name in FIELDS
        ]
    if not rows:
        return None
    return pd.DataFrame(rows, columns=["t_ns", "gpu", "uuid", "field", "value"])


def read(log: Log) -> Ingested:
    """Read a log of DCGM.

    Raises:
        WattproofError: The file is missing, empty, or no log of DCGM.
    """
    content = text.read_text(log.path)
    findings: list[dict[str, Any]] = []
    frame = _scrapes(log, content)
    if frame is None:
        frame = _dmon(log, content, findings)
    if frame is None:
        raise WattproofError(
            f"{log.path} is no log of DCGM: neither lines of 'dcgmi dmon' nor metrics DCGM_FI_DEV_…"
        )
    found = []
    for (gpu, field), part in frame.groupby(["gpu", "field"]):
        quantity, kind, unit, factor = FIELDS[str(field)]
        value, status, _ = numbers(part["value"])
        found.append(
            Series(
                SOURCE,
                f"gpu{gpu}.{quantity}",
                unit,
                kind,
                part["t_ns"].to_numpy(np.int64),
                value * factor,
                status,
                device=part["uuid"].iloc[0] or f"gpu{gpu}",
                slot=int(str(gpu)),
                identity={"field": field, "format": "DCGM"},
            )
        )
    return Ingested(
        samples=made.samples(log, found),
        channels=made.channels(log, found),
        marks=tables.conform([], "marks"),
        runs=tables.conform([], "runs"),
        windows=tables.conform([], "windows"),
        findings=tables.conform(findings, "findings"),
        instruments={SOURCE: {"tool": "DCGM", "file": log.shown}},
    )


def sniff(path: Path, head: bytes) -> float:
    """How sure it is that a file is a log of DCGM."""
    if b"DCGM_FI_DEV_" in head:
        return 1.0
    return 0.9 if re.search(rb"(?m)^\s*#?\s*Entity\s+\w+", head) else 0.0


def draft(path: Path) -> dict[str, Any]:
    """Settings that a drafted manifest shows."""
    return {"start": None, "step_s": None}
