"""What trust is measured on: values of runs at some of their epochs, held-out predictions beside.

A *cell* is a run at one of its epochs. Everything is on the target's scale: logarithms of energies
and times (differences are factors, standard deviations are relative), accuracies as they are.
A target that is one number a run (kind ``end``) is known in the last cell of each run only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof.surrogate.encoding import Floats

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

LOG, UNIT = "log", "unit"

BINS = 10
"""Parts of a training by progress; a bin more (index `BINS`) is the end of a training."""


def bin_of(epoch: Ints, epochs: Ints) -> Ints:
    """Bin of progress: 0 to `BINS` − 1, and `BINS` at the end of the training.

    Args:
        epoch: Epochs finished; n.
        epochs: Length of the training; n.
    """
    found: Ints = (epoch * BINS - 1) // epochs + (epoch >= epochs)
    return np.minimum(found, BINS)


@dataclass(frozen=True)
class Cells:
    """C cells × M targets.

    Attributes:
        targets: Names of the M targets.
        scales: ``log`` or ``unit`` for each of them.
        run: Run of each cell, as an index; C.
        network: Realised network of each cell, as an index; C.
        config: Configuration of each cell, as an index; C.
        seed: Seed of the run of each cell; C.
        epoch: Epochs finished, from 1; C.
        epochs: Length of the training; C.
        truth: Measured values on the target's scale, C × M; NaN where unknown.
    """

    targets: tuple[str, ...]
    scales: tuple[str, ...]
    run: Ints
    network: Ints
    config: Ints
    seed: Ints
    epoch: Ints
    epochs: Ints
    truth: Floats

    @property
    def final(self) -> Mask:
        """Which cells are the end of a training; C."""
        found: Mask = self.epoch == self.epochs
        return found

    @property
    def bins(self) -> Ints:
        """Bin of progress of each cell; C."""
        return bin_of(self.epoch, self.epochs)

    def take(self, which: Mask | Ints) -> Cells:
        """Return some of the cells, by mask or index."""
        return replace(
            self,
            run=self.run[which],
            network=self.network[which],
            config=self.config[which],
            seed=self.seed[which],
            epoch=self.epoch[which],
            epochs=self.epochs[which],
            truth=self.truth[which],
        )


@dataclass(frozen=True)
class HeldOut:
    """Cells with predictions by models that saw no run of their network.

    Attributes:
        cells: The C cells.
        guess: Predictions on the target's scale, C × M; NaN where there is none (the network was
            trained on, or the target has no model).
        spread: Disagreement of the model's members on that scale, C × M; 0 where it has none.
        fold: Part of the split of each cell; C. An interval is set by cells of other parts only.
    """

    cells: Cells
    guess: Floats
    spread: Floats
    fold: Ints

    @property
    def residuals(self) -> Floats:
        """Truth minus prediction, C × M."""
        found: Floats = self.cells.truth - self.guess
        return found

    def take(self, which: Mask | Ints) -> HeldOut:
        """Return some of the cells, by mask or index."""
        return HeldOut(
            self.cells.take(which), self.guess[which], self.spread[which], self.fold[which]
        )


def some_epochs(epochs: Ints) -> tuple[Ints, Ints]:
    """Choose the cells to look at: of each run the last epoch of each bin, so at most `BINS`.

    Args:
        epochs: Length of each of R runs.

    Returns:
        Run (0 to R − 1) and epoch (from 1) of each cell, run by run, epochs rising.
    """
    wanted = np.ceil(np.arange(1, BINS + 1)[None, :] * epochs[:, None] / BINS).astype(np.int64)
    fresh = np.diff(wanted, axis=1, prepend=0) > 0
    run, column = np.nonzero(fresh)
    return run.astype(np.int64), wanted[run, column]


def natural(values: Floats, scales: Sequence[str]) -> Floats:
    """From the targets' scales to natural units; accuracies are kept between 0 and 1.

    Args:
        values: n × M on the target's scale.
        scales: Scale of each target.
    """
    logs = np.array([scale == LOG for scale in scales])
    found: Floats = np.where(logs, np.exp(np.where(logs, values, 0.0)), np.clip(values, 0.0, 1.0))
    return found


def ends(guess: Floats, half: Floats, scales: Sequence[str]) -> tuple[Floats, Floats]:
    """Lower and upper ends of intervals in natural units.

    Args:
        guess: Their centres on the targets' scales; n × M.
        half: Their half-widths there; n × M.
        scales: Scale of each target.
    """
    return natural(guess - half, scales), natural(guess + half, scales)


def listed(values: Floats) -> list[Any]:
    """Return nested lists for JSON; null where unknown (JSON has no NaN)."""
    whole = np.asarray(values, dtype=object)
    whole[~np.isfinite(values)] = None
    found: list[Any] = whole.tolist()
    return found


def array_of(content: Sequence[Any], shape: tuple[int, ...]) -> Floats:
    """Read what `listed` wrote."""
    return np.array(content, dtype=np.float64).reshape(shape)
