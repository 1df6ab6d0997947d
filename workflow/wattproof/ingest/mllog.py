"""Parser of MLPerf logs: lines that hold ``:::MLLOG`` and a JSON object.

A log is written by several programs at once: ranks put a prefix before the mark (``0: :::MLLOG``),
other output stands between the lines, and writers disagree about spaces in the JSON. All of that is
normal. What is not normal (cut-off lines, broken JSON, missing keys) is kept as `Malformed`, so
that whoever uses the log must decide what to do about it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattproof.errors import WattproofError

MARK = ":::MLLOG"
NS_PER_MS = 1_000_000
LAST_MS = (2**63 - 1) // NS_PER_MS
"""Latest time stamp whose nanoseconds fit into an int64."""

_TIME = re.compile(r'"time_ms"\s*:\s*(\d{1,18})\s*[,}]')
_KEY = re.compile(r'"key"\s*:\s*"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Event:
    """One good line.

    Attributes:
        line: 1-based number of the line in its file.
        time_ns: Wall clock, nanoseconds since the epoch (written in milliseconds).
        key: What happened, e.g. ``run_start`` or ``power_reading``.
        value: Whatever JSON value the writer gave.
        metadata: The writer's remarks; empty where they are no JSON object.
    """

    line: int
    time_ns: int
    key: str
    value: Any
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Malformed:
    """One line with the mark that could not be read.

    Attributes:
        line: 1-based number of the line in its file.
        reason: Why, in a few words.
        time_ns: Its time stamp where one could still be read, else None.
        key: Its key where one could still be read, else None.
    """

    line: int
    reason: str
    time_ns: int | None
    key: str | None


@dataclass(frozen=True)
class MlLog:
    """A log file.

    Attributes:
        path: The file.
        events: Good lines, in the order of the file.
        malformed: Lines with the mark that could not be read, in the order of the file.
        other_lines: Lines without the mark that are not blank.
    """

    path: Path
    events: tuple[Event, ...]
    malformed: tuple[Malformed, ...]
    other_lines: int

    def times_ns(self, key: str) -> list[int]:
        """Times of all events with a key, in the order of the file."""
        return [event.time_ns for event in self.events if event.key == key]


def _salvage(number: int, text: str, reason: str) -> Malformed:
    time, key = _TIME.search(text), _KEY.search(text)
    time_ms = int(time[1]) if time else None
    if time_ms is not None and time_ms > LAST_MS:
        time_ms = None
    return Malformed(
        number, reason, None if time_ms is None else time_ms * NS_PER_MS, key[1] if key else None
    )


def parse_line(number: int, text: str) -> Event | Malformed | None:
    """Parse one line of a log.

    Args:
        number: 1-based number of the line, kept in the result.
        text: The line.

    Returns:
        The event, what is left of a malformed line, or None for a line without the mark.
    """
    _, mark, body = text.partition(MARK)
    if not mark:
        return None
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return _salvage(number, body, "not valid JSON")
    if not isinstance(document, dict):
        return _salvage(number, body, "not a JSON object")
    time_ms, key = document.get("time_ms"), document.get("key")
    # bool is an int to Python; a float has already lost the exact instant.
    if type(time_ms) is not int or not 0 <= time_ms <= LAST_MS:
        return _salvage(number, body, "no whole number of milliseconds in time_ms")
    if not isinstance(key, str) or not key:
        return _salvage(number, body, "no key")
    metadata = document.get("metadata")
    return Event(
        number,
        time_ms * NS_PER_MS,
        key,
        document.get("value"),
        metadata if isinstance(metadata, dict) else {},
    )


def read(path: Path) -> MlLog:
    """Read a log file.

    Raises:
        WattproofError: The file is missing or unreadable, or no line of it holds the mark.
    """
    try:
        # Other programs' output between the lines may be in any encoding.
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise WattproofError(
            f"The MLPerf log {path} cannot be read ({error.strerror}); restore the file."
        ) from error
    events: list[Event] = []
    malformed: list[Malformed] = []
    other = 0
    # Not splitlines(): it also cuts at form feeds and the like, which JSON text may hold.
    for number, line in enumerate(text.split("\n"), start=1):
        found = parse_line(number, line)
        if isinstance(found, Event):
            events.append(found)
        elif isinstance(found, Malformed):
            malformed.append(found)
        elif line.strip():
            other += 1
    if not events and not malformed:
        raise WattproofError(
            f"{path} is not an MLPerf log: no line of it holds '{MARK}'; give the right file."
        )
    return MlLog(path, tuple(events), tuple(malformed), other)
