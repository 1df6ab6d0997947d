"""Logs of SPEC PTDaemon (``spl.txt``): lines of alternating names and values.

``Time,02-12-2022 08:19:18.048,Watts,644.5,Volts,…,Mark,NAME,Ch1,Watts,198.8,…``: local time of the
machine that ran the daemon, month first; with a multi-channel meter the totals come first and the
channels behind ``Ch1`` … A quantity that was not measured is -1 (mlcommons/power-dev).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.ingest import series as made
from wattproof.ingest import text, timing
from wattproof.ingest.base import Ingested, Log
from wattproof.ingest.cells import REASONS
from wattproof.ingest.series import Series, finding

SETTINGS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "time_zone": {"type": ["string", "null"], "default": None},
        "source": {"type": "string", "default": "ptdaemon"},
        "channel": {"type": "string", "default": "node.ac"},
        "mark": {"type": ["string", "null"], "default": None},
        "period_s": {"type": ["number", "null"], "exclusiveMinimum": 0, "default": None},
        "model": {"type": "string", "default": ""},
    },
}

FORMAT = "%m-%d-%Y %H:%M:%S.%f"
NOT_MEASURED = -1.0


@dataclass(frozen=True)
class Spl:
    """A log, read.

    Attributes:
        stamps: As they stand in the file.
        marks: The daemon's mark of each line.
        watts: Values by channel number (0 = total), NaN where there is none, each shape (n,).
        status: Why a value is missing, by channel number.
        broken: Lines that could not be read, with their number.
    """

    stamps: pd.Series
    marks: pd.Series
    watts: dict[int, NDArray[np.float64]]
    status: dict[int, NDArray[np.object_]]
    broken: tuple[int, ...]


def _number(word: str) -> tuple[float, str]:
    try:
        value = float(word)
    except ValueError:
        return float("nan"), REASONS.get(word.strip().lower(), "garbled")
    if value == NOT_MEASURED:
        return float("nan"), "not_supported"
    if not np.isfinite(value):
        return float("nan"), "overrange"
    return value, "ok"


def _line(words: list[str]) -> tuple[str, str, dict[int, tuple[float, str]]] | None:
    """Stamp, mark and watts by channel of one line; None if it is broken."""
    if len(words) < 4 or words[0] != "Time":
        return None
    found: dict[int, tuple[float, str]] = {}
    mark, channel, i = "", 0, 0
    while i < len(words):
        word = words[i]
        if word.startswith("Ch") and word[2:].isdecimal():
            channel, i = int(word[2:]), i + 1
            continue
        if i + 1 >= len(words):
            return None  # cut off behind a name
        if word == "Watts":
            found[channel] = _number(words[i + 1])
        elif word == "Mark":
            mark = words[i + 1]
        i += 2
    return (words[1], mark, found) if 0 in found else None


def parse(path: Path) -> Spl:
    """Read a log.

    Raises:
        WattproofError: It is missing, empty, binary, or no log of PTDaemon.
    """
    rows, broken = [], []
    for number, line in enumerate(text.read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        found = _line([word.strip() for word in line.split(",")])
        if found is None:
            broken.append(number)
        else:
            rows.append(found)
    if not rows:
        raise WattproofError(
            f"{path} is no log of PTDaemon: no line of it begins with 'Time,' and holds Watts."
        )
    numbers = sorted({channel for _, _, watts in rows for channel in watts})
    nothing = (float("nan"), "missing")
    return Spl(
        pd.Series([stamp for stamp, _, _ in rows]),
        pd.Series([mark for _, mark, _ in rows]),
        {c: np.array([w.get(c, nothing)[0] for _, _, w in rows]) for c in numbers},
        {c: np.array([w.get(c, nothing)[1] for _, _, w in rows], dtype=object) for c in numbers},
        tuple(broken),
    )


def power_series(
    log: Log, spl: Spl, t_ns: NDArray[np.int64], keep: NDArray[np.bool_], source: str, channel: str
) -> list[Series]:
    """Channels of a log: the total, and each channel of a multi-channel meter."""
    found = []
    for number, watts in spl.watts.items():
        if number and not np.isfinite(watts[keep]).any():
            continue
        found.append(
            Series(
                source=source,
                channel=channel if number == 0 else f"{channel}.ch{number}",
                unit="W",
                kind="power",
                t_ns=t_ns[keep],
                value=watts[keep],
                status=spl.status[number][keep],
                device="node",
                identity={"format": "SPEC PTDaemon", "model": log.settings.get("model", "")},
            )
        )
    return found


def broken_lines(log: Log, spl: Spl) -> list[dict[str, Any]]:
    """The finding of lines that could not be read."""
    if not spl.broken:
        return []
    total = len(spl.stamps) + len(spl.broken)
    return [
        finding(
            log,
            "broken_lines",
            f"{len(spl.broken)} of {total} lines could not be read (the first is line "
            f"{spl.broken[0]}) and were left out.",
            "Look at them; a log that was cut off loses its last line.",
            severity="warning",
            affected=len(spl.broken),
            of=total,
        )
    ]


def read(log: Log) -> Ingested:
    """Read a log of PTDaemon."""
    settings = log.settings
    spl = parse(log.path)
    stamps = timing.parse(
        spl.stamps,
        f"{log.path}, stamps",
        time_format=FORMAT,
        time_zone=settings["time_zone"],
    )
    keep = stamps.known
    if settings["mark"] is not None:
        keep &= (spl.marks == settings["mark"]).to_numpy(dtype=bool)
        if not keep.any():
            known = ", ".join(sorted(set(spl.marks)))
            raise WattproofError(
                f"{log.path} has no line with the mark '{settings['mark']}'; it has {known}."
            )
    findings = broken_lines(log, spl)
    for flag, sentence in stamps.inferred.items():
        findings.append(
            finding(log, flag, f"{log.shown}: {sentence}.", "Say time_zone in the manifest.")
        )
    found = power_series(log, spl, stamps.t_ns, keep, settings["source"], settings["channel"])
    return Ingested(
        samples=made.samples(log, found),
        channels=made.channels(log, found),
        marks=tables.conform([], "marks"),
        runs=tables.conform([], "runs"),
        windows=tables.conform([], "windows"),
        findings=tables.conform(findings, "findings"),
        instruments={settings["source"]: {"model": settings["model"], "file": log.shown}},
    )


def sniff(path: Path, head: bytes) -> float:
    """How sure it is that a file is a log of PTDaemon."""
    return 1.0 if head.startswith(b"Time,") and b",Watts," in head[:200] else 0.0


def draft(path: Path) -> dict[str, Any]:
    """Settings that a drafted manifest shows."""
    return {"time_zone": None}
