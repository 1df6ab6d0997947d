"""The power line of a counter: from its readings alone, or with the sample ring as the shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattproof.clocks.frames import BoolArray, F64Array
from wattproof.energy.counter import DEFAULT_UPDATE_S, STEPPING_SHARE, Event, unwrap
from wattproof.energy.fuse import Fused, fuse
from wattproof.energy.line import PowerLine
from wattproof.energy.ring import Ring
from wattproof.energy.timing import step_times

MIN_READS = 8
"""Fewer reads in a row are not worth a search for the grid of steps."""

FOREIGN_SHARE = 0.5
"""A ring that contradicts the counter in more than this share of its steps is left aside."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A counter as a power line, with what happened to it and how well its steps are known.

    Attributes:
        line: The power line.
        events: Wraps, resets, contradictions, in order of time.
        step_s: Instants at which the counter's own reading is known, increasing, shape (m,).
        step_w: Mean power from each to the next; NaN where it is not known, shape (m − 1,).
        shaped: Where the ring gives the shape in between, shape (m − 1,).
        mismatch: Where counter and ring contradict each other, shape (m − 1,).
        off_j: By how much the ring's energy had to be changed there, shape (m − 1,).
        fused: One entry for each unbroken stretch that was fused with the ring.
    """

    line: PowerLine
    events: tuple[Event, ...]
    step_s: F64Array
    step_w: F64Array
    shaped: BoolArray
    mismatch: BoolArray
    off_j: F64Array
    fused: tuple[Fused, ...]


def _step_knots(t_s: F64Array, energy_j: F64Array, update_s: float) -> tuple[F64Array, F64Array]:
    """Knots (time, energy) of one unbroken stretch of a counter that moves in steps.

    A new value arose between the last read of the old and the first read of the new one
    (`step_times`). Energy grows evenly from one step to the next; after a stretch without steps
    (zero power) only during the last update.
    """
    k = np.flatnonzero(np.diff(energy_j) != 0) + 1
    arose = step_times(t_s, k, update_s)
    earlier = np.concatenate((t_s[:1], arose[:-1])) if len(k) else arose
    quiet_until = np.minimum(arose - update_s, t_s[k - 1])
    poll_s = float(np.median(np.diff(t_s))) if len(t_s) > 1 else 0.0
    quiet = quiet_until > earlier + max(0.5 * update_s, 1.2 * poll_s)
    t = np.concatenate((t_s[:1], arose, quiet_until[quiet], t_s[-1:]))
    e = np.concatenate((energy_j[:1], energy_j[k], energy_j[k - 1][quiet], energy_j[-1:]))
    order = np.argsort(t, kind="stable")
    return t[order], e[order]


def update_period_s(t_s: F64Array, increment_j: F64Array, period_s: float | None) -> float | None:
    """Time between steps if the counter is read faster than it steps, else None."""
    moved = increment_j[1:] != 0
    if not len(moved) or 1 - moved.mean() <= STEPPING_SHARE:
        return None
    steps = t_s[1:][moved]
    if len(steps) >= 3:
        return float(np.median(np.diff(steps)))
    return period_s or DEFAULT_UPDATE_S


@dataclass(frozen=True, slots=True)
class _Part:
    """Knots of one unbroken stretch, and the instants at which the counter stands."""

    t_s: F64Array
    energy_j: F64Array
    step_s: F64Array
    step_j: F64Array
    shaped: BoolArray
    mismatch: BoolArray
    off_j: F64Array
    fused: Fused | None


def _part(
    t_s: F64Array, energy_j: F64Array, update_s: float | None, delay_s: float, ring: Ring | None
) -> _Part:
    foreign = False
    if update_s is not None and ring is not None and len(t_s) >= MIN_READS:
        found = fuse(t_s, energy_j, ring, update_s, delay_s)
        # A ring that fits hardly anywhere has nothing to say about the counter's grid either.
        foreign = found is not None and bool(found.mismatch.mean() > FOREIGN_SHARE)
        if found is not None and not foreign:
            return _Part(
                found.t_s,
                found.energy_j,
                found.anchor_s,
                found.anchor_j,
                found.shaped,
                found.mismatch,
                found.off_j,
                found,
            )
    knots_t, knots_e = t_s, energy_j
    if update_s is not None:
        knots_t, knots_e = _step_knots(t_s - delay_s, energy_j, update_s)
    nothing = np.zeros(max(len(knots_t) - 1, 0), dtype=bool)
    return _Part(
        knots_t, knots_e, knots_t, knots_e, nothing, nothing | foreign, nothing * 0.0, None
    )


def counter_line(
    t_s: F64Array,
    value_j: F64Array,
    wrap_j: float | None,
    cap_w: float,
    period_s: float | None,
    update_s: float | None = None,
    delay_s: float = 0.0,
    ring: Ring | None = None,
) -> Counted:
    """Turn readings of a counter into a power line, and tell what happened to the counter.

    Args:
        t_s: Instants of good readings, increasing, shape (n,), n ≥ 2.
        value_j: Readings, shape (n,).
        wrap_j: The counter returns to 0 at this value; None if it does not.
        cap_w: No device draws more.
        period_s: Expected time between new values; None if unknown.
        update_s: Time between the counter's own steps if it is known to move in steps, however
            slowly it is read; None to judge by whether values repeat.
        delay_s: From a step to when it can be read, where known.
        ring: Sample ring of the same device on the same clock.
    """
    found = unwrap(t_s, value_j, wrap_j, cap_w, 2 * (period_s or DEFAULT_UPDATE_S))
    t, known = t_s[found.keep], found.known
    total = np.cumsum(found.increment_j)
    update = update_s or update_period_s(t, found.increment_j, period_s)
    cuts = np.flatnonzero(~known)
    parts = [
        _part(t[own], total[own], update, delay_s, ring)
        for own in np.split(np.arange(len(t)), cuts)
        if len(own)
    ]
    # The segment that leads to the next stretch is the unknown one.
    false, nan = np.zeros(1, dtype=bool), np.full(1, np.nan)
    covers = [np.append(np.ones(len(part.t_s) - 1, dtype=bool), False) for part in parts]
    watts = [np.append(_rate(part.step_s, part.step_j), nan) for part in parts]
    shaped = [np.append(part.shaped, false) for part in parts]
    mismatch = [np.append(part.mismatch, false) for part in parts]
    off = [np.append(part.off_j, 0.0) for part in parts]
    knots_t = np.concatenate([part.t_s for part in parts])
    rate = _rate(knots_t, np.concatenate([part.energy_j for part in parts]))
    line = PowerLine.make(knots_t, rate, np.zeros_like(rate), np.concatenate(covers)[:-1])
    return Counted(
        line,
        found.events,
        np.concatenate([part.step_s for part in parts]),
        np.concatenate(watts)[:-1],
        np.concatenate(shaped)[:-1],
        np.concatenate(mismatch)[:-1],
        np.concatenate(off)[:-1],
        tuple(part.fused for part in parts if part.fused is not None),
    )


def _rate(t_s: F64Array, energy_j: F64Array) -> F64Array:
    dt = np.diff(t_s)
    rate: F64Array = np.divide(np.diff(energy_j), dt, out=np.zeros_like(dt), where=dt > 0)
    return rate
