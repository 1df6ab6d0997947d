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
from wattproof.ingest import spans, text, timing
from wattproof.ingest.base import Ingested, Log
from wattproof.ingest.cells import REASONS
from wattproof.ingest.series import Series, finding
from wattproof.ingest.spans import Span
from wattproof.units import NS_PER_S

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
NO_MARK = ("notset", "none", "-")
"""Marks by which a log says that nobody set one."""


@dataclass(frozen=True)
class Spl:
    """A log, read.

    Attributes:
        stamps: As they stand in the file.
        marks: The daemon's mark of each line.
        watts: Values by channel number (0 = total), NaN where there is none, each shape (n,).
        status: Why a value is missing, by channel number.
        broken: Numbers of the lines that are none of PTDaemon's; they cannot be placed.
        cut: Numbers of the lines that were cut off: their stamps count, as failed readings.
    """

    stamps: pd.Series
    marks: pd.Series
    watts: dict[int, NDArray[np.float64]]
    status: dict[int, NDArray[np.object_]]
    broken: tuple[int, ...]
    cut: tuple[int, ...] = ()


def _number(word: str) -> tuple[float, str]:
    try:
        value = float(word)
    except ValueError:
        return float("nan"), REASONS.get(word.strip().lower(), "garbled")
    if value == NOT_MEASURED:
        return float("nan"), "not_supported"
    if np.isnan(value):
        return value, "missing"
    if np.isinf(value):
        return float("nan"), "overrange"
    return value, "ok"


@dataclass(frozen=True)
class _Line:
    number: int
    stamp: str
    mark: str
    watts: dict[int, tuple[float, str]]
    words: int
    last: int | None
    """Channel whose watts end the line: cut off, unless that is how all lines end."""


def _line(number: int, words: list[str]) -> _Line | None:
    """Stamp, mark and watts by channel of one line; None if it has no stamp."""
    if len(words) < 2 or words[0] != "Time":
        return None
    found: dict[int, tuple[float, str]] = {}
    mark, channel, last, i = "", 0, None, 0
    while i < len(words):
        word = words[i]
        if word.startswith("Ch") and word[2:].isdecimal():
            channel, i = int(word[2:]), i + 1
            continue
        if i + 1 >= len(words):
            break  # cut off behind a name
        if word == "Watts":
            found[channel] = _number(words[i + 1])
            last = channel if i + 2 == len(words) else None
        elif word == "Mark":
            mark = words[i + 1]
        i += 2
    return _Line(number, words[1], mark, found, len(words), last)


def _cut_off(lines: list[_Line]) -> set[int]:
    """Numbers of the lines that are shorter than the file's others."""
    whole = int(np.median([line.words for line in lines]))
    return {line.number for line in lines if line.words < whole}


def parse(path: Path) -> Spl:
    """Read a log.

    Raises:
        WattproofError: It is missing, empty, binary, or no log of PTDaemon.
    """
    lines: list[_Line] = []
    broken = []
    for number, content in enumerate(text.read_text(path).splitlines(), start=1):
        if not content.strip():
            continue
        found = _line(number, [word.strip() for word in content.split(",")])
        if found is None:
            broken.append(number)
        else:
            lines.append(found)
    if not any(line.watts for line in lines):
        raise WattproofError(
            f"{path} is no log of PTDaemon: no line of it begins with 'Time,' and holds Watts."
        )
    cut = _cut_off(lines)
    for line in lines:
        # Of "Watts,644.5" at the end of a line that was cut off, digits may be missing.
        if line.number in cut and line.last is not None:
            line.watts[line.last] = (float("nan"), "truncated")
    numbers = sorted({channel for line in lines for channel in line.watts} | {0})
    nothing = {False: (float("nan"), "missing"), True: (float("nan"), "truncated")}
    cells = {c: [line.watts.get(c, nothing[line.number in cut]) for line in lines] for c in numbers}
    return Spl(
        pd.Series([line.stamp for line in lines]),
        pd.Series([line.mark for line in lines]),
        {c: np.array([value for value, _ in pairs]) for c, pairs in cells.items()},
        {c: np.array([why for _, why in pairs], dtype=object) for c, pairs in cells.items()},
        tuple(broken),
        tuple(sorted(cut)),
    )


def power_series(
    log: Log,
    spl: Spl,
    t_ns: NDArray[np.int64],
    keep: NDArray[np.bool_],
    source: str,
    channel: str,
    *,
    averaging_s: float | None = None,
    identity: dict[str, Any] | None = None,
) -> list[Series]:
    """Channels of a log: the total, and each channel of a multi-channel meter.

    Args:
        log: The log.
        spl: What stands in it.
        t_ns: Its stamps, nanoseconds since the epoch.
        keep: Lines that count.
        source: Name of the instrument.
        channel: Name of the total; channel 2 of the meter becomes ``{channel}.ch2``.
        averaging_s: Period that the daemon was asked for: it logs the meter's mean over it.
        identity: What else is known of the meter.
    """
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
                averaging_s=averaging_s,
                identity={
                    "format": "SPEC PTDaemon",
                    "model": log.settings.get("model", ""),
                    **(identity or {}),
                },
            )
        )
    return found


def broken_lines(log: Log, spl: Spl, known: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Findings of lines that could not be read, and of lines that were cut off.

    Args:
        log: The log.
        spl: What stands in it.
        known: Which of its stamps could be read, shape (n,).
    """
    total = len(spl.stamps) + len(spl.broken)
    lost = len(spl.broken) + int((~known).sum())
    found = made.left_out(
        log,
        lost,
        total,
        f"{lost} of {total} lines have no stamp that can be read, so their readings cannot be "
        "placed and were left out.",
    )
    if spl.cut:
        found.append(
            finding(
                log,
                "truncated_lines",
                f"{len(spl.cut)} of {total} lines are shorter than the others (the first is line "
                f"{spl.cut[0]}); what is missing of them counts as failed readings.",
                "None, if it is the last line of a log that was stopped; else look at the disk.",
                affected=len(spl.cut),
                of=total,
            )
        )
    return found


def _spans(
    spl: Spl, t_ns: NDArray[np.int64], keep: NDArray[np.bool_], period_s: float | None
) -> list[Span]:
    """A run for each stretch of lines with one mark; ``notset`` is none."""
    rows = np.flatnonzero(keep)
    marks = spl.marks.to_numpy(dtype=object)[rows]
    if not len(rows):
        return []
    breaks = np.flatnonzero(np.concatenate(([True], marks[1:] != marks[:-1])))
    ends = np.append(breaks[1:], len(rows))
    found: list[Span] = []
    taken: dict[str, int] = {}
    for begin, end in zip(breaks, ends, strict=True):
        mark = str(marks[begin])
        stamps = t_ns[rows[begin:end]]
        if not mark or mark.lower() in NO_MARK or stamps.max() <= stamps.min():
            continue
        taken[mark] = taken.get(mark, 0) + 1
        name = mark if taken[mark] == 1 else f"{mark}-{taken[mark]}"
        # The first line holds the mean of the period before its stamp.
        begin_ns = int(stamps.min()) - round((period_s or 0.0) * NS_PER_S)
        found.append(Span(name, begin_ns, int(stamps.max())))
    return found


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
    findings = broken_lines(log, spl, stamps.known)
    findings += made.inferred(log, stamps, "Say time_zone in the manifest.")
    period_s = settings["period_s"]
    found = power_series(
        log,
        spl,
        stamps.t_ns,
        keep,
        settings["source"],
        settings["channel"],
        averaging_s=period_s,
    )
    marked = spans.of_log(log, _spans(spl, stamps.t_ns, keep, period_s), findings)
    return Ingested(
        samples=made.samples(log, found),
        channels=made.channels(log, found),
        **marked,
        findings=tables.conform(findings, "findings"),
        instruments={settings["source"]: {"model": settings["model"], "file": log.shown}},
    )


def sniff(path: Path, head: bytes) -> float:
    """How sure it is that a file is a log of PTDaemon."""
    return 1.0 if head.startswith(b"Time,") and b",Watts," in head[:200] else 0.0


def draft(path: Path) -> dict[str, Any]:
    """Settings that a drafted manifest shows."""
    return {"time_zone": None}
