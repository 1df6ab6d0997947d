"""What arrival stamps tell about a device clock: a prior, never a proof.

A device's line reaches the host after the cycle has ended, by a latency that is positive and
jitters. The line through (device stamp, arrival) therefore has the right slope and a late offset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattproof.clocks.frames import F64Array, Int64Array
from wattproof.units import NS_PER_S

BLOCKS = 24
"""Arrivals are reduced to medians of so many blocks: jitter inside a block is correlated."""

MAX_DRIFT_PPM = 500.0
"""No quartz is worse. A steeper line means that stamps came in bursts, not as they arose."""

SLOPE_FLOOR_S = 0.002
"""Latency may wander by this much over a recording without anybody noticing."""


@dataclass(frozen=True, slots=True)
class Prior:
    """Arrival line ``end = stamp + offset + drift·(stamp − anchor)``, late by the latency.

    Attributes:
        anchor_ns: A device stamp near the start.
        offset_ns: Of the line at the anchor.
        drift_ppm: Slope minus one; 0 if the arrivals cannot carry one.
        drift_u_ppm: Its standard uncertainty; infinite if there is none.
    """

    anchor_ns: int
    offset_ns: int
    drift_ppm: float
    drift_u_ppm: float


def block_medians(x: F64Array, y: F64Array) -> tuple[F64Array, F64Array]:
    """Medians of `y` (and `x`) in up to `BLOCKS` blocks of equal size."""
    parts = np.array_split(np.arange(len(x)), min(BLOCKS, len(x)))
    return (
        np.array([np.median(x[p]) for p in parts]),
        np.array([np.median(y[p]) for p in parts]),
    )


def fit(device_ns: Int64Array, end_ns: Int64Array) -> Prior:
    """Fit the arrival line by Theil–Sen on block medians.

    Args:
        device_ns: The device's stamps, increasing, shape (n,), n ≥ 1.
        end_ns: Arrival on the recording's clock, shape (n,).
    """
    anchor = int(device_ns[0])
    first = int(end_ns[0]) - anchor
    elapsed_s = (device_ns - anchor) / NS_PER_S
    late_s = (end_ns - device_ns - first) / NS_PER_S
    x, y = block_medians(elapsed_s, late_s)
    span = float(x[-1] - x[0])
    if len(x) >= 4 and span > 0:
        from scipy import stats

        slope = float(stats.theilslopes(y, x)[0])
        rest = y - slope * x
        scatter = 1.4826 * float(np.median(np.abs(rest - np.median(rest))))
        u = float(np.hypot(scatter / (span * np.sqrt(len(x) / 12)), SLOPE_FLOOR_S / span))
        if abs(slope) * 1e6 <= MAX_DRIFT_PPM:
            middle = float(np.median(rest))
            return Prior(anchor, first + round(middle * NS_PER_S), slope * 1e6, u * 1e6)
    return Prior(anchor, first + round(float(np.median(late_s)) * NS_PER_S), 0.0, float("inf"))
