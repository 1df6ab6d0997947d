"""Two power registers of one node, stamped alike: do their energies agree, and their samples?

AC input and DC output of a power supply are read one after the other, and each reading is an
average of unknown length. Over a run that cancels; a pair of single readings says little.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

MIN_RUNS = 3
MIN_PAIRS = 30
SCATTER = 0.01
SCATTER_RATIO = 3.0
"""Samples scatter if their ratio spreads by more than 1 % and thrice as much as energies' does."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How one register follows the other.

    Attributes:
        runs: Runs compared.
        pairs: Readings with the same stamp inside the runs.
        energy_ratio: Mean of second / first over the runs, by energy.
        energy_spread: Standard deviation of it from run to run.
        sample_spread: Standard deviation of second / first over the pairs.
        sample_low: 5th percentile of it.
        sample_high: 95th percentile.
        sample_furthest: The ratio furthest from their median.
    """

    runs: int
    pairs: int
    energy_ratio: float
    energy_spread: float
    sample_spread: float
    sample_low: float
    sample_high: float
    sample_furthest: float

    @property
    def scatters(self) -> bool:
        """Whether energies agree while single samples do not."""
        return self.sample_spread > max(SCATTER, SCATTER_RATIO * self.energy_spread)


def sample_ratios(
    first: tuple[Int64Array, F64Array],
    second: tuple[Int64Array, F64Array],
    start_ns: int,
    end_ns: int,
) -> F64Array:
    """Second / first of readings with the same stamp inside [start, end).

    Args:
        first: Stamps and watts of the good readings of one register; stamps that come twice or
            watts that are not positive are left out.
        second: Of the other one.
        start_ns: Begin of the run.
        end_ns: End of it.
    """
    stamps, one, two = np.intersect1d(first[0], second[0], return_indices=True)
    inside = (stamps >= start_ns) & (stamps < end_ns)
    a, b = first[1][one[inside]], second[1][two[inside]]
    return np.asarray(b[a > 0] / a[a > 0], dtype=np.float64)


def compare(
    energies_j: Iterable[tuple[float | None, float | None]], ratios: Iterable[F64Array]
) -> Agreement | None:
    """Agreement of two registers over runs; None where there are too few of them.

    Args:
        energies_j: First and second register's energy of each run.
        ratios: `sample_ratios` of each run.
    """
    by_run = np.array([b / a for a, b in energies_j if a and b], dtype=np.float64)
    parts = list(ratios)
    samples = np.concatenate(parts) if parts else np.empty(0)
    if len(by_run) < MIN_RUNS or len(samples) < MIN_PAIRS:
        return None
    low, high = np.percentile(samples, [5, 95])
    return Agreement(
        len(by_run),
        len(samples),
        float(by_run.mean()),
        float(by_run.std(ddof=1)),
        float(samples.std(ddof=1)),
        float(low),
        float(high),
        float(samples[np.argmax(np.abs(samples - np.median(samples)))]),
    )
