"""Results that others published, as a data set: what surrogates and benchmarks are made of.

A row of figures is a training. Nothing is measured here and nothing is corrected: energies are
those that were published, by whom they say, and what the audit found goes into the card.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof import space as spaces
from wattproof import tables
from wattproof.dataset import deal
from wattproof.errors import WattproofError, did_you_mean
from wattproof.quality.bookkeeping import read_points
from wattproof.space import Space
from wattproof.surrogate.encoding import COMPLEXITY

INFERRED = "curve_inferred"
"""Flag of epochs whose energy and time nobody read."""

ABOUT = (
    "Nothing was measured by wattproof: energies, times and accuracies are those that were "
    "published, and none of them was corrected.",
    "Energy and time at the end of a training are the published figures of all of it, start-up and "
    "test included. Within a training they are shared out by the published points of energy, at "
    "constant power: nobody read them, and their intervals there are not checked.",
    "Accuracy is known at the end of trainings only; before that it is NaN.",
    "Idle nodes and the making of the hardware are in nothing here.",
)
"""What a user should know of any benchmark that was made of published results."""

TOLD = ("device_names_differ", "energy_before_epochs", "factor_not_told")
"""Notes of an audit that belong on a card, too."""


def build(
    reported: pd.DataFrame, asked: Mapping[str, Any], settings: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Turn rows of figures into a data set.

    Energy and time of single epochs are mostly not published. Their sum over a run is the published
    figure of the whole training (start-up and test included); it is shared out by the published
    points of energy, evenly between them, and its power taken as constant. Such epochs carry the
    flag ``curve_inferred``. Accuracy is known at the end only.

    Args:
        reported: Table ``reported`` of one set.
        asked: Key ``benchmark`` of the manifest, complete.
        settings: ``folds`` and ``seed``, as a campaign's ``surrogate`` has them.

    Returns:
        Frames with the schemas ``dataset`` and ``curves``.

    Raises:
        WattproofError: A column or channel is not there, a row is no network of the space, or its
            published costs are not those of the network; one sentence.
    """
    runs = _Runs(reported, asked)
    space = spaces.get(asked["space"])
    rows = [_run(runs, number, space, asked) for number in range(len(runs))]
    fold = deal((row["network_key"] for row in rows), settings["folds"], settings["seed"])
    curves: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        row["fold"] = fold[row["network_key"]]
        curves += _epochs(row, runs.shares(number, row["epochs"]))
    return _frame(rows, "dataset"), _frame(curves, "curves")


def notes(findings_path: str | Path) -> list[str]:
    """Return what the card of such a benchmark has to say: what its energies are, what was found.

    Args:
        findings_path: Table ``findings`` of the audit.
    """
    findings = tables.read_frame(findings_path, "findings")
    told = (findings["severity"] != "note") | findings["flag"].isin(TOLD)
    serious = findings[told]
    return [*ABOUT, *(f"Audit, {row.flag}: {row.evidence}" for row in serious.itertuples())]


class _Runs:
    """Rows of the file, each with its figures side by side."""

    def __init__(self, reported: pd.DataFrame, asked: Mapping[str, Any]) -> None:
        trained = reported[(reported["level"] == "run") & (reported["kind"] == "run")]
        if trained.empty:
            raise WattproofError(
                f"Set '{asked['set']}' has no rows of figures that are trainings; a benchmark "
                "needs a log with rows: reported and level run."
            )
        self._asked = asked
        self.first = trained.drop_duplicates("row").set_index("row").sort_index()
        figures = trained.pivot_table(index="row", columns="channel", values="energy_j")
        self.energies = figures.reindex(self.first.index)
        for key in ("energy", "gpu_energy"):
            self._known(asked[key], self.energies.columns, f"benchmark.{key}", "channel")
        total = trained[trained["channel"] == asked["energy"]]
        self.by = str(total["source"].iloc[0])
        named = [
            *asked["parameters"].values(),
            *(asked["cell"] or {}).values(),
            *asked["costs"].values(),
            *([asked["points"]] if asked["points"] else []),
        ]
        for name in named:
            self._known(f"config_{name}", self.first.columns, "benchmark", "column")
        for name in (asked["accuracy"], asked["test_accuracy"]):
            if name is not None:
                self._known(f"metric_{name}", self.first.columns, "benchmark", "column")

    def _known(self, name: str | None, there: Iterable[str], key: str, what: str) -> None:
        if name is None or name in there:
            return
        group, _, short = name.partition("_")
        if what == "channel":
            raise WattproofError(
                f"{key} is '{name}', but no figure of set '{self._asked['set']}' has that channel."
                f"{did_you_mean(name, there)} Correct it."
            )
        raise WattproofError(
            f"{key} names the column '{short}', which is not among reported.{group} of set "
            f"'{self._asked['set']}'; add it there (in small letters, with underscores)."
        )

    def __len__(self) -> int:
        return len(self.first)

    def at(self, number: int, column: str) -> Any:
        """Value of a row; None where unknown."""
        value = self.first[column].iloc[number]
        return None if pd.isna(value) else value

    def energy(self, number: int, channel: str | None) -> float | None:
        """Joules of a row by a channel; None where unknown."""
        if channel is None:
            return None
        value = float(self.energies[channel].iloc[number])
        return value if math.isfinite(value) else None

    def shares(self, number: int, epochs: int) -> NDArray[np.float64]:
        """Share of each epoch in the energy of a row; their sum is 1."""
        column = self._asked["points"]
        text = None if column is None else self.at(number, f"config_{column}")
        if text is None:
            return np.full(epochs, 1 / epochs)
        where = f"Column '{column}', row {self.first.index[number]}"
        done, energy = points(str(text), where)
        so_far = np.interp(np.arange(epochs + 1), done, energy)
        spent = np.diff(so_far)
        if spent.min() <= 0:
            raise WattproofError(
                f"{where}: the energy so far does not rise with every epoch ({text}); leave the "
                "key 'points' out, or correct the file."
            )
        shares: NDArray[np.float64] = spent / spent.sum()
        return shares


def points(text: str, where: str) -> tuple[list[float], list[float]]:
    """Return epochs and the energy so far after each, from 0 on, see `read_points`.

    Raises:
        WattproofError: The text is none of points.
    """
    try:
        pairs = read_points(text)
    except ValueError as error:
        raise WattproofError(
            f"{where}: '{text}' is no list of points like 0:0.1;1:0.4;36:11.3; correct the file or "
            "leave the key 'points' out."
        ) from error
    if pairs[0][0] > 0:
        pairs = [(0.0, 0.0), *pairs]
    return [epoch for epoch, _ in pairs], [energy for _, energy in pairs]


def _run(runs: _Runs, number: int, space: Space, asked: Mapping[str, Any]) -> dict[str, Any]:
    epochs = runs.at(number, "epochs")
    if epochs is None or epochs < 1:
        raise WattproofError(
            f"Row {runs.first.index[number]} of set '{asked['set']}' does not say for how many "
            "epochs it was trained; name the column in reported.epochs."
        )
    config = _configuration(runs, number, space, asked, int(epochs))
    size = {"resolution": asked["resolution"], "classes": asked["classes"]}
    network: Any = space.realise(config, **size)
    costs = network.complexity()
    told = {name: getattr(costs, name) for name in COMPLEXITY}
    for name, column in asked["costs"].items():
        published = runs.at(number, f"config_{column}")
        if published is not None and int(float(published)) != told.get(name):
            raise WattproofError(
                f"Row {runs.first.index[number]} of set '{asked['set']}': its network has "
                f"{told.get(name)} {name} in space '{space.name}', but {column} says "
                f"{published}; give the space, image size and classes that it was trained with."
            )
    further = network.costs() if space.costs else ()
    energy_j = runs.energy(number, asked["energy"])
    parts = [
        channel
        for channel in runs.energies.columns
        if channel not in (asked["energy"], asked["gpu_energy"])
    ]
    return {
        "run_id": str(runs.at(number, "run_id")),
        "network_key": network.key,
        "setting": "single",
        "recording": asked["set"],
        "seed": int(runs.at(number, "replicate") or 0),
        "status": "ok",
        "epochs": int(epochs),
        "time_s": runs.at(number, "duration_s"),
        "val_accuracy": runs.at(number, f"metric_{asked['accuracy']}"),
        "test_accuracy": runs.at(number, f"metric_{asked['test_accuracy']}")
        if asked["test_accuracy"]
        else None,
        **told,
        "gpu_energy_j": runs.energy(number, asked["gpu_energy"]),
        "node_energy_j": energy_j,
        "node_energy_by": "" if energy_j is None else f"reported by {runs.by}",
        "flags": [],
        "excluded": "",
        **{f"config_{key}": value for key, value in config.items()},
        **{f"cost_{name}": value for name, value in zip(space.costs, further, strict=True)},
        **{f"part_j_{c.partition('.')[0]}": runs.energy(number, c) for c in parts},
    }


def _configuration(
    runs: _Runs, number: int, space: Space, asked: Mapping[str, Any], epochs: int
) -> dict[str, Any]:
    """Point of the space that a row was trained at."""
    training = getattr(space, "training", {})
    config: dict[str, Any] = {}
    if asked["cell"] is not None:
        place: Any = getattr(space, "configuration", None)
        if place is None:
            raise WattproofError(
                f"benchmark.cell is for spaces of cells, but '{space.name}' is none; give "
                "benchmark.parameters instead."
            )
        digits = str(runs.at(number, f"config_{asked['cell']['edges']}"))
        ops = str(runs.at(number, f"config_{asked['cell']['ops']}")).split()
        n = math.isqrt(len(digits))
        edges = [[int(c) if c in "01" else -1 for c in digits[i * n : i * n + n]] for i in range(n)]
        if n * n != len(digits):
            edges = []
        config = place(edges, ops)
    for name, column in asked["parameters"].items():
        config[name] = runs.at(number, f"config_{column}")
    if "epochs" in training:
        config.setdefault("epochs", epochs)
    return config


def _epochs(row: Mapping[str, Any], shares: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Epochs of a run: its figures, shared out."""
    figures = {
        name: None if row[name] is None else row[name] * shares
        for name in ("time_s", "gpu_energy_j", "node_energy_j")
    }
    powers = {
        scope: row[f"{scope}_energy_j"] / row["time_s"]
        if row[f"{scope}_energy_j"] is not None and row["time_s"]
        else None
        for scope in ("gpu", "node")
    }
    last = row["epochs"] - 1
    return [
        {
            "run_id": row["run_id"],
            "network_key": row["network_key"],
            "epoch": epoch,
            "val_accuracy": row["val_accuracy"] if epoch == last else None,
            **{name: None if v is None else float(v[epoch]) for name, v in figures.items()},
            **{f"{scope}_power_w": watts for scope, watts in powers.items()},
            "flags": [INFERRED] if last else [],
        }
        for epoch in range(row["epochs"])
    ]


def _frame(rows: list[dict[str, Any]], name: str) -> pd.DataFrame:
    frame: pd.DataFrame = tables.conform(rows, name).to_pandas()
    return frame
