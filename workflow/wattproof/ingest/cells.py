"""Cells of foreign tables: numbers with and without units, commas, and words for "no value"."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof.errors import WattproofError
from wattproof.units import J_PER_KWH, J_PER_WH

REASONS = {
    "": "missing",
    "n/a": "not_supported",
    "na": "missing",
    "nan": "missing",
    "none": "missing",
    "null": "missing",
    "-": "missing",
    "not supported": "not_supported",
    "not available": "not_supported",
    "not found": "not_supported",
    "unknown error": "error",
    "unknown": "error",
    "err!": "error",
    "error": "error",
    "gpu is lost": "device_lost",
    "requires reset": "error",
    "gpu requires reset": "error",
    "no permission": "no_permission",
    "insufficient permissions": "no_permission",
    "overload": "overrange",
    "inf": "overrange",
    "+inf": "overrange",
    "-inf": "overrange",
}
"""What a cell says instead of a number → status of the reading."""

FACTORS: dict[str, tuple[str, float]] = {
    "w": ("W", 1.0),
    "watt": ("W", 1.0),
    "watts": ("W", 1.0),
    "mw": ("W", 1e-3),
    "uw": ("W", 1e-6),
    "µw": ("W", 1e-6),
    "kw": ("W", 1e3),
    "j": ("J", 1.0),
    "joule": ("J", 1.0),
    "joules": ("J", 1.0),
    "mj": ("J", 1e-3),
    "uj": ("J", 1e-6),
    "µj": ("J", 1e-6),
    "kj": ("J", 1e3),
    "wh": ("J", J_PER_WH),
    "mwh": ("J", J_PER_WH * 1e-3),
    "kwh": ("J", J_PER_KWH),
    "s": ("s", 1.0),
    "ms": ("s", 1e-3),
    "min": ("s", 60.0),
    "h": ("s", 3600.0),
    "%": ("%", 1.0),
    "mhz": ("Hz", 1e6),
    "hz": ("Hz", 1.0),
    "khz": ("Hz", 1e3),
    "c": ("C", 1.0),
    "mib": ("bytes", 2.0**20),
    "mb": ("bytes", 1e6),
    "gib": ("bytes", 2.0**30),
    "gb": ("bytes", 1e9),
    "bytes": ("bytes", 1.0),
    "v": ("V", 1.0),
    "a": ("A", 1.0),
    "1": ("1", 1.0),
}
"""Unit as logs write it, in lower case → our unit and the factor to it.

``mw`` and ``mj`` are milli: nobody writes the megajoules of one run.
"""

_CELL = re.compile(
    r"^\[?\s*([+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?)\s*([^\d\]\s]*)\s*\]?$"
)


def unit_factor(unit: str, where: str) -> tuple[str, float]:
    """Return our unit and the factor to it.

    Raises:
        WattproofError: The unit is not known.
    """
    found = FACTORS.get(unit.strip().lower())
    if found is None:
        known = ", ".join(("W", "mW", "kW", "J", "mJ", "uJ", "kJ", "Wh", "kWh", "s", "ms", "%"))
        raise WattproofError(f"{where}: unknown unit '{unit}'; use one of {known}.")
    return found


def numbers(
    text: pd.Series, decimal_comma: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.object_], str]:
    """Read a column of cells.

    Args:
        text: Cells, shape (n,); NaN counts as empty.
        decimal_comma: Numbers are written like 75,31.

    Returns:
        Values (NaN where there is none), statuses (``ok``, or why there is no value), and the unit
        that stands in the cells ("" for none; the commonest of several).
    """
    plain = pd.to_numeric(text, errors="coerce")
    value = plain.to_numpy(dtype=np.float64, copy=True)
    status = np.where(np.isfinite(value), "ok", "garbled").astype(object)
    left = np.flatnonzero(~np.isfinite(value))
    unit = ""
    if len(left):
        words = text.iloc[left].fillna("").astype("str").str.strip()
        reasons = words.str.lower().str.strip("[]").str.strip().map(REASONS)
        known = reasons.notna().to_numpy(dtype=bool)
        status[left[known]] = reasons[known].to_numpy(dtype=object)
        parts = words[~known].str.extract(_CELL)
        number = parts[0]
        if decimal_comma:
            number = number.str.replace(",", ".", regex=False)
        read = pd.to_numeric(number, errors="coerce").to_numpy(dtype=np.float64)
        rows = left[~known]
        good = np.isfinite(read)
        value[rows[good]] = read[good]
        status[rows[good]] = "ok"
        units = parts[1][good]
        units = units[units.fillna("") != ""]
        unit = str(units.mode().iloc[0]) if len(units) else ""
    return value, status, unit
