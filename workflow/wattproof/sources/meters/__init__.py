"""External power meters: one file per instrument family.

A new meter is a file with `SETTINGS` (JSON schema of its keys under ``sources.meter``), a function
``build(settings, endpoints) -> Source`` and one line in `_MODULES`. Modules are imported when they
are asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from wattproof.config import validate
from wattproof.errors import WattproofError, did_you_mean
from wattproof.sources.base import Source
from wattproof.sources.endpoints import Endpoints

__all__ = ["build", "complete", "create", "names", "settings_schema"]

_MODULES = {
    "archive": "wattproof.sources.meters.archive",
    "lmg450": "wattproof.sources.meters.lmg450",
    "lmg500": "wattproof.sources.meters.lmg500",
    "lmg670": "wattproof.sources.meters.lmg670",
    "lmg95": "wattproof.sources.meters.lmg95",
    "ptdaemon": "wattproof.sources.meters.ptdaemon",
    "shelly": "wattproof.sources.meters.shelly",
    "tasmota": "wattproof.sources.meters.tasmota",
    "yokogawa": "wattproof.sources.meters.yokogawa",
}
"""Module by name of the driver; a family of instruments may share one."""


def names() -> list[str]:
    """Return the names of all meter drivers."""
    return sorted(_MODULES)


def _module(driver: Any) -> ModuleType:
    if driver not in _MODULES:
        raise WattproofError(
            f"Key 'sources.meter.driver' names an unknown meter '{driver}'."
            f"{did_you_mean(str(driver), _MODULES)}"
        )
    return importlib.import_module(_MODULES[driver])


def settings_schema(driver: str) -> dict[str, Any]:
    """Return the JSON schema of a driver's settings, ``driver`` itself included.

    Raises:
        WattproofError: If there is no such driver.
    """
    own: dict[str, Any] = _module(driver).SETTINGS
    properties = {"driver": {"type": "string"}, **own["properties"]}
    return {"type": "object", "additionalProperties": False, **own, "properties": properties}


def complete(settings: Mapping[str, Any], file: str, simulated: bool) -> dict[str, Any]:
    """Check a meter's settings as its driver wants them, and fill in the driver's defaults.

    Args:
        settings: Key ``sources.meter`` of a campaign, with the key ``driver`` in it.
        file: Name of the campaign file, for messages.
        simulated: Whether a virtual node answers for the port ``auto``.

    Raises:
        WattproofError: One sentence with file, key and remedy.
    """
    driver = settings["driver"]
    if driver not in _MODULES:
        raise WattproofError(
            f"{file}: key 'sources.meter.driver' names an unknown meter '{driver}'."
            f"{did_you_mean(driver, _MODULES)}"
        )
    found = validate(dict(settings), settings_schema(driver), file, "sources.meter")
    if found.get("port") == "auto" and not simulated:
        raise WattproofError(
            f"{file}: key 'sources.meter.port' is 'auto', which only the virtual node can answer; "
            "give the port of your meter, e.g. /dev/ttyUSB0."
        )
    return found


def create(settings: Mapping[str, Any], endpoints: Endpoints) -> Source:
    """Make the meter that ``settings["driver"]`` names; nothing is opened yet.

    Raises:
        WattproofError: If there is no such driver, or no port to reach the meter at.
    """
    source: Source = _module(settings.get("driver")).build(settings, endpoints)
    return source


build = create
