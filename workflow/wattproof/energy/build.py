"""From the good samples of one channel to its power line, and to what is known of its quality."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wattproof.clocks.frames import BoolArray, F64Array, Int64Array
from wattproof.clocks.levels import held_updates, update_limit_s
from wattproof.energy.counter import Event
from wattproof.energy.fuse import Fused
from wattproof.energy.line import PowerLine, cycles, trapezoids
from wattproof.energy.ring import Ring, make_ring
from wattproof.energy.sensor import DESCRIPTION, Sensor
from wattproof.energy.stepline import Counted, counter_line
from wattproof.units import NS_PER_S

CYCLE_TOLERANCE = 0.2
"""Values are cycle means if their distance is the averaging time to within this share."""
MEAN_U_S, POINT_U_S = 0.0015, 0.004
"""How well steps of a counter are placed by a ring of means, and by one of points (simulated, see
``tests/energy/test_fused_energy.py``)."""
SQRT_3 = float(np.sqrt(3.0))
SQRT_12 = float(np.sqrt(12.0))


@dataclass(frozen=True, slots=True)
class Series:
    """Good samples of a channel on the recording's clock.

    Attributes:
        t_ns: Instants, not decreasing, int64, shape (n,).
        value: Watts or joules, shape (n,).
        streamed: The device sent the values by itself, so stamps are ends of its cycles.
        proven: False if the source's clock was refused; then there are no samples.
        clock_s: Spread of the source's alignment, NaN if unknown, 0 on the host's clock.
    """

    t_ns: Int64Array
    value: F64Array
    streamed: bool
    proven: bool
    clock_s: float


@dataclass(frozen=True, slots=True)
class Companion:
    """The sample ring of the device that a counter belongs to.

    Attributes:
        series: Its good samples.
        period_s: Nominal time between them.
        sensor: What is known of its sensor.
    """

    series: Series
    period_s: float | None
    sensor: Sensor


@dataclass(frozen=True, slots=True)
class Built:
    """A power line with what its uncertainty and its flags need.

    Attributes:
        line: Energy is read off this.
        edges: Levels and their changes at the edges of windows are read off this.
        shape_j: By how much the shape did not fit, for all instants, or one for each segment from
            `knot_s` to `knot_s`.
        edge_s: Time within which a change at an edge may lie anywhere: for all instants, or one
            for each segment from `knot_s` to `knot_s`.
        knot_s: See `edge_s` and `mismatch`.
        known_s: Instants at which a counter is known, shape (h,).
        spread: Where the energy from one to the next is merely spread evenly, shape (h − 1,).
        timing_s: Standard uncertainty of the position in time, beyond the clock's.
        events: What happened to a counter.
        mismatch: Segments in which counter and ring contradict each other.
        looks: Bounds and values of what a part-time sensor saw; None if it sees everything.
        sensor: What is known of the sensor.
        fused: How counter and ring were fused.
        blur_s: Values are running means over so long: what they show is smooth.
    """

    line: PowerLine
    edges: PowerLine
    shape_j: F64Array
    edge_s: F64Array
    knot_s: F64Array
    known_s: F64Array
    spread: BoolArray
    timing_s: float
    events: tuple[Event, ...]
    mismatch: BoolArray
    looks: tuple[F64Array, F64Array] | None
    sensor: Sensor
    fused: Fused | None
    blur_s: float = 0.0

    def at(self, values: F64Array, x_s: F64Array) -> F64Array:
        """Return `edge_s` or `shape_j` at each instant."""
        index = np.searchsorted(self.knot_s, x_s, side="right") - 1
        result: F64Array = values[np.clip(index, 0, len(values) - 1)]
        return result


def _simple(
    line: PowerLine,
    t_s: F64Array,
    edge_s: float,
    sensor: Sensor,
    timing_s: float = 0.0,
    looks: tuple[F64Array, F64Array] | None = None,
    blur_s: float = 0.0,
) -> Built:
    nothing = np.zeros(max(len(t_s) - 1, 0), dtype=bool)
    edge = np.full(1, edge_s)
    plain = Built(
        line, line, np.zeros(1), edge, t_s, t_s, nothing, timing_s, (), nothing, looks, sensor, None
    )
    return replace(plain, blur_s=blur_s)


def _looks(t_s: F64Array, value: F64Array, update_s: float) -> tuple[F64Array, F64Array]:
    """What a sensor showed in each update period, from reads of any density."""
    step_s = max(update_s, float(np.median(np.diff(t_s))))
    bounds = np.arange(t_s[0], t_s[-1] + step_s, step_s)
    centre = (bounds[1:] + bounds[:-1]) / 2
    latest = np.clip(np.searchsorted(t_s, centre, side="right") - 1, 0, len(t_s) - 1)
    fresh = np.abs(centre - t_s[latest]) <= 1.5 * step_s
    return bounds, np.where(fresh, value[latest], np.nan)


def power_line(
    t_s: F64Array,
    series: Series,
    channel: dict[str, Any],
    period_s: float,
    max_gap_s: float,
    sensor: Sensor,
) -> Built:
    """Return the power line of a power channel with at least one good sample."""
    averaging_s = float(channel["averaging_s"])
    if sensor.source == DESCRIPTION and sensor.window_s is not None:
        averaging_s = sensor.window_s
    delay_s = sensor.delay_s or 0.0
    t_s = t_s - delay_s
    looks = None
    if sensor.part_time and sensor.update_s is not None and len(t_s) > 2:
        looks = _looks(t_s, series.value, sensor.update_s)
    spacing = float(np.median(np.diff(t_s))) if len(t_s) > 1 else period_s
    metered = averaging_s > 0 and abs(spacing / averaging_s - 1) <= CYCLE_TOLERANCE
    if metered and series.streamed:
        line = cycles(t_s, series.value, averaging_s, max_gap_s)
        return _simple(line, t_s, period_s, sensor)
    if series.streamed:
        hold_s = min(period_s, max_gap_s)
        line = trapezoids(t_s - averaging_s / 2, series.value, max_gap_s, hold_s)
        return _simple(line, t_s, period_s, sensor, sensor.delay_u_s, looks, averaging_s)
    # NVML holds a value for 100 ms: a read is 50 ms old on average, its update is not.
    limit_s = update_limit_s(channel["channel"])
    t_ns, value = held_updates(series.t_ns, series.value, limit_s)
    t = (t_ns - series.t_ns[0]) / NS_PER_S + t_s[0]
    line = trapezoids(t - averaging_s / 2, value, max_gap_s, min(period_s, max_gap_s))
    edge_s = max(period_s, sensor.update_s or 0.0) if looks is not None else period_s
    return _simple(line, t, edge_s, sensor, sensor.delay_u_s, looks, averaging_s)


def ring_power_line(
    t_s: F64Array,
    series: Series,
    period_s: float,
    max_gap_s: float,
    sensor: Sensor,
    fused: Fused | None,
) -> Built | None:
    """Return the power line of a sample ring; None if it has fewer than two samples.

    Args:
        t_s: Its stamps.
        series: Its samples.
        period_s: Nominal time between them.
        max_gap_s: Longer holes are not bridged.
        sensor: What is known of it.
        fused: What a counter of the same device told of it, if there is one.
    """
    ring = _ring(t_s, series, period_s, sensor)
    if ring is None:
        return None
    point, late_s = ring.point, ring.hold_s
    if fused is not None:
        point, late_s = fused.point if ring.point is None else ring.point, fused.late_s
    line = ring.line(bool(point), late_s, max_gap_s)
    timing_s = 0.0 if point is not None else ring.period_s / SQRT_12
    looks = None
    fresh = fused is not None and fused.fresh
    if sensor.part_time and not fresh and sensor.update_s is not None:
        looks = _looks(t_s, series.value, sensor.update_s)
        # It may repeat values that are up to an update old.
        unknown_s = sensor.blind_s if late_s else sensor.update_s
        timing_s = float(np.hypot(timing_s, unknown_s / SQRT_3))
    edge_s = ring.period_s if looks is None else float(sensor.update_s or ring.period_s)
    return _simple(line, t_s, edge_s, sensor, timing_s, looks)


def _ring(t_s: F64Array, series: Series, period_s: float | None, sensor: Sensor) -> Ring | None:
    told = sensor.source == DESCRIPTION
    return make_ring(
        t_s,
        series.value,
        period_s,
        sensor.window_s if told else None,
        sensor.update_s,
        told and sensor.part_time,
    )


def _shifted(line: PowerLine, by_s: float) -> PowerLine:
    return PowerLine.make(line.t_s + by_s, line.level_w, line.slope_w_s, line.covered)


def _steps_line(counted: Counted) -> PowerLine:
    level = np.where(np.isfinite(counted.step_w), counted.step_w, 0.0)
    covered = np.isfinite(counted.step_w)
    return PowerLine.make(counted.step_s, level, np.zeros_like(level), covered)


def counter_power_line(
    t_s: F64Array,
    series: Series,
    anchor_ns: np.int64,
    wrap_j: float | None,
    cap_w: float,
    period_s: float | None,
    sensor: Sensor,
    companion: Companion | None,
) -> Built:
    """Return the power line of a counter with at least two good readings.

    A part-time sensor's look is a sample of its whole update period, but the counter adds it up as
    if it were that of the period before it. Where a sensor description gives the window, or a ring
    that repeats values confirms it, energy is put where it was sampled, half of what is not seen
    later; where the window is only assumed, so much is part of the uncertainty.

    Args:
        t_s: Instants of the readings from the anchor.
        series: The readings.
        anchor_ns: Origin of `t_s`.
        wrap_j: The counter returns to 0 at this value.
        cap_w: No device draws more.
        period_s: Nominal time between readings.
        sensor: What is known of its sensor.
        companion: The sample ring of its device.
    """
    ring: Ring | None = None
    if companion is not None and companion.series.proven:
        ring_s = (companion.series.t_ns - anchor_ns) / NS_PER_S
        ring = _ring(ring_s, companion.series, companion.period_s, companion.sensor)
    delay_s = sensor.delay_s or 0.0
    counted = counter_line(
        t_s, series.value, wrap_j, cap_w, period_s, sensor.update_s, delay_s, ring
    )
    fused = max(counted.fused, key=lambda found: len(found.anchor_s), default=None)
    line, edges = counted.line, counted.line
    plain_s = period_s or (float(np.median(np.diff(t_s))) if len(t_s) > 1 else 0.0)
    edge_s = np.full(max(len(counted.step_s) - 1, 1), plain_s)
    if fused is not None and ring is not None:
        edges = ring.line(bool(fused.point), fused.late_s)
        unshaped_s = max(plain_s, sensor.update_s or 0.0)
        edge_s = np.where(counted.shaped, ring.period_s, unshaped_s)
    known_s, spread = t_s, np.ones(len(t_s) - 1, dtype=bool)
    if fused is not None:
        known_s, spread = counted.step_s, ~counted.shaped
    looks, timing_s, knot_s = None, sensor.delay_u_s, counted.step_s
    fresh = fused is not None and fused.fresh
    told = sensor.source == DESCRIPTION or (ring is not None and ring.hold_s > 0)
    if fused is not None:
        timing_s = float(np.hypot(timing_s, MEAN_U_S if fused.point is False else POINT_U_S))
    if sensor.part_time and (told or not fresh) and len(counted.step_s) > 2:
        blind_s = sensor.blind_s
        looks, edges = (counted.step_s, counted.step_w), _steps_line(counted)
        edge_s = np.maximum(edge_s, sensor.update_s or 0.0)
        if told:
            line, edges = _shifted(line, blind_s / 2), _shifted(edges, blind_s / 2)
            looks, knot_s = (knot_s + blind_s / 2, counted.step_w), knot_s + blind_s / 2
        else:
            timing_s = float(np.hypot(timing_s, blind_s / SQRT_3))
    return Built(
        line,
        edges,
        np.abs(counted.off_j) if len(counted.off_j) else np.zeros(1),
        edge_s,
        knot_s,
        known_s,
        spread,
        timing_s,
        counted.events,
        counted.mismatch,
        looks,
        sensor,
        fused,
    )
