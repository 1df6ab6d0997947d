"""The driver's own ring of power samples as a power line, by itself or as the shape of a counter.

NVML does not say what a ring sample is (measurement.md section 3). Two readings are possible: the
mean of the time since the sample before (`MEAN`), or the power at the stamp (`POINT`). They differ
by half a period in where the energy lies. With a counter beside it the data decide
(`wattproof.energy.fuse`); a sensor description (``window_s``) decides as well; otherwise means are
assumed, and half a period is part of the uncertainty.

A driver that senses less often than it samples repeats its latest value: such a value is no news
of the present but of the update before it, which is where it is put (`Ring.hold_s`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattproof.clocks.frames import F64Array
from wattproof.energy.line import PowerLine, cycles

HOLE = 1.5
"""A distance of more than so many periods is a hole: a sample is missing."""

MIN_RUNS = 20
"""Fewer changes of value do not show whether values are held."""

USUAL_UPDATE_S = 0.1
"""Update period of the boards' sensors since Turing (measurement.md section 5)."""


@dataclass(frozen=True, slots=True)
class Ring:
    """Samples of one ring on the recording's clock.

    Attributes:
        t_s: Stamps, increasing, shape (n,), n ≥ 2.
        power_w: Watts, shape (n,).
        period_s: Time between samples.
        hold_s: How long it is proven to repeat a value of the sensor; else 0.
        point: True: power at the stamp; False: mean of the time before; None: not known.
    """

    t_s: F64Array
    power_w: F64Array
    period_s: float
    hold_s: float
    point: bool | None

    def line(self, point: bool, late_s: float = 0.0, max_gap_s: float = 0.0) -> PowerLine:
        """Return the power line; longer holes than `max_gap_s` are not covered.

        Args:
            point: How to read the samples.
            late_s: The stamps are late by so much.
            max_gap_s: Shorter holes are bridged by the mean of their neighbours.
        """
        shift_s = (self.period_s / 2 if point else 0.0) - late_s
        return cycles(self.t_s + shift_s, self.power_w, self.period_s, max_gap_s)


def make_ring(
    t_s: F64Array,
    power_w: F64Array,
    period_s: float | None,
    window_s: float | None = None,
    update_s: float | None = None,
    part_time: bool = False,
) -> Ring | None:
    """Return the ring, or None if there is too little of it.

    Args:
        t_s: Stamps, increasing, shape (n,).
        power_w: Watts, shape (n,).
        period_s: Nominal time between samples; None to take the typical distance.
        window_s: What a sample is the mean of, if a sensor description says so.
        update_s: Time between updates of the sensor, as far as it is known.
        part_time: A sensor description says that the sensor sees a part of that time only.
    """
    if len(t_s) < 2:
        return None
    typical_s = float(np.median(np.diff(t_s)))
    if not period_s or not 0.5 < typical_s / period_s < 2:
        period_s = typical_s
    point = None if window_s is None else window_s < period_s / 2
    hold_s = update_s or USUAL_UPDATE_S
    if hold_s < 2 * period_s or not (part_time or _holds(t_s, power_w, period_s, hold_s)):
        hold_s = 0.0
    # A held value has no window of its own inside the ring.
    return Ring(t_s, power_w, period_s, hold_s, point if not hold_s else None)


def _holds(t_s: F64Array, power_w: F64Array, period_s: float, update_s: float) -> bool:
    """Whether the ring by itself proves that it repeats values for an update period.

    Its values then change on the grid of updates only. So they do if the *load* keeps pace with
    the updates; so the load must be seen not to: by values that differ from update to update, as
    those of a noisy sensor do, or by changes that are now this, now that many updates apart.
    """
    fresh = np.flatnonzero(np.diff(power_w) != 0) + 1
    if len(fresh) < MIN_RUNS:
        return False
    # The mean over a sample in which the value changed differs from both: one change, not two.
    first = np.append(True, np.diff(fresh) > 1)
    runs = np.diff(t_s[fresh[first]])
    if len(runs) < MIN_RUNS or first.mean() < 0.4:
        return False
    updates = np.rint(runs / update_s)
    on_grid = np.abs(runs - updates * update_s) <= 1.1 * period_s
    if float(np.mean(on_grid & (updates > 0))) < 0.9:
        return False
    held = np.unique(power_w[np.append(fresh[1:] - 1, len(t_s) - 1)][first])
    counts = np.unique(updates, return_counts=True)[1]
    varied = len(counts) >= 3 and counts.max() < 0.8 * len(updates)
    return varied or len(held) > len(runs) / 2
