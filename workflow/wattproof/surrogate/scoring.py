"""Scores on held-out networks, and the noise that no model can beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof.errors import WattproofError
from wattproof.surrogate import conformal
from wattproof.surrogate.curves import (
    TARGETS,
    RunTable,
    accumulate,
    from_scale,
    last,
    to_scale,
)
from wattproof.surrogate.encoding import Floats

MIN_FOR_RANKS = 5
"""Fewer runs carry no rank agreement worth printing (with 4, chance gives 1.0 in 1 of 24)."""


def assign_folds(networks: NDArray[np.int64], wanted: int, seed: int) -> tuple[Any, str]:
    """Deal the networks into folds; all runs of a network are in the same one.

    Args:
        networks: Network of each run.
        wanted: Folds asked for.
        seed: Of the shuffle.

    Returns:
        Fold of each run, and a description of the split.

    Raises:
        WattproofError: There are fewer than two networks.
    """
    keys = np.unique(networks)
    if len(keys) < 2:
        raise WattproofError(
            f"The data set holds {len(keys)} distinct network(s), but held-out scores need at "
            "least 2; raise 'plan.runs'."
        )
    folds = min(wanted, len(keys))
    order = np.random.default_rng(seed).permutation(len(keys))
    fold_of = np.empty(len(keys), dtype=np.int64)
    fold_of[order] = np.arange(len(keys)) % folds
    split = f"{folds}-fold cross-validation by network"
    if folds < wanted:
        split += f" (not {wanted}: there are {folds} networks)"
    return fold_of[np.searchsorted(keys, networks)], split


def replicate_noise(table: RunTable) -> dict[str, float | None]:
    """Coefficient of variation between runs that differ in nothing but the seed.

    Returns:
        For each target the root of the mean squared coefficient of variation of its replicate
        groups (variances can be averaged without bias, standard deviations of pairs cannot);
        None where no configuration was trained twice.
    """
    values = accumulate(table.increments)
    noise: dict[str, float | None] = {}
    for target in TARGETS:
        final = last(values[target], table.epochs)
        squares = []
        for config in np.unique(table.configs):
            members = (table.configs == config) & np.isfinite(final)
            some = final[members]
            if len(np.unique(table.seeds[members])) >= 2 and some.mean() > 0:
                squares.append(some.var(ddof=1) / some.mean() ** 2)
        noise[target] = float(np.sqrt(np.mean(squares))) if squares else None
    return noise


def score(
    table: RunTable,
    predicted: Mapping[str, Floats],
    folds: NDArray[np.int64],
    family: str,
    split: str,
    level: float,
    noise: Mapping[str, float | None],
) -> list[dict[str, Any]]:
    """Score one model family at the end of the runs.

    Args:
        table: The runs.
        predicted: Held-out increments, each R × E.
        folds: Fold of each run.
        family: Name for the table.
        split: How the folds were made.
        level: Nominal coverage of the intervals.
        noise: See `replicate_noise`.

    Returns:
        Rows of table ``scores``. Coverage and width use, for each run, a half-width from the
        residuals of the other folds.
    """
    actual, model = accumulate(table.increments), accumulate(predicted)
    rows = []
    for target in TARGETS:
        truth, guess = last(actual[target], table.epochs), last(model[target], table.epochs)
        known = np.isfinite(truth) & np.isfinite(guess)
        rows.append(
            {
                "target": target,
                "model": family,
                "split": split,
                "n": int(known.sum()),
                "networks": len(np.unique(table.networks[known])),
                **_scores(target, truth[known], guess[known], folds[known], level, noise[target]),
            }
        )
    return rows


def _scores(
    target: str,
    truth: Floats,
    guess: Floats,
    folds: NDArray[np.int64],
    level: float,
    noise: float | None,
) -> dict[str, Any]:
    from scipy import stats

    row: dict[str, Any] = {"noise": noise}
    refused = [] if noise is not None else ["noise: no configuration was trained with two seeds"]
    if len(truth) == 0:
        return row | {"refused": "; ".join(["all scores: no held-out run has a value", *refused])}
    spread = float(((truth - truth.mean()) ** 2).sum())
    row["mae"] = float(np.abs(truth - guess).mean())
    if spread > 0:
        row["r2"] = 1.0 - float(((truth - guess) ** 2).sum()) / spread
    else:
        refused.append("r2: all runs have the same value")
    if len(truth) < MIN_FOR_RANKS:
        refused.append(f"kendall_tau: {len(truth)} runs, fewer than {MIN_FOR_RANKS}")
    elif np.ptp(truth) == 0 or np.ptp(guess) == 0:
        refused.append("kendall_tau: constant values or predictions")
    else:
        row["kendall_tau"] = float(stats.kendalltau(truth, guess).statistic)
    if np.all(truth > 0):
        row["mape"] = float((np.abs(truth - guess) / truth).mean())
    else:
        refused.append("mape: a run has the value 0")
    centre = to_scale(target, guess)
    residuals = to_scale(target, truth) - centre
    widths = conformal.fold_widths(residuals, folds, level)
    if np.all(np.isfinite(widths)):
        low, high = from_scale(target, centre - widths), from_scale(target, centre + widths)
        row["coverage"] = float((np.abs(residuals) <= widths).mean())
        row["width"] = float((high - low).mean())
    else:
        refused.append(
            f"coverage, width: {len(truth)} runs are too few to set a {level:.0%} interval on "
            "some folds and check it on the rest"
        )
    return row | {"refused": "; ".join(refused)}


def held_out_error(target: str, table: RunTable, predicted: Mapping[str, Floats]) -> float:
    """Mean absolute residual at the end of the runs, by which models are chosen."""
    truth = last(accumulate(table.increments)[target], table.epochs)
    guess = last(accumulate(predicted)[target], table.epochs)
    residuals = to_scale(target, truth) - to_scale(target, guess)
    return float(np.nanmean(np.abs(residuals)))
