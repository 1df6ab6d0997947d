"""Logs of nvidia-smi: ``--query-gpu`` CSV in all its variants, ``dmon``, and ``-q -x`` reports.

Units stand in the cells (``75.31 W``), in the header (``power.draw [W]``) or nowhere (nounits);
some logs have no header, and several GPUs may take turns without saying which is which. What the
file does not say is inferred where it can be, and reported.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.ingest import series as made
from wattproof.ingest import text, timing
from wattproof.ingest.base import Ingested, Log
from wattproof.ingest.cells import numbers, unit_factor
from wattproof.ingest.series import Series, finding
from wattproof.sources.smi_xml import parse_report

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
_CLOSE = 0.5
"""Rows of one poll follow each other within this share of the time between polls."""


def _names(cells: list[str]) -> list[tuple[str, str]] | None:
    """Names and units of a header; None if it is none."""
    found = [_HEADER.match(cell) for cell in cells]
    names = [(m[1].lower(), m[2] or "") if m else ("", "") for m in found]
    return names if any(name in KNOWN for name, _ in names) else None


def _delimiter(line: str) -> str:
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


def _take_turns(t_ns: NDArray[np.int64]) -> int:
    """How many GPUs take turns in rows that do not say which is which; 1 if none do.

    Rows of one poll have the same stamp or follow each other at once.
    """
    if len(t_ns) < 8:
        return 1
    for count in range(_MOST_GPUS, 1, -1):
        polls = len(t_ns) // count
        if polls < 4 or len(t_ns) % count:
            continue
        block = t_ns.reshape(polls, count)
        inside = block[:, -1] - block[:, 0]
        between = np.diff(block[:, 0])
        if (inside[:-1] <= _CLOSE * between).mean() > 0.95 and between.min() > 0:
            gaps = np.diff(t_ns)
            # A divisor of the true number also fits only if its blocks are themselves apart.
            edges = gaps[count - 1 :: count]
            within = np.delete(gaps, np.arange(count - 1, len(gaps), count))
            if np.median(edges) > 2 * max(float(np.median(within)), 1.0):
                return count
    return 1


def _sort_out(
    log: Log, frame: pd.DataFrame, t_ns: NDArray[np.int64], findings: list[dict[str, Any]]
) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Number of the GPU of each row, and the name of each GPU."""
    place = next((name for name in PLACES if name in frame), None)
    if place is not None:
        words = frame[place].fillna("").str.strip()
        if place == "index":
            number = pd.to_numeric(words, errors="coerce")
            slots = number.fillna(-1).to_numpy(dtype=np.int64)
            uuid = next((n for n in ("uuid", "gpu_uuid") if n in frame), None)
            labels = frame[uuid].fillna("").str.strip() if uuid else words
        else:
            order = {word: i for i, word in enumerate(sorted(w for w in words.unique() if w))}
            slots = words.map(order).fillna(-1).to_numpy(dtype=np.int64)
            labels = words
        return slots, {
            int(slot): str(labels[slots == slot].iloc[0]) for slot in np.unique(slots) if slot >= 0
        }
    count = log.settings["gpus"] or _take_turns(t_ns)
    if count > 1:
        if not log.settings["gpus"]:
            findings.append(
                finding(
                    log,
                    "inferred_devices",
                    f"The rows do not say which GPU they are of; {count} GPUs take turns, by the "
                    "repetition of stamps.",
                    "Log the field index or uuid; say 'gpus' in the manifest if the number is "
                    "wrong.",
                    severity="warning",
                )
            )
        if len(t_ns) % count:
            raise WattproofError(
                f"{log.path} has {len(t_ns)} rows, which {count} GPUs cannot share evenly; correct "
                "'gpus' in the manifest."
            )
    turns: NDArray[np.int64] = np.arange(len(t_ns), dtype=np.int64) % count
    return turns, {}


def _csv(log: Log, content: str) -> tuple[pd.DataFrame, dict[str, str], list[dict[str, Any]]]:
    """Cells by field name, units by field name, and findings."""
    findings: list[dict[str, Any]] = []
    lines = content.splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip())
    delimiter = log.settings["delimiter"] or _delimiter(lines[start])
    head = [cell.strip() for cell in lines[start].split(delimiter)]
    header = _names(head)
    width = len(head)
    kept = [line for line in lines[start:] if line.strip() and not line.startswith("#")]
    if header is not None:
        # Logs that were appended to one another repeat their header.
        kept = [line for line in kept[1:] if line.strip() != lines[start].strip()]
    whole = [line for line in kept if line.count(delimiter) == width - 1]
    if len(whole) < len(kept):
        findings.append(
            finding(
                log,
                "broken_lines",
                f"{len(kept) - len(whole)} of {len(kept)} lines do not have the {width} cells of "
                "the first one and were left out.",
                "Look at them; a log that was cut off loses its last line.",
                severity="warning",
                affected=len(kept) - len(whole),
                of=len(kept),
            )
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


def _dmon(content: str) -> tuple[pd.DataFrame, dict[str, str]] | None:
    """Cells of ``nvidia-smi dmon``; None if the text is none."""
    head = re.search(r"(?m)^#\s*(?:Date\s+)?(?:Time\s+)?gpu\b.*$", content)
    if head is None:
        return None
    names = [name.lower() for name in head[0].lstrip("#").split()]
    rows = [line.split() for line in content.splitlines() if line.strip() and line[0] != "#"]
    rows = [row for row in rows if len(row) == len(names)]
    cells = pd.DataFrame(rows, columns=names)
    if "date" in names and "time" in names:
        day = cells["date"]
        day = day.str[:4] + "-" + day.str[4:6] + "-" + day.str[6:8]
        cells["timestamp"] = day + " " + cells["time"]
    elif "time" in names:
        cells["timestamp"] = cells["time"]
    renamed = cells.rename(columns={"gpu": "index"})
    return renamed, dict.fromkeys(renamed.columns, "")


def _reports(content: str) -> pd.DataFrame | None:
    """Rows of ``nvidia-smi -q -x`` reports that were appended to one another; None if none are."""
    if "<nvidia_smi_log>" not in content:
        return None
    rows: list[dict[str, Any]] = []
    for match in re.finditer(r"<nvidia_smi_log>.*?</nvidia_smi_log>", content, re.DOTALL):
        report = parse_report(match[0].encode())
        stamp = re.search(r"<timestamp>([^<]*)</timestamp>", match[0])
        if report is None or stamp is None:
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
    return pd.DataFrame(rows)


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
    for flag, sentence in stamps.inferred.items():
        findings.append(
            finding(
                log,
                flag,
                f"{log.shown}: {sentence}.",
                "Say time_zone and time_format in the manifest.",
            )
        )
    known = stamps.known
    cells, t_ns = cells[known].reset_index(drop=True), stamps.t_ns[known]
    if not len(t_ns):
        raise WattproofError(f"{log.path} holds no row with a readable time stamp; restore it.")
    slots, names = _sort_out(log, cells, t_ns, findings)
    found: list[Series] = []
    bare: list[str] = []
    for name in cells.columns:
        field = fields.get(name)
        if field is None:
            continue
        value, status, cell_unit = numbers(cells[name])
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
    reports, dmon = _reports(content), _dmon(content)
    if reports is not None:
        if reports.empty:
            raise WattproofError(f"{log.path} holds no whole report of nvidia-smi -q -x.")
        cells, units = reports, dict.fromkeys(reports.columns, "")
        units["power.draw"] = "W"
    elif dmon is not None:
        cells, units = dmon
        fields = DMON
        units |= {name: DMON[name].unit for name in cells if name in DMON}
    else:
        cells, units, findings = _csv(log, content)
    found = _series(log, cells, units, fields, findings)
    return Ingested(
        samples=made.samples(log, found),
        channels=made.channels(log, found),
        marks=tables.conform([], "marks"),
        runs=tables.conform([], "runs"),
        windows=tables.conform([], "windows"),
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
    names = _names([cell.strip() for cell in lines[0].split(_delimiter(lines[0]))])
    if names is not None:
        return 1.0 if any(name in FIELDS for name, _ in names) else 0.0
    dated = re.match(r"^\d{4}/\d{2}/\d{2} \d{2}:\d{2}:\d{2}", lines[0])
    return 0.7 if dated and re.search(r",\s*[\d.]+ W\b", lines[0]) else 0.0


def draft(path: Path) -> dict[str, Any]:
    """Settings that a drafted manifest shows."""
    return {"time_zone": None}
