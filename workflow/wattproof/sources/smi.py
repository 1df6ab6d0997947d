"""nvidia-smi in two ways: a process per sample as EA-HAS-Bench does it, and its ``-lms`` loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wattproof.errors import WattproofError
from wattproof.sources.base import Source
from wattproof.sources.endpoints import Endpoints
from wattproof.sources.smi_loop import SmiLoopSource
from wattproof.sources.smi_spawn import SmiSpawnSource

__all__ = ["SmiLoopSource", "SmiSpawnSource", "build"]


def build(settings: Mapping[str, Any], endpoints: Endpoints) -> Source:
    """Make the source from a campaign's settings.

    Raises:
        WattproofError: If there is no nvidia-smi, or the mode is unknown.
    """
    if endpoints.smi_command is None:
        raise WattproofError(
            "There is no nvidia-smi on the PATH; install the driver's tools, or remove 'smi' from "
            "'sources'."
        )
    mode = settings.get("mode", "spawn")
    period_s = settings.get("period_s", 0.1)
    if mode == "spawn":
        return SmiSpawnSource(endpoints.smi_command, period_s, endpoints.simulated)
    if mode == "loop":
        return SmiLoopSource(endpoints.smi_command, period_s, endpoints.simulated)
    raise WattproofError(
        f"Key 'sources.smi.mode' is '{mode}'; it must be 'spawn' (a process per sample) or 'loop'."
    )
