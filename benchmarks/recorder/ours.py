"""From a session of our recorder to the energies of windows, by the rules' own functions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from scenario import Window

from wattproof import clocks, energy, tables
from wattproof.clocks.frames import as_frame
from wattproof.recorder import seal_session

RECORDING = "benchmark"
RUN = "run"
LEAD_NS = 500_000_000


def _marks(windows: list[Window], start_ns: int, end_ns: int) -> pa.Table:
    """Marks as a training would leave them: a run, and an epoch for each window."""
    key = {"recording": RECORDING, "session": 0, "run_id": RUN, "slot": 0}
    rows: list[dict[str, Any]] = []

    def add(kind: str, instant_ns: int, epoch: int | None = None) -> None:
        rows.append({**key, "kind": kind, "epoch": epoch, "mono_ns": instant_ns, "wall_ns": 0})

    add("run_begin", start_ns + LEAD_NS)
    add("run_end", end_ns)
    for window in windows:
        add("epoch_begin", start_ns + round(window.start_s * 1e9), window.id)
        add("epoch_end", start_ns + round(window.end_s * 1e9), window.id)
    names = tables.schema("marks").names
    return tables.conform([{name: row.get(name) for name in names} for row in rows], "marks")


def _runs() -> pa.Table:
    row = dict.fromkeys(tables.schema("runs").names)
    row |= {"recording": RECORDING, "session": 0, "run_id": RUN, "setting": "single"}
    row |= {"slot": 0, "status": "ok", "reason": ""}
    return tables.conform([row], "runs")


def sealed(session: Path) -> dict[str, pd.DataFrame]:
    """Return the tables ``samples``, ``channels`` and ``health`` of a session."""
    found = seal_session(session, RECORDING, 0)
    return {name: as_frame(table) for name, table in found.items()}


def energies(
    sealed_tables: Mapping[str, pd.DataFrame],
    windows: list[Window],
    start_ns: int,
    end_ns: int,
    settings: Mapping[str, Any],
) -> pd.DataFrame:
    """Return one row per window and channel: id, channel, energy_j, energy_u_j, flags, edges."""
    samples, channels = sealed_tables["samples"], sealed_tables["channels"]
    marks = _marks(windows, start_ns, end_ns)
    cut = energy.cut_windows(marks, _runs())
    found = clocks.align(samples, channels, marks, settings)
    result = energy.integrate(samples, channels, found, cut, settings)
    result = result[result["level"] == "epoch"]
    edges = cut.set_index("window_id")[["start_ns", "end_ns"]]
    result = result.join(edges, on="window_id")
    return result.assign(id=result["epoch"].astype(int))
