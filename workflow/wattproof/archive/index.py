"""The files of an archive, and the list of them that readers go by.

::

    {archive}/
      lock            held by the `wattproof meter` that writes here; names its process
      index.jsonl     one line a file, oldest first; replaced as a whole, so never half a line
      parts/          20260131T090000.000Z.arrows …, Arrow IPC streams as the recorder writes them
      run/            description, health and log of the present start (recorder's)

A file that is not listed yet (the archiving process was killed) is read all the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wattproof.errors import WattproofError

LIVE, ENDED, KILLED = "live", "ended", "killed"
"""State of a file: being written; complete; its process was killed, up to 0.5 s are lost."""


@dataclass(slots=True)
class Entry:
    """What the index says of a file.

    Attributes:
        file: Name inside ``parts/``.
        state: `LIVE`, `ENDED` or `KILLED`.
        rows: Readings, all channels, good or failed.
        good: Good readings of the first power channel.
        failed: Its failed readings by status.
        first_wall_ns: Wall clock at the first reading; None without any.
        last_wall_ns: … and at the last.
        first_good_wall_ns: At its first good reading.
        last_good_wall_ns: At its last good reading.
        gaps: Times inside the file without a good reading for more than `gap_s`.
        longest_gap_s: The longest time between two good readings.
        gap_s: Longer than this counts as a gap: three periods of the channel.
        last: Last good value by channel: ``[value, unit]``.
        meter: Model and serial number, as far as it told them.
        host: Host that wrote it.
        boot_id: … and its boot: readings with one boot id share a monotonic clock.
    """

    file: str
    state: str = LIVE
    rows: int = 0
    good: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    first_wall_ns: int | None = None
    last_wall_ns: int | None = None
    first_good_wall_ns: int | None = None
    last_good_wall_ns: int | None = None
    gaps: int = 0
    longest_gap_s: float = 0.0
    gap_s: float = 0.0
    last: dict[str, list[Any]] = field(default_factory=dict)
    meter: str = ""
    host: str = ""
    boot_id: str = ""


def parts(archive: Path) -> Path:
    """Return the folder of the streams."""
    return archive / "parts"


def present(archive: Path) -> list[str]:
    """Return the names of the streams that are there, oldest first."""
    try:
        return sorted(e.name for e in os.scandir(parts(archive)) if e.name.endswith(".arrows"))
    except FileNotFoundError:
        return []


def load(archive: Path) -> list[Entry]:
    """Read the index; empty if there is none.

    Raises:
        WattproofError: If it is not an index.
    """
    path = archive / "index.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    try:
        return [Entry(**json.loads(line)) for line in lines if line]
    except (ValueError, TypeError) as error:
        raise WattproofError(
            f"{path} is not the index of an archive ({error}); move it away, `wattproof meter` "
            "writes it anew from the files in parts/."
        ) from error


def save(archive: Path, entries: Iterable[Entry]) -> None:
    """Replace the index as a whole.

    Raises:
        OSError: If it cannot be written; the old one stays.
    """
    path = archive / "index.jsonl"
    temporary = archive / ".index.jsonl.tmp"
    lines = (json.dumps(asdict(entry)) + "\n" for entry in entries)
    with temporary.open("w", encoding="utf-8") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def require(archive: Path) -> None:
    """Raise if a folder is no archive.

    Raises:
        WattproofError: In one sentence.
    """
    if not archive.is_dir():
        raise WattproofError(
            f"There is no folder {archive}; mount or copy the archive there, or correct the path."
        )
    if not parts(archive).is_dir():
        raise WattproofError(
            f"{archive} is not an archive of `wattproof meter` (it has no folder parts/); give the "
            "folder that was given to `wattproof meter --archive`."
        )
