"""Energy: windows cut by marks, and the energy of each window by every channel."""

from __future__ import annotations

from wattproof.energy.flags import FLAGS
from wattproof.energy.integrate import DEFAULTS, integrate
from wattproof.energy.windows import cut_windows

__all__ = ["DEFAULTS", "FLAGS", "cut_windows", "integrate"]
