"""Standard uncertainty of a window's energy: a budget in the manner of the GUM.

Terms, independent of each other and so added in quadrature:

- *reading*: the instrument's limit of error as a share of the reading, rectangular (limit/√3),
  fully correlated inside the window;
- *range*: likewise for the limit in watts, times the duration;
- *quantum*: one step is rectangular (q/√12): of the two counter readings at the edges, or of each
  power sample, independent from sample to sample;
- *edges*: an edge falls anywhere between two samples: the change of level there × the time between
  them/√12. For a counter with the shape of a sample ring that is the ring's 20 ms, for one without
  the time between its steps or reads; for a part-time sensor always its update period;
- *shape*: by how much the ring's energy between two steps of the counter had to be changed to equal
  the counter's, where an edge falls between them; a limit, /√3;
- *blur*: values that are running means over τ smooth a change at an edge: up to τ/8 × the change
  lands on its wrong side. A limit, /√3; where load changes at both edges it is off the same way at
  both, so the two are added up;
- *clock*: the spread of the alignment, and what is not known of the sensor's delay, shift the whole
  window: spread × the larger of the levels' difference between both edges and the change at them;
- *unseen*: what a sensor that looks only part of the time did not see, estimated from how what it
  saw varies (`wattproof.energy.dutycycle`). Which sensors do: `wattproof.energy.sensor`;
- *missing*: what was not measured is taken to be like the rest, with a rectangular distribution
  between nothing and twice that;
- *scatter*, only where an energy is the mean of samples times the duration: s/√n × duration.

They are told in five parts (`Budget`): *meter* (reading, range, quantum), *sampling* (missing,
scatter), *edge* (edges, shape, blur), *clock*, *sensor* (unseen).

A two-sided interval of 90 % is ± 1.645 × this. That is a statement about energy as the sensor's
maker defines it: limits of error come from data sheets and published studies (NVIDIA boards: 5 %),
and gains of single boards are known better only after calibration against a meter. Not in it: a
delay of the sensor that nobody has measured (taken as 0 without a sensor description), and aliasing
with loads that keep exact pace with the sensor's updates, which the sensor's data cannot show.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from wattproof.clocks.frames import F64Array

SQRT_3 = float(np.sqrt(3.0))
SQRT_12 = float(np.sqrt(12.0))


@dataclass(frozen=True, slots=True)
class Limits:
    """What is known about a channel's errors; unknown limits count as 0.

    Attributes:
        reading: Limit of error as a share of the reading.
        range_w: Limit of error from the range, W.
        quantum: Smallest step, W or J.
        clock_s: Standard uncertainty of the position in time; 0 on the recording's own clock with
            a sensor whose delay is known.
        counter: True for cumulative channels.
    """

    reading: float
    range_w: float
    quantum: float
    clock_s: float
    counter: bool


@dataclass(frozen=True, slots=True)
class Budget:
    """Standard uncertainties (k = 1) of each window's energy in joules, by their origin.

    Attributes:
        meter: The instrument: limits of error and resolution.
        sampling: What lies between samples: holes, and the scatter of a mean.
        edge: Edges between two samples, and how well the shape fitted there.
        clock: The alignment of the clock, and the sensor's unknown delay.
        sensor: What a part-time sensor did not see.
    """

    meter: F64Array
    sampling: F64Array
    edge: F64Array
    clock: F64Array
    sensor: F64Array

    @property
    def parts(self) -> dict[str, F64Array]:
        """The parts by the names of their columns in table ``energy``."""
        return {f"u_{field.name}_j": getattr(self, field.name) for field in fields(self)}

    @property
    def total(self) -> F64Array:
        """Root sum of squares of the parts, which are independent of each other."""
        result: F64Array = np.sqrt(np.sum(np.square(list(self.parts.values())), axis=0))
        return result


def budget_j(
    energy_j: F64Array,
    duration_s: F64Array,
    samples: F64Array,
    coverage: F64Array,
    levels_w: tuple[F64Array, F64Array],
    changes_w: tuple[F64Array, F64Array],
    edges_s: tuple[F64Array, F64Array],
    shapes_j: tuple[F64Array, F64Array],
    blurs_j: tuple[F64Array, F64Array],
    unseen_j: F64Array,
    scatter_j: F64Array,
    limits: Limits,
) -> Budget:
    """Return the standard uncertainties of each window's energy.

    Args:
        energy_j: Energies, shape (k,).
        duration_s: Lengths of the windows.
        samples: Good samples inside them.
        coverage: Shares covered.
        levels_w: Power at the start and at the end.
        changes_w: Change of power between the samples around the start and the end.
        edges_s: Time within which such a change may lie anywhere, there.
        shapes_j: By how much the shape around the start and the end did not fit.
        blurs_j: How much running means may have carried across the start and the end, at most.
        unseen_j: Standard uncertainty by what the sensor did not see.
        scatter_j: Standard uncertainty by the scatter of samples, where their mean counts.
        limits: Of the channel.
    """
    reading = np.abs(energy_j) * limits.reading / SQRT_3
    span = limits.range_w * duration_s / SQRT_3
    if limits.counter:
        quantum = np.full_like(energy_j, limits.quantum / SQRT_12 * np.sqrt(2.0))
    else:
        quantum = limits.quantum / SQRT_12 * duration_s / np.sqrt(np.maximum(samples, 1.0))
    edges = np.hypot(changes_w[0] * edges_s[0], changes_w[1] * edges_s[1]) / SQRT_12
    shape = np.hypot(*shapes_j) / SQRT_3
    blur = (blurs_j[0] + blurs_j[1]) / SQRT_3
    difference = np.abs(levels_w[1] - levels_w[0])
    clock = limits.clock_s * np.maximum(difference, np.maximum(changes_w[0], changes_w[1]))
    seen = np.where(coverage > 0, coverage, np.nan)
    missing = np.abs(energy_j) * (1 - coverage) / seen / SQRT_3
    some = duration_s > 0
    parts = (
        np.sqrt(reading**2 + span**2 + quantum**2),
        np.hypot(missing, scatter_j),
        np.sqrt(edges**2 + shape**2 + blur**2),
        clock,
        unseen_j,
    )
    return Budget(*(np.where(some, part, 0.0) for part in parts))
