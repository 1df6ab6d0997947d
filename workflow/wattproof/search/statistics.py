"""Numbers of the demonstration: ranks of methods, what changed, and whether seeds explain it.

Everything is paired by seed and its doubt is a bootstrap over seeds (95 % intervals): a search is
the unit, not a checkpoint or a member of a front.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from wattproof.search.atlas import Floats

RESAMPLES = 2_000
LEVEL = 0.95
ACCURACIES = 9
"""Levels of accuracy at which two fronts' energies are compared."""


@dataclass(frozen=True)
class Estimate:
    """A number and its bootstrap interval over seeds."""

    value: float
    low: float
    high: float

    def beyond(self, null: float) -> bool:
        """Whether seeds do not explain that it differs from `null`."""
        return bool(self.low > null or self.high < null)


@dataclass(frozen=True)
class Swap:
    """Two methods whose order is another one by the other source.

    Attributes:
        better: Better by the calibrated source.
        worse: Worse by the calibrated source.
        beyond: Whether both differences are beyond what seeds explain.
    """

    better: str
    worse: str
    beyond: bool


def cube(search: pd.DataFrame, source: str, column: str, at: int | None = None) -> Floats:
    """A column of table ``search`` of one source; methods × seeds.

    Args:
        search: Table ``search``.
        source: Whose searches.
        column: Name of the column.
        at: Checkpoint; None for the last one, when every search has ended.
    """
    last = int(search["checkpoint"].max()) if at is None else at
    rows = search[(search["source"] == source) & (search["checkpoint"] == last)]
    wide = rows.pivot(index="method", columns="seed", values=column)
    return wide.loc[methods_of(search)].to_numpy(dtype=np.float64)


def methods_of(search: pd.DataFrame) -> list[str]:
    """Methods in the order of the table."""
    return list(dict.fromkeys(search["method"].astype(str)))


def nominal(search: pd.DataFrame) -> int:
    """Checkpoint at which the nominal budget was really spent."""
    gap = (search["true_j"] / search["budget_j"] - 1.0).abs().to_numpy()
    return int(search["checkpoint"].to_numpy()[gap.argmin()])


def draws(seeds: int) -> NDArray[np.int64]:
    """Resampled seeds; RESAMPLES × seeds, always the same ones."""
    return np.random.default_rng(0).integers(seeds, size=(RESAMPLES, seeds))


def bootstrap(of: Callable[[NDArray[np.int64]], Floats], seeds: int) -> Estimate:
    """Estimate a number, and its interval.

    Args:
        of: The number, for each row of seeds that it is given (r × seeds → r).
        seeds: How many seeds there are.
    """
    low, high = np.nanquantile(of(draws(seeds)), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(of(np.arange(seeds)[None, :])[0]), float(low), float(high))


def mean(values: Floats) -> Estimate:
    """Mean over seeds."""
    return bootstrap(lambda picked: values[picked].mean(axis=1), len(values))


def ranks(scores: Floats) -> Floats:
    """Place of each method for each seed, 1 = highest score; methods × seeds, ties share."""
    return np.asarray(stats.rankdata(-scores, axis=0))


def mean_ranks(scores: Floats) -> list[Estimate]:
    """Mean place of each method."""
    return [mean(row) for row in ranks(scores)]


def order_agreement(one: Floats, other: Floats) -> Estimate:
    """Kendall's tau between two rankings of methods by their mean score; each methods × seeds."""
    return bootstrap(
        lambda s: _tau(one[:, s].mean(axis=-1), other[:, s].mean(axis=-1)), one.shape[1]
    )


def seed_noise(scores: Floats) -> Estimate:
    """Kendall's tau between rankings of two *independent* resamples of the same searches.

    How far two rankings agree that differ by nothing but seeds; its median is the value.
    """
    means = scores[:, draws(scores.shape[1])].mean(axis=-1)
    values = _tau(means[:, ::2], means[:, 1::2])
    low, middle, high = np.nanquantile(values, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
    return Estimate(float(middle), float(low), float(high))


def swaps(one: Floats, other: Floats, methods: list[str]) -> list[Swap]:
    """Pairs of methods that change places between two sources; scores are methods × seeds."""
    found = []
    for a, b in combinations(range(len(methods)), 2):
        first, second = mean(one[a] - one[b]), mean(other[a] - other[b])
        if first.value * second.value < 0:
            better, worse = (a, b) if first.value > 0 else (b, a)
            both = first.beyond(0.0) and second.beyond(0.0)
            found.append(Swap(methods[better], methods[worse], both))
    return found


def told_apart(scores: Floats) -> tuple[int, int]:
    """How many pairs of methods differ beyond what seeds explain, and how many pairs there are."""
    pairs = list(combinations(scores, 2))
    return sum(mean(one - other).beyond(0.0) for one, other in pairs), len(pairs)


def paired_median(values: Floats) -> Estimate:
    """Median over methods and seeds, resampled by seed; methods × seeds."""
    return bootstrap(lambda s: np.nanmedian(values[:, s], axis=(0, 2)), values.shape[1])


def of_fronts(
    front: pd.DataFrame, source: str, methods: list[str], of: Callable[[pd.DataFrame], float]
) -> Floats:
    """A number of each search's front; methods × seeds."""
    rows = front[front["source"] == source]
    groups = {key: group for key, group in rows.groupby(["method", "seed"])}
    return np.array(
        [
            [of(groups[m, s]) if (m, s) in groups else np.nan for s in _seeds(front, methods)]
            for m in methods
        ]
    )


def broken_promise(front: pd.DataFrame) -> float:
    """What a front's members need, all together, over what they were reported to need."""
    return float(front["energy_j"].sum() / front["energy_reported_j"].sum())


def beaten_share(front: pd.DataFrame) -> float:
    """Share of a front that another configuration of the same search really beats."""
    return float(front["beaten"].mean())


def energy_at_accuracy(front: pd.DataFrame, levels: Floats) -> Floats:
    """Energy needed by who takes the cheapest configuration of at least some accuracy off a front.

    The choice is made by what the search was told, the energy is the calibrated one.

    Args:
        front: Rows of table ``search_front``, of one search.
        levels: Validation accuracies.

    Returns:
        Joules at each level; infinite where the front does not reach it.
    """
    columns = ("val_accuracy", "energy_reported_j", "energy_j")
    accuracy, reported_j, energy_j = (front[c].to_numpy(dtype=np.float64) for c in columns)
    found = np.full(len(levels), np.inf)
    for i, level in enumerate(levels):
        enough = np.flatnonzero(accuracy >= level)
        if len(enough):
            found[i] = energy_j[enough[reported_j[enough].argmin()]]
    return found


def extra_energy(front: pd.DataFrame, source: str, calibrated: str, methods: list[str]) -> Floats:
    """Energy that choices from a source's fronts need over those from the calibrated ones.

    See `energy_at_accuracy`. Geometric mean over the levels (deciles of the accuracies on the
    reference front) that both fronts reach; methods × seeds, NaN where there is none.
    """
    known = front.loc[front["method"] == "reference", "test_accuracy"]
    levels = np.quantile(known, np.linspace(0.1, 0.9, ACCURACIES))
    groups = {key: group for key, group in front.groupby(["method", "source", "seed"])}
    seeds = _seeds(front, methods)
    found = np.full((len(methods), len(seeds)), np.nan)
    for i, method in enumerate(methods):
        for j, seed in enumerate(seeds):
            keys = (method, source, seed), (method, calibrated, seed)
            if all(key in groups for key in keys):
                got, best = (energy_at_accuracy(groups[key], levels) for key in keys)
                both = np.isfinite(got) & np.isfinite(best)
                if both.any():
                    found[i, j] = np.exp(np.log(got[both] / best[both]).mean())
    return found


def _seeds(front: pd.DataFrame, methods: list[str]) -> list[int]:
    return sorted(front.loc[front["method"].isin(methods), "seed"].unique().tolist())


def _tau(one: Floats, other: Floats) -> Floats:
    """Kendall's tau (a) of columns of scores; methods × r → r."""
    first, second = np.triu_indices(len(one), 1)
    if not len(first):
        return np.ones(one.shape[1])
    agree = np.sign(one[first] - one[second]) * np.sign(other[first] - other[second])
    return np.asarray(agree.mean(axis=0), dtype=np.float64)
