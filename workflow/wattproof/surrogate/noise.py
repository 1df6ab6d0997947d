"""Noise of trainings: what runs that differ in nothing but the seed differ by.

Everything is on the target's scale (`wattproof.surrogate.cells`): a standard deviation of 0.01 is
one percent of an energy, or one point of an accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof.surrogate.cells import BINS, LOG, Cells, HeldOut, Ints, array_of, bin_of, listed
from wattproof.surrogate.encoding import Floats

MIN_FREEDOM = 10
"""Degrees of freedom below which a bin of progress takes the noise of all bins together: with
fewer a standard deviation is uncertain by more than 22 %."""

MIN_RESAMPLED = 30
"""Vectors below which the shape of their distribution cannot be told from a normal one."""

JITTER = 0.25
"""Width of the kernel around a resampled vector, in standard deviations: no two draws are equal."""

TAILS_P = 1e-3
"""Draws are resampled where normal tails are this improbable."""

NOTHING = "no configuration was trained with two seeds and no held-out residual is known."

GOLDEN = np.uint64(0x9E3779B97F4A7C15)

REPLICATES, RESIDUALS, NONE = "replicates", "held-out residuals", "none"


@dataclass(frozen=True)
class TargetNoise:
    """Noise of one target at the end of trainings.

    Attributes:
        std: Standard deviation on the target's scale; None where nothing tells it.
        low: Lower end of its 90 % interval (normal theory).
        high: Upper end.
        groups: Configurations trained more than once that it was pooled over.
        freedom: Degrees of freedom.
        source: ``replicates``, ``held-out residuals`` or ``none``.
        words: The same as a sentence.
    """

    std: float | None
    low: float | None
    high: float | None
    groups: int
    freedom: int
    source: str
    words: str


@dataclass(frozen=True)
class Noise:
    """Noise of all M targets, by progress, and the law of seeded draws.

    Attributes:
        targets: Names of the targets.
        scales: ``log`` or ``unit`` for each.
        about: What is known of each at the end of trainings.
        by_bin: Standard deviations, (`BINS` + 1) × M; NaN where unknown.
        root: Square root of the covariance of a draw, M × M.
        vectors: Residual vectors to resample, V × M; empty where draws are normal.
    """

    targets: tuple[str, ...]
    scales: tuple[str, ...]
    about: Mapping[str, TargetNoise]
    by_bin: Floats
    root: Floats
    vectors: Floats

    @property
    def law(self) -> str:
        """Law of the draws, in words."""
        return "resampled" if len(self.vectors) else "normal"

    def at(self, epoch: Ints, epochs: Ints) -> Floats:
        """Standard deviations after epochs of trainings; n × M, NaN where unknown."""
        return np.asarray(self.by_bin[bin_of(epoch, epochs)])

    def draw(self, draws: NDArray[np.uint64]) -> Floats:
        """Shifts of seeded draws on the targets' scales.

        Args:
            draws: A random number for each (configuration, seed); n. The same number gives the
                same bits, whatever is drawn beside it.

        Returns:
            n × M, to be added on the target's scale at all epochs of the run, so that curves of
            energies and times stay monotone. 0 where the noise of a target is unknown.
        """
        width = len(self.targets)
        # A sum over the last axis, not a matrix product: BLAS rounds one row other than many.
        mixed = _mixed(draws, 2 * width + 2)
        smooth = (_normals(mixed[:, : 2 * width])[:, None, :] * self.root).sum(axis=-1)
        if not len(self.vectors):
            return np.asarray(smooth)
        bits = mixed[:, -1]
        which = (bits >> np.uint64(1)) % np.uint64(len(self.vectors))
        sign = np.where(bits & np.uint64(1), 1.0, -1.0)
        shifts = sign[:, None] * self.vectors[which.astype(np.int64)] + JITTER * smooth
        return np.asarray(shifts / np.sqrt(1 + JITTER**2))

    def as_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads; plain JSON."""
        return {
            "targets": list(self.targets),
            "scales": list(self.scales),
            "about": {target: asdict(found) for target, found in self.about.items()},
            "law": self.law,
            "by_bin": listed(self.by_bin),
            "root": listed(self.root),
            "vectors": listed(self.vectors),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Noise:
        """Read what `as_dict` wrote."""
        width = len(content["targets"])
        return cls(
            targets=tuple(content["targets"]),
            scales=tuple(content["scales"]),
            about={target: TargetNoise(**found) for target, found in content["about"].items()},
            by_bin=array_of(content["by_bin"], (BINS + 1, width)),
            root=array_of(content["root"], (width, width)),
            vectors=array_of(content["vectors"], (-1, width)),
        )


def estimate(cells: Cells, held: HeldOut | None = None) -> Noise:
    """Estimate noise from replicates, else from held-out residuals.

    Args:
        cells: All measured cells. Cells with equal configuration and epoch but other seeds are
            replicates; variances are pooled over groups without bias.
        held: Held-out predictions, for targets without replicates: their residuals hold the
            model's error too, which the words then say.
    """
    group, scaled, freedom = _deviations(cells)
    width = len(cells.targets)
    by_bin = np.full((BINS + 1, width), np.nan)
    about: dict[str, TargetNoise] = {}
    ends = np.full((0, width), np.nan)
    if len(scaled):
        ends = scaled[cells.final]
    rest = None if held is None else held.residuals
    for column, target in enumerate(cells.targets):
        log = cells.scales[column] == LOG
        known = np.isfinite(scaled[:, column])
        if (known & cells.final).any():
            by_bin[:, column] = _pooled_by_bin(cells.bins, scaled[:, column], freedom[:, column])
            groups = len(np.unique(group[known & cells.final]))
            ways = round(float(freedom[known & cells.final, column].sum()))
            about[target] = _from_replicates(float(by_bin[BINS, column]), groups, ways, log)
        elif held is not None and rest is not None and np.isfinite(rest[:, column]).any():
            by_bin[:, column] = _pooled_by_bin(
                held.cells.bins, rest[:, column], np.isfinite(rest[:, column]).astype(np.float64)
            )
            about[target] = _from_residuals(float(by_bin[BINS, column]))
        else:
            about[target] = TargetNoise(
                None, None, None, 0, 0, NONE, f"Noise of {target} is unknown: {NOTHING}"
            )
    replicated = any(one.source == REPLICATES for one in about.values())
    if not replicated and held is not None and rest is not None:
        ends = rest[held.cells.final]
    root, vectors = _law(by_bin[BINS], ends)
    return Noise(cells.targets, cells.scales, about, by_bin, root, vectors)


def mean_error(std: float) -> float:
    """Mean absolute value of normal noise: what a prediction without any error still misses by."""
    return float(std * np.sqrt(2 / np.pi))


def _deviations(cells: Cells) -> tuple[Ints, Floats, Floats]:
    """Deviations of replicates from their group's mean.

    Returns:
        Group of each cell; deviations scaled by sqrt(n / (n − 1)), so that each has the variance
        of the noise, C × M, NaN where a cell has no replicate; and the degrees of freedom that
        each cell brings, (n − 1) / n, C × M.
    """
    keys = np.stack([cells.config, cells.epoch, cells.epochs], axis=1)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.reshape(-1).astype(np.int64)
    scaled = np.full(cells.truth.shape, np.nan)
    freedom = np.zeros(cells.truth.shape)
    for column in range(cells.truth.shape[1]):
        values = cells.truth[:, column]
        known = np.flatnonzero(np.isfinite(values))
        # Two runs of one configuration and seed are no replicates: they share the noise.
        pairs = np.unique(np.stack([group[known], cells.seed[known]], axis=1), axis=0)
        seeds = np.bincount(pairs[:, 0], minlength=group.max(initial=-1) + 1)
        known = known[seeds[group[known]] >= 2]
        mine = group[known]
        count = np.bincount(mine, minlength=len(seeds))
        mean = np.bincount(mine, values[known], minlength=len(seeds)) / np.maximum(count, 1)
        n = count[mine]
        scaled[known, column] = (values[known] - mean[mine]) * np.sqrt(n / (n - 1))
        freedom[known, column] = (n - 1) / n
    return group, scaled, freedom


def _pooled_by_bin(bins: Ints, scaled: Floats, freedom: Floats) -> Floats:
    """Standard deviation by bin of progress; all bins together where one has too few."""
    known = np.isfinite(scaled)
    squares = np.bincount(bins[known], scaled[known] ** 2 * freedom[known], minlength=BINS + 1)
    ways = np.bincount(bins[known], freedom[known], minlength=BINS + 1)
    whole = float(squares.sum() / ways.sum())
    enough = ways >= MIN_FREEDOM
    found = np.where(enough, squares / np.where(enough, ways, 1.0), whole)
    if ways[BINS] > 0:  # the end is what people ask for: its own, however few they are
        found[BINS] = squares[BINS] / ways[BINS]
    return np.asarray(np.sqrt(found))


def _from_replicates(std: float, groups: int, freedom: int, log: bool) -> TargetNoise:
    from scipy import stats

    low, high = (float(std * np.sqrt(freedom / stats.chi2.ppf(p, freedom))) for p in (0.95, 0.05))
    text = f"{std:.2%}" if log else f"{100 * std:.2f} points"
    ends = f"{low:.2%} to {high:.2%}" if log else f"{100 * low:.2f} to {100 * high:.2f}"
    words = (
        f"Two trainings that differ in nothing but the seed differ with a standard deviation of "
        f"{text} (90 % interval {ends}; {groups} configurations trained more than once)."
    )
    return TargetNoise(std, low, high, groups, freedom, REPLICATES, words)


def _from_residuals(std: float) -> TargetNoise:
    words = (
        "No configuration was trained with two seeds, so noise is not known; held-out residuals "
        "stand in for it, and they hold the model's error too."
    )
    return TargetNoise(std, None, None, 0, 0, RESIDUALS, words)


def _law(std: Floats, ends: Floats) -> tuple[Floats, Floats]:
    """Root of the covariance of a draw, and the vectors to resample where it is not normal."""
    from scipy import stats

    width = len(std)
    scale = np.where(np.isfinite(std), std, 0.0)
    moving = scale > 0
    complete = ends[np.isfinite(ends[:, moving]).all(axis=1)]
    correlation = np.eye(width)
    vectors = np.zeros((0, width))
    if moving.any() and len(complete) > width:
        unit = np.where(moving, complete, 0.0) / np.where(moving, scale, 1.0)
        norms = np.sqrt((unit**2).sum(axis=0))
        norms = np.where(norms > 0, norms, 1.0)
        found = (unit / norms).T @ (unit / norms)
        correlation = np.where(np.eye(width, dtype=bool), 1.0, found)
        if len(complete) >= MIN_RESAMPLED and _heavy(unit[:, moving], stats):
            vectors = np.where(moving, complete, 0.0)
    values, axes = np.linalg.eigh(correlation)
    root = axes * np.sqrt(np.maximum(values, 0.0))
    # A sign and an order that do not hang on the linear algebra library: the symmetric root.
    return scale[:, None] * (root @ axes.T), vectors


def _heavy(unit: Floats, stats: Any) -> bool:
    """Whether some target's standardised residuals have other tails than normal ones."""
    n = len(unit)
    excess = stats.kurtosis(unit, axis=0, fisher=True)
    # Standard error of the kurtosis of n normal values; pairs count once, hence n / 2.
    error = np.sqrt(24 / max(n / 2, 1))
    p = 2 * stats.norm.sf(np.abs(excess) / error) * unit.shape[1]
    return bool((p < TAILS_P).any())


def _mixed(draws: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
    """`count` independent 64-bit numbers of each draw (splitmix64); n × count."""
    state = draws.astype(np.uint64)[:, None] + GOLDEN * np.arange(1, count + 1, dtype=np.uint64)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _normals(mixed: NDArray[np.uint64]) -> Floats:
    """Half as many standard normal numbers as random ones (Box and Muller); n × count."""
    count = mixed.shape[1] // 2
    uniform = ((mixed >> np.uint64(11)) + np.uint64(1)).astype(np.float64)
    uniform *= 2.0**-53
    radius = np.sqrt(-2.0 * np.log(uniform[:, :count]))
    found: Floats = radius * np.cos(2 * np.pi * uniform[:, count:])
    return found
