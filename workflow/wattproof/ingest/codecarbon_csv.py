"""``emissions.csv`` of Code Carbon: one row a run (or a flush), energies in kWh, no readings.

Columns came and went with the versions; those that are there are read. ``timestamp`` is the local
time at which the row was written, without a zone.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.ingest import text
from wattproof.ingest.base import Ingested, Log
from wattproof.ingest.reported import safe_name
from wattproof.ingest.series import finding
from wattproof.units import kwh_to_j

SOURCE = "codecarbon"

SETTINGS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"project": {"type": ["string", "null"], "default": None}},
}

PARTS = {
    "energy_consumed": ("node.total", None),
    "cpu_energy": ("cpu.total", "cpu_power"),
    "gpu_energy": ("gpu.total", "gpu_power"),
    "ram_energy": ("ram.total", "ram_power"),
}
"""Column of energy → our channel, and the column of its power.

The powers are those of the last interval, not means, so they are kept as metrics only.
"""

KEPT = (
    "project_name",
    "codecarbon_version",
    "cpu_model",
    "gpu_model",
    "gpu_count",
    "cpu_count",
    "ram_total_size",
    "tracking_mode",
    "country_iso_code",
    "pue",
    "os",
)


def _frame(path: Path) -> pd.DataFrame:
    content = text.read_text(path)
    try:
        frame = pd.read_csv(io.StringIO(content), dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        reason = str(error).replace("\n", " ")
        raise WattproofError(f"{path} is no readable CSV file ({reason}); restore it.") from error
    lacking = [c for c in ("timestamp", "duration") if c not in frame]
    if lacking or not any(column in frame for column in PARTS):
        raise WattproofError(
            f"{path} is no emissions.csv of Code Carbon: it lacks "
            f"{', '.join(lacking) or 'every column of energy'}."
        )
    if frame.empty:
        raise WattproofError(f"{path} holds a header and no rows; restore the file.")
    return frame


def _number(frame: pd.DataFrame, column: str) -> np.ndarray:
    if column not in frame:
        return np.full(len(frame), np.nan)
    return pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64)


def read(log: Log) -> Ingested:
    """Read an emissions.csv.

    Raises:
        WattproofError: The file is missing, empty, or no emissions.csv.
    """
    frame = _frame(log.path)
    frame.insert(0, "#row", np.arange(1, len(frame) + 1))
    if log.settings["project"] is not None:
        frame = frame[frame["project_name"] == log.settings["project"]]
        if frame.empty:
            raise WattproofError(
                f"{log.path} has no row of the project '{log.settings['project']}'."
            )
    findings = []
    named = (
        frame["run_id"].str.strip()
        if "run_id" in frame
        else pd.Series("", index=frame.index, dtype="str")
    )
    nameless = int((named == "").sum())
    if nameless:
        findings.append(
            finding(
                log,
                "unnamed_runs",
                f"{nameless} of {len(frame)} rows have no run_id; each counts as a run of its own.",
                "None, if no run wrote more than one row.",
                affected=nameless,
                of=len(frame),
            )
        )
    rows: list[dict[str, Any]] = []
    duration = _number(frame, "duration")
    powers = {column: _number(frame, column) for _, column in PARTS.values() if column}
    for column, (channel, power) in PARTS.items():
        if column not in frame:
            continue
        energy = np.asarray(kwh_to_j(1.0) * _number(frame, column))
        for i in range(len(frame)):
            row = frame.iloc[i]
            span = float(duration[i])
            rows.append(
                {
                    "recording": log.recording,
                    "row": int(row["#row"]),
                    "run_id": named.iloc[i] or f"row {row['#row']}",
                    "level": "run",
                    "kind": "run",
                    "source": SOURCE,
                    "channel": channel,
                    "device": channel.partition(".")[0],
                    "duration_s": span,
                    "energy_j": float(energy[i]),
                    "mean_w": float(energy[i]) / span if span > 0 else None,
                    "simulated": False,
                    "metric_last_power_w": float(powers[power][i]) if power else None,
                    **{
                        f"config_{safe_name(name)}": str(row[name])
                        for name in KEPT
                        if name in frame
                    },
                }
            )
    return Ingested(
        samples=tables.conform([], "samples"),
        channels=tables.conform([], "channels"),
        marks=tables.conform([], "marks"),
        runs=tables.conform([], "runs"),
        windows=tables.conform([], "windows"),
        reported=tables.conform(rows, "reported"),
        findings=tables.conform(findings, "findings"),
        instruments={
            SOURCE: {"versions": sorted(set(frame.get("codecarbon_version", pd.Series(dtype=str))))}
        },
    )


def sniff(path: Path, head: bytes) -> float:
    """How sure it is that a file is an emissions.csv of Code Carbon."""
    first = head.partition(b"\n")[0]
    wanted = (b"emissions", b"energy_consumed", b"duration")
    return 1.0 if all(word in first for word in wanted) else 0.0


def draft(path: Path) -> dict[str, Any]:
    """Settings that a drafted manifest shows: there are none."""
    return {}
