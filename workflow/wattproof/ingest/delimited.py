"""Any delimited text that the manifest describes: time series, or rows of others' figures."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wattproof import tables
from wattproof.errors import WattproofError, did_you_mean
from wattproof.ingest import reported, text, timing
from wattproof.ingest import series as made
from wattproof.ingest.base import Ingested, Log
from wattproof.ingest.cells import (
    DIMENSION,
    agreed_unit,
    no_comma_numbers,
    numbers,
    unit_factor,
)
from wattproof.ingest.series import Series, finding
from wattproof.units import s_to_ns

_TEXT: dict[str, Any] = {"type": "string"}
_MAYBE: dict[str, Any] = {"type": ["string", "null"], "default": None}

KINDS = ["power", "energy", "utilisation", "memory", "clock", "temperature", "load", "limit"]

CHANNEL: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["column", "channel"],
    "properties": {
        "column": {"type": ["string", "integer"]},
        "channel": _TEXT,
        "source": {"type": "string", "default": "log"},
        "unit": _MAYBE,
        "kind": {"enum": KINDS, "default": "power"},
        "device": {"type": "string", "default": ""},
        "slot": {"type": ["integer", "null"], "default": None},
        "sign": {"enum": [1, -1], "default": 1},
        "scale": {"type": "number", "default": 1.0},
        "status": _MAYBE,
        "ok": {"type": ["string", "null"], "default": None},
        "zero_is_missing": {"type": "boolean", "default": False},
        "averaging_s": {"type": ["number", "null"], "minimum": 0, "default": None},
        "accuracy_reading": {"type": ["number", "null"], "minimum": 0, "default": None},
        "accuracy_range_w": {"type": ["number", "null"], "minimum": 0, "default": None},
    },
}

SETTINGS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "delimiter": _MAYBE,
        "decimal_comma": {"type": "boolean", "default": False},
        "header": {"type": "boolean", "default": True},
        "skip_lines": {"type": "integer", "minimum": 0, "default": 0},
        "comment": _MAYBE,
        "encoding": _MAYBE,
        "rows": {"enum": ["samples", "reported"], "default": "samples"},
        "time": {"type": ["string", "integer", "null"], "default": None},
        "time_format": _MAYBE,
        "time_zone": _MAYBE,
        "day_first": {"type": ["boolean", "null"], "default": None},
        # Logs without stamps: when the first row is of, and the distance of rows.
        "start": {"default": None},
        "step_s": {"type": ["number", "null"], "exclusiveMinimum": 0, "default": None},
        "channels": {"type": "array", "items": CHANNEL, "default": []},
        "reported": {**reported.SETTINGS, "default": {}},
    },
}


def _delimiter(line: str) -> str | None:
    best = max((",", ";", "\t", "|"), key=line.count)
    return best if line.count(best) else None


def table(log: Log, findings: list[dict[str, Any]]) -> pd.DataFrame:
    """Cells of the file as text, with its header or numbered columns.

    A line with more cells than the header is left out, and counted in `findings`.

    Raises:
        WattproofError: The file is missing, empty, binary, or no table.
    """
    settings = log.settings
    lines = text.read_text(log.path, settings["encoding"]).splitlines()[settings["skip_lines"] :]
    comment = settings["comment"]
    lines = [
        line
        for line in lines
        if line.strip() and not (comment and line.lstrip().startswith(comment))
    ]
    if not lines:
        raise WattproofError(f"{log.path} holds no rows; restore it, or correct 'comment'.")
    delimiter = settings["delimiter"] or _delimiter(lines[0])
    try:
        frame = pd.read_csv(
            io.StringIO("\n".join(lines)),
            sep=delimiter or r"\s+",
            header=0 if settings["header"] else None,
            dtype=str,
            skipinitialspace=True,
            keep_default_na=False,
            on_bad_lines="skip",
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        reason = str(error).replace("\n", " ")
        raise WattproofError(f"{log.path} is no table ({reason}); correct 'delimiter'.") from error
    lost = len(lines) - int(settings["header"]) - len(frame)
    # Quoted cells may hold line breaks: then there are fewer rows than lines, and none is lost.
    if lost > 0 and not any('"' in line for line in lines):
        findings += made.left_out(
            log,
            lost,
            len(lines),
            f"{lost} of {len(lines)} lines have more cells than the others and were left out.",
            "Look at these lines; two writers, or a wrong 'delimiter', make such.",
        )
    if frame.empty:
        raise WattproofError(f"{log.path} holds a header and no rows; restore the file.")
    frame.columns = pd.Index(
        [str(name).strip() if settings["header"] else name for name in frame.columns]
    )
    return frame


def column(log: Log, frame: pd.DataFrame, name: str | int, key: str) -> pd.Series:
    """Return a column that the manifest names.

    Raises:
        WattproofError: The file has no such column.
    """
    if name in frame.columns:
        return frame[name]
    if not log.settings["header"] and str(name).isdigit() and int(name) in frame.columns:
        return frame[int(name)]
    known = [str(each) for each in frame.columns]
    raise WattproofError(
        f"{log.path} has no column '{name}' (manifest key '{key}').{did_you_mean(str(name), known)}"
    )


def _stamps(
    log: Log, frame: pd.DataFrame, findings: list[dict[str, Any]]
) -> tuple[np.ndarray, np.ndarray, str]:
    """Stamps, which of them are known, and their time zone."""
    settings = log.settings
    if settings["time"] is None:
        if settings["step_s"] is None:
            raise WattproofError(
                f"{log.path}: the manifest names no column of time stamps; give 'time', or 'start' "
                "and 'step_s'."
            )
        start = settings["start"]
        first = 0 if start is None else timing.instant_ns(start, f"{log.path}, key 'start'")
        if start is None:
            findings.append(
                finding(
                    log,
                    "no_start",
                    "The file has no time stamps and the manifest no start; the log begins at 0.",
                    "Give 'start' where the log is compared with another one.",
                )
            )
        step_ns = s_to_ns(settings["step_s"])
        t_ns = first + step_ns * np.arange(1, len(frame) + 1, dtype=np.int64)
        return t_ns, np.ones(len(frame), dtype=bool), ""
    cells = column(log, frame, settings["time"], "time")
    if settings["decimal_comma"]:
        cells = cells.str.replace(r"^(\d+),(\d+)$", r"\1.\2", regex=True)
    stamps = timing.parse(
        cells,
        f"{log.path}, column '{settings['time']}'",
        time_format=settings["time_format"],
        time_zone=settings["time_zone"],
        day_first=settings["day_first"],
    )
    findings += made.inferred(log, stamps, "Say time_format and time_zone in the manifest.")
    bad = int((~stamps.known).sum())
    findings += made.left_out(
        log,
        bad,
        len(frame),
        f"{bad} of {len(frame)} rows have no readable time stamp and were left out.",
        "Look at these rows; a log that was cut off loses its last line.",
        "broken_stamps",
    )
    if not stamps.known.any():
        raise WattproofError(f"{log.path} has no row with a readable stamp; correct 'time'.")
    return stamps.t_ns, stamps.known, stamps.zone


def _unit(
    log: Log, item: dict[str, Any], cell_unit: str, findings: list[dict[str, Any]]
) -> tuple[str, float]:
    where = f"{log.path}, column '{item['column']}'"
    stated = agreed_unit(item["unit"], cell_unit, where)
    bracket = re.search(r"[\[(]([^\])]+)[\])]\s*$", str(item["column"]))
    if not stated and bracket:
        stated = bracket[1]
    if not stated:
        if item["kind"] not in ("power", "energy", "utilisation"):
            return "1", 1.0
        stated = {"power": "W", "energy": "J", "utilisation": "%"}[item["kind"]]
        findings.append(
            finding(
                log,
                "inferred_unit",
                f"Neither the file nor the manifest says the unit of '{item['column']}'; {stated} "
                "was taken.",
                "Give 'unit' in the manifest.",
                severity="warning",
                channel=item["channel"],
                source=item["source"],
            )
        )
    ours, factor = unit_factor(stated, where)
    if ours != DIMENSION.get(item["kind"], ours) and (ours, item["kind"]) != ("1", "utilisation"):
        raise WattproofError(
            f"{where}: '{stated}' is no unit of {item['kind']}; correct its unit or its kind."
        )
    return ours, factor


def _series(log: Log, frame: pd.DataFrame, findings: list[dict[str, Any]]) -> list[Series]:
    t_ns, known, zone = _stamps(log, frame, findings)
    found = []
    for item in log.settings["channels"]:
        cells = column(log, frame, item["column"], "channels.column")
        value, status, cell_unit = numbers(cells, log.settings["decimal_comma"])
        no_comma_numbers(cells, status, f"{log.path}, column '{item['column']}'")
        ours, factor = _unit(log, item, cell_unit, findings)
        if item["status"] is not None:
            word = column(log, frame, item["status"], "channels.status").str.strip()
            bad = (word != (item["ok"] or "ok")).to_numpy(dtype=bool)
            value[bad] = np.nan
            status[bad] = word[bad].to_numpy(dtype=object)
        if item["zero_is_missing"]:
            zero = value == 0.0
            value[zero], status[zero] = np.nan, "missing"
        found.append(
            Series(
                source=item["source"],
                channel=item["channel"],
                unit=ours,
                kind=item["kind"],
                t_ns=t_ns[known],
                value=item["sign"] * item["scale"] * factor * value[known],
                status=status[known],
                device=item["device"],
                slot=item["slot"],
                averaging_s=item["averaging_s"],
                identity={
                    "format": "delimited",
                    "column": str(item["column"]),
                    "time_zone": zone,
                    "sign": item["sign"],
                    "scale": item["scale"],
                },
                accuracy_reading=item["accuracy_reading"],
                accuracy_range_w=item["accuracy_range_w"],
            )
        )
    return found


def read(log: Log) -> Ingested:
    """Read a delimited text as the manifest describes it.

    Raises:
        WattproofError: The file or its description does not fit; one sentence.
    """
    findings: list[dict[str, Any]] = []
    frame = table(log, findings)
    if log.settings["rows"] == "reported":
        rows = reported.rows(
            log,
            frame,
            lambda name, key: column(log, frame, name, key),
            log.settings["decimal_comma"],
            findings,
        )
        found: list[Series] = []
    else:
        if not log.settings["channels"]:
            raise WattproofError(
                f"{log.path}: the manifest names no channels of it; say which columns are what, "
                f"of {', '.join(map(str, frame.columns))}."
            )
        rows = []
        found = _series(log, frame, findings)
    return Ingested(
        samples=made.samples(log, found),
        channels=made.channels(log, found),
        reported=tables.conform(rows, "reported"),
        findings=tables.conform(findings, "findings"),
        instruments={item.source: {"file": log.shown} for item in found},
    )


def sniff(path: Path, head: bytes) -> float:
    """How sure it is that a file is a delimited text, 0 to 1: never much, others come first."""
    if not head or text.is_binary(head):
        return 0.0
    lines = [line for line in head.decode("utf-8", errors="replace").splitlines() if line.strip()]
    mark = _delimiter(lines[0]) if lines else None
    if mark is None or len(lines) < 2:
        return 0.0
    return 0.2 if lines[0].count(mark) == lines[1].count(mark) else 0.05


def draft(path: Path) -> dict[str, Any]:
    """Settings that a drafted manifest shows: the columns, for the user to say what they are."""
    lines = [line for line in text.read_text(path).splitlines() if line.strip()]
    mark = _delimiter(lines[0]) or " "
    names = [cell.strip().strip('"') for cell in lines[0].split(mark)]
    time = next((n for n in names if re.search(r"time|date|stamp", n, re.IGNORECASE)), None)
    power = [n for n in names if re.search(r"power|watt|\bw\b", n, re.IGNORECASE)]
    energy = [n for n in names if re.search(r"energy|joule|kwh", n, re.IGNORECASE)]
    return {
        "delimiter": mark,
        "time": time,
        "channels": [
            {"column": name, "channel": f"node.{i}" if i else "node.ac", "unit": None, "kind": kind}
            for i, (name, kind) in enumerate(
                [(n, "power") for n in power] + [(n, "energy") for n in energy]
            )
        ],
    }
