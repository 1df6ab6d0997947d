"""Whether a recording's meter is one that is archived elsewhere. Light: every plan asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DRIVER = "archive"
"""Name of the driver that stands for a slice of an archive."""


def split(
    sources: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, Mapping[str, Any]], Mapping[str, Any] | None]:
    """Return the sources that are sampled, and the settings of the archive if the meter is one."""
    live = dict(sources)
    meter = live.get("meter")
    if meter is None or meter.get("driver") != DRIVER:
        return live, None
    del live["meter"]
    return live, meter


def deciding(sources: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the sources that decides what a recording holds.

    Where the archive lies and how long one waits for it do not: a change trains nothing again.
    """
    live, meter = split(sources)
    return dict(sources) if meter is None else {**live, "meter": {"driver": DRIVER}}
