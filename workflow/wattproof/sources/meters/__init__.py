"""External power meters: one file per instrument family.

A new meter is a file with a function ``build(settings, endpoints) -> Source`` and one line in
`_MODULES`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from wattproof.errors import WattproofError, did_you_mean
from wattproof.sources.base import Source
from wattproof.sources.endpoints import Endpoints

__all__ = ["build", "create", "names"]

_MODULES = {"lmg450": "wattproof.sources.meters.lmg450"}


def names() -> list[str]:
    """Return the names of all meter drivers."""
    return sorted(_MODULES)


def create(settings: Mapping[str, Any], endpoints: Endpoints) -> Source:
    """Make the meter that ``settings["driver"]`` names; nothing is opened yet.

    Raises:
        WattproofError: If there is no such driver, or no port to reach the meter at.
    """
    driver = settings.get("driver")
    if driver not in _MODULES:
        raise WattproofError(
            f"Key 'sources.meter.driver' names an unknown meter '{driver}'."
            f"{did_you_mean(str(driver), _MODULES)}"
        )
    source: Source = importlib.import_module(_MODULES[driver]).build(settings, endpoints)
    return source


build = create
