"""Counters of an LMG: what its lines carry, and how many cycles lie between two of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

COUNT_MODULUS = 2**16

SLACK_ONE = 0.02
"""Neighbours: the clock may differ from the cycle that the device says by this share."""
SLACK_CYCLES = 0.5
SLACK_SHARE = 0.1
"""Several cycles: they are whole mains periods, so their length varies when taken together."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What the stamps of a stream count.

    Attributes:
        hz: Ticks a second, nominal; the true rate differs by some ppm, which `wattproof.clocks`
            finds as drift.
        modulus: They begin anew after so many; None: never.
    """

    hz: int
    modulus: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A line as sent.

    Attributes:
        ticks: Stamp of the cycle, in ticks of the stream's `Clock`.
        cycle_s: True length of the cycle.
        powers_w: Active powers of the channels.
        count: Number of the cycle, modulo `COUNT_MODULUS`; None if the device does not number them.
    """

    ticks: int
    cycle_s: float
    powers_w: tuple[float, ...]
    count: int | None = None


Parser = Callable[[bytes], Line | None]


def ticks_between(old: Line, new: Line, clock: Clock, elapsed_s: float) -> int:
    """Ticks from one line to another; wraps in between are told by the time between arrivals."""
    ticks = new.ticks - old.ticks
    if clock.modulus is None:
        return ticks
    ticks %= clock.modulus
    return ticks + clock.modulus * max(0, round((elapsed_s * clock.hz - ticks) / clock.modulus))


def cycles_between(old: Line, new: Line, clock: Clock, elapsed_s: float) -> int | None:
    """Return how many cycles lie between two lines (1 = neighbours) by all their counters.

    None if the counters contradict each other: one of the lines is damaged in a way that still
    parses, or repeated, or the device began anew.
    """
    cycle = new.cycle_s * clock.hz
    ticks = ticks_between(old, new, clock, elapsed_s)
    if old.count is None or new.count is None:
        cycles = round(ticks / cycle)
    else:
        cycles = (new.count - old.count) % COUNT_MODULUS
        cycles += COUNT_MODULUS * max(0, round((ticks / cycle - cycles) / COUNT_MODULUS))
    several = SLACK_CYCLES * cycle + SLACK_SHARE * cycles * cycle
    slack = SLACK_ONE * cycle if cycles == 1 else several
    if cycles < 1 or abs(ticks - cycles * cycle) > slack:
        return None
    return cycles
