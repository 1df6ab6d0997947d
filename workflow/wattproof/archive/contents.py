"""What an archive holds, in words."""

from __future__ import annotations

import contextlib
import fcntl
from pathlib import Path

from wattproof.archive import index, totals
from wattproof.archive.index import KILLED, LIVE, Entry
from wattproof.archive.tail import Account


def entries(archive: Path) -> list[Entry]:
    """Return every file of an archive, oldest first; those being written as they are now.

    Raises:
        WattproofError: If the folder is no archive.
    """
    index.require(archive)
    known = {entry.file: entry for entry in index.load(archive)}
    found = []
    for name in index.present(archive):
        entry = known.get(name)
        if entry is None or entry.state == LIVE:
            account = Account(index.parts(archive) / name)
            with contextlib.suppress(FileNotFoundError):  # removed by age just now
                account.look()
            entry = account.entry
        found.append(entry)
    return found


def _is_written(archive: Path) -> bool:
    """Whether a process of *this* machine archives there."""
    try:
        with (archive / "lock").open("r", encoding="utf-8") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none, or the file system of another machine does not tell
        return False
    return False


def show(archive: Path) -> str:
    """Describe an archive: span, samples, gaps, last values.

    Raises:
        WattproofError: If the folder is no archive.
    """
    files = entries(archive)
    total = totals.add_up(files)
    if total.first_wall_ns is None or total.last_wall_ns is None:
        return f"{archive}: no readings yet in {len(files)} files."
    size = sum((index.parts(archive) / e.file).stat().st_size for e in files)
    killed = sum(e.state == KILLED or (e.state == LIVE and e is not files[-1]) for e in files)
    last = next((e.last for e in reversed(files) if e.last), {})
    lines = [
        f"archive  {archive} ({len(files)} files, {size / 1e6:.1f} MB)",
        f"meter    {', '.join(dict.fromkeys(e.meter for e in files if e.meter)) or 'unknown'}",
        f"host     {', '.join(dict.fromkeys(e.host for e in files if e.host)) or 'unknown'}",
        f"from     {totals.utc(total.first_wall_ns)}",
        f"to       {totals.utc(total.last_wall_ns)}"
        + (" (being written)" if _is_written(archive) else ""),
        f"span     {totals.span((total.last_wall_ns - total.first_wall_ns) / 1e9)}",
        f"samples  {total.good} good, {totals.failures(total.failed)}",
        f"gaps     {totals.gaps(total)}",
        f"last     {totals.values(last) or 'no good value'}",
    ]
    if killed:
        lines.append(f"killed   {killed} files have no end: up to 0.5 s of each are lost")
    return "\n".join(lines)
