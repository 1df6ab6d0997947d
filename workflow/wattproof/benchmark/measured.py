"""The measured table of a benchmark, and its Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof.dataset import included
from wattproof.errors import WattproofError, did_you_mean

MAXIMISE = ("accuracy",)
OBJECTIVES = ("accuracy", "energy_j", "time_s", "power_w")


def table(dataset: pd.DataFrame, curves: pd.DataFrame, scope: str) -> pd.DataFrame:
    """Average the replicates of each configuration that was trained to its end.

    Runs that the quality gate left out do not count.

    Energy and time are sums over epochs, as in the surrogates, so that both can be compared.

    Args:
        dataset: Table ``dataset``.
        curves: Table ``curves``.
        scope: ``node`` or ``gpu``.

    Returns:
        Configuration, ``network_key``, ``n`` (runs behind it), and the four objectives; NaN where
        an epoch of each run is unknown.
    """
    good = dataset[included(dataset)]
    energy = f"{scope}_energy_j"
    last = curves.groupby("run_id")["epoch"].idxmax()
    finals = curves.loc[last].set_index("run_id")["val_accuracy"]
    sums = curves.groupby("run_id")[[energy, "time_s"]].sum(min_count=1)
    for column in (energy, "time_s"):
        complete = curves.groupby("run_id")[column].count().reindex(good["run_id"], fill_value=0)
        short = complete.to_numpy() < good["epochs"].to_numpy()
        sums = sums.reindex(good["run_id"])
        sums.loc[good["run_id"][short], column] = np.nan
    names = {c: c.removeprefix("config_") for c in good.columns if c.startswith("config_")}
    runs = good[[*names, "network_key", "run_id"]].rename(columns=names).set_index("run_id")
    runs["n"] = 1
    runs["accuracy"] = finals.reindex(runs.index)
    runs["energy_j"] = sums[energy]
    runs["time_s"] = sums["time_s"]
    runs["power_w"] = runs["energy_j"] / runs["time_s"]
    keys = [*names.values(), "network_key"]
    how = {"n": "sum", **dict.fromkeys(OBJECTIVES, "mean")}
    return runs.groupby(keys, dropna=False, as_index=False).agg(how)


def pareto(measured: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """Keep the configurations that no other one beats in all objectives.

    Args:
        measured: See `table`.
        objectives: Names of `OBJECTIVES`. Accuracy is maximised, the others are minimised.

    Returns:
        Rows of `measured`, best in the first objective first.

    Raises:
        WattproofError: An objective is unknown, or none is given.
    """
    if not objectives or isinstance(objectives, str):
        raise WattproofError(
            f"objectives={objectives!r} names no list of objectives; give some of "
            f"{', '.join(OBJECTIVES)}."
        )
    for name in objectives:
        if name not in OBJECTIVES:
            raise WattproofError(
                f"'{name}' is no objective of this benchmark.{did_you_mean(name, OBJECTIVES)}"
            )
    known = measured.dropna(subset=list(objectives))
    costs = np.stack(
        [known[name].to_numpy() * (-1.0 if name in MAXIMISE else 1.0) for name in objectives],
        axis=1,
    )
    front = known[non_dominated(costs)]
    first = objectives[0]
    return front.sort_values(first, ascending=first not in MAXIMISE, ignore_index=True)


def non_dominated(costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of n points (rows) no other point dominates; all columns are minimised."""
    keep = np.ones(len(costs), dtype=bool)
    for index, point in enumerate(costs):
        if keep[index]:
            beaten = (costs >= point).all(axis=1) & (costs > point).any(axis=1)
            keep &= ~beaten
    return keep
