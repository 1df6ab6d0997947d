"""A stored surrogate, ready to answer: numpy and onnxruntime, nothing heavier."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof.errors import WattproofError
from wattproof.surrogate.cells import bin_of
from wattproof.surrogate.conformal import Intervals
from wattproof.surrogate.encoding import Encoding, Floats
from wattproof.surrogate.heads import Heads, Moment
from wattproof.surrogate.layout import GRAPH, VERSION
from wattproof.surrogate.noise import Noise
from wattproof.surrogate.novelty import Novelty
from wattproof.surrogate.single import Plain, Row, Single, plain
from wattproof.surrogate.targets import ALL, ENERGY, POWER, TIME

_NO_WEIGHTS = np.ones((1, 1))


@dataclass(frozen=True)
class Answer:
    """Predictions of n configurations, each after an epoch; arrays of n by target.

    Attributes:
        value: In natural units; NaN before the end where only ends of trainings were told.
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
            WattproofError: They are of another version, or the models were made for another
                encoding.
        """
        about = json.loads(files["surrogate.json"])
        if about.get("version") != VERSION:
            raise WattproofError(
                f"surrogate.json has version {about.get('version')}, but this wattproof reads "
                f"version {VERSION}: install the wattproof that made it (manifest.json names it), "
                "or fit and publish it again."
            )
        self.encoding = Encoding.from_json(files["encoding.json"])
        self.energy_scope: str = about["energy_scope"]
        self.families: dict[str, str] = {t: m["family"] for t, m in about["models"].items()}
        self.targets: tuple[str, ...] = tuple(about["targets"])
        self.left_out: dict[str, str] = about["left_out"]
        self.longest: int = about["longest"]
        # What no training told before its end is unknown before it, whatever a curve would say.
        self._final_only = [self.targets.index(name) for name in about.get("final_only", ())]
        self._heads = Heads.from_dict(about["heads"])
        self._noise = Noise.from_dict(json.loads(files["noise.json"]))
        self._intervals = Intervals.from_dict(json.loads(files["intervals.json"]))
        self._novelty = Novelty.from_dict(json.loads(files["novelty.json"]))
        self.level: float = self._intervals.level
        scales = [ALL[name].scale for name in self.targets]
        self._border = scales.count("unit")
        """Targets that are shares come first, then those of a logarithmic scale."""
        if scales != sorted(scales, key="unit".__ne__):
            raise WattproofError(
                "The surrogate's targets are not in order; fit and publish it again."
            )
        self._single = Single(self._heads, self._intervals.floor)
        self._known: dict[tuple[int, int], Plain] = {}
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
        moment = self._moment(epoch, epochs)
        accuracy, cost, *weights = self._session.run(
            self._outputs, {"x": static.astype(np.float32)}
        )
        accuracy, cost = accuracy.transpose(1, 0, 2), cost.transpose(1, 0, 2)
        found = np.zeros((5, len(static), len(self.targets)))
        guess, low, high, noise, spread = found
        self._heads.evaluate(
            accuracy, cost, weights[0] if weights else _NO_WEIGHTS, moment.heads, guess, spread
        )
        if self._final_only:
            guess[np.ix_(np.flatnonzero(epoch < epochs), np.array(self._final_only))] = np.nan
        noise[:] = moment.noise
        half = moment.quantile * self._intervals.scale(moment.noise, spread)
        np.subtract(guess, half, out=low)
        np.add(guess, half, out=high)
        self._natural(found[:3])

        def named(values: Floats) -> dict[str, Floats]:
            return {name: values[:, column] for name, column in self._column.items()}

        return Answer(
            value=named(guess),
            low=named(low),
            high=named(high),
            noise=named(noise),
            model=named(spread),
            novelty=self.novelty(static),
        )

    def rows(
        self,
        static: Floats,
        epoch: int,
        epochs: int,
        draws: NDArray[np.uint64] | None = None,
    ) -> list[Row]:
        """As `answer` of one configuration (1 × k), by plain numbers: one row a target.

        Args:
            static: The encoded configuration.
            epoch: Epochs finished, 1 to `epochs`.
            epochs: Length of the training.
            draws: One random number (1): values are then as `noisy` makes them.
        """
        at = self._known.get((epoch, epochs))
        if at is None:
            moment = self._moment(np.array([epoch]), np.array([epochs]))
            at = self._known[epoch, epochs] = plain(moment.heads, moment.noise, moment.quantile)
        found = self._session.run(self._outputs, {"x": static.astype(np.float32)})
        shift = None if draws is None else self._shifts(draws)[0].tolist()
        rows = self._single.rows(
            found[0], found[1], found[2] if len(found) > 2 else None, at, shift
        )
        if self._final_only and epoch < epochs:
            for column in self._final_only:
                rows[column] = (math.nan, math.nan, math.nan, *rows[column][3:])
        return rows

    def novelty(self, static: Floats) -> Floats:
        """How far configurations lie outside of what was trained: more than 1 is; n."""
        return self._novelty.score(static)

    def novelty_of_one(self, static: Floats) -> float:
        """As `novelty`, of one configuration (1 × k)."""
        return self._novelty.one(static)

    def _moment(self, epoch: NDArray[np.int64], epochs: NDArray[np.int64]) -> _Moment:
        """All that depends on the epochs alone."""
        bins = bin_of(epoch, epochs)
        noise = self._noise.by_bin[bins]
        return _Moment(
            self._heads.moment(epoch, epochs), noise, self._intervals.quantile(bins, epochs)
        )

    def _natural(self, values: Floats) -> None:
        """Bring values (… × targets) from the targets' scales to natural units, in place."""
        shares, positive = values[..., : self._border], values[..., self._border :]
        np.maximum(shares, 0.0, out=shares)
        np.minimum(shares, 1.0, out=shares)
        np.exp(positive, out=positive)

    def _shifts(self, draws: NDArray[np.uint64]) -> Floats:
        """Noise of draws on the targets' scales; n × targets."""
        shift = self._noise.draw(draws)
        energy, time, power = (self._column[name] for name in (ENERGY, TIME, POWER))
        shift[:, power] = shift[:, energy] - shift[:, time]
        return shift

    def _shift(self, value: Floats, draws: NDArray[np.uint64]) -> None:
        """As `noisy`, of an array n × targets, in place."""
        shift = self._shifts(draws)
        shares = value[:, : self._border]
        shares += shift[:, : self._border]
        np.maximum(shares, 0.0, out=shares)
        np.minimum(shares, 1.0, out=shares)
        value[:, self._border :] *= np.exp(shift[:, self._border :])

    def noisy(self, value: Mapping[str, Floats], draws: NDArray[np.uint64]) -> dict[str, Floats]:
        """Shift predictions by what trainings that differ in the seed differ by.

        Shifts of one draw are as correlated over targets as those of the replicates; one draw
        serves all epochs, so curves stay monotone, and power stays energy over time.

        Args:
            value: Predictions of all targets, in natural units.
            draws: For each of n configurations a random 64-bit number.
        """
        found = np.stack([value[name] for name in self.targets], axis=1)
        self._shift(found, draws)
        return {name: found[:, column] for name, column in self._column.items()}


@dataclass(frozen=True, slots=True)
class _Moment:
    """Where n trainings are.

    Attributes:
        heads: Functions of the curves there.
        noise: Standard deviation of the noise there; n × targets.
        quantile: Half-widths over their scale; n × targets.
    """

    heads: Moment
    noise: Floats
    quantile: Floats


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
