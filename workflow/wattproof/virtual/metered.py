"""The wall meter's stream as arrays: what `meter.Dialect` would send, without waiting for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wattproof.virtual.meter import OVERLOAD, Dialect
from wattproof.virtual.model import PowerTrace
from wattproof.virtual.node import COUNT_MODULUS, SCTC_MODULUS

DIGITS = 6
"""Significant digits of a power as the meter prints it (``1.23456E+02``)."""


@dataclass(frozen=True, slots=True)
class Cycles:
    """Cycles of a stream, in order; those that are never sent included.

    Attributes:
        count: Cycle counter as sent (it wraps).
        ticks: Sample counter at the cycle's end, from its first value on without its wraps.
        delivery_ns: Monotonic instant at which the line leaves the meter.
        sent: Whether it is sent at all.
        power_w: As printed; NaN where the range is overloaded.
    """

    count: NDArray[np.int64]
    ticks: NDArray[np.int64]
    delivery_ns: NDArray[np.int64]
    sent: NDArray[np.bool_]
    power_w: NDArray[np.float64]


def cycles(dialect: Dialect, trace: PowerTrace, count_start: int, until_ns: int) -> Cycles:
    """Return all cycles from the running one to the last that is delivered before an instant.

    Args:
        dialect: The meter, set up and streaming; it is not changed.
        trace: True power, complete.
        count_start: Cycle counter at the node's beginning (`node.MeterState`).
        until_ns: Monotonic instant.
    """
    first, end, length = dialect.present
    model = dialect.model
    # The shortest latency is not below 0: no cycle that ends later is delivered by then.
    number = max(0, (model.counts(until_ns) - end) // length + 1)
    index = np.arange(number, dtype=np.int64)
    ends = end + index * length
    # A line waits for the one before it.
    delivery = np.maximum.accumulate(model.delivery_ns(first + index, model.mono_ns(ends)))
    kept = delivery < until_ns
    index, ends, delivery = index[kept], ends[kept], delivery[kept]
    shown_w = model.shown_w(trace, ends, length, dialect.range_w)
    overload = shown_w > OVERLOAD * dialect.range_w
    wraps = end // SCTC_MODULUS * SCTC_MODULUS
    return Cycles(
        (count_start + first + index) % COUNT_MODULUS,
        ends - wraps,
        delivery,
        model.sent(first + index),
        np.where(overload, np.nan, printed(shown_w)),
    )


def printed(power_w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to the digits that the meter prints."""
    size = np.abs(power_w)
    exponent = np.floor(np.log10(np.where(size > 0, size, 1.0)))
    # A power of ten with a positive exponent is exact, and so is what it divides.
    scale = 10.0 ** np.abs(DIGITS - 1 - exponent)
    small = exponent < DIGITS
    large = np.rint(power_w / scale) * scale
    return np.where(small, np.rint(power_w * scale) / scale, large)
