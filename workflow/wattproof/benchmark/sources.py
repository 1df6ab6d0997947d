"""Where answers come from: one class behind each kind of benchmark, all asked alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wattproof.benchmark.inputs import Inputs
from wattproof.surrogate.predictor import Answer, Predictor
from wattproof.surrogate.single import Row

Floats = NDArray[np.float64]


class Source(Protocol):
    """Answers configurations.

    Attributes:
        level: Nominal coverage of its intervals.
    """

    level: float

    def answer(
        self,
        inputs: Inputs,
        epoch: NDArray[np.int64],
        draws: NDArray[np.uint64] | None,
        seed: int | None,
    ) -> Answer:
        """Answer n configurations.

        Args:
            inputs: The configurations.
            epoch: Epochs finished at each; n.
            draws: A random number for each, for noisy values; None for what is expected.
            seed: What the user asked with; None if with nothing.
        """
        ...

    def provenance(self, inputs: Inputs, seed: int | None) -> str:
        """Return where the answer to a single configuration comes from, as results say it."""
        ...

    def inside(self, inputs: Inputs, novelty: Floats | float) -> NDArray[np.bool_]:
        """Return which of n answers its intervals hold for, by the answers' novelty."""
        ...


def single(answer: Answer) -> tuple[dict[str, Row], float]:
    """Return the rows by target, and the novelty, of the only configuration of an answer."""
    parts = (answer.value, answer.low, answer.high, answer.noise, answer.model)
    rows: dict[str, Any] = {
        name: tuple(float(part[name][0]) for part in parts) for name in parts[0]
    }
    return rows, float(answer.novelty[0])


class Surrogate:
    """The published models."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.predictor = Predictor(files)
        self.level = self.predictor.level

    def answer(
        self,
        inputs: Inputs,
        epoch: NDArray[np.int64],
        draws: NDArray[np.uint64] | None,
        seed: int | None,
    ) -> Answer:
        """See `Source.answer`."""
        found = self.predictor.answer(inputs.static, epoch, inputs.epochs)
        if draws is None:
            return found
        return dataclasses.replace(found, value=self.predictor.noisy(found.value, draws))

    def provenance(self, inputs: Inputs, seed: int | None) -> str:
        """See `Source.provenance`."""
        return "surrogate"

    def inside(self, inputs: Inputs, novelty: Floats | float) -> NDArray[np.bool_]:
        """See `Source.inside`."""
        return inputs.inside & (novelty <= 1.0)

    def one(
        self, inputs: Inputs, epoch: int, draws: NDArray[np.uint64] | None
    ) -> tuple[dict[str, Row], bool]:
        """Rows by target of the only configuration, and whether it is inside; made for speed."""
        predictor = self.predictor
        rows = predictor.rows(inputs.static, epoch, int(inputs.epochs[0]), draws)
        inside = bool(inputs.inside[0]) and predictor.novelty_of_one(inputs.static) <= 1.0
        return dict(zip(predictor.targets, rows, strict=True)), inside
