"""Rows of others' figures: an energy, a power or a time per run or epoch, without the readings."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from wattproof.errors import WattproofError
from wattproof.ingest.base import Log
from wattproof.ingest.cells import agreed_unit, no_comma_numbers, numbers, unit_factor
from wattproof.ingest.series import finding

_COLUMN: dict[str, Any] = {"type": ["string", "null"], "default": None}
_FIGURE: dict[str, Any] = {
    "type": ["object", "null"],
    "default": None,
    "additionalProperties": False,
    "required": ["column"],
    "properties": {"column": {"type": "string"}, "unit": {"type": "string"}},
}

SETTINGS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "level": {"enum": ["run", "epoch", "load"], "default": "run"},
        "run_id": {"type": "array", "items": {"type": "string"}, "default": []},
        "epoch": _COLUMN,
        "epochs": _COLUMN,
        "network_key": {"type": "array", "items": {"type": "string"}, "default": []},
        "split": _COLUMN,
        "replicate": _COLUMN,
        "samples": _COLUMN,
        "duration": _FIGURE,
        # Rows that are idle: a column and what stands in it.
        "idle": {
            "type": ["object", "null"],
            "default": None,
            "additionalProperties": False,
            "required": ["column", "equals"],
            "properties": {"column": {"type": "string"}, "equals": {"type": "string"}},
        },
        "figures": {
            "type": "array",
            "default": [],
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["channel"],
                "properties": {
                    "channel": {"type": "string"},
                    "source": {"type": "string", "default": "reported"},
                    "device": _COLUMN,
                    "energy": _FIGURE,
                    "power": _FIGURE,
                    "zero_is_missing": {"type": "boolean", "default": False},
                },
            },
        },
        "config": {"type": "array", "items": {"type": "string"}, "default": []},
        "metric": {"type": "array", "items": {"type": "string"}, "default": []},
    },
}

Column = Callable[[str, str], pd.Series]


def safe_name(column: str) -> str:
    """A column's name as the end of one of ours: letters, digits and underscores."""
    return re.sub(r"\W+", "_", column.strip()).strip("_").lower()


def _values(
    log: Log,
    figure: dict[str, Any] | None,
    key: str,
    usual: str,
    column: Column,
    comma: bool,
    findings: list[dict[str, Any]],
) -> np.ndarray | None:
    """Values of a figure in our unit; None if the manifest names none."""
    if figure is None:
        return None
    cells = column(figure["column"], key)
    where = f"{log.path}, column '{figure['column']}'"
    value, status, cell_unit = numbers(cells, comma)
    no_comma_numbers(cells, status, where)
    stated = agreed_unit(figure.get("unit"), cell_unit, where)
    if not stated:
        findings.append(
            finding(
                log,
                "inferred_unit",
                f"Neither the file nor the manifest says the unit of '{figure['column']}'; {usual} "
                "was taken.",
                "Give 'unit' in the manifest.",
                severity="warning",
            )
        )
    ours, factor = unit_factor(stated or usual, where)
    if ours != usual:
        raise WattproofError(
            f"{log.path}: '{figure['column']}' is in {stated}, which is no {key}; correct the "
            "manifest."
        )
    result: np.ndarray = value * factor
    return result


def _key(columns: list[str], column: Column, key: str, rows: int) -> pd.Series | None:
    if not columns:
        return None
    parts = [column(name, key).astype("str").str.strip() for name in columns]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined + "/" + part
    return joined


def _whole(name: str | None, column: Column, key: str) -> list[int | None] | None:
    if name is None:
        return None
    value = pd.to_numeric(column(name, key), errors="coerce")
    return [None if not np.isfinite(v) else int(v) for v in value.to_numpy(np.float64)]


def _open_columns(
    names: list[str], prefix: str, column: Column, as_number: bool
) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name in names:
        cells = column(name, prefix)
        value = pd.to_numeric(cells, errors="coerce")
        key = f"{prefix}_{safe_name(name)}"
        # 0110 is a code, not the number 110.
        code = cells.astype("str").str.match(r"\s*0\d").any()
        if as_number or (value.notna().all() and not code):
            found[key] = [None if pd.isna(v) else float(v) for v in value]
        else:
            found[key] = cells.astype("str").str.strip().tolist()
    return found


def rows(
    log: Log,
    frame: pd.DataFrame,
    column: Column,
    decimal_comma: bool,
    findings: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Return rows of table ``reported``: one per row of the file and figure.

    Args:
        log: The log; ``settings["reported"]`` says which column is what.
        frame: Its cells.
        column: Returns a column by its name, or says that there is none.
        decimal_comma: Numbers are written like 75,31.
        findings: What had to be inferred is added here.

    Raises:
        WattproofError: The manifest names no figure, or a column that is not there.
    """
    wanted = log.settings["reported"]
    if not wanted["figures"]:
        raise WattproofError(
            f"{log.path}: the manifest names no figures of its rows; add reported.figures."
        )
    n = len(frame)
    row_number = np.arange(1, n + 1)
    run = _key(wanted["run_id"], column, "run_id", n)
    network = _key(wanted["network_key"], column, "network_key", n)
    duration = _values(log, wanted["duration"], "duration", "s", column, decimal_comma, findings)
    whole = {
        name: _whole(wanted[name], column, name)
        for name in ("epoch", "epochs", "replicate", "samples")
    }
    split = None if wanted["split"] is None else column(wanted["split"], "split").tolist()
    idle = np.zeros(n, dtype=bool)
    if wanted["idle"] is not None:
        marks = column(wanted["idle"]["column"], "idle").astype("str").str.strip()
        idle = (marks == wanted["idle"]["equals"]).to_numpy(dtype=bool)
    more = _open_columns(wanted["config"], "config", column, as_number=False)
    more |= _open_columns(wanted["metric"], "metric", column, as_number=True)
    found: list[dict[str, Any]] = []
    for figure in wanted["figures"]:
        energy = _values(log, figure["energy"], "energy", "J", column, decimal_comma, findings)
        power = _values(log, figure["power"], "power", "W", column, decimal_comma, findings)
        if energy is None and power is None:
            raise WattproofError(
                f"{log.path}: the figure '{figure['channel']}' names neither energy nor power."
            )
        device = None
        if figure["device"] is not None:
            device = column(figure["device"], "device").astype("str").str.strip().tolist()
        if power is None and energy is not None and duration is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                power = np.where(duration > 0, energy / duration, np.nan)
        if energy is None and power is not None and duration is not None:
            energy = power * duration
        for i in range(n):
            figures = {
                "energy_j": None if energy is None else float(energy[i]),
                "mean_w": None if power is None else float(power[i]),
            }
            if figure["zero_is_missing"]:
                figures = {k: None if v == 0.0 else v for k, v in figures.items()}
            found.append(
                {
                    "recording": log.recording,
                    "row": int(row_number[i]),
                    "run_id": f"row {row_number[i]}" if run is None else str(run.iloc[i]),
                    "level": "load" if idle[i] else wanted["level"],
                    "kind": "idle" if idle[i] else wanted["level"],
                    "network_key": None if network is None else str(network.iloc[i]),
                    "split": None if split is None else str(split[i]),
                    "source": figure["source"],
                    "channel": figure["channel"],
                    "device": figure["channel"].partition(".")[0] if device is None else device[i],
                    "duration_s": None if duration is None else float(duration[i]),
                    "simulated": False,
                    **{name: None if v is None else v[i] for name, v in whole.items()},
                    **figures,
                    **{name: values[i] for name, values in more.items()},
                }
            )
    return found
