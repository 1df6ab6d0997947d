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

LONGEST_HOLD_S = 0.25
"""No board updates its power more slowly (measurement.md section 5)."""


@dataclass(frozen=True, slots=True)
class Ring:
    """Samples of one ring on the recording's clock.

    Attributes:
        t_s: Stamps, increasing, shape (n,), n ≥ 2.
        power_w: Watts, shape (n,).
        period_s: Time between samples.
        hold_s: How long a sensor behind it holds a value, if longer than a sample; else 0.
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
    t_s: F64Array, power_w: F64Array, period_s: float | None, window_s: float | None = None
) -> Ring | None:
    """Return the ring, or None if there is too little of it.

    Args:
        t_s: Stamps, increasing, shape (n,).
        power_w: Watts, shape (n,).
        period_s: Nominal time between samples; None to take the typical distance.
        window_s: What a sample is the mean of, if a sensor description says so.
    """
    if len(t_s) < 2:
        return None
    distance = np.diff(t_s)
    typical_s = float(np.median(distance))
    if not period_s or not 0.5 < typical_s / period_s < 2:
        period_s = typical_s
    point = None if window_s is None else window_s < period_s / 2
    return Ring(t_s, power_w, period_s, _hold_s(t_s, power_w, period_s), point)


def _hold_s(t_s: F64Array, power_w: F64Array, period_s: float) -> float:
    """How long values are held, as far as the ring alone can tell; 0 if each sample may be new.

    Power that is constant for a while repeats too. So values of different runs must differ, as
    those of a noisy sensor do, and runs must last one or several times the same time.
    """
    fresh = np.flatnonzero(np.diff(power_w) != 0) + 1
    if len(fresh) < MIN_RUNS:
        return 0.0
    # The mean over a sample in which the value changed differs from both: one change, not two.
    first = np.append(True, np.diff(fresh) > 1)
    runs = np.diff(t_s[fresh[first]])
    if len(runs) < MIN_RUNS or first.mean() < 0.4:
        return 0.0
    held = np.unique(power_w[np.append(fresh[1:] - 1, len(t_s) - 1)][first])
    usual = float(np.quantile(runs, 0.1))
    if not 1.5 * period_s < usual <= LONGEST_HOLD_S or len(held) < len(runs) / 2:
        return 0.0
    hold_s = float(runs[runs <= 1.5 * usual].mean())
    off = np.abs(runs / hold_s - np.rint(runs / hold_s)) * hold_s
    return hold_s if float(np.mean(off <= 1.1 * period_s)) > 0.9 and hold_s > 4 * period_s else 0.0
