"""The measured table of a benchmark."""

from __future__ import annotations

import numpy as np
import pandas as pd

from wattproof.dataset import included

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
