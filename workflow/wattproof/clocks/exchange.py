"""Offset and drift of a clock from messages that both machines stamped.

A command was stamped before it was sent, by the other machine when it came (or when it answered),
and again when the answer was there. So the other machine's clock minus ours lies between
``device − received`` and ``device − sent``, whatever the network did (Cristian, 1989; NTP).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattproof.clocks.frames import F64Array, Int64Array
from wattproof.clocks.match import MIN_DRIFT_SPAN_S, QUARTZ_PPM, Refusal
from wattproof.units import NS_PER_S

GRANULARITY_S = 0.016
"""Clocks of some systems (Windows) step by 15.6 ms: bounds may contradict each other by as much."""

WIDE = 3.0
"""Messages whose bounds are so many times wider than the tightest ones' say nothing more."""

SURE_S, UNSURE_S = 0.1, 2.0
"""Bounds as tight as the first give full confidence in the offset, as wide as the second none."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What messages tell: ``host = device + offset + drift·(device − anchor)``.

    Attributes:
        anchor_ns: A stamp of the device.
        offset_ns: Host's clock minus the device's there.
        drift_ppm: 0 where the messages cannot carry one.
        residual_s: Spread of single messages around the line.
        half_width_s: Half the distance of the tightest bounds.
        messages: Messages used.
        confidence: 0 to 1.
    """

    anchor_ns: int
    offset_ns: int
    drift_ppm: float
    residual_s: float
    half_width_s: float
    messages: int
    confidence: float


def _line(t_s: F64Array, y_s: F64Array, u_s: F64Array) -> tuple[float, float]:
    """Offset at t = 0 and slope, weighted; the slope is held near 0 as a quartz' is."""
    weight = 1 / u_s**2
    middle = float(np.average(t_s, weights=weight))
    spread = float(np.sum(weight * (t_s - middle) ** 2))
    slope = float(np.sum(weight * (t_s - middle) * y_s)) / (spread + (QUARTZ_PPM * 1e-6) ** -2)
    return float(np.average(y_s, weights=weight)) - slope * middle, slope


def fit(sent_ns: Int64Array, device_ns: Int64Array, received_ns: Int64Array) -> Exchange | Refusal:
    """Fit offset and drift to messages, or say why they cannot be trusted.

    Args:
        sent_ns: Our clock before a message was sent, shape (n,).
        device_ns: The other clock in between.
        received_ns: Our clock when the answer was there.
    """
    if not len(device_ns):
        return Refusal("No message between the two machines carries the stamps of both.")
    width_s = (received_ns - sent_ns) / NS_PER_S
    if (width_s < 0).any():
        return Refusal("An answer was stamped before its question; the recording's clock was set.")
    tight = width_s <= max(WIDE * float(width_s.min()), GRANULARITY_S)
    sent, device, received = sent_ns[tight], device_ns[tight], received_ns[tight]
    anchor = int(device[0])
    first = int(sent[0]) - anchor
    # Host minus device, relative to the first message's: small numbers that a float can hold.
    low_s = (sent - device - first) / NS_PER_S
    high_s = (received - device - first) / NS_PER_S
    middle_s, half_s = (low_s + high_s) / 2, (high_s - low_s) / 2
    t_s = (device - anchor) / NS_PER_S
    span_s = float(t_s.max() - t_s.min())
    if span_s >= MIN_DRIFT_SPAN_S and len(t_s) >= 4:
        offset_s, slope = _line(t_s, middle_s, np.hypot(half_s, GRANULARITY_S))
    else:
        offset_s, slope = float(np.median(middle_s)), 0.0
    rest = middle_s - (offset_s + slope * t_s)
    outside = np.abs(rest) - half_s
    if float(outside.max()) > 2 * GRANULARITY_S:
        return Refusal(
            f"The messages contradict each other by {float(outside.max()):.3f} s: a clock was set "
            "between them, or they are of different sessions."
        )
    half = float(half_s.min())
    confidence = float(np.clip((UNSURE_S - half) / (UNSURE_S - SURE_S), 0.0, 1.0))
    return Exchange(
        anchor,
        first + round(offset_s * NS_PER_S),
        slope * 1e6,
        float(np.sqrt(np.mean(rest**2))),
        half,
        len(t_s),
        confidence,
    )
