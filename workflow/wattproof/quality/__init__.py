"""What is wrong with data, by name, with evidence and remedy (principle 1 before all).

`flag_windows` flags energies of windows, `inspect` looks at one recording, `survey` at a whole set.
"""

from wattproof.quality.flags import FLAGS, SEVERITIES, Flag, describe
from wattproof.quality.inspection import channels_of, inspect
from wattproof.quality.surveying import survey
from wattproof.quality.windows import device_limits, flag_windows, idle_power_w

__all__ = [
    "FLAGS",
    "SEVERITIES",
    "Flag",
    "channels_of",
    "describe",
    "device_limits",
    "flag_windows",
    "idle_power_w",
    "inspect",
    "survey",
]
