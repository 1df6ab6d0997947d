"""What a training costs and gives: as a source of energy reports it, as it really was, as it is.

Three things are kept apart. What a search *sees* of a training is a noisy draw of the benchmark
(validation accuracy; energy by the source it believes in). What the training *really spent* is the
same draw by the calibrated source. What a configuration *is worth* is the prediction without noise:
test accuracy, calibrated energies. No method ever sees the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof.errors import WattproofError
from wattproof.search.atlas import Atlas, Config, Floats
from wattproof.surrogate.targets import ACCURACY, ENERGY, INFERENCE

OBJECTIVES = (ACCURACY, ENERGY, INFERENCE)
"""Error (1 − accuracy), and decimal logarithms of the training's energy (J) and of that of one
image at inference (J): all minimised. Energies matter by their ratios."""


class Source(Protocol):
    """A benchmark by its calibrated source of energy (`wattproof.load(path, energy=…)`)."""

    def query_many(
        self, frame: pd.DataFrame, epoch: int | None = None, seed: int | None = None
    ) -> pd.DataFrame:
        """Answer for many configurations; a column ``epoch`` of the frame is allowed."""
        ...


class Reporter(Protocol):
    """A source of energy that a search may believe in instead of the calibrated one."""

    def report(self, frame: pd.DataFrame, found: pd.DataFrame, seed: int) -> Floats:
        """Return the energies in joules that the source reports of n trainings.

        Args:
            frame: The n configurations.
            found: What the calibrated source answered for them, for trainings of this seed.
            seed: Equal seeds, equal trainings and equal reports.
        """
        ...


@dataclass(frozen=True)
class Worth:
    """What n configurations are worth, without noise.

    Attributes:
        costs: Objectives on test data by calibrated energies; n × m.
        energy_j: Calibrated energy of a whole training; n.
        epochs: Length of the training; n.
        inside: Whether the surrogates answer for such a configuration; n.
        networks: Realised network of each.
    """

    costs: Floats
    energy_j: Floats
    epochs: NDArray[np.int64]
    inside: NDArray[np.bool_]
    networks: list[str]

    def part(self, rows: slice) -> Worth:
        """Some of the configurations."""
        return Worth(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True)
class Seen:
    """What a source and the calibrated one report of n trainings up to some epoch.

    Attributes:
        costs: Objectives as the search sees them, on validation data; n × m. The energy of a
            training that has not ended is scaled up to its end.
        spent_j: Energy so far, as the source says; n.
        true_j: Energy so far, as the calibrated source says; n.
    """

    costs: Floats
    spent_j: Floats
    true_j: Floats

    def part(self, rows: slice) -> Seen:
        """Some of the trainings."""
        return Seen(*(getattr(self, f.name)[rows] for f in fields(self)))


class Arena:
    """The benchmark as searches meet it.

    Args:
        atlas: The configurations.
        source: The benchmark by the calibrated source.
        calibrated: Name of that source.
        reporters: Other sources, by name.
        objectives: Some of `OBJECTIVES`.
    """

    def __init__(
        self,
        atlas: Atlas,
        source: Source,
        calibrated: str,
        reporters: Mapping[str, Reporter],
        objectives: Sequence[str] = OBJECTIVES,
    ) -> None:
        self.atlas = atlas
        self.objectives = tuple(objectives)
        self.calibrated = calibrated
        self._source = source
        self._reporters = dict(reporters)

    def worth(self, configs: Sequence[Config]) -> Worth:
        """Score configurations; raises `WattproofError` where the benchmark lacks a target."""
        found = self._source.query_many(self.atlas.frame(configs))
        if "test_accuracy" not in found:
            raise WattproofError(
                "The benchmark has no surrogate of test accuracy, so a search cannot be scored on "
                "data that it did not search with; fit it to runs that were tested."
            )
        return Worth(
            costs=self._costs(found, found["test_accuracy"], found[ENERGY].to_numpy()),
            energy_j=found[ENERGY].to_numpy(dtype=np.float64),
            epochs=found["epoch"].to_numpy(dtype=np.int64),
            inside=found["in_domain"].to_numpy(dtype=bool),
            networks=found["network_key"].astype(str).tolist(),
        )

    def see(
        self,
        configs: Sequence[Config],
        epochs: NDArray[np.int64],
        lengths: NDArray[np.int64],
        sources: Sequence[str],
        seed: int,
    ) -> Seen:
        """Train n configurations up to an epoch each; the seed is that of the trainings.

        Args:
            configs: The n configurations.
            epochs: Epoch reached by each; n.
            lengths: Length of each whole training, in epochs; n.
            sources: The source of energy that is believed, for each; n.
            seed: Equal seeds, equal trainings: one that goes on is the same one.
        """
        frame = self.atlas.frame(configs).assign(epoch=epochs)
        found = self._source.query_many(frame, seed=seed)
        true_j = found[ENERGY].to_numpy(dtype=np.float64)
        spent_j, believed = true_j.copy(), np.array(sources)
        for name in sorted(set(sources) - {self.calibrated}):
            rows = believed == name
            spent_j[rows] = self._reporters[name].report(frame[rows], found[rows], seed)
        return Seen(
            costs=self._costs(found, found["accuracy"], spent_j * lengths / epochs),
            spent_j=spent_j,
            true_j=true_j,
        )

    def _costs(self, found: pd.DataFrame, accuracy: pd.Series, training_j: Floats) -> Floats:
        columns = {"accuracy": 1.0 - accuracy.to_numpy(dtype=np.float64)}
        columns[ENERGY] = np.log10(np.asarray(training_j, dtype=np.float64))
        if INFERENCE in self.objectives:
            if INFERENCE not in found:
                raise WattproofError(
                    "The benchmark has no surrogate of inference energy; remove "
                    f"'{INFERENCE}' from 'search.objectives'."
                )
            columns[INFERENCE] = np.log10(found[INFERENCE].to_numpy(dtype=np.float64))
        return np.stack([columns[name] for name in self.objectives], axis=1)
