"""``perf stat -I MS -e power/energy-…/``: joules of each interval, as text, with ``-x`` or ``-j``.

Text: ``     1.000123456   12.34 Joules power/energy-pkg/``; with ``-x,``:
``1.000123456,12.34,Joules,power/energy-pkg/,…``; with ``--per-socket`` (``--per-die``) a column
``S0`` (``S0-D0``) and a number of CPUs come in between; ``-j`` prints one JSON object a line.
Stamps count from the start of perf, which only a line ``# started on …`` tells, in local time.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
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

UNIT = "Joules"

_EVENT = re.compile(r"power/(energy-[a-z]+)/")
_PLACE = r"(?:S(\d+)(?:-D\d+)*|N(\d+)|CPU(\d+))"
_TEXT = re.compile(
    rf"^\s*(?P<t>\d+[.,]\d+)\s+(?P<place>{_PLACE}\s+(?:\d+\s+)?)?"
    r"(?P<value>[\d.,]+|<not counted>|<not supported>)\s+(?:(?P<unit>[A-Za-z]+)\s+)?power/"
)
_STARTED = re.compile(r"#\s*started on\s+(.*\d{4})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Interval:
    t_s: float
    socket: int
    event: str
    value: str
    unit: str


def _socket(place: str | None) -> int:
    found = re.match(_PLACE, place.strip()) if place else None
    return next((int(part) for part in found.groups() if part), 0) if found else 0


def _decimal(word: str) -> str:
    """A number with a point, from one of a locale with a comma or with groups."""
    if "." in word:
        return word.replace(",", "")
    return word.replace(",", ".")


def _of_json(line: str, event: str) -> _Interval | None:
    try:
        cells = json.loads(_between_numbers(line))
    except ValueError:
        return None
    if not isinstance(cells, dict) or not isinstance(cells.get("interval"), int | float):
        return None
    place = next((str(cells[k]) for k in ("socket", "die", "node", "cpu") if k in cells), None)
    value = str(cells.get("counter-value", ""))
    return _Interval(
        float(cells["interval"]), _socket(place), event, _decimal(value), str(cells.get("unit", ""))
    )


def _between_numbers(line: str) -> str:
    """Locales with a decimal comma break the JSON of some versions: 1,0001 → 1.0001."""
    return re.sub(r'("interval"\s*:\s*\d+),(\d{6,})', r"\1.\2", line)


def _of_words(line: str, event: str) -> _Interval | None:
    mark = next((m for m in (";", "\t", "|", ",") if line.count(m) >= 3), None)
    if mark is None:
        return None
    words = [word.strip() for word in line.split(mark)]
    socket, rest = 0, words[1:]
    if re.fullmatch(_PLACE, rest[0]):
        socket = _socket(rest[0])
        # Behind CPU3 comes no number of CPUs.
        rest = rest[1:] if rest[0].startswith("CPU") else rest[2:]
    if len(rest) < 3:
        return None
    try:
        t_s = float(_decimal(words[0]))
    except ValueError:
        return None
    return _Interval(t_s, socket, event, _decimal(rest[0]), rest[1])


def _interval(line: str, event: str) -> _Interval | None:
    if line.lstrip().startswith("{"):
        return _of_json(line.strip(), event)
    match = _TEXT.match(line)
    if match:
        return _Interval(
            float(match["t"].replace(",", ".")),
            _socket(match["place"]),
            event,
            _decimal(match["value"]),
            match["unit"] or "",
        )
    return _of_words(line, event)


def _intervals(log: Log, content: str, findings: list[dict[str, Any]]) -> pd.DataFrame:
    """Time, socket, event and value of each line."""
    found: list[_Interval] = []
    broken = 0
    for line in content.splitlines():
        event = _EVENT.search(line)
        if event is None or line.lstrip().startswith("#"):
            continue
        interval = _interval(line, event[1])
        if interval is None:
            broken += 1
        else:
            found.append(interval)
    if not found:
        raise WattproofError(
            f"{log.path} holds no interval of power/energy-…/; record with "
            "'perf stat -a -I 100 -e power/energy-pkg/'."
        )
    if not any(item.unit == UNIT for item in found):
        raise WattproofError(
            f"{log.path}: its energies are not in Joules but raw counts, whose step the log does "
            "not tell; record with a kernel and a perf that scale them."
        )
    total = broken + len(found)
    findings += made.left_out(
        log,
        broken,
        total,
        f"{broken} of {total} lines with an energy could not be read and were left out.",
    )
    return pd.DataFrame(found)


def _series(
    log: Log, part: pd.DataFrame, socket: int, event: str, channel: str, start_ns: int
) -> tuple[Series, int]:
    """The series of one event, and how many of its intervals were not counted.

    Joules of intervals add up to a counter. Where one was not counted the sum behind it is
    unknown, so then the series is the mean power of each interval.
    """
    part = part.sort_values("t_s", kind="stable")
    joules = pd.to_numeric(part["value"], errors="coerce").to_numpy(dtype=np.float64)
    known = np.isfinite(joules)
    t_s = part["t_s"].to_numpy(np.float64)
    t_ns = start_ns + np.rint(t_s * NS_PER_S).astype(np.int64)
    common: dict[str, Any] = {
        "source": SOURCE,
        "channel": channel,
        "device": f"package-{socket}",
        "identity": {"event": f"power/{event}/", "format": "perf stat -I"},
    }
    if known.all():
        # The first interval began at 0 s with nothing counted.
        return (
            Series(
                **common,
                unit="J",
                kind="energy",
                t_ns=np.concatenate(([start_ns], t_ns)),
                value=np.concatenate(([0.0], np.cumsum(joules))),
                averaging_s=0.0,
            ),
            0,
        )
    steps_s = np.diff(t_s, prepend=0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        watts = np.where(known & (steps_s > 0), joules / steps_s, np.nan)
    status = np.where(np.isfinite(watts), "ok", "not_counted").astype(object)
    return (
        Series(
            **common,
            unit="W",
            kind="power",
            t_ns=t_ns,
            value=watts,
            status=status,
            averaging_s=float(np.median(steps_s)),
        ),
        int((~known).sum()),
    )


def read(log: Log) -> Ingested:
    """Read a log of perf stat.

    Raises:
        WattproofError: The file is missing, empty, or holds no interval of an energy event.
    """
    content = text.read_text(log.path)
    findings: list[dict[str, Any]] = []
    frame = _intervals(log, content, findings)
    start_ns = _start_ns(log, content, findings)
    found = []
    for (socket, event), part in frame.groupby(["socket", "event"]):
        pattern = CHANNELS.get(str(event))
        if pattern is None:
            continue
        channel = pattern.format(socket)
        series, lost = _series(log, part, int(str(socket)), str(event), channel, start_ns)
        found.append(series)
        if lost:
            findings.append(
                finding(
                    log,
                    "lost_intervals",
                    f"perf did not count {lost} of {len(part)} intervals of power/{event}/; their "
                    "energy is unknown, so the others are kept as mean power.",
                    "Record again with fewer events at once.",
                    severity="error",
                    affected=lost,
                    of=len(part),
                    source=SOURCE,
                    channel=channel,
                )
            )
    return Ingested(
        samples=made.samples(log, found),
        channels=made.channels(log, found),
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
    findings += made.inferred(log, stamps, "Say time_zone in the manifest.")
    return int(stamps.t_ns[0])


def sniff(path: Path, head: bytes) -> float:
    """How sure it is that a file is a log of perf stat with energies."""
    return 1.0 if b"power/energy-" in head else 0.0


def draft(path: Path) -> dict[str, Any]:
    """Settings that a drafted manifest shows."""
    return {"start": None, "time_zone": None}
