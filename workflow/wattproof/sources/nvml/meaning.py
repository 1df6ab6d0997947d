"""What NVML's power values mean, by generation of the GPU (measurement.md sections 2 and 5).

Sources: NVML API reference (which call is an average), arXiv 2312.02741 (update periods and
windows of the sensors). A generation that nobody measured has None, and its channels say so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

KEPLER, MAXWELL, PASCAL, VOLTA, TURING, AMPERE, ADA, HOPPER = range(2, 10)
NAMES = ("Kepler", "Maxwell", "Pascal", "Volta", "Turing", "Ampere", "Ada", "Hopper", "Blackwell")
AVERAGE_S = 1.0
"""What the driver's average covers, wherever it gives one."""
_GA100 = re.compile(r"\b(A100|A800|A30)[A-Z]?\b|\bCMP 170HX\b")
"""Boards with the chip GA100, whose sensor is that of a Volta's successor, not of an RTX's."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """How the power sensor of a generation works.

    Attributes:
        generation: Its name, "unknown" where the driver does not tell or it is newer than this.
        update_s: Time between new values of the instant reading; None if nobody measured it.
        window_s: What the instant reading is the mean of; None if nobody measured it.
        usage_averaged: Whether ``nvmlDeviceGetPowerUsage`` is the 1 s average; None if unknown.
    """

    generation: str
    update_s: float | None
    window_s: float | None
    usage_averaged: bool | None

    @property
    def usage_window_s(self) -> float | None:
        """What ``nvmlDeviceGetPowerUsage`` is the mean of; None if unknown."""
        return AVERAGE_S if self.usage_averaged else self.window_s


def meaning(architecture: int | None, name: str) -> Meaning:
    """Return what is known of a GPU's power sensor.

    Args:
        architecture: ``NVML_DEVICE_ARCH_*``; None if the driver does not tell.
        name: Name of the board.
    """
    if architecture is None or not KEPLER <= architecture < KEPLER + len(NAMES):
        # Newer than this list: average since Ampere, says the API reference.
        newer = architecture is not None and HOPPER < architecture < 100
        return Meaning("unknown", None, None, True if newer else None)
    generation = NAMES[architecture - KEPLER]
    if architecture in (KEPLER, MAXWELL):
        return Meaning(generation, 0.020, None, False)  # logarithmic response: no window
    if architecture in (PASCAL, VOLTA):
        return Meaning(generation, 0.020, 0.010, False)
    if architecture == TURING:
        return Meaning(generation, 0.100, 0.100, False)
    if architecture == AMPERE:
        if _GA100.search(name):
            return Meaning("Ampere (GA100)", 0.100, 0.025, False)
        return Meaning(generation, 0.100, 0.100, True)
    if architecture == HOPPER:
        return Meaning(generation, 0.100, 0.020 if "GH200" in name else 0.025, True)
    return Meaning(generation, None, None, True)
