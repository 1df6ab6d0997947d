"""NVML by three lanes, each a process of its own, so that costly calls do not delay cheap ones.

| lane | file | reads |
|---|---|---|
| main | `main` | power by field id, utilisation, throttling, memory, clock, temperature |
| ``counter`` | `counter` | the energy counter (milliseconds a read) |
| ``ring`` | `ring` | the driver's own 20 ms power samples |

Facts: NVML API reference; measurement.md sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wattproof.errors import WattproofError
from wattproof.sources.base import Source
from wattproof.sources.endpoints import Endpoints
from wattproof.sources.nvml.counter import COUNTER_PERIOD_S, CounterSource
from wattproof.sources.nvml.main import NvmlSource
from wattproof.sources.nvml.ring import RingSource

__all__ = ["CounterSource", "NvmlSource", "RingSource", "build", "lanes"]

MAIN, COUNTER, RING = "", "counter", "ring"


def lanes(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the settings of each lane: all of them, since each lane takes what it needs."""
    names = (MAIN, COUNTER, RING) if settings.get("ring", True) else (MAIN, COUNTER)
    return {name: dict(settings) for name in names}


def build(settings: Mapping[str, Any], endpoints: Endpoints, lane: str = MAIN) -> Source:
    """Make the source of a lane from a campaign's settings.

    Raises:
        WattproofError: If the NVML module is not installed, or there is no such lane.
    """
    if endpoints.nvml is None:
        raise WattproofError(
            "NVML's Python module is not installed: pip install nvidia-ml-py, or remove 'nvml' "
            "from 'sources'."
        )
    nvml, simulated, gpus = endpoints.nvml, endpoints.simulated, settings.get("gpus", "all")
    if lane == MAIN:
        return NvmlSource(nvml, settings.get("period_s", 0.05), simulated, gpus)
    if lane == COUNTER:
        period_s = settings.get("counter_period_s", COUNTER_PERIOD_S)
        return CounterSource(nvml, period_s, simulated, gpus)
    if lane == RING:
        return RingSource(nvml, simulated, gpus)
    raise WattproofError(f"NVML has no lane '{lane}'; it has '', 'counter' and 'ring'.")
