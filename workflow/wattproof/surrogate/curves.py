"""What the surrogate learns from: runs × epochs, as padded arrays.

Curves are kept as *increments* of an epoch: joules and seconds of that epoch alone, and for
accuracy the value itself. An epoch that is not known then spoils nothing but itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wattproof.dataset import included
from wattproof.errors import WattproofError
from wattproof.surrogate.cells import Cells, some_epochs
from wattproof.surrogate.encoding import EPOCHS, Encoding, Floats, columns_of, learn
from wattproof.surrogate.targets import (
    ACCURACY,
    ALL,
    COLUMNS,
    ENERGY,
    LEARNED,
    MIN_NETWORKS,
    POWER,
    TIME,
    to_scale,
)

if TYPE_CHECKING:
    import pandas as pd

NODE_SHARE = 0.8
"""The node's energy is what a user pays for, so it is learned, unless that of the GPU is known for
many more epochs: then the node's are too few."""


@dataclass(frozen=True)
class RunTable:
    """Runs that may be learned from.

    Attributes:
        run_ids: Identity of each of the R runs.
        networks: Realised network of each run, as an index; R.
        seeds: Seed of each run; R.
        configs: Configuration of each run, as one comparable text; R.
        encoding: How the configurations became numbers.
        epochs: Epochs that each run trained; R.
        static: Encoded configurations; R × k.
        increments: By target of kind ``curve``: accuracy after, and joules and seconds of, each
            epoch; R × E, NaN where unknown and behind the end of a run.
        ends: By target of kind ``end``: R values, NaN where unknown.
        scope: ``node`` or ``gpu``: whose energy ``energy_j`` is.
        left_out: Why an optional target is not there, by target.
    """

    run_ids: list[str]
    networks: NDArray[np.int64]
    seeds: NDArray[np.int64]
    configs: NDArray[np.str_]
    encoding: Encoding
    epochs: NDArray[np.int64]
    static: Floats
    increments: Mapping[str, Floats]
    ends: Mapping[str, Floats]
    scope: str
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def learned(self) -> tuple[str, ...]:
        """Targets with a model, in order."""
        return tuple(name for name in LEARNED if name in self.increments or name in self.ends)

    @property
    def targets(self) -> tuple[str, ...]:
        """Targets that are answered: the learned ones, and power."""
        return (*self.learned, POWER)

    @property
    def final_only(self) -> tuple[str, ...]:
        """Curve targets that no run tells before its end, although some runs are longer than 1."""
        early = np.arange(self.inside.shape[1])[None, :] < self.epochs[:, None] - 1
        if not early.any():
            return ()
        return tuple(
            name for name, cells in self.increments.items() if not np.isfinite(cells[early]).any()
        )

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which cells of R × E are epochs of a run."""
        width = self.increments[ACCURACY].shape[1]
        found: NDArray[np.bool_] = np.arange(width)[None, :] < self.epochs[:, None]
        return found

    def values(self) -> dict[str, Floats]:
        """All `targets` in natural units: R × E after each epoch for curves, R for ends."""
        return {**accumulate(self.increments), **self.ends}

    def cells(self) -> Cells:
        """Measured values on the targets' scales, at some epochs of each run."""
        run, epoch = some_epochs(self.epochs)
        values = self.values()
        final = epoch == self.epochs[run]
        truth = np.full((len(run), len(self.targets)), np.nan)
        for column, name in enumerate(self.targets):
            found = values[name]
            here = np.where(final, found[run], np.nan) if found.ndim == 1 else found[run, epoch - 1]
            truth[:, column] = to_scale(name, here)
        _, config = np.unique(self.configs, return_inverse=True)
        return Cells(
            targets=self.targets,
            scales=tuple(ALL[name].scale for name in self.targets),
            run=run,
            network=self.networks[run],
            config=config.reshape(-1).astype(np.int64)[run],
            seed=self.seeds[run],
            epoch=epoch,
            epochs=self.epochs[run],
            truth=truth,
        )


def tabulate(dataset: pd.DataFrame, curves: pd.DataFrame, opaque: Collection[str] = ()) -> RunTable:
    """Bring the runs that passed the quality gate into arrays.

    Args:
        dataset: Table ``dataset``.
        curves: Table ``curves``.
        opaque: Parameters that no model reads, see `wattproof.surrogate.encoding.learn`.

    Raises:
        WattproofError: There are no runs, no energies, or an input of the models is unknown.
    """
    good = _usable(dataset)
    columns, parameters = columns_of(good)
    # The schedule may have been shortened: what was trained counts, not what the space says.
    epochs = good["epochs"].to_numpy(dtype=np.int64)
    configs = _config_texts(columns, parameters)
    columns[EPOCHS] = epochs.astype(np.float64)
    encoding = learn(columns, parameters, opaque)
    _, networks = np.unique(good["network_key"].to_numpy(dtype=str), return_inverse=True)
    row_of = {run_id: index for index, run_id in enumerate(good["run_id"])}
    curves = curves[curves["run_id"].isin(row_of)]
    run = curves["run_id"].map(row_of).to_numpy(dtype=np.int64)
    epoch = curves["epoch"].to_numpy(dtype=np.int64)
    energy, scope = _energy_column(curves)
    shape = (len(good), int(epochs.max()))
    known = (epoch >= 0) & (epoch < epochs[run])
    increments: dict[str, Floats] = {}
    ends: dict[str, Floats] = {}
    left_out: dict[str, str] = {}
    for name, target in LEARNED.items():
        column = energy if name == ENERGY else COLUMNS[name]
        values = _numbers(curves if target.kind == "curve" else good, column)
        if target.scale == "log":
            # An epoch without a positive energy or time is a fault upstream, not a small value.
            values = np.where(values > 0, values, np.nan)
        if target.kind == "curve":
            cells = np.full(shape, np.nan)
            cells[run[known], epoch[known]] = values[known]
            having = np.isfinite(cells).any(axis=1)
        else:
            having = np.isfinite(values)
        number = len(np.unique(networks[having]))
        if target.optional and number < MIN_NETWORKS:
            left_out[name] = f"{number} networks have it, fewer than {MIN_NETWORKS}"
        elif target.kind == "curve":
            increments[name] = cells
        else:
            ends[name] = values
    return RunTable(
        run_ids=good["run_id"].tolist(),
        networks=networks.astype(np.int64),
        seeds=good["seed"].to_numpy(dtype=np.int64),
        configs=configs,
        encoding=encoding,
        epochs=epochs,
        static=encoding.static(columns),
        increments=increments,
        ends=ends,
        scope=scope,
        left_out=left_out,
    )


def _usable(dataset: pd.DataFrame) -> pd.DataFrame:
    good = dataset[included(dataset)].sort_values("run_id", ignore_index=True)
    if good.empty:
        raise WattproofError(
            "No run of the data set ended well and passed the quality gate, so there is nothing to "
            "fit a surrogate to; see the reasons in its column 'excluded'."
        )
    return good


def _numbers(frame: pd.DataFrame, column: str) -> Floats:
    """A column as floats; all NaN where the table does not have it."""
    if column not in frame.columns:
        return np.full(len(frame), np.nan)
    found: Floats = frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
    return found


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
        increments: By target, epochs along the last axis; see `RunTable.increments`.

    Returns:
        The same targets after each epoch (energies and times cumulative), and mean power since the
        start (W). An unknown increment makes everything after it unknown.
    """
    found = {
        target: np.asarray(cells) if target == ACCURACY else np.cumsum(cells, axis=-1)
        for target, cells in increments.items()
    }
    return found | {POWER: found[ENERGY] / found[TIME]}
