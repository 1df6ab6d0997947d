"""Scores within each training length: a ranking over all lengths would mostly rank the lengths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wattproof import tables
from wattproof.surrogate import scoring
from wattproof.surrogate.cells import HeldOut
from wattproof.surrogate.curves import tabulate
from wattproof.surrogate.learning import Choice, Learner
from wattproof.surrogate.targets import ALL, GROUPS, from_scale

MIN_NETWORKS = 5
"""Fewer carry no rank agreement worth printing."""


def score_budgets(
    dataset: pd.DataFrame, curves: pd.DataFrame, models: Path, settings: Mapping[str, Any]
) -> pd.DataFrame:
    """Score the chosen surrogates at the end of trainings, apart for each training length.

    Predictions come from the same folds by network as the table ``scores``; truth is the mean of
    the repeats of a network.

    Args:
        dataset: Table ``dataset``.
        curves: Table ``curves``.
        models: Folder of the surrogate: which families were chosen.
        settings: As of `wattproof.surrogate.fit`.

    Returns:
        A frame with the schema ``budgets``.
    """
    table = tabulate(dataset, curves, settings.get("opaque", ()))
    about = json.loads((models / "surrogate.json").read_text(encoding="utf-8"))["models"]
    learner = Learner(table, settings)
    folds, _ = scoring.assign_folds(table.networks, settings["folds"], settings["seed"])
    rows: list[dict[str, Any]] = []
    for group in GROUPS:
        chosen = next(
            Choice(about[name]["family"], about[name]["curve"])
            for name in about
            if ALL[name].group == group and ALL[name].kind == "curve"
        )
        held, _, _ = learner.held_out(group, chosen, folds)
        for column, target in enumerate(held.cells.targets):
            rows += _by_length(held, column, target, chosen.family)
    order = {target: rank for rank, target in enumerate(ALL)}
    rows.sort(key=lambda row: (order[row["target"]], row["epochs"]))
    found: pd.DataFrame = tables.conform(rows, "budgets").to_pandas()
    return found


def _by_length(held: HeldOut, column: int, target: str, family: str) -> list[dict[str, Any]]:
    from scipy import stats

    cells = held.cells
    end = cells.epoch == cells.epochs
    frame = pd.DataFrame(
        {
            "epochs": cells.epochs[end],
            "network": cells.network[end],
            "truth": from_scale(target, cells.truth[end, column]),
            "guess": from_scale(target, held.guess[end, column]),
        }
    ).dropna()
    found = []
    for epochs in np.unique(frame["epochs"]):
        part = frame[frame["epochs"] == epochs]
        repeats = part.groupby("network")
        mean = repeats[["truth", "guess"]].mean()
        variation = (repeats["truth"].std() / mean["truth"]).dropna()
        truth, guess = (mean[name].to_numpy(np.float64) for name in ("truth", "guess"))
        ranked = len(mean) >= MIN_NETWORKS and np.ptp(truth) > 0 and np.ptp(guess) > 0
        found.append(
            {
                "target": target,
                "model": family,
                "epochs": int(epochs),
                "networks": len(mean),
                "kendall_tau": float(stats.kendalltau(truth, guess).statistic) if ranked else None,
                "mape": float(np.mean(np.abs(guess / truth - 1))) if truth.min() > 0 else None,
                "mae": float(np.mean(np.abs(guess - truth))),
                "noise": float(variation.median()) if len(variation) else None,
            }
        )
    return found
