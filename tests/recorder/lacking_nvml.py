"""The virtual node's driver without counter and ring (spec key "factory")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wattproof import sources
from wattproof.sources.base import Source


class Lacking:
    """Passes on all but two functions."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml

    def __getattr__(self, name: str) -> Any:
        if name in ("nvmlDeviceGetSamples", "nvmlDeviceGetTotalEnergyConsumption"):
            return self._nvml.nvmlDeviceGetEccMode  # which is not supported
        return getattr(self._nvml, name)


def build(settings: Mapping[str, Any], endpoints: sources.Endpoints, lane: str = "") -> Source:
    lacking = replace(endpoints, nvml=Lacking(endpoints.nvml))
    return sources.create("nvml", settings, lacking, lane)
