"""Instruments: one file each, all with the interface of `wattproof.sources.base.Source`.

A new instrument is a file with a function ``build(settings, endpoints) -> Source`` and one line in
`_MODULES`; a new meter is the same in ``meters/``. Modules are imported when they are asked for.

An instrument whose calls differ in cost may be driven by several processes, its **lanes**, so that
the costly calls do not delay the cheap ones. Its module then has ``lanes(settings)``, which returns
settings by name of the lane (the main one is ``""``), and ``build(settings, endpoints, lane)``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from wattproof.errors import WattproofError, did_you_mean
from wattproof.sources.base import Source
from wattproof.sources.endpoints import Endpoints, real_endpoints

__all__ = ["Endpoints", "create", "lanes", "names", "real_endpoints"]

_MODULES = {
    "codecarbon": "wattproof.sources.codecarbon",
    "host": "wattproof.sources.host",
    "meter": "wattproof.sources.meters",
    "nvml": "wattproof.sources.nvml",
    "rapl": "wattproof.sources.rapl",
    "smi": "wattproof.sources.smi",
}


def names() -> list[str]:
    """Return the names of all instruments."""
    return sorted(_MODULES)


def _module(name: str) -> ModuleType:
    if name not in _MODULES:
        raise WattproofError(
            f"Key 'sources' names an unknown instrument '{name}'.{did_you_mean(name, _MODULES)}"
        )
    return importlib.import_module(_MODULES[name])


def lanes(name: str, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the settings of each process that drives an instrument, by name of the lane.

    Args:
        name: Name of the instrument.
        settings: Its part of the campaign.

    Returns:
        ``{"": settings}`` for most instruments; the main lane comes first.

    Raises:
        WattproofError: If there is no such instrument.
    """
    module = _module(name)
    if not hasattr(module, "lanes"):
        return {"": dict(settings)}
    found: dict[str, dict[str, Any]] = module.lanes(settings)
    return found


def create(name: str, settings: Mapping[str, Any], endpoints: Endpoints, lane: str = "") -> Source:
    """Make a source; nothing is opened yet.

    Args:
        name: Name of the instrument.
        settings: Its part of the campaign (key ``sources.{name}``), or that of one of its lanes.
        endpoints: What stands where the drivers stand.
        lane: Which of its lanes; ``""`` is the main one, and for most instruments the only one.

    Raises:
        WattproofError: If there is no such instrument or lane, or its driver is absent.
    """
    module = _module(name)
    if hasattr(module, "lanes"):
        source: Source = module.build(settings, endpoints, lane)
    elif lane:
        raise WattproofError(f"Instrument '{name}' has no lanes, so none of the name '{lane}'.")
    else:
        source = module.build(settings, endpoints)
    return source
