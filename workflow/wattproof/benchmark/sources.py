"""Where answers come from: one class behind each kind of benchmark, all asked alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wattproof.benchmark.inputs import Inputs
from wattproof.surrogate.predictor import Answer, Predictor


class Source(Protocol):
    """Answers configurations.

    Attributes:
        provenance: What it is, as results say it.
    """

    provenance: str

    def answer(
        self, inputs: Inputs, epoch: NDArray[np.int64], draws: NDArray[np.uint64] | None
    ) -> Answer:
        """Answer n configurations.

        Args:
            inputs: The configurations.
            epoch: Epochs finished at each; n.
            draws: A random number for each, for noisy values; None for what is expected.
        """
        ...


class Surrogate:
    """The published models."""

    provenance = "surrogate"

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.predictor = Predictor(files)

    def answer(
        self, inputs: Inputs, epoch: NDArray[np.int64], draws: NDArray[np.uint64] | None
    ) -> Answer:
        """See `Source.answer`."""
        found = self.predictor.answer(inputs.static, epoch, inputs.epochs)
        if draws is None:
            return found
        return dataclasses.replace(found, value=self.predictor.noisy(found.value, draws))
