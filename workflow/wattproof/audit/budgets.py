"""Scores within each training length: a ranking over all lengths would mostly rank the lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from wattproof import tables

MIN_NETWORKS = 5
"""Fewer carry no rank agreement worth printing."""

TARGETS = ("accuracy", "test_accuracy", "energy_j", "gpu_energy_j", "time_s", "power_w")
"""In the order of the table; others come behind."""


def score_budgets(dataset: pd.DataFrame, held_out: pd.DataFrame) -> pd.DataFrame:
    """Score held-out predictions of the ends of trainings, apart for each training length.

    Args:
        dataset: Table ``dataset``.
        held_out: Table ``held_out``: predictions by the chosen models of networks they never saw.

    Returns:
        A frame with the schema ``budgets``. Errors are those to the mean of a network's repeats;
        coverage is that of the single trainings.
    """
    length = dataset.set_index("run_id")["epochs"]
    frame = held_out.assign(epochs=held_out["run_id"].map(length).astype("int64"))
    order = {name: rank for rank, name in enumerate(TARGETS)}
    keys = sorted(
        {(str(t), int(e)) for t, e in zip(frame["target"], frame["epochs"], strict=True)},
        key=lambda key: (order.get(key[0], len(order)), key),
    )
    rows = [
        {
            "target": target,
            "epochs": epochs,
            **_scores(frame[(frame["target"] == target) & (frame["epochs"] == epochs)]),
        }
        for target, epochs in keys
    ]
    found: pd.DataFrame = tables.conform(rows, "budgets").to_pandas()
    return found


def _scores(part: pd.DataFrame) -> dict[str, Any]:
    from scipy import stats

    repeats = part.groupby("network_key")
    mean = repeats[["measured", "predicted"]].mean()
    variation = (repeats["measured"].std() / mean["measured"]).dropna()
    truth, guess = (mean[name].to_numpy(np.float64) for name in ("measured", "predicted"))
    ranked = len(mean) >= MIN_NETWORKS and np.ptp(truth) > 0 and np.ptp(guess) > 0
    ends = part.dropna(subset=["low", "high"])
    inside = (ends["measured"] >= ends["low"]) & (ends["measured"] <= ends["high"])
    return {
        "runs": len(part),
        "networks": len(mean),
        "kendall_tau": float(stats.kendalltau(truth, guess).statistic) if ranked else None,
        "mape": float(np.mean(np.abs(guess / truth - 1))) if truth.min() > 0 else None,
        "mae": float(np.mean(np.abs(guess - truth))),
        "noise": float(variation.median()) if len(variation) else None,
        "coverage": float(inside.mean()) if len(ends) else None,
        "width": float((ends["high"] - ends["low"]).mean()) if len(ends) else None,
    }
