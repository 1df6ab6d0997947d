"""Streams without an end: a new file each hour, say, and no sample lost or doubled in between.

The device is not let go for it: rows go to one file until a moment and to the next one from then
on. The old file is written out and closed after that, so a slow disk delays nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wattproof.recorder.streams import Row, StreamWriter
from wattproof.sources.base import Description, Source
from wattproof.units import NS_PER_S, s_to_ns

SHORTEST_SHARE = 0.05
"""A file that would last for less than this share of the interval lasts one interval longer."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """Where rotating streams go.

    Attributes:
        folder: Folder of the files; their names are the instants (UTC) of their first second.
        every_s: Length of a file; files begin at whole multiples of it by the wall clock.
        about: Facts for the identity of the source in every file, under the key ``archive``.
    """

    folder: str
    every_s: float
    about: Mapping[str, Any]


class RotatingWriter:
    """Writes the rows of one source to one file after the other; used like a `StreamWriter`.

    Args:
        rotation: Where to, and how long a file is.
        description: What the source said of itself when it was opened.

    Raises:
        WattproofError: If a file cannot be created or written (disk full …).
    """

    def __init__(self, rotation: Rotation, description: Description) -> None:
        self._folder = Path(rotation.folder)
        self._every_ns = s_to_ns(rotation.every_s)
        identity = {**description.identity, "archive": dict(rotation.about)}
        self._description = replace(description, identity=identity)
        self._swap = threading.Lock()
        self._turning = threading.Lock()
        self._closed = False
        self._now = self._next()

    @property
    def path(self) -> Path:
        """The file that rows go to at present."""
        return self._now.path

    def append(self, rows: Iterable[Row]) -> None:
        """Add rows; they reach the file with the next flush."""
        with self._swap:
            self._now.append(rows)

    def flush(self, older_than_s: float = 0.0) -> bool:
        """Write the waiting rows, see `StreamWriter.flush`; begin a new file when it is due."""
        with self._turning:
            if self._closed or time.monotonic_ns() < self._due_ns:
                return self._now.flush(older_than_s)
            following = self._next()
            with self._swap:
                ended, self._now = self._now, following
            ended.close()
            return True

    def close(self) -> None:
        """Write what waits and the end marker. Safe to call twice."""
        with self._turning:
            self._closed = True
            self._now.close()

    def _next(self) -> StreamWriter:
        wall_ns = time.time_ns()
        left_ns = self._every_ns - wall_ns % self._every_ns
        if left_ns < SHORTEST_SHARE * self._every_ns:
            left_ns += self._every_ns
        self._due_ns = time.monotonic_ns() + left_ns
        return StreamWriter(self._folder / file_name(wall_ns), self._description)


def file_name(wall_ns: int) -> str:
    """Return the name of a file that begins at an instant, e.g. ``20260131T093000.123Z.arrows``."""
    begin = datetime.fromtimestamp(wall_ns // NS_PER_S, UTC)
    return f"{begin:%Y%m%dT%H%M%S}.{wall_ns // 1_000_000 % 1000:03d}Z.arrows"


def open_writer(
    stream: Path, description: Description, source: Source, rotate: Mapping[str, Any] | None
) -> StreamWriter | RotatingWriter:
    """Return what writes the rows of a source.

    Args:
        stream: File of an ordinary stream.
        description: Of the opened source.
        source: The source; its pacing and period are told with rotating files.
        rotate: Fields of a `Rotation`; None for an ordinary stream.

    Raises:
        WattproofError: If the file cannot be created.
    """
    if rotate is None:
        return StreamWriter(stream, description)
    about = {
        **rotate["about"],
        "pacing": source.pacing.value,
        "period_s": source.period_s,
        "started_wall_ns": time.time_ns(),
    }
    return RotatingWriter(Rotation(**{**rotate, "about": about}), description)
