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


def bootstrap(of: Callable[[NDArray[np.int64]], float], seeds: int) -> Estimate:
    """Estimate a number of the seeds that it is given, and its interval."""
    values = np.array([of(picked) for picked in draws(seeds)])
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(of(np.arange(seeds)), float(low), float(high))


def ranks(scores: Floats) -> Floats:
    """Place of each method for each seed, 1 = highest score; methods × seeds, ties share."""
    return np.asarray(stats.rankdata(-scores, axis=0))


def mean_ranks(scores: Floats) -> list[Estimate]:
    """Mean place of each method."""
    placed = ranks(scores)
    return [
        bootstrap(lambda s, row=row: float(row[s].mean()), scores.shape[1])  # type: ignore[misc]
        for row in placed
    ]


def order_agreement(one: Floats, other: Floats) -> Estimate:
    """Kendall's tau between two rankings of methods by their mean score; each methods × seeds."""
    return bootstrap(lambda s: _tau(one[:, s].mean(1), other[:, s].mean(1)), one.shape[1])


def seed_noise(scores: Floats) -> Estimate:
    """Kendall's tau between rankings of two *independent* resamples of the same searches.

    How far two rankings agree that differ by nothing but seeds; its median is the value.
    """
    seeds = scores.shape[1]
    picked = draws(seeds)
    values = [
        _tau(scores[:, a].mean(1), scores[:, b].mean(1))
        for a, b in zip(picked[::2], picked[1::2], strict=True)
    ]
    low, middle, high = np.nanquantile(values, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
    return Estimate(float(middle), float(low), float(high))


def swaps(one: Floats, other: Floats, methods: list[str]) -> list[Swap]:
    """Pairs of methods that change places between two sources; scores are methods × seeds."""
    found = []
    for a, b in combinations(range(len(methods)), 2):
        first, second = (
            bootstrap(lambda s, d=x[a] - x[b]: float(d[s].mean()), x.shape[1])  # type: ignore[misc]
            for x in (one, other)
        )
        if first.value * second.value < 0:
            better, worse = (a, b) if first.value > 0 else (b, a)
            both = first.beyond(0.0) and second.beyond(0.0)
            found.append(Swap(methods[better], methods[worse], both))
    return found


def told_apart(scores: Floats) -> tuple[int, int]:
    """How many pairs of methods differ beyond what seeds explain, and how many pairs there are."""
    pairs = list(combinations(range(len(scores)), 2))
    apart = sum(
        bootstrap(
            lambda s, d=scores[a] - scores[b]: float(d[s].mean()),  # type: ignore[misc]
            scores.shape[1],
        ).beyond(0.0)
        for a, b in pairs
    )
    return apart, len(pairs)


def paired_median(values: Floats) -> Estimate:
    """Median over methods and seeds, resampled by seed; methods × seeds."""
    return bootstrap(lambda s: float(np.nanmedian(values[:, s])), values.shape[1])


def of_fronts(
    front: pd.DataFrame, source: str, methods: list[str], of: Callable[[pd.DataFrame], float]
) -> Floats:
    """A number of each search's front; methods × seeds."""
    rows = front[front["source"] == source]
    seeds = sorted(front.loc[front["method"].isin(methods), "seed"].unique())
    groups = {key: group for key, group in rows.groupby(["method", "seed"])}
    return np.array(
        [[of(groups[m, s]) if (m, s) in groups else np.nan for s in seeds] for m in methods]
    )


def broken_promise(front: pd.DataFrame) -> float:
    """Median over a front of what its members need over what they were reported to need."""
    return float((front["energy_j"] / front["energy_reported_j"]).median())


def beaten_share(front: pd.DataFrame) -> float:
    """Share of a front that another configuration of the same search really beats."""
    return float(front["beaten"].mean())


def energy_at_accuracy(front: pd.DataFrame, levels: Floats) -> Floats:
    """Least calibrated energy with which a front reaches each accuracy; NaN where it does not."""
    accuracy, energy = (front[c].to_numpy(dtype=np.float64) for c in ("test_accuracy", "energy_j"))
    return np.array([np.min(energy[accuracy >= at], initial=np.inf) for at in levels])


def extra_energy(front: pd.DataFrame, source: str, calibrated: str, methods: list[str]) -> Floats:
    """Energy that a source's fronts need over the calibrated ones', at equal accuracy.

    Geometric mean over those levels of accuracy (of the reference front) that both reach;
    methods × seeds.
    """
    known = front.loc[front["method"] == "reference", "test_accuracy"]
    levels = np.quantile(known, np.linspace(0.1, 0.9, ACCURACIES))
    seeds = sorted(front.loc[front["method"].isin(methods), "seed"].unique())
    groups = {key: group for key, group in front.groupby(["method", "source", "seed"])}
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


def _tau(one: Floats, other: Floats) -> float:
    return float(stats.kendalltau(one, other).statistic)
