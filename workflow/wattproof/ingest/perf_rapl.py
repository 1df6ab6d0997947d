"""``perf stat -I MS -e power/energy-…/``: joules of each interval, as text or with ``-x``.

Text: ``     1.000123456   12.34 Joules power/energy-pkg/``; with ``-x,``:
``1.000123456,12.34,Joules,power/energy-pkg/,…``; with ``--per-socket`` a column ``S0`` and a number
of CPUs come in between. Stamps count from the start of perf, which only a line
``# started on …`` tells, in local time.
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
from wattproof.ingest.series import Series, finding
from wattproof.units import NS_PER_S

SOURCE = "perf"

SETTINGS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        # When perf was started; a number of seconds since 1970 or a date with its zone.
        "start": {"default": None},
        "time_zone": {"type": ["string", "null"], "default": None},
    },
}

CHANNELS = {
    "energy-pkg": "cpu{}.package",
    "energy-ram": "cpu{}.dram",
    "energy-cores": "cpu{}.cores",
    "energy-gpu": "cpu{}.graphics",
    "energy-psys": "node.platform",
}

_EVENT = re.compile(r"power/(energy-[a-z]+)/")
_TEXT = re.compile(
    r"^\s*(?P<t>\d+[.,]\d+)\s+(?:S(?P<socket>\d+)\s+\d+\s+)?"
    r"(?P<value>[\d.,]+|<not counted>|<not supported>)\s+(?:Joules\s+)?(?P<event>power/\S+)"
)
_STARTED = re.compile(r"#\s*started on\s+(.*\d{4})\s*$", re.MULTILINE)


def _lines(content: str) -> list[tuple[float, int, str, str]]:
    """Time, socket, event and value of each line."""
    found = []
    for line in content.splitlines():
        event = _EVENT.search(line)
        if event is None or line.lstrip().startswith("#"):
            continue
        match = _TEXT.match(line)
        if match:
            stamp, value = match["t"].replace(",", "."), match["value"]
            if "." not in value:
                value = value.replace(",", ".")
            socket = int(match["socket"] or 0)
            found.append((float(stamp), socket, event[1], value.replace(",", "")))
            continue
        mark = next((m for m in (";", ",", "\t", "|") if line.count(m) >= 3), None)
        if mark is None:
            continue
        words = [word.strip() for word in line.split(mark)]
        socket = 0
        rest = words[1:]
        if re.fullmatch(r"S\d+", rest[0]):
            socket, rest = int(rest[0][1:]), rest[2:]
        try:
            found.append((float(words[0]), socket, event[1], rest[0]))
        except ValueError:
            continue
    return found


def read(log: Log) -> Ingested:
    """Read a log of perf stat.

    Raises:
        WattproofError: The file is missing, empty, or holds no interval of an energy event.
    """
    content = text.read_text(log.path)
    rows = _lines(content)
    if not rows:
        raise WattproofError(
            f"{log.path} holds no interval of power/energy-…/; record with "
            "'perf stat -I 100 -e power/energy-pkg/'."
        )
    findings: list[dict[str, Any]] = []
    start_ns = _start_ns(log, content, findings)
    frame = pd.DataFrame(rows, columns=["t_s", "socket", "event", "value"])
    found = []
    for (socket, event), part in frame.groupby(["socket", "event"]):
        pattern = CHANNELS.get(str(event))
        if pattern is None:
            continue
        part = part.sort_values("t_s", kind="stable")
        joules = pd.to_numeric(part["value"], errors="coerce").to_numpy(dtype=np.float64)
        known = np.isfinite(joules)
        # A counter: after an interval that was not counted its value is not known any more.
        counter = np.cumsum(np.where(known, joules, 0.0))
        t_ns = start_ns + np.rint(part["t_s"].to_numpy(np.float64) * NS_PER_S).astype(np.int64)
        status = np.where(known, "ok", "not_supported").astype(object)
        value = np.where(known, counter, np.nan)
        # The first interval began at 0 s with nothing counted.
        found.append(
            Series(
                SOURCE,
                pattern.format(socket),
                "J",
                "energy",
                np.concatenate(([start_ns], t_ns)),
                np.concatenate(([0.0], value)),
                np.concatenate((["ok"], status)),
                device=f"package-{socket}",
                averaging_s=0.0,
                identity={"event": f"power/{event}/", "format": "perf stat -I"},
            )
        )
        lost = int((~known).sum())
        if lost:
            findings.append(
                finding(
                    log,
                    "lost_intervals",
                    f"perf did not count {lost} of {len(part)} intervals of power/{event}/; their "
                    "energy is missing from the sum.",
                    "Record again with fewer events at once.",
                    severity="error",
                    affected=lost,
                    of=len(part),
                    source=SOURCE,
                    channel=pattern.format(socket),
                )
            )
    return Ingested(
        samples=made.samples(log, found),
        channels=made.channels(log, found),
        marks=tables.conform([], "marks"),
        runs=tables.conform([], "runs"),
        windows=tables.conform([], "windows"),
        findings=tables.conform(findings, "findings"),
        instruments={SOURCE: {"tool": "perf stat", "file": log.shown}},
    )


def _start_ns(log: Log, content: str, findings: list[dict[str, Any]]) -> int:
    if log.settings["start"] is not None:
        return timing.instant_ns(log.settings["start"], f"{log.path}, key 'start'")
    started = _STARTED.search(content)
    if started is None:
        findings.append(
            finding(
                log,
                "no_start",
                "The log does not say when perf was started; its clock begins at 0.",
                "Give 'start' where the log is compared with another one.",
            )
        )
        return 0
    stamps = timing.parse(
        pd.Series([started[1].strip()]),
        str(log.path),
        time_format="%a %b %d %H:%M:%S %Y",
        time_zone=log.settings["time_zone"],
    )
    findings.append(
        finding(
            log,
            "whole_second_start",
            f"perf was started on '{started[1].strip()}', which is a whole second of local time.",
            "Give 'start' if it is known better.",
        )
    )
    for flag, sentence in stamps.inferred.items():
        findings.append(
            finding(log, flag, f"{log.shown}: {sentence}.", "Say time_zone in the manifest.")
        )
    return int(stamps.t_ns[0])


def sniff(path: Path, head: bytes) -> float:
    """How sure it is that a file is a log of perf stat with energies."""
    return 1.0 if b"power/energy-" in head else 0.0


def draft(path: Path) -> dict[str, Any]:
    """Settings that a drafted manifest shows."""
    return {"start": None, "time_zone": None}
