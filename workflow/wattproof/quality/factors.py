"""How often a total counts each of its parts: factors such as a PUE, hidden in published energies.

A total is rarely a multiple of the sum of its parts: a device may be missing from the list, or be
told in part. What can be told is the *marginal* count: by how much the total's mean power rises
with that of a part, at equal powers of the other parts and equal budget. What does not vary with
any part (a further device with constant power) does not touch it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KNOWN: tuple[tuple[float, str], ...] = (
    (1.55, "Uptime Institute 2022, Carbontracker"),
    (1.57, "Uptime Institute 2021, Carbontracker"),
    (1.58, "Uptime Institute 2018 and 2023, Carbontracker, experiment-impact-tracker"),
    (1.59, "Uptime Institute 2020, Carbontracker"),
    (1.67, "Uptime Institute 2019, Carbontracker, Green Algorithms"),
)
"""Mean power usage effectiveness (PUE) of data centres: value, survey and year, and trackers that
multiply energies by it."""

LEVEL = 0.95
RESAMPLES = 200
ITERATIONS = 20
HUBER = 1.345
MAD = 1.4826
"""From a median absolute deviation to the standard deviation of a normal distribution."""

MIN_CLUSTERS = 8
MAX_STRATA = 12
MIN_STRATUM = 8
WIDEST = 0.3
"""An interval wider than this says nothing about a factor."""

SURE = 3.3
"""Standard errors that a count must be off by to be a finding (by chance: one in a thousand)."""

ROUGH, FINE = 1e-4, 1e-7
"""Where the estimate stops to be refined: in resamples, and itself."""


@dataclass(frozen=True)
class Count:
    """How often one part is counted.

    Attributes:
        times: Joules of the total for a joule of the part.
        low: Lower end of the 95 % interval.
        high: Upper end.
        varies: Standard deviation of the part's power at equal budget, over its mean.
    """

    times: float
    low: float
    high: float
    varies: float

    @property
    def told(self) -> bool:
        """Whether the interval is narrow enough to speak of a factor."""
        return bool(self.high - self.low <= WIDEST)

    def off(self, from_one: float) -> bool:
        """Whether the count is surely further from 1 than that."""
        error = (self.high - self.low) / (2 * 1.96)
        return self.told and abs(self.times - 1) - from_one > SURE * error

    def __str__(self) -> str:
        digits = 3 if self.high - self.low < 0.05 else 2
        return f"{self.times:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


@dataclass(frozen=True)
class Counts:
    """How often each part is counted, and on what that rests.

    Attributes:
        parts: In the order of the columns.
        rows: Rows that were used.
        clusters: Networks that they are of: repeats of one are not independent.
    """

    parts: tuple[Count, ...]
    rows: int
    clusters: int


def count(
    total_w: Floats, parts_w: Floats, strata: Ints, clusters: Ints, equal: Ints | None = None
) -> Counts | str:
    """Estimate how often a total counts each part.

    Robust least squares (Huber) of the total's mean power on those of the parts, with a constant of
    its own for all rows that are `equal`, and a scatter of its own in each stratum; intervals by
    resampling whole clusters, always the same ones.

    Args:
        total_w: Mean power of the total; n.
        parts_w: Mean power of each part; n × p.
        strata: Rows with equal budget; n, 0 to s − 1.
        clusters: Rows of the same network; n.
        equal: Only rows of one value are compared with each other, e.g. repeats of one training;
            None: rows of one stratum.

    Returns:
        The counts, or in words why there are none.
    """
    names, of = np.unique(clusters, return_inverse=True)
    if len(names) < MIN_CLUSTERS:
        return f"{len(names)} networks are too few"
    equal = strata if equal is None else equal
    inner = parts_w - _means(parts_w, equal)
    spread = inner.std(axis=0)
    still = spread <= 1e-9 * np.abs(parts_w).mean(axis=0)
    unit = inner / np.where(still, 1.0, spread)
    if still.any() or np.linalg.matrix_rank(unit, tol=1e-6 * len(unit) ** 0.5) < len(spread):
        return "the parts do not vary, or only together"
    once = np.ones(len(total_w))
    centre, weight = _fit(total_w, parts_w, strata, equal, once, once, FINE)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
        drawn_rows = times[of].astype(np.float64)
        found, _ = _fit(total_w, parts_w, strata, equal, drawn_rows, weight, ROUGH)
        if np.isfinite(found).all():
            drawn.append(found)
    ends = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    varies = spread / parts_w.mean(axis=0)
    parts = tuple(
        Count(*map(float, row)) for row in zip(centre, ends[0], ends[1], varies, strict=True)
    )
    return Counts(parts, len(total_w), len(names))


def strata_of(budget: Floats) -> Ints:
    """Rows of equal budget; all together where budgets are unknown or nearly each its own."""
    known = np.where(np.isfinite(budget), budget, -1.0)
    _, of, sizes = np.unique(known, return_inverse=True, return_counts=True)
    if len(sizes) > MAX_STRATA or sizes.min() < MIN_STRATUM:
        return np.zeros(len(budget), dtype=np.int64)
    return of.reshape(-1).astype(np.int64)


def fitting(low: float, high: float) -> list[tuple[float, str]]:
    """Known PUEs inside an interval."""
    return [(value, source) for value, source in KNOWN if low <= value <= high]


def _fit(
    total: Floats,
    parts: Floats,
    strata: Ints,
    equal: Ints,
    times: Floats,
    start: Floats,
    until: float,
) -> tuple[Floats, Floats]:
    """Huber's estimate, each row counted so many times, from weights to start with; its weights."""
    weight = times * start
    scale, kept = np.ones(len(total)), start
    found = np.full(parts.shape[1], np.nan)
    for _ in range(ITERATIONS):
        y = total - _means(total[:, None], equal, weight)[:, 0]
        x = parts - _means(parts, equal, weight)
        gram = (x * weight[:, None]).T @ x
        try:
            new = np.linalg.solve(gram, (x * weight[:, None]).T @ y)
        except np.linalg.LinAlgError:
            return np.full(parts.shape[1], np.nan), start
        rest = np.abs(y - x @ new)
        for stratum in range(int(strata.max()) + 1):
            here = strata == stratum
            drawn = np.repeat(rest[here], times[here].astype(np.int64))
            middle = float(np.median(drawn)) if len(drawn) else 0.0
            scale[here] = max(MAD * middle, 1e-9 * float(np.abs(total).mean()))
        kept = np.minimum(1.0, HUBER * scale / np.maximum(rest, 1e-300)) / scale**2
        weight = times * kept
        done = np.abs(new - found).max() <= until * np.abs(new).max()
        found = new
        if done:
            break
    return found, kept


def _means(values: Floats, groups: Ints, weight: Floats | None = None) -> Floats:
    """Mean of the columns over the rows of each row's group."""
    size = int(groups.max()) + 1
    weight = np.ones(len(values)) if weight is None else weight
    sums = np.bincount(groups, weight, size)
    found = np.empty_like(values)
    for column in range(values.shape[1]):
        total = np.bincount(groups, weight * values[:, column], size)
        found[:, column] = (total / np.where(sums > 0, sums, 1.0))[groups]
    return found
