"""Logs of nvidia-smi: ``--query-gpu`` CSV in all its variants, ``dmon``, and ``-q -x`` reports.

Units stand in the cells (``75.31 W``), in the header (``power.draw [W]``) or nowhere (nounits);
some logs have no header, and several GPUs may take turns without saying which is which. What the
file does not say is inferred where it can be, and reported.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.ingest import series as made
from wattproof.ingest import text, timing
from wattproof.ingest.base import Ingested, Log
from wattproof.ingest.cells import has_comma_numbers, numbers, unit_factor
from wattproof.ingest.nvidia_smi_boards import sort_out
from wattproof.ingest.nvidia_smi_text import (
    DMON,
    FIELDS,
    TIME,
    Field,
    delimiter_of,
    from_csv,
    from_dmon,
    from_reports,
    header_names,
    lost,
)
from wattproof.ingest.series import Series, finding

SETTINGS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "columns": {"type": ["array", "null"], "items": {"type": "string"}, "default": None},
        "gpus": {"type": ["integer", "null"], "minimum": 1, "default": None},
        "delimiter": {"type": ["string", "null"], "default": None},
        "time_zone": {"type": ["string", "null"], "default": None},
        "time_format": {"type": ["string", "null"], "default": None},
        "day_first": {"type": ["boolean", "null"], "default": None},
        "encoding": {"type": ["string", "null"], "default": None},
        "source": {"type": "string", "default": "smi"},
    },
}


def _series(
    log: Log,
    cells: pd.DataFrame,
    units: dict[str, str],
    fields: dict[str, Field],
    findings: list[dict[str, Any]],
) -> list[Series]:
    settings = log.settings
    stamp = next((name for name in TIME if name in cells), None)
    if stamp is None:
        raise WattproofError(
            f"{log.path} has no column of time stamps; log the field timestamp, or describe the "
            "file with format: delimited (start and step_s)."
        )
    if cells.empty:
        raise WattproofError(f"{log.path} holds no whole line of readings; restore the file.")
    form = settings["time_format"]
    if form is None and re.match(r"^[A-Z][a-z]{2} [A-Z][a-z]{2} ", str(cells[stamp].iloc[0])):
        form = "%a %b %d %H:%M:%S %Y"
    stamps = timing.parse(
        cells[stamp],
        f"{log.path}, column '{stamp}'",
        time_format=form,
        time_zone=settings["time_zone"],
        day_first=settings["day_first"],
    )
    findings += made.inferred(log, stamps, "Say time_zone and time_format in the manifest.")
    known = stamps.known
    findings += lost(
        log,
        int((~known).sum()),
        len(known),
        "rows have a time stamp that cannot be read and were left out",
    )
    cells, t_ns = cells[known].reset_index(drop=True), stamps.t_ns[known]
    if not len(t_ns):
        raise WattproofError(f"{log.path} holds no row with a readable time stamp; restore it.")
    slots, names = sort_out(log, cells, t_ns, findings)
    found: list[Series] = []
    bare: list[str] = []
    for name in cells.columns:
        field = fields.get(name)
        if field is None:
            continue
        value, status, cell_unit = numbers(cells[name])
        if has_comma_numbers(cells[name], status):
            # nvidia-smi writes points in every locale: a spreadsheet wrote this file again.
            value, status, cell_unit = numbers(cells[name], decimal_comma=True)
        unit = units.get(name) or cell_unit
        if not unit:
            bare.append(name)
        ours, factor = unit_factor(unit or field.unit, f"{log.path}, column '{name}'")
        if field.kind == "power":
            # No board draws nothing: 0 W is no measurement.
            zero = value == 0.0
            value[zero], status[zero] = np.nan, "missing"
        for slot in np.unique(slots[slots >= 0]):
            mine = slots == slot
            if not np.isfinite(value[mine]).any() and field.kind != "power":
                continue
            found.append(
                Series(
                    source=settings["source"],
                    channel=f"gpu{slot}.{field.quantity}",
                    unit=ours,
                    kind=field.kind,
                    t_ns=t_ns[mine],
                    value=value[mine] * factor,
                    status=status[mine],
                    device=names.get(int(slot), f"gpu{slot}"),
                    slot=int(slot),
                    identity={"field": name, "format": "nvidia-smi", "time_zone": stamps.zone},
                )
            )
    if any(fields[name].kind == "power" for name in bare):
        findings.append(
            finding(
                log,
                "inferred_unit",
                f"No unit stands beside {', '.join(bare)}; nvidia-smi's own were taken (power in "
                "W).",
                "Check one value against the board's limit.",
            )
        )
    if not any(item.kind == "power" for item in found):
        raise WattproofError(
            f"{log.path} has no column of power (power.draw …); give a log with one."
        )
    return found


def read(log: Log) -> Ingested:
    """Read a log of nvidia-smi.

    Raises:
        WattproofError: The file is missing, empty, binary, or no log of nvidia-smi.
    """
    content = text.read_text(log.path, log.settings["encoding"])
    findings: list[dict[str, Any]] = []
    fields = FIELDS
    reports, dmon = from_reports(log, content), from_dmon(log, content)
    if reports is not None:
        cells, findings = reports
        if cells.empty:
            raise WattproofError(
                f"{log.path} holds no whole report of nvidia-smi -q -x; restore the file."
            )
        units = dict.fromkeys(cells.columns, "")
        units["power.draw"] = "W"
    elif dmon is not None:
        cells, units, findings = dmon
        fields = DMON
        units |= {name: DMON[name].unit for name in cells if name in DMON}
    else:
        cells, units, findings = from_csv(log, content)
    found = _series(log, cells, units, fields, findings)
    return Ingested(
        samples=made.samples(log, found),
        channels=made.channels(log, found),
        findings=tables.conform(findings, "findings"),
        instruments={log.settings["source"]: {"tool": "nvidia-smi", "file": log.shown}},
    )


def sniff(path: Path, head: bytes) -> float:
    """How sure it is that a file is a log of nvidia-smi, 0 to 1."""
    start = head[:4096].decode("utf-8", errors="replace")
    if "<nvidia_smi_log>" in start:
        return 1.0
    if re.search(r"(?m)^#\s*(?:Date\s+)?(?:Time\s+)?gpu\s+.*\b(pwr|sm)\b", start):
        return 0.9
    lines = [line for line in start.splitlines() if line.strip()]
    if not lines:
        return 0.0
    names = header_names([cell.strip() for cell in lines[0].split(delimiter_of(lines[0]))])
    if names is not None:
        return 1.0 if any(name in FIELDS for name, _ in names) else 0.0
    dated = re.match(r"^\d{4}/\d{2}/\d{2} \d{2}:\d{2}:\d{2}", lines[0])
    return 0.7 if dated and re.search(r",\s*[\d.]+ W\b", lines[0]) else 0.0


def draft(path: Path) -> dict[str, Any]:
    """Settings that a drafted manifest shows."""
    return {"time_zone": None}
