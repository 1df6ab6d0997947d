"""What the surrogate learns from: runs × epochs, as padded arrays.

Energy and time are learned as *increments* of an epoch, on a logarithmic scale. Their exponentials
are positive, so every cumulative curve rises with the epoch by construction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wattproof.dataset import included
from wattproof.errors import WattproofError
from wattproof.surrogate.encoding import EPOCHS, Encoding, Floats, Matrix, columns_of, learn

if TYPE_CHECKING:
    import pandas as pd

ACCURACY, ENERGY, TIME, POWER = "accuracy", "energy_j", "time_s", "power_w"
TARGETS = (ACCURACY, ENERGY, TIME, POWER)

LEARNED = (ACCURACY, ENERGY, TIME)
"""Targets with a model of their own; power is energy over time."""

NODE_SHARE = 0.8
"""The node's energy is what a user pays for, so it is learned, unless that of the GPU is known for
many more epochs: then the node's are too few."""


@dataclass(frozen=True)
class RunTable:
    """Runs that did not fail.

    Attributes:
        run_ids: Identity of each of the R runs.
        networks: Realised network of each run, as an index; R.
        seeds: Seed of each run; R.
        configs: Configuration of each run, as one comparable text; R.
        encoding: How the configurations became numbers.
        epochs: Length of each run, in epochs; R.
        static: Encoded configurations; R × k.
        increments: Validation accuracy after, and joules and seconds of, each epoch; each R × E,
            NaN where unknown and behind the end of a run.
        scope: ``node`` or ``gpu``: whose energy it is.
    """

    run_ids: list[str]
    networks: NDArray[np.int64]
    seeds: NDArray[np.int64]
    configs: NDArray[np.str_]
    encoding: Encoding
    epochs: NDArray[np.int64]
    static: Floats
    increments: Mapping[str, Floats]
    scope: str

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which cells of R × E are epochs of a run."""
        width = self.increments[ACCURACY].shape[1]
        found: NDArray[np.bool_] = np.arange(width)[None, :] < self.epochs[:, None]
        return found

    def rows(self) -> tuple[Matrix, NDArray[np.int64], NDArray[np.int64]]:
        """Matrix of all epochs of all runs, with the run and the column of R × E of each row."""
        run, column = np.nonzero(self.inside)
        matrix = self.encoding.at_epochs(self.static[run], column + 1, self.epochs[run])
        return matrix, run, column


def tabulate(dataset: pd.DataFrame, curves: pd.DataFrame, opaque: Collection[str] = ()) -> RunTable:
    """Bring the runs that passed the quality gate into arrays.

    Args:
        dataset: Table ``dataset``.
        curves: Table ``curves``.
        opaque: Parameters that no model reads, see `wattproof.surrogate.encoding.learn`.

    Raises:
        WattproofError: There are no runs, no energies, or an input of the models is unknown.
    """
    good = dataset[included(dataset)]
    good = good.sort_values("run_id", ignore_index=True)
    if good.empty:
        raise WattproofError(
            "No run of the data set ended well and passed the quality gate, so there is nothing to "
            "fit a surrogate to; see the reasons in its column 'excluded'."
        )
    columns, parameters = columns_of(good)
    encoding = learn(columns, parameters, opaque)
    epochs = columns[EPOCHS].astype(np.int64)
    _, networks = np.unique(good["network_key"].to_numpy(dtype=str), return_inverse=True)
    row_of = {run_id: index for index, run_id in enumerate(good["run_id"])}
    curves = curves[curves["run_id"].isin(row_of)]
    energy, scope = _energy_column(curves)
    shape = (len(good), int(epochs.max()))
    run = curves["run_id"].map(row_of).to_numpy(dtype=np.int64)
    epoch = curves["epoch"].to_numpy(dtype=np.int64)
    known = (epoch >= 0) & (epoch < epochs[run])
    increments = {}
    for target, name in ((ACCURACY, "val_accuracy"), (ENERGY, energy), (TIME, "time_s")):
        cells = np.full(shape, np.nan)
        values = curves[name].to_numpy(dtype=np.float64, na_value=np.nan)
        if target != ACCURACY:
            # An epoch without a positive energy or time is a fault upstream, not a small value.
            values = np.where(values > 0, values, np.nan)
        cells[run[known], epoch[known]] = values[known]
        increments[target] = cells
    return RunTable(
        run_ids=good["run_id"].tolist(),
        networks=networks.astype(np.int64),
        seeds=good["seed"].to_numpy(dtype=np.int64),
        configs=_config_texts(columns, parameters),
        encoding=encoding,
        epochs=epochs,
        static=encoding.static(columns),
        increments=increments,
        scope=scope,
    )


def _energy_column(curves: pd.DataFrame) -> tuple[str, str]:
    counts = {scope: int(curves[f"{scope}_energy_j"].notna().sum()) for scope in ("node", "gpu")}
    if not any(counts.values()):
        raise WattproofError(
            "No epoch of the data set has a node or GPU energy, so no surrogate of energy can be "
            "fitted; look for refused windows in table 'energy'."
        )
    scope = "node" if counts["node"] >= NODE_SHARE * counts["gpu"] else "gpu"
    return f"{scope}_energy_j", scope


def _config_texts(columns: Mapping[str, NDArray[Any]], parameters: list[str]) -> NDArray[np.str_]:
    return np.array(
        [
            "|".join(str(value) for value in values)
            for values in zip(*(columns[name] for name in parameters), strict=True)
        ]
    )


def accumulate(increments: Mapping[str, Floats]) -> dict[str, Floats]:
    """Turn increments into what users ask for.

    Args:
        increments: Accuracy after, joules and seconds of each epoch; epochs along the last axis.

    Returns:
        Accuracy, cumulative energy (J), cumulative time (s) and mean power since the start (W).
        An unknown increment makes everything after it unknown.
    """
    energy_j = np.cumsum(increments[ENERGY], axis=-1)
    time_s = np.cumsum(increments[TIME], axis=-1)
    return {
        ACCURACY: np.asarray(increments[ACCURACY]),
        ENERGY: energy_j,
        TIME: time_s,
        POWER: energy_j / time_s,
    }


def to_scale(target: str, values: Floats) -> Floats:
    """Bring a target to the scale on which its residuals are taken: log, except for accuracy."""
    return values if target == ACCURACY else np.log(values)


def from_scale(target: str, values: Floats) -> Floats:
    """Undo `to_scale`; accuracy is kept between 0 and 1."""
    return np.clip(values, 0.0, 1.0) if target == ACCURACY else np.exp(values)


def last(cells: Floats, epochs: NDArray[np.int64]) -> Floats:
    """Value at the end of each run, of R × E."""
    found: Floats = cells[np.arange(len(epochs)), epochs - 1]
    return found
