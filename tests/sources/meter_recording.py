"""Records a simulated meter through the real recorder, with its process, and seals the tables."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from wattproof.recorder import Recorder, seal_session

REAL = {"kind": "real", "dir": None}


def record(
    folder: Path,
    settings: dict[str, Any],
    seconds: float,
    meanwhile: Callable[[], None] = lambda: None,
) -> dict[str, pa.Table]:
    """Record for some seconds; `meanwhile` is called in the middle."""
    with Recorder(folder, {"meter": settings}, REAL) as recorder:
        for part in (0, 1):
            end = time.monotonic() + seconds / 2
            while time.monotonic() < end:
                recorder.check()
                time.sleep(0.05)
            if not part:
                meanwhile()
    return seal_session(folder, "rec", 0)


def of(sealed: dict[str, pa.Table], channel: str) -> list[dict[str, Any]]:
    """Rows of a channel, in order."""
    rows = sealed["samples"].filter(pc.equal(sealed["samples"]["channel"], channel))
    return list(rows.sort_by("end_ns").to_pylist())


def channel(sealed: dict[str, pa.Table], name: str) -> dict[str, Any]:
    """Row of table channels, its identity decoded."""
    row = next(r for r in sealed["channels"].to_pylist() if r["channel"] == name)
    return {**row, "identity": json.loads(row["identity"])}


def health(sealed: dict[str, pa.Table]) -> dict[str, Any]:
    """Row of table health."""
    return dict(sealed["health"].to_pylist()[0])
