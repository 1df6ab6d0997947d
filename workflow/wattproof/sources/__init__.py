"""Instruments: one file each, all with the interface of `wattproof.sources.base.Source`.

A new instrument is a file with a function ``build(settings, endpoints) -> Source`` and one line in
`_MODULES`; a new meter is the same in ``meters/``. Modules are imported when they are asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from wattproof.errors import WattproofError, did_you_mean
from wattproof.sources.base import Source
from wattproof.sources.endpoints import Endpoints, real_endpoints

__all__ = ["Endpoints", "create", "names", "real_endpoints"]

_MODULES = {
    "host": "wattproof.sources.host",
    "meter": "wattproof.sources.meters",
    "nvml": "wattproof.sources.nvml",
    "rapl": "wattproof.sources.rapl",
    "smi": "wattproof.sources.smi",
}


def names() -> list[str]:
    """Return the names of all instruments."""
    return sorted(_MODULES)


def create(name: str, settings: Mapping[str, Any], endpoints: Endpoints) -> Source:
    """Make a source; nothing is opened yet.

    Args:
        name: Name of the instrument.
        settings: Its part of the campaign (key ``sources.{name}``).
        endpoints: What stands where the drivers stand.

    Raises:
        WattproofError: If there is no such instrument, or its driver is absent.
    """
    if name not in _MODULES:
        raise WattproofError(
            f"Key 'sources' names an unknown instrument '{name}'.{did_you_mean(name, _MODULES)}"
        )
    source: Source = importlib.import_module(_MODULES[name]).build(settings, endpoints)
    return source
