"""Clocks: every source's time base is brought to the recording's monotonic clock, or refused.

`align` finds offset and drift by comparing levels; `to_recording_time` applies what it found.
"""

from __future__ import annotations

from wattproof.clocks.align import DEFAULTS, align
from wattproof.clocks.stamps import COLUMNS, channel_time, to_recording_time

__all__ = ["COLUMNS", "DEFAULTS", "align", "channel_time", "to_recording_time"]
