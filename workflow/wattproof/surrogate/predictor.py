"""A stored surrogate, ready to answer: numpy and onnxruntime, nothing heavier."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof.errors import WattproofError
from wattproof.surrogate.cells import bin_of, natural
from wattproof.surrogate.conformal import Intervals
from wattproof.surrogate.encoding import Encoding, Floats
from wattproof.surrogate.heads import Heads
from wattproof.surrogate.noise import Noise
from wattproof.surrogate.novelty import Novelty
from wattproof.surrogate.targets import ALL, ENERGY, POWER, TIME

GRAPH = "models/surrogate.onnx"


@dataclass(frozen=True)
class Answer:
    """Predictions of n configurations, each after an epoch; arrays of n by target.

    Attributes:
        value: In natural units.
        low: Lower ends of the intervals; NaN where the campaign was too small to set one.
        high: Upper ends.
        noise: Standard deviation between trainings that differ in the seed, on the target's scale:
            relative for energies and times, absolute for accuracies. NaN where unknown.
        model: Standard deviation of the models' members, on the same scale; 0 where there is one.
        novelty: More than 1 means outside of what was trained; n.
    """

    value: dict[str, Floats]
    low: dict[str, Floats]
    high: dict[str, Floats]
    noise: dict[str, Floats]
    model: dict[str, Floats]
    novelty: Floats


class Predictor:
    """Surrogates of all targets, with intervals.

    Attributes:
        encoding: How configurations become numbers.
        energy_scope: ``node`` or ``gpu``: whose energy ``energy_j`` is.
        level: Nominal coverage of the intervals.
        families: Model family of each learned target.
        targets: What is answered, in order.
        left_out: Why an optional target is not among them.
        longest: Longest training that was seen, in epochs.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        """Read the surrogate from the contents of its files.

        Args:
            files: Contents by name, as `wattproof.surrogate.fit` stored them.

        Raises:
            WattproofError: The models were made for another encoding.
        """
        about = json.loads(files["surrogate.json"])
        self.encoding = Encoding.from_json(files["encoding.json"])
        self.energy_scope: str = about["energy_scope"]
        self.families: dict[str, str] = {t: m["family"] for t, m in about["models"].items()}
        self.targets: tuple[str, ...] = tuple(about["targets"])
        self.left_out: dict[str, str] = about["left_out"]
        self.longest: int = about["longest"]
        self._heads = Heads.from_dict(about["heads"])
        self._noise = Noise.from_dict(json.loads(files["noise.json"]))
        self._intervals = Intervals.from_dict(json.loads(files["intervals.json"]))
        self._novelty = Novelty.from_dict(json.loads(files["novelty.json"]))
        self.level: float = self._intervals.level
        self._scales = tuple(ALL[name].scale for name in self.targets)
        self._column = {name: column for column, name in enumerate(self.targets)}
        _same_encoding("surrogate.json", about["encoding"], self.encoding)
        self._session = _session(files[GRAPH], self.encoding)
        self._outputs = ["accuracy", "cost"] + (["weights"] if self._heads.rising.size > 1 else [])

    def answer(self, static: Floats, epoch: NDArray[np.int64], epochs: NDArray[np.int64]) -> Answer:
        """Predict configurations.

        Args:
            static: Encoded configurations, n × k (`Encoding.static`).
            epoch: Epochs finished, 1 to `epochs`; n.
            epochs: Length of the training; n.
        """
        guess, spread = self._evaluate(static, epoch, epochs)
        bins = bin_of(epoch, epochs)
        noise = self._noise.by_bin[bins]
        half = self._intervals.half_width(bins, epochs, noise, spread)
        value, low, high = (
            natural(one, self._scales) for one in (guess, guess - half, guess + half)
        )

        def named(values: Floats) -> dict[str, Floats]:
            return {name: values[:, column] for name, column in self._column.items()}

        return Answer(
            value=named(value),
            low=named(low),
            high=named(high),
            noise=named(noise),
            model=named(spread),
            novelty=self._novelty.score(static),
        )

    def noisy(self, value: Mapping[str, Floats], draws: NDArray[np.uint64]) -> dict[str, Floats]:
        """Shift predictions by what trainings that differ in the seed differ by.

        Shifts of one draw are as correlated over targets as those of the replicates; one draw
        serves all epochs, so curves stay monotone, and power stays energy over time.

        Args:
            value: Predictions of all targets, in natural units.
            draws: For each of n configurations a random 64-bit number.
        """
        shift = self._noise.draw(draws)
        found = {}
        for name, column in self._column.items():
            moved = shift[:, column]
            if ALL[name].scale == "unit":
                found[name] = np.clip(value[name] + moved, 0.0, 1.0)
            else:
                found[name] = value[name] * np.exp(moved)
        found[POWER] = found[ENERGY] / found[TIME]
        return found

    def _evaluate(
        self, static: Floats, epoch: NDArray[np.int64], epochs: NDArray[np.int64]
    ) -> tuple[Floats, Floats]:
        """Values and spreads on the targets' scales, both n × targets."""
        found = self._session.run(self._outputs, {"x": static.astype(np.float32)})
        accuracy, cost, *weights = (one.astype(np.float64) for one in found)
        return self._heads.at_epoch(
            accuracy, cost, weights[0] if weights else np.ones((len(static), 1)), epoch, epochs
        )


def _same_encoding(name: str, checksum: str, encoding: Encoding) -> None:
    if checksum != encoding.checksum:
        raise WattproofError(
            f"{name} was made for another encoding than the one beside it; publish the benchmark "
            "again from one fit."
        )


def _session(graph: bytes, encoding: Encoding) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    _same_encoding(GRAPH, session.get_modelmeta().custom_metadata_map["encoding"], encoding)
    return session
