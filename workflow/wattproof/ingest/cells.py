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
"""Unit as logs write it, in lower case → our unit and the factor to it."""

DIMENSION = {
    "power": "W",
    "limit": "W",
    "energy": "J",
    "utilisation": "%",
    "clock": "Hz",
    "temperature": "C",
}
"""Kind of a channel → the only unit of ours that it can be in (others may be in several)."""

_MEGA = re.compile(r"^M(W|J|Wh)$")

_CELL = re.compile(
    r"^\[?\s*([+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?)\s*([^\d\]\s]*)\s*\]?$"
)

_THOUSANDS = re.compile(r"^\s*[+-]?\d{1,3}(\.\d{3})+,\d+(\D|$)")


def unit_factor(unit: str, where: str) -> tuple[str, float]:
    """Return our unit and the factor to it.

    Raises:
        WattproofError: The unit is not known, or it is mega by the letter and milli by habit.
    """
    if _MEGA.match(unit.strip()):
        rest = unit.strip()[1:]
        raise WattproofError(
            f"{where}: '{unit}' is mega, which few reach, and some write it for milli; state "
            f"'m{rest}' in the manifest, or 'k{rest}' with scale: 1000."
        )
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
        that stands in the cells ("" for none). Where several stand there (``900 W``, ``1.1 kW``),
        values are in the commonest one; a cell that cannot be told in it is ``garbled``, as is a
        cell with a point in a column of decimal commas.
    """
    if decimal_comma:
        # 1.234,5 has points between thousands; 1.234 alone may be either number.
        points = text.fillna("").astype("str").str.contains(".", regex=False)
        sure = text.fillna("").astype("str").str.match(_THOUSANDS)
        text = text.mask(points & sure, text.astype("str").str.replace(".", "", regex=False))
        text = text.mask(points & ~sure, "garbled")
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
        written = units[units.fillna("") != ""]
        unit = str(written.mode().iloc[0]) if len(written) else ""
        if written.nunique() > 1:
            _to_one_unit(value, status, rows[good], units.fillna(""), unit)
    return value, status, unit


def _to_one_unit(
    value: NDArray[np.float64],
    status: NDArray[np.object_],
    rows: NDArray[np.intp],
    units: pd.Series,
    unit: str,
) -> None:
    """Bring the cells of other units to `unit`, in place; those that cannot be are garbled."""
    ours, factor = FACTORS.get(unit.lower(), ("", 1.0))
    for other in units.unique():
        if other in ("", unit):
            continue
        theirs, their_factor = FACTORS.get(other.lower(), (None, 1.0))
        mine = rows[(units == other).to_numpy(dtype=bool)]
        if theirs == ours and not _MEGA.match(other):
            value[mine] *= their_factor / factor
        else:
            value[mine], status[mine] = np.nan, "garbled"


def agreed_unit(stated: str | None, in_cells: str, where: str) -> str:
    """Return the unit that the manifest states, or the one in the cells; "" if there is neither.

    Raises:
        WattproofError: They contradict each other.
    """
    if stated and in_cells and unit_factor(stated, where) != unit_factor(in_cells, where):
        raise WattproofError(
            f"{where}: the manifest says '{stated}' and the file '{in_cells}'; correct or drop the "
            "manifest's unit."
        )
    return stated or in_cells


def has_comma_numbers(text: pd.Series, status: NDArray[np.object_]) -> bool:
    """Whether more than half of the unreadable cells look like 75,31."""
    bad = text[status == "garbled"].astype("str").str.strip()
    return len(bad) > 0 and bool(bad.str.match(r"^[+-]?\d+,\d+(\s|$)").mean() > 0.5)


def no_comma_numbers(text: pd.Series, status: NDArray[np.object_], where: str) -> None:
    """Refuse a column whose numbers have decimal commas that nobody declared.

    Raises:
        WattproofError: More than half of the unreadable cells look like 75,31.
    """
    if has_comma_numbers(text, status):
        first = str(text[status == "garbled"].iloc[0]).strip()
        raise WattproofError(
            f"{where}: its numbers have decimal commas ('{first}'); say decimal_comma: true in the "
            "manifest."
        )
