"""Joules in other units: watt-hours, and the carbon behind them.

How much carbon a joule costs depends on where and when it was drawn, so nothing here has a silent
default: pass your own figures, or name one of those below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wattproof.errors import WattproofError
from wattproof.units import j_to_kwh, j_to_wh

GRID_KG_PER_KWH: Mapping[str, float] = {
    "world 2022": 0.436,  # Ember, Global Electricity Review 2023
    "Germany 2023": 0.381,  # Ember and Energy Institute, by Our World in Data
    "France 2023": 0.056,  # Ember and Energy Institute, by Our World in Data
}
"""kg of CO2 equivalents per kWh generated, a year's mean (source beside each)."""

PUE_INDUSTRY_2023 = 1.58
"""Mean power usage effectiveness of data centres: energy of the site over energy of its computers
(Uptime Institute, Global Data Center Survey 2023). A wall meter at the node sees the latter."""


def to_wh(energy_j: Any) -> Any:
    """Convert joules to watt-hours; a number, an array or a column."""
    return j_to_wh(energy_j)


def to_kwh(energy_j: Any) -> Any:
    """Convert joules to kilowatt-hours; a number, an array or a column."""
    return j_to_kwh(energy_j)


def kg_co2e(energy_j: Any, grid_kg_per_kwh: float, pue: float = 1.0) -> Any:
    """Convert joules to kg of CO2 equivalents.

    Args:
        energy_j: A number, an array or a column.
        grid_kg_per_kwh: Carbon intensity of the electricity; see `GRID_KG_PER_KWH`.
        pue: Energy of the data centre over that of its computers, at least 1. 1 counts the node
            alone, which is what a benchmark's energies are of.

    Raises:
        WattproofError: A factor is impossible.

    Example:
        >>> round(kg_co2e(3.6e6, GRID_KG_PER_KWH["Germany 2023"], PUE_INDUSTRY_2023), 3)
        0.602
    """
    if not 0 <= grid_kg_per_kwh < 10:
        raise WattproofError(
            f"grid_kg_per_kwh={grid_kg_per_kwh!r} cannot be: electricity costs 0 to 2 kg of CO2 "
            "equivalents per kWh; look whether it is in grams."
        )
    if not 1 <= pue < 10:
        raise WattproofError(
            f"pue={pue!r} cannot be: a data centre draws at least what its computers draw; give 1 "
            "or more."
        )
    return to_kwh(energy_j) * grid_kg_per_kwh * pue
