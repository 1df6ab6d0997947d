"""An archive in numbers: what its files add up to, and how to say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from wattproof.archive.index import Entry
from wattproof.units import NS_PER_S


@dataclass(slots=True)
class Totals:
    """Sums over files of an archive; times between two files count as gaps like any other."""

    good: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    gaps: int = 0
    longest_gap_s: float = 0.0
    first_wall_ns: int | None = None
    last_wall_ns: int | None = None
    last_good_wall_ns: int | None = None


def add_up(entries: Sequence[Entry]) -> Totals:
    """Add up files, oldest first."""
    total = Totals()
    for entry in entries:
        if entry.first_wall_ns is None or entry.last_wall_ns is None:
            continue
        total.good += entry.good
        for word, count in entry.failed.items():
            total.failed[word] = total.failed.get(word, 0) + count
        total.gaps += entry.gaps
        total.longest_gap_s = max(total.longest_gap_s, entry.longest_gap_s)
        if total.last_good_wall_ns is not None and entry.first_good_wall_ns is not None:
            between_s = (entry.first_good_wall_ns - total.last_good_wall_ns) / NS_PER_S
            total.gaps += between_s > entry.gap_s
            total.longest_gap_s = max(total.longest_gap_s, between_s)
        if total.first_wall_ns is None:
            total.first_wall_ns = entry.first_wall_ns
        total.last_wall_ns = max(total.last_wall_ns or 0, entry.last_wall_ns)
        total.last_good_wall_ns = entry.last_good_wall_ns or total.last_good_wall_ns
    return total


def utc(wall_ns: int) -> str:
    """Return an instant in UTC for people, e.g. ``2026-01-31 09:30:00 UTC``."""
    return f"{datetime.fromtimestamp(wall_ns / NS_PER_S, UTC):%Y-%m-%d %H:%M:%S} UTC"


def span(seconds: float) -> str:
    """Return a duration for people, e.g. ``3 d 4.5 h``, ``12.3 min``, ``1.4 s``."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    if seconds < 86_400:
        return f"{seconds / 3600:.1f} h"
    days, rest = divmod(seconds, 86_400)
    return f"{days:.0f} d {rest / 3600:.1f} h"


def failures(failed: dict[str, int]) -> str:
    """Return failed readings in words, e.g. ``3 failed (2 missing, 1 garbled)``."""
    if not failed:
        return "0 failed"
    parts = ", ".join(f"{count} {word}" for word, count in sorted(failed.items()))
    return f"{sum(failed.values())} failed ({parts})"


def gaps(total: Totals) -> str:
    """Return gaps in words."""
    if not total.gaps:
        return "0 gaps"
    plural = "" if total.gaps == 1 else "s"
    return f"{total.gaps} gap{plural} (longest {span(total.longest_gap_s)})"


def values(last: dict[str, list[object]]) -> str:
    """Return last values in words, e.g. ``node.ac 231.5 W``."""
    return ", ".join(f"{name} {value:g} {unit}" for name, (value, unit) in last.items())
