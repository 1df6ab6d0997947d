"""What stands in logs of nvidia-smi: cells of CSV and ``dmon``, and ``-q -x`` reports.

Whatever cannot be read is left out, and counted in a finding.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from wattproof.errors import WattproofError
from wattproof.ingest.base import Log
from wattproof.ingest.cells import numbers
from wattproof.ingest.series import finding, left_out
from wattproof.sources.smi_xml import parse_report


@dataclass(frozen=True, slots=True)
class Field:
    """A field of ``--query-gpu``: our series, its kind, and the unit of bare numbers."""

    quantity: str
    kind: str
    unit: str


FIELDS = {
    "power.draw": Field("power", "power", "W"),
    "power.draw.average": Field("power_average", "power", "W"),
    "power.draw.instant": Field("power_instant", "power", "W"),
    "module.power.draw.average": Field("module_power_average", "power", "W"),
    "module.power.draw.instant": Field("module_power_instant", "power", "W"),
    "utilization.gpu": Field("utilisation", "utilisation", "%"),
    "utilization.memory": Field("memory_utilisation", "utilisation", "%"),
    "memory.used": Field("memory_used", "memory", "MiB"),
    "clocks.sm": Field("sm_clock", "clock", "MHz"),
    "clocks.current.sm": Field("sm_clock", "clock", "MHz"),
    "clocks.gr": Field("graphics_clock", "clock", "MHz"),
    "clocks.current.graphics": Field("graphics_clock", "clock", "MHz"),
    "clocks.mem": Field("memory_clock", "clock", "MHz"),
    "clocks.current.memory": Field("memory_clock", "clock", "MHz"),
    "temperature.gpu": Field("temperature", "temperature", "C"),
    "power.limit": Field("power_limit", "limit", "W"),
    "enforced.power.limit": Field("enforced_power_limit", "limit", "W"),
}
"""Fields that become channels."""

TIME = ("timestamp", "time", "date")
PLACES = ("index", "uuid", "gpu_uuid", "pci.bus_id", "gpu_bus_id", "serial", "gpu_serial")
"""Fields that tell GPUs apart, best first."""

OTHER = ("name", "gpu_name", "pstate", "driver_version", "memory.total", "memory.free", "count")
KNOWN = frozenset((*FIELDS, *TIME, *PLACES, *OTHER))

DMON = {
    "pwr": Field("power", "power", "W"),
    "gtemp": Field("temperature", "temperature", "C"),
    "temp": Field("temperature", "temperature", "C"),
    "sm": Field("utilisation", "utilisation", "%"),
    "mem": Field("memory_utilisation", "utilisation", "%"),
    "pclk": Field("sm_clock", "clock", "MHz"),
    "mclk": Field("memory_clock", "clock", "MHz"),
    "fb": Field("memory_used", "memory", "MB"),
}
"""Columns of ``nvidia-smi dmon``. Its sm and mem are those of ``utilization``."""

_HEADER = re.compile(r"^\s*([a-z0-9_.]+)\s*(?:\[([^\]]*)\])?\s*$", re.IGNORECASE)
_UUID = re.compile(r"^(GPU|MIG)-[0-9a-fA-F-]{8,}")
_MOST_GPUS = 16


def header_names(cells: list[str]) -> list[tuple[str, str]] | None:
    """Names and units of a header; None if it is none."""
    found = [_HEADER.match(cell) for cell in cells]
    names = [(m[1].lower(), m[2] or "") if m else ("", "") for m in found]
    return names if any(name in KNOWN for name, _ in names) else None


def delimiter_of(line: str) -> str:
    """What parts the cells of a line."""
    return max((",", ";", "\t"), key=line.count)


def _guess(cells: pd.DataFrame) -> list[str]:
    """Names of columns without a header, by what stands in them."""
    guessed: list[str] = []
    rows = cells.head(200)
    taken: set[str] = set()

    def first_free(*names: str) -> str:
        for name in names:
            if name not in taken:
                return name
        return ""

    for column in cells.columns:
        column_text = rows[column].fillna("").str.strip()
        sample = next((cell for cell in column_text if cell), "")
        value, _, unit = numbers(column_text)
        word = ""
        if re.match(r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}", sample):
            word = first_free("timestamp")
        elif _UUID.match(sample):
            word = first_free("uuid")
        elif re.match(r"^[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:", sample):
            word = first_free("pci.bus_id")
        elif unit.lower() == "w":
            word = first_free("power.draw", "power.limit")
        elif unit == "%":
            word = first_free("utilization.gpu", "utilization.memory")
        elif unit.lower() == "mib":
            word = first_free("memory.used", "memory.total")
        elif unit.lower() == "mhz":
            word = first_free("clocks.sm", "clocks.mem")
        elif np.isfinite(value).any() and np.nanmax(value) < _MOST_GPUS:
            whole = value[np.isfinite(value)]
            if (whole == np.rint(whole)).all():
                word = first_free("index")
        elif np.isfinite(value).any() and np.nanmedian(value) > 1e9:
            word = first_free("timestamp")
        taken.add(word)
        guessed.append(word)
    return guessed


def from_csv(log: Log, content: str) -> tuple[pd.DataFrame, dict[str, str], list[dict[str, Any]]]:
    """Cells by field name, units by field name, and findings."""
    findings: list[dict[str, Any]] = []
    lines = content.splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip())
    delimiter = log.settings["delimiter"] or delimiter_of(lines[start])
    head = [cell.strip() for cell in lines[start].split(delimiter)]
    header = header_names(head)
    width = len(head)
    kept = [line for line in lines[start:] if line.strip() and not line.startswith("#")]
    if header is not None:
        # Logs that were appended to one another repeat their header.
        kept = [line for line in kept[1:] if line.strip() != lines[start].strip()]
    whole = [line for line in kept if line.count(delimiter) == width - 1]
    if len(whole) < len(kept):
        cut = len(kept) - len(whole)
        findings += left_out(
            log,
            cut,
            len(kept),
            f"{cut} of {len(kept)} lines do not have the {width} cells of the first one and were "
            "left out.",
        )
    if not whole:
        raise WattproofError(
            f"{log.path} holds no row of readings (only a header); restore the file."
        )
    cells = pd.read_csv(
        io.StringIO("\n".join(whole)),
        sep=delimiter,
        header=None,
        dtype=str,
        skipinitialspace=True,
        keep_default_na=False,
        quoting=3,
    )
    wanted: list[str] | None = log.settings["columns"]
    if wanted is not None:
        if len(wanted) != width:
            raise WattproofError(
                f"{log.path} has {width} columns, but 'columns' in the manifest names "
                f"{len(wanted)}; name each of them."
            )
        header = [(name.lower(), "") for name in wanted]
    elif header is None:
        names = _guess(cells)
        header = [(name, "") for name in names]
        findings.append(
            finding(
                log,
                "inferred_columns",
                "The file has no header; its columns were taken as "
                f"{', '.join(name or '(unknown)' for name in names)}, by what stands in them.",
                "Check them, and name 'columns' in the manifest.",
                severity="warning",
            )
        )
    cells.columns = pd.Index([name or f"#{i}" for i, (name, _) in enumerate(header)])
    return cells, dict(header), findings


def lost(log: Log, count: int, total: int, what: str) -> list[dict[str, Any]]:
    """The finding about parts of the log that were left out; none if none were."""
    return left_out(
        log,
        count,
        total,
        f"{count} of {total} {what}.",
        "Look at them; a log that was cut off loses its end.",
    )


def from_dmon(
    log: Log, content: str
) -> tuple[pd.DataFrame, dict[str, str], list[dict[str, Any]]] | None:
    """Cells of ``nvidia-smi dmon``, units and findings; None if the text is none."""
    head = re.search(r"(?m)^#\s*(?:Date\s+)?(?:Time\s+)?gpu\b.*$", content)
    if head is None:
        return None
    names = [name.lower() for name in head[0].lstrip("#").split()]
    rows = [line.split() for line in content.splitlines() if line.strip() and line[0] != "#"]
    whole = [row for row in rows if len(row) == len(names)]
    findings = lost(
        log,
        len(rows) - len(whole),
        len(rows),
        f"lines do not have the {len(names)} cells of the header and were left out",
    )
    cells = pd.DataFrame(whole, columns=names)
    if "date" in names and "time" in names:
        day = cells["date"]
        day = day.str[:4] + "-" + day.str[4:6] + "-" + day.str[6:8]
        cells["timestamp"] = day + " " + cells["time"]
    elif "time" in names:
        cells["timestamp"] = cells["time"]
    renamed = cells.rename(columns={"gpu": "index"})
    return renamed, dict.fromkeys(renamed.columns, ""), findings


def from_reports(log: Log, content: str) -> tuple[pd.DataFrame, list[dict[str, Any]]] | None:
    """Rows of ``nvidia-smi -q -x`` reports that were appended to one another, and findings.

    None if the text holds no report.
    """
    begin, end = "<nvidia_smi_log>", "</nvidia_smi_log>"
    if begin not in content:
        return None
    before, *parts = content.split(begin)
    broken = int("</" in before)
    rows: list[dict[str, Any]] = []
    for part in parts:
        body, closed, _ = part.partition(end)
        report = parse_report(f"{begin}{body}{end}".encode()) if closed else None
        stamp = re.search(r"<timestamp>([^<]*)</timestamp>", body)
        if report is None or stamp is None:
            broken += 1
            continue
        for gpu in report.gpus:
            tag = gpu.power_tag()
            watts, status = gpu.power(tag) if tag else (None, "missing")
            use, _ = gpu.utilisation()
            rows.append(
                {
                    "timestamp": stamp[1].strip(),
                    "uuid": gpu.uuid,
                    "power.draw": str(status) if watts is None else str(watts),
                    "utilization.gpu": "" if use is None else str(use),
                }
            )
    total = len(parts) + int("</" in before)
    what = "reports are cut off or have no time stamp and were left out"
    return pd.DataFrame(rows), lost(log, broken, total, what)
