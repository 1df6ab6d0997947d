"""What the report asks the published benchmark: points of its fronts, and facts on itself."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import wattproof
from wattproof import space as spaces
from wattproof.benchmark.api import Benchmark
from wattproof.benchmark.fronts import non_dominated
from wattproof.dataset import included
from wattproof.errors import WattproofError
from wattproof.report.parts import Published
from wattproof.report.text import count, listed, percent, whole
from wattproof.surrogate.targets import INFERENCE

DRAWS = 20_000
"""Configurations of the space whose predictions make the predicted front."""

CURVES = 200
"""Predicted trainings whose steps are checked."""

PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib", ".npy")
"""Endings of files that run code or may do so when they are read."""


def ask(path: Path, seed: int = 0) -> Published:
    """Load a benchmark and ask it.

    Args:
        path: Its folder.
        seed: Of the draws.
    """
    bench = wattproof.load(path)
    first = bench.query(bench.sample(seed=seed))
    points = pd.concat([_measured(bench), _predicted(bench, seed)], ignore_index=True)
    return Published(points, first.energy_scope, _facts(bench, path, first.level))


def _measured(bench: Benchmark) -> pd.DataFrame:
    table = bench.measured()
    means = bench.dataset[included(bench.dataset)].groupby("network_key")[INFERENCE].mean()
    table[INFERENCE] = means.reindex(table["network_key"]).to_numpy()
    return _with_fronts(table, "measured")


def _predicted(bench: Benchmark, seed: int) -> pd.DataFrame:
    """Predictions for draws from the space, those inside of what was trained."""
    table = bench.query_many(pd.DataFrame(_drawn(bench, DRAWS, seed)))
    return _with_fronts(table[table["in_domain"]].reset_index(drop=True), "predicted")


def _drawn(bench: Benchmark, n: int, seed: int) -> list[dict[str, Any]]:
    """Draw configurations; fewer where the space has, or draws from, no more."""
    space = spaces.get(str(bench.space.name))
    fewer = space.count().configurations
    for size in (n, n // 2, n // 10):
        if size <= fewer:
            try:
                return space.sample(size, seed)
            except WattproofError:  # it draws from a pool of its own
                continue
    return space.sample(fewer, seed)


def _with_fronts(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    found = pd.DataFrame({"kind": kind}, index=table.index)
    for name in ("accuracy", "energy_j", INFERENCE):
        values = table[name] if name in table else pd.Series(np.nan, index=table.index)
        found[name] = values.to_numpy(dtype="float64", na_value=np.nan)
    for column, names in (
        ("front", ["accuracy", "energy_j"]),
        ("front_inference", ["accuracy", "energy_j", INFERENCE]),
    ):
        known = found[names].notna().all(axis=1).to_numpy()
        found[column] = False
        costs = found.loc[known, names].to_numpy(dtype=np.float64)
        if len(costs):
            costs[:, 0] *= -1
            found.loc[known, column] = non_dominated(costs)
    return found


def _facts(bench: Benchmark, path: Path, level: float) -> dict[str, str]:
    data = bench.dataset
    good = data[included(data)]
    space = spaces.get(str(bench.space.name))
    shape = [name for name in getattr(space, "architecture", {}) if name in bench.space]
    training = [name for name in bench.space if name not in shape]
    networks = space.count().networks
    by = Counter(good["node_energy_by"].dropna().astype(str))
    configuration = [column for column in good if str(column).startswith("config_")]
    runs = good.groupby([*configuration, "network_key"], dropna=False).size()
    inference = good[INFERENCE].notna().mean() if len(good) else 0.0
    # Snakemake leaves a stamp in a folder that it made; it is not published.
    files = sorted(f.name for f in path.rglob("*") if f.is_file() and f.name[0] != ".")
    unsafe = [name for name in files if name.endswith(PICKLES)]
    sources = ", ".join(f"{name}: {count(n, 'run')}" for name, n in sorted(by.items()))
    return {
        "searched": f"{count(len(shape), 'parameter')} of the network, {len(training)} of the "
        "training",
        "networks": f"{whole(networks)}; {whole(good['network_key'].nunique())} trained",
        "energy": f"node energy by {sources or 'nothing'}; in joules",
        "inference": f"of {percent(inference, 0)} of the runs" if inference else "no",
        "repeats": f"{whole((runs > 1).sum())} configurations, each run with its seed",
        "curves": f"each epoch: {whole(len(bench.curves))} of {count(len(good), 'run')}",
        "rising": _steps(bench),
        "noise": _noise(bench),
        "level": percent(level, 0),
        "python": f"yes (Python {_python()})",
        "files": listed(sorted({Path(name).suffix.lstrip(".") or name for name in files}))
        + ("; no pickle" if not unsafe else f"; unsafe: {', '.join(unsafe)}"),
    }


def _steps(bench: Benchmark) -> str:
    """Check that predicted energy and time rise from epoch to epoch."""
    steps = falling = 0
    for config in _drawn(bench, CURVES, 0):
        curve = bench.curve(config)
        rises = np.diff(curve[["energy_j", "time_s"]].to_numpy(), axis=0) > 0
        steps, falling = steps + rises.size, falling + int((~rises).sum())
    return f"{whole(falling)} of {whole(steps)} predicted steps do not rise"


def _noise(bench: Benchmark) -> str:
    """Check what a seed does."""
    config = bench.sample(seed=0)
    draws = [bench.query(config, seed=seed).energy_j.value for seed in (1, 1, 2)]
    same, other = draws[0] == draws[1], draws[0] != draws[2]
    if same and other:
        return "drawn by the query's seed; the same seed, the same number"
    return "none" if same else "not repeatable"


def _python() -> str:
    about: Any = importlib.metadata.metadata("wattproof")
    return str(about.get("Requires-Python") or "version not stated")
