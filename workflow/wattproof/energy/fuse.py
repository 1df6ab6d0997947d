"""A counter and the sample ring of the same device as one power line.

The counter knows exactly *how much* energy lies between two of its steps; the ring knows *when* it
was drawn, to 20 ms. So the counter's readings are anchors at the instants of its steps
(`wattproof.energy.fit`), and between two anchors the energy is laid out as the ring says.

What remains between an anchored energy and the ring's is laid where the ring knows least: where
samples are the power at their stamps, a change between two of them happened at an unknown instant
between; it is moved to where it makes the energies equal. The rest is spread in proportion.

If counter and ring contradict each other by more than their limits of error, they are not fused:
the counter counts alone, and the windows say so (``counter_ring_mismatch``). If the ring tells of a
step before the counter can have shown it, the ring's stamps are late: a driver that repeats the
sensor's latest value in its ring does that by one update of the sensor, and the ring is set back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattproof.clocks.frames import BoolArray, F64Array
from wattproof.energy.anchors import ABSOLUTE_LIMIT_J, covered, find_anchors
from wattproof.energy.fit import Grid
from wattproof.energy.line import PowerLine
from wattproof.energy.ring import Ring

RELATIVE_LIMIT = 0.05
"""Both come from one sensor, but may be calibrated apart: a limit of ±5 % each way."""
BAD_SHARE = 0.3
BAD_STEPS = 10
"""Counter and ring mismatch where more than this share of so many steps around contradict."""
SPREAD_PHASES = 0.7
"""Values of the ring change all over the update period if the resultant of their phases is less."""
CLEAR_EDGE = 0.5
POINT_SHARE = 0.3
"""Samples are points if what they miss is more than this share of what points would miss, between
steps at which power changes by less than `CLEAR_EDGE` of that per sample."""


@dataclass(frozen=True, slots=True)
class Fused:
    """A counter with the shape of a ring.

    Attributes:
        t_s: Knots, not decreasing.
        energy_j: Cumulative energy at the knots, on the counter's scale.
        anchor_s: Instants at which the counter itself stands, increasing.
        anchor_j: What it shows there.
        shaped: Whether the ring gives the shape from each anchor to the next.
        mismatch: Whether counter and ring contradict each other there.
        off_j: By how much the ring's energy had to be changed there; 0 where it is not used.
        late_s: How late the ring's stamps are.
        point: Whether its samples are the power at their stamps; None if that did not show.
        fresh: True if the ring proves that the sensor sees more than one value per step.
        delay_s: From a step of the counter to when it can be read.
    """

    t_s: F64Array
    energy_j: F64Array
    anchor_s: F64Array
    anchor_j: F64Array
    shaped: BoolArray
    mismatch: BoolArray
    off_j: F64Array
    late_s: float
    point: bool | None
    fresh: bool
    delay_s: float


def _point_scatter_j(line: PowerLine, grid_s: F64Array) -> F64Array:
    """What point samples may miss of the energy between neighbouring instants, rectangular."""
    dt = np.diff(line.t_s)
    jump = np.abs(np.diff(line.level_w)) * np.minimum(dt[1:], dt[:-1])
    total = np.concatenate(([0.0], np.cumsum(jump**2), [np.sum(jump**2)]))
    squares = np.diff(np.interp(grid_s, line.t_s, total))
    result: F64Array = np.sqrt(np.maximum(squares, 0.0) / 12)
    return result


def _drop_stragglers(
    at_s: F64Array, energy_j: F64Array, off_j: F64Array, limit_j: F64Array
) -> BoolArray:
    """Which anchors to keep: not those whose two sides are off by opposite amounts."""
    keep = np.ones(len(at_s), dtype=bool)
    if len(off_j) > 1:
        left, right = off_j[:-1], off_j[1:]
        both = (np.abs(left) > limit_j[:-1]) & (np.abs(right) > limit_j[1:])
        cancel = np.abs(left + right) <= np.maximum(limit_j[:-1] + limit_j[1:], 0.2 * np.abs(left))
        keep[1:-1] = ~(both & cancel)
    return keep


def _compare(
    at_s: F64Array, energy_j: F64Array, line: PowerLine
) -> tuple[F64Array, F64Array, F64Array]:
    """Return the ring's energy, the difference, and its limit, between neighbouring anchors."""
    ring = np.diff(np.interp(at_s, line.t_s, line.energy_j))
    own = np.diff(energy_j)
    scatter = _point_scatter_j(line, at_s)
    limit = RELATIVE_LIMIT * np.maximum(np.abs(own), np.abs(ring)) + 3 * scatter + ABSOLUTE_LIMIT_J
    return ring, own - ring, limit


def _moved_jumps(line: PowerLine, at_s: F64Array, off_j: F64Array) -> PowerLine:
    """Move the largest change of each step to where it makes the step's energy right."""
    jump = np.diff(line.level_w)
    step = np.searchsorted(at_s, line.t_s[1:-1], side="right") - 1
    inside = (step >= 0) & (step < len(off_j))
    size = np.where(inside, np.abs(jump), 0.0)
    order = np.lexsort((-size, step))
    first = order[np.append(True, np.diff(step[order]) != 0)]
    first = first[inside[first] & (size[first] > 0)]
    knots = line.t_s.copy()
    k = first + 1
    room = np.minimum(knots[k] - knots[k - 1], knots[k + 1] - knots[k]) / 2
    low = np.maximum(knots[k] - room, at_s[step[first]])
    high = np.minimum(knots[k] + room, at_s[step[first] + 1])
    knots[k] = np.clip(knots[k] - off_j[step[first]] / jump[first], low, high)
    return PowerLine.make(knots, line.level_w, line.slope_w_s, line.covered)


def _shape(
    at_s: F64Array, energy_j: F64Array, line: PowerLine, shaped: BoolArray
) -> tuple[F64Array, F64Array]:
    """Return knots and energies: the ring's between anchors where `shaped`, else straight."""
    step = np.searchsorted(at_s, line.t_s, side="right") - 1
    use = (step >= 0) & (step < len(shaped))
    use[use] = shaped[step[use]]
    inner, step = line.t_s[use], step[use]
    ring_at = np.interp(at_s, line.t_s, line.energy_j)
    share = np.interp(inner, line.t_s, line.energy_j) - ring_at[step]
    whole = np.diff(ring_at)[step]
    even = (inner - at_s[step]) / np.diff(at_s)[step]
    share = np.divide(share, whole, out=even, where=whole > 0)
    inside = energy_j[step] + np.clip(share, 0.0, 1.0) * np.diff(energy_j)[step]
    t = np.concatenate((at_s, inner))
    order = np.argsort(t, kind="stable")
    return t[order], np.concatenate((energy_j, inside))[order]


def _mismatch(bad: BoolArray) -> BoolArray:
    """Where contradictions are no exception."""
    width = min(2 * BAD_STEPS + 1, len(bad))
    total = np.concatenate(([0.0], np.cumsum(bad)))
    low = np.clip(np.arange(len(bad)) - BAD_STEPS, 0, len(bad) - width)
    result: BoolArray = (total[low + width] - total[low]) / width > BAD_SHARE
    return result


def _is_fresh(ring: Ring, grid: Grid, t_s: F64Array) -> bool:
    """Whether values change all over the update period, not only at one phase of it."""
    changed = np.flatnonzero(np.diff(ring.power_w) != 0) + 1
    if len(changed) < 20 or ring.hold_s:
        return False
    near = np.clip(np.searchsorted(t_s, ring.t_s[changed]), 0, len(t_s) - 1)
    phase = (ring.t_s[changed] - grid.phase_s[near]) / grid.period_s[near] % 1.0
    size = np.abs(np.diff(ring.power_w))[changed - 1]
    # No single jump may outweigh the rest: what counts is where changes happen.
    size = np.minimum(size, np.median(size))
    resultant = abs(np.sum(size * np.exp(2j * np.pi * phase))) / np.sum(size)
    return bool(resultant < SPREAD_PHASES)


def _is_point(ring: Ring, at_s: F64Array, energy_j: F64Array, line: PowerLine) -> bool | None:
    """Whether samples are points: then they miss some of each change, means miss nothing."""
    if ring.point is not None:
        return ring.point
    held = covered(line, at_s)
    ring_j, off_j, limit_j = _compare(at_s, energy_j, line)
    fine = held & (np.abs(off_j) <= limit_j)
    scatter = _point_scatter_j(line, at_s)
    # A sample that a step falls into tells nothing of how its energy is shared by both sides.
    change = line.change(at_s) * ring.period_s
    fine &= np.maximum(change[1:], change[:-1]) < CLEAR_EDGE * scatter
    scatter = scatter[fine]
    if not len(scatter) or np.sum(scatter) < 1e-3 * np.sum(ring_j[fine]):
        return None
    # A gain between the two is no sign of points.
    gain = np.sum(ring_j[fine] + off_j[fine]) / np.sum(ring_j[fine])
    missed = np.abs(off_j[fine] - (gain - 1) * ring_j[fine])
    return bool(np.sum(missed) > POINT_SHARE * np.sum(scatter))


def fuse(
    t_s: F64Array, energy_j: F64Array, ring: Ring, period_s: float, delay_s: float
) -> Fused | None:
    """Fuse one unbroken stretch of a counter with the ring of its device.

    Args:
        t_s: Instants of the reads, increasing, shape (n,).
        energy_j: Energy counted, without wraps, shape (n,).
        ring: The ring.
        period_s: Nominal time between steps of the counter.
        delay_s: From a step to when it can be read, where known; else 0.

    Returns:
        None if the ring does not overlap with the counter, or there are too few reads.
    """
    found = find_anchors(t_s, energy_j, ring, period_s, delay_s)
    if found is None:
        return None
    at_s, anchor_j, line = found.at_s, found.energy_j, ring.line(False, found.late_s)
    point = _is_point(ring, at_s, anchor_j, line)
    if point:
        # The same cells, half a period later: so is the grid that was found with them.
        at_s = at_s + ring.period_s / 2
        line = ring.line(True, found.late_s)
    _, off_j, limit_j = _compare(at_s, anchor_j, line)
    off_j = np.where(covered(line, at_s), off_j, 0.0)
    keep = _drop_stragglers(at_s, anchor_j, off_j, limit_j)
    at_s, anchor_j = at_s[keep], anchor_j[keep]
    held = covered(line, at_s)
    _, off_j, limit_j = _compare(at_s, anchor_j, line)
    bad = held & (np.abs(off_j) > limit_j)
    mismatch = _mismatch(bad) & held
    shaped = held & ~bad & ~mismatch
    if point:
        line = _moved_jumps(line, at_s, np.where(shaped, off_j, 0.0))
    knots_t, knots_e = _shape(at_s, anchor_j, line, shaped)
    fresh = not found.late_s and _is_fresh(ring, found.grid, t_s) and bool(shaped.mean() > 0.5)
    delay = found.grid.delay_s - (ring.period_s / 2 if point else 0.0)
    return Fused(
        knots_t,
        knots_e,
        at_s,
        anchor_j,
        shaped,
        mismatch,
        np.where(shaped, off_j, 0.0),
        found.late_s,
        point,
        fresh,
        delay,
    )
