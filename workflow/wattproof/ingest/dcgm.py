"""DCGM: ``dcgmi dmon -e 155,156,…`` text, and scrapes of dcgm-exporter (Prometheus text).

``dmon`` prints a heading, a line of units and one row a GPU, but no time: its step is that of
``-d`` (1 s unless asked otherwise), which the manifest has to say, unless each line was stamped
(``| ts '%Y-%m-%dT%H:%M:%.S'``). A scrape has a stamp of its own only where the exporter was asked.
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
        "time_zone": {"type": ["string", "null"], "default": None},
        "host": {"type": ["string", "null"], "default": None},
    },
}

_FIELDS = {
    ("POWER", "DCGM_FI_DEV_POWER_USAGE", "dcgm_power_usage"): ("power_average", "power", "W", 1.0),
    ("POWINST", "DCGM_FI_DEV_POWER_USAGE_INSTANT"): ("power_instant", "power", "W", 1.0),
    ("TOTEC", "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "dcgm_total_energy_consumption"): (
        "energy",
        "energy",
        "J",
        mj_to_j(1.0),
    ),
    ("GPUTL", "DCGM_FI_DEV_GPU_UTIL", "dcgm_gpu_utilization"): (
        "utilisation",
        "utilisation",
        "%",
        1.0,
    ),
    ("MCUTL", "DCGM_FI_DEV_MEM_COPY_UTIL", "dcgm_mem_copy_utilization"): (
        "memory_utilisation",
        "utilisation",
        "%",
        1.0,
    ),
    ("TMPTR", "DCGM_FI_DEV_GPU_TEMP", "dcgm_gpu_temp"): ("temperature", "temperature", "C", 1.0),
    ("SMCLK", "DCGM_FI_DEV_SM_CLOCK", "dcgm_sm_clock"): ("sm_clock", "clock", "Hz", 1e6),
}
FIELDS = {name: what for names, what in _FIELDS.items() for name in names}
"""Short name in dmon, or name of the metric → series, kind, unit, factor to it.

Field 155 (POWER) is an average, 157 (POWINST) the instant one (NVIDIA/DCGM #157; short names as in
dcgm_fields.cpp).
"""

_METRIC = re.compile(
    r"^(DCGM_FI_DEV_\w+|dcgm_\w+)\{([^}]*)\}\s+([-+\d.eE]+|NaN)(?:\s+(\d{10,16}))?\s*$",
    re.MULTILINE,
)
_DEFAULT_STEP_S = 1.0


_ROW = re.compile(r"^(?P<stamp>\d.*?)?\s*GPU[ -](?P<gpu>\d+)\s+(?P<cells>\S.*)$")
_HEAD = re.compile(r"(?m)^(?:\d\S*\s+)?\s*#?\s*Entity\s+(\S.*)$")


def _one_host(log: Log, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of one host: GPU 0 of two of them would be taken for one."""
    wanted = log.settings["host"]
    hosts = sorted(set(frame["host"]))
    if wanted is not None:
        frame = frame[frame["host"] == wanted]
        if frame.empty:
            raise WattproofError(f"{log.path} has no host '{wanted}'; it has {', '.join(hosts)}.")
    elif len(hosts) > 1:
        raise WattproofError(
            f"{log.path} holds {len(hosts)} hosts ({', '.join(hosts)}); name one as 'host', each "
            "in a log of its own."
        )
    return frame


def _broken(log: Log, broken: int, total: int, what: str) -> list[dict[str, Any]]:
    sentence = f"{broken} of {total} {what} could not be read and were left out."
    return made.left_out(log, broken, total, sentence)


def _scrapes(log: Log, content: str, findings: list[dict[str, Any]]) -> pd.DataFrame | None:
    rows = []
    total = broken = 0
    for line in content.splitlines():
        if not line.startswith(("DCGM_FI_DEV_", "dcgm_")):
            continue
        total += 1
        match = _METRIC.match(line)
        labels = dict(re.findall(r'(\w+)="([^"]*)"', match[2])) if match else {}
        gpu = labels.get("gpu", "0")
        if match is None or not gpu.isdecimal():
            broken += 1
        elif match[1] in FIELDS:
            uuid = labels.get("UUID", labels.get("uuid", ""))
            host = labels.get("Hostname", "")
            rows.append((match[4], host, gpu, uuid, match[1], match[3]))
    if not rows:
        return None
    frame = pd.DataFrame(rows, columns=["stamp", "host", "gpu", "uuid", "field", "value"])
    frame = _one_host(log, frame)
    if frame["stamp"].isna().all():
        raise WattproofError(
            f"{log.path}: its metrics have no time stamps, so it cannot be said when they were; "
            "scrape with honour_timestamps, or log with 'dcgmi dmon'."
        )
    # A stamp with fewer digits than the others was cut off.
    digits = frame["stamp"].str.len()
    whole = digits == digits.mode().iloc[0]
    findings += _broken(log, broken + int((~whole).sum()), total, "metrics")
    frame = frame[whole]
    # Each MIG instance and each pod on a GPU repeats the figures of the whole GPU.
    frame = frame.drop_duplicates(["stamp", "gpu", "field"]).reset_index(drop=True)
    stamps = timing.parse(frame["stamp"], str(log.path), time_format="epoch_ms")
    return frame.assign(t_ns=stamps.t_ns)


def _polls(
    log: Log, rows: list[tuple[str, str, list[str]]], findings: list[dict[str, Any]]
) -> list[int]:
    """Instants of rows that have no stamps: each GPU's n-th row is of the n-th poll."""
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
    if start is None:
        findings.append(
            finding(
                log,
                "no_start",
                "The log does not say when dcgmi dmon was started; its clock begins at 0.",
                "Give 'start' where the log is compared with another one.",
            )
        )
    seen: dict[str, int] = {}
    found = []
    for _, gpu, _ in rows:
        seen[gpu] = seen.get(gpu, 0) + 1
        found.append(first + s_to_ns(step_s * seen[gpu]))
    return found


def _dmon(log: Log, content: str, findings: list[dict[str, Any]]) -> pd.DataFrame | None:
    head = _HEAD.search(content)
    if head is None:
        return None
    names = head[1].split()
    rows: list[tuple[str, str, list[str]]] = []
    broken = 0
    for line in content.splitlines():
        match = _ROW.match(line.lstrip())
        if match is None:
            continue
        cells = match["cells"].split()
        if len(cells) == len(names):
            rows.append((match["stamp"] or "", match["gpu"], cells))
        else:
            broken += 1
    if not rows:
        return None
    findings += _broken(log, broken, broken + len(rows), "rows")
    if all(stamp for stamp, _, _ in rows):
        stamps = timing.parse(
            pd.Series([stamp.strip() for stamp, _, _ in rows]),
            str(log.path),
            time_zone=log.settings["time_zone"],
        )
        findings += made.inferred(log, stamps, "Say time_zone in the manifest.")
        if not stamps.known.all():
            raise WattproofError(f"{log.path}: not every row has a stamp that can be read.")
        instants = stamps.t_ns.tolist()
    else:
        instants = _polls(log, rows, findings)
    flat = [
        (t_ns, gpu, "", name, cell)
        for t_ns, (_, gpu, cells) in zip(instants, rows, strict=True)
        for name, cell in zip(names, cells, strict=True)
        if name in FIELDS
    ]
    if not flat:
        raise WattproofError(
            f"{log.path} has none of the fields that are read; log with "
            "'dcgmi dmon -e 155,156,157,203'."
        )
    return pd.DataFrame(flat, columns=["t_ns", "gpu", "uuid", "field", "value"])


def read(log: Log) -> Ingested:
    """Read a log of DCGM.

    Raises:
        WattproofError: The file is missing, empty, or no log of DCGM.
    """
    content = text.read_text(log.path)
    findings: list[dict[str, Any]] = []
    frame = _scrapes(log, content, findings)
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
        findings=tables.conform(findings, "findings"),
        instruments={SOURCE: {"tool": "DCGM", "file": log.shown}},
    )


def sniff(path: Path, head: bytes) -> float:
    """How sure it is that a file is a log of DCGM."""
    if re.search(rb"(?m)^(DCGM_FI_DEV_|dcgm_)\w+\{", head):
        return 1.0
    return 0.9 if re.search(rb"(?m)^(?:\d\S*\s+)?\s*#?\s*Entity\s+\w+", head) else 0.0


def draft(path: Path) -> dict[str, Any]:
    """Settings that a drafted manifest shows."""
    return {"start": None, "step_s": None, "time_zone": None}
