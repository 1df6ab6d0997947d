"""Cumulative energy counters: wrap, reset and failed read are three different events.

Rules R1 to R10 of measurement.md section 6. Failed reads never get here (they have no value);
what stands between two good readings of one counter is known whatever happened in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattproof.clocks.frames import BoolArray, F64Array
from wattproof.energy.flags import COUNTER_AMBIGUOUS, COUNTER_RESET, COUNTER_WRAP

STEPPING_SHARE = 0.2
"""A counter that repeats itself in more than this share of reads is read faster than it steps."""

LOOK_AHEAD = 5
"""So many readings are looked at to tell a wrong reading from a restart."""

DEFAULT_UPDATE_S = 0.1
"""NVML's counter steps each 100 ms (measured on an H100)."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something between two readings: kind is the name of a flag, times in seconds."""

    kind: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """A counter made monotone.

    Attributes:
        keep: Readings that are believed, shape (n,).
        increment_j: Energy from the reading before to this one, of the kept readings; 0 where it
            is not known, shape (m,).
        known: False where the energy since the reading before is not known, shape (m,).
        events: In order of time.
    """

    keep: BoolArray
    increment_j: F64Array
    known: BoolArray
    events: tuple[Event, ...]


def unwrap(
    t_s: F64Array, value_j: F64Array, wrap_j: float | None, cap_w: float, slack_s: float
) -> Unwrapped:
    """Turn counter readings into increments.

    A step is plausible if it is at most ``cap_w · (Δt + slack_s)``. A step back is a wrap if it
    is plausible as one; a wrong reading (a failed read passed on as 0, say) if a later one goes on
    plausibly where the one before stood, by a jump out of proportion; and a reset otherwise. A
    forward step beyond the cap is judged likewise. If the counter could have wrapped once more
    between two readings, they prove nothing (ambiguous).

    Args:
        t_s: Instants of good readings, increasing, shape (n,).
        value_j: Readings, shape (n,).
        wrap_j: The counter returns to 0 at this value; None if it does not.
        cap_w: No device draws more.
        slack_s: Counters move in steps: so much more time may stand behind an increment.
    """
    n = len(t_s)
    keep = np.ones(n, dtype=bool)
    increment = np.diff(value_j, prepend=value_j[:1])
    known = np.ones(n, dtype=bool)
    dt = np.diff(t_s, prepend=t_s[:1])
    limit = cap_w * (dt + slack_s)
    blind = np.zeros(n, dtype=bool)
    if wrap_j is not None:
        blind = cap_w * dt >= wrap_j
    events: list[Event] = []
    # After a restart a counter climbs by its usual steps; back from a wrong reading, it jumps.
    usual = (increment > 0) & (increment <= limit) & ~blind
    step = float(np.median(increment[usual])) if usual.any() else 0.0
    jump = 2 * step * np.maximum(dt / np.median(dt[1:]), 1.0) if n > 1 else dt

    def goes_on(before: int, wrong: int) -> int | None:
        """Return the next reading that continues from `before` if `wrong` … are mistakes."""
        for later in range(wrong + 1, min(wrong + 1 + LOOK_AHEAD, n)):
            step = value_j[later] - value_j[before]
            believable = 0 <= step <= cap_w * (t_s[later] - t_s[before] + slack_s)
            if believable and (increment[later] > jump[later] or increment[later] < 0):
                return later
        return None

    done = 0
    for k in np.flatnonzero((increment < 0) | (increment > limit) | blind):
        if k < done:
            continue
        before = int(k) - 1
        span = (float(t_s[before]), float(t_s[k]))
        if blind[k]:
            events.append(Event(COUNTER_AMBIGUOUS, *span))
            increment[k], known[k] = 0.0, False
            continue
        if increment[k] < 0 and wrap_j is not None and increment[k] + wrap_j <= limit[k]:
            events.append(Event(COUNTER_WRAP, *span))
            increment[k] += wrap_j
            continue
        later = goes_on(before, int(k))
        if later is not None:
            events.append(Event(COUNTER_AMBIGUOUS, span[0], float(t_s[later])))
            keep[k:later] = False
            increment[later] = value_j[later] - value_j[before]
            done = later + 1
            continue
        events.append(Event(COUNTER_RESET, *span))
        increment[k], known[k] = 0.0, False
    return Unwrapped(keep, increment[keep], known[keep], tuple(events))
