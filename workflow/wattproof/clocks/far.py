"""Clocks that nothing places: no arrival stamps, so the offset may be anything.

A foreign log often has stamps of its own machine only. Its clock may be a few seconds off, whole
hours (a time zone, summer time), or years (a clock that was never set). Levels are compared at
every lag at which half of the shorter log overlaps the longer one; the more lags are looked at, the
surer a match has to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from wattproof.clocks.correlate import Peak, correlation, find_peak, high_pass, with_strength
from wattproof.clocks.levels import Levels, sum_on_grid
from wattproof.clocks.match import averaging_s, high_pass_s, slowest_s
from wattproof.units import NS_PER_S, s_to_ns

MAX_POINTS = 2**20
"""Grid points of the longer log at most: the step grows with it (1 s for 12 days)."""

USUAL_LAGS = 500
"""Number of lags for which the bar of `Peak.confidence` was set (simulated recordings)."""

ZONE_S = 900.0
"""Time zones differ by multiples of a quarter of an hour …"""

ZONE_RANGE_S = 26 * 3600.0
"""… and by no more than this (UTC−12 to UTC+14)."""

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Far:
    """Where a log lies on the recording's clock, to about a step of the coarse grid.

    Attributes:
        offset_ns: Recording's clock minus the log's.
        confidence: 0 to 1, for as many lags as were looked at.
        step_s: Grid step.
        peak: The correlation behind it.
    """

    offset_ns: int
    confidence: float
    step_s: float
    peak: Peak


def _is_zone(offset_s: float, max_offset_s: float) -> bool:
    """Whether an offset is that of a time zone and a clock that is nearly right."""
    rest = offset_s - ZONE_S * round(offset_s / ZONE_S)
    return abs(rest) <= max_offset_s and abs(offset_s) <= ZONE_RANGE_S + max_offset_s


def find(
    reference: Sequence[Levels],
    device: Sequence[Levels],
    max_offset_s: float,
) -> Far:
    """Find the lag at which two logs show the same, wherever it is.

    Args:
        reference: Series on the recording's clock; their sum is compared.
        device: Series on the clock that is sought.
        max_offset_s: A clock within this of the recording's, or of it shifted by a time zone, is
            believed on less evidence than one that is anywhere.
    """
    first_ns = min(int(s.t_ns[0]) for s in reference)
    last_ns = max(int(s.t_ns[-1]) for s in reference)
    own_ns = min(int(s.t_ns[0]) for s in device)
    end_ns = max(int(s.t_ns[-1]) for s in device)
    longest_s = max(last_ns - first_ns, end_ns - own_ns) / NS_PER_S
    period_s = slowest_s([*reference, *device])
    over_s = high_pass_s(period_s)
    step_s = max(period_s / 4, 0.02, longest_s / MAX_POINTS)
    step_ns = s_to_ns(step_s)
    count = round(longest_s / step_s) + 2
    one, one_valid = sum_on_grid(reference, first_ns, count, step_ns, averaging_s(device))
    two, two_valid = sum_on_grid(device, own_ns, count, step_ns, averaging_s(reference))
    one = high_pass(one, one_valid, step_s, over_s)
    two = high_pass(two, two_valid, step_s, over_s)
    r, overlap = correlation(one, one_valid, two, two_valid, count - 1)
    needed = 0.5 * min(np.count_nonzero(one_valid), np.count_nonzero(two_valid))
    lobe_s = 1.2 * period_s
    peak = find_peak(r, overlap, step_s, needed, lobe_s)
    peak = with_strength(peak, one, one_valid, two, two_valid, step_s)
    offset_ns = first_ns - own_ns - s_to_ns(peak.lag_s)

    lags = np.flatnonzero(overlap >= needed)
    looked = len(lags) * step_s / lobe_s
    if _is_zone(offset_ns / NS_PER_S, max_offset_s):
        # Of all lags only those that a zone and a nearly right clock allow count as looked at.
        offsets_s = (first_ns - own_ns) / NS_PER_S - (lags - (len(r) // 2)) * step_s
        rest = offsets_s - ZONE_S * np.round(offsets_s / ZONE_S)
        looked = np.count_nonzero(np.abs(rest) <= max_offset_s) * step_s / lobe_s
    # The best of n unrelated lags is expected at √(2·ln n) standard deviations.
    more = np.sqrt(2 * np.log(max(looked, 2.0))) - np.sqrt(2 * np.log(USUAL_LAGS))
    bar = replace(peak, strength=peak.strength - max(float(more), 0.0))
    return Far(offset_ns, bar.confidence, step_s, peak)


def describe(offset_ns: int) -> str:
    """Say what an offset looks like: seconds, a time zone, or a clock that was never set.

    Args:
        offset_ns: Recording's clock minus the other clock; both count from the same epoch.
    """
    offset_s = offset_ns / NS_PER_S
    side = "behind" if offset_s > 0 else "ahead"
    size_s = abs(offset_s)
    if size_s < ZONE_S / 2:
        return f"{size_s:.3f} s {side}"
    quarters = round(size_s / ZONE_S)
    rest_s = size_s - quarters * ZONE_S
    if size_s <= ZONE_RANGE_S and abs(rest_s) <= ZONE_S / 4:
        hours, minutes = divmod(quarters * 15, 60)
        zone = f"{hours} h" + (f" {minutes} min" if minutes else "")
        more = (
            ""
            if abs(rest_s) < 0.0005
            else f" {'plus' if rest_s > 0 else 'minus'} {abs(rest_s):.3f} s"
        )
        return f"{zone}{more} {side} (a time zone or summer time)"
    days = size_s / DAY_S
    long = f"{days / 365.25:.1f} years" if days > 365 else f"{days:.1f} days"
    return f"{long} {side} (a clock that was never set, or another day's log)"
