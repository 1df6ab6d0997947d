"""Scores on held-out networks, and the noise that no model can beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wattproof.dataset import deal
from wattproof.errors import WattproofError
from wattproof.surrogate import conformal
from wattproof.surrogate.cells import HeldOut, Ints, ends, natural
from wattproof.surrogate.encoding import Floats
from wattproof.surrogate.noise import REPLICATES, Noise, mean_error
from wattproof.surrogate.targets import ALL

CEILING_SEED = 61803
"""Of the noise that is laid on predictions to find the ceiling of a rank agreement."""

MIN_FOR_RANKS = 5
"""Fewer runs carry no rank agreement worth printing (with 4, chance gives 1.0 in 1 of 24)."""


def assign_folds(networks: Ints, wanted: int, seed: int) -> tuple[Ints, str]:
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
    keys: list[int] = networks.tolist()
    distinct = len(set(keys))
    if distinct < 2:
        raise WattproofError(
            f"The data set holds {distinct} distinct network(s), but held-out scores need at "
            "least 2; raise 'plan.runs'."
        )
    folds = min(wanted, distinct)
    fold_of = deal(keys, folds, seed)
    split = f"{folds}-fold cross-validation by network"
    if folds < wanted:
        split += f" (not {wanted}: there are {folds} networks)"
    return np.array([fold_of[key] for key in keys], dtype=np.int64), split


def rows(
    held: HeldOut,
    noise: Noise,
    level: float,
    split: str,
    family: str,
    curve: str,
    operations: int,
    chosen: bool,
    edges: Sequence[float] = (),
) -> list[dict[str, Any]]:
    """Score one family of models at the end of the runs.

    Args:
        held: Its held-out predictions, with folds by network.
        noise: Noise of the campaign: the ceiling of every score.
        level: Nominal coverage.
        split: How the folds were made, in words.
        family: Name of the regressors.
        curve: Name of the family of curves; targets of kind ``end`` have none.
        operations: Counted cost of a query.
        chosen: Whether this is what the artefact holds.
        edges: Strata of the intervals, see `conformal.learn`.

    Returns:
        Rows of table ``scores``, one a target. Coverage and width use, for each run, an interval
        from the residuals of the other folds.
    """
    cells = held.cells
    half = conformal.held_out_half_widths(held, noise.at(cells.epoch, cells.epochs), level, edges)
    found = []
    for column, target in enumerate(cells.targets):
        known = noise.about[target]
        row = at_the_end(held, half, column, level)
        refused = [row.pop("refused")] if row.get("refused") else []
        if known.source != REPLICATES:
            refused.append("noise: no configuration was trained with two seeds")
        found.append(
            {
                "target": target,
                "model": family,
                "curve": curve if ALL[target].kind == "curve" else "",
                "split": split,
                **row,
                "noise": known.std if known.source == REPLICATES else None,
                "noise_groups": known.groups,
                **_ceilings(held, column, known.std if known.source == REPLICATES else None),
                "operations": operations,
                "chosen": chosen,
                "refused": "; ".join(refused),
            }
        )
    return found


def at_the_end(held: HeldOut, half: Floats, column: int, level: float) -> dict[str, Any]:
    """Score one target at the end of the runs.

    Args:
        held: Held-out predictions.
        half: Half-widths on the target's scale, C × M.
        column: Which target.
        level: Nominal coverage.

    Returns:
        n, networks, r2, kendall_tau, mae, mape, coverage, width, and refused: why one is missing.
    """
    from scipy import stats

    cells = held.cells
    scale = (cells.scales[column],)
    known = cells.final & np.isfinite(held.residuals[:, column])
    truth, guess = (
        natural(values[known, column][:, None], scale)[:, 0] for values in (cells.truth, held.guess)
    )
    row: dict[str, Any] = {"n": len(truth), "networks": len(np.unique(cells.network[known]))}
    if len(truth) == 0:
        return row | {"refused": "all scores: no held-out run has a value"}
    refused = []
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
    width = half[known, column]
    if np.all(np.isfinite(width)):
        centre = held.guess[known, column]
        low, high = ends(centre[:, None], width[:, None], scale)
        row["coverage"] = float((np.abs(held.residuals[known, column]) <= width).mean())
        row["width"] = float((high - low)[:, 0].mean())
    else:
        refused.append(
            f"coverage, width: {row['networks']} networks are too few to set a {level:.0%} "
            "interval on some folds and check it on the rest"
        )
    return row | {"refused": "; ".join(refused)}


def _ceilings(held: HeldOut, column: int, std: float | None) -> dict[str, float | None]:
    """What predictions without any error of their own would score against noisy runs.

    The measured values serve as such predictions, and normal noise is laid on them with a fixed
    seed: the ceiling of a rank agreement has no closed form. It is one for all models of a target.
    """
    from scipy import stats

    cells = held.cells
    known = cells.final & np.isfinite(held.residuals[:, column])
    truth = cells.truth[known, column]
    if std is None or len(truth) < MIN_FOR_RANKS or np.ptp(truth) == 0:
        return {"kendall_tau_ceiling": None, "error_floor": None}
    shaken = truth + std * np.random.default_rng(CEILING_SEED).standard_normal(len(truth))
    return {
        "kendall_tau_ceiling": float(stats.kendalltau(truth, shaken).statistic),
        "error_floor": mean_error(std),
    }
