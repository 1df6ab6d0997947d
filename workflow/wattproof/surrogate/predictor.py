"""A stored surrogate, ready to answer: numpy and onnxruntime, nothing heavier."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof.errors import WattproofError
from wattproof.surrogate.curves import LEARNED, POWER, TARGETS, from_scale, to_scale
from wattproof.surrogate.encoding import Columns, Encoding, Floats, Matrix
from wattproof.surrogate.models import Linear


@dataclass(frozen=True)
class _Model:
    linear: Linear
    session: Any

    def predict(self, matrix: Matrix) -> Floats:
        found = self.linear.predict(matrix)
        if self.session is not None:
            found = found + self.session.run(None, {"x": matrix})[0][:, 0].astype(np.float64)
        return found


class Predictor:
    """Surrogates of accuracy, energy and time, with intervals.

    Attributes:
        encoding: How configurations become numbers.
        energy_scope: ``node`` or ``gpu``: whose energy it is.
        epochs: Longest training that was seen, in epochs.
        families: Model family of each learned target.
        level: Nominal coverage of the intervals.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        """Read the surrogate from the contents of its files.

        Args:
            files: Contents by name, as `wattproof.surrogate.fit` stored them.

        Raises:
            WattproofError: A model was made for another encoding.
        """
        about = json.loads(files["surrogate.json"])
        intervals = json.loads(files["intervals.json"])
        self.encoding = Encoding.from_json(files["encoding.json"])
        self.energy_scope: str = about["energy_scope"]
        self.epochs: int = about["epochs"]
        self.families = {target: about["models"][target]["family"] for target in LEARNED}
        self.level: float = intervals["level"]
        self._intervals: dict[str, dict[str, Any]] = intervals["targets"]
        self._draws = np.array(intervals["draws"]["rows"], dtype=np.float64)
        _same_encoding("surrogate.json", about["encoding"], self.encoding)
        self._models = {
            target: _Model(
                Linear.from_dict(about["models"][target]["linear"]),
                _session(about["models"][target]["trees"], files, self.encoding),
            )
            for target in LEARNED
        }

    def increments(
        self, columns: Columns, epoch: NDArray[np.int64], run: NDArray[np.int64]
    ) -> dict[str, Floats]:
        """Predict accuracy after, and joules and seconds of, single epochs.

        Args:
            columns: Inputs of n configurations, see `Encoding.static`.
            epoch: Epoch of each of m rows, 1 to the length of the training.
            run: Configuration of each of the m rows, 0 to n − 1.

        Returns:
            m values for each learned target; joules and seconds are positive.
        """
        static = self.encoding.static(columns)
        length = np.asarray(columns["epochs"], dtype=np.float64)
        matrix = self.encoding.at_epochs(static[run], epoch, length[run])
        return {
            target: from_scale(target, model.predict(matrix))
            for target, model in self._models.items()
        }

    def bounds(
        self, target: str, centre: Floats, epoch: NDArray[np.int64], final: NDArray[np.bool_]
    ) -> tuple[Floats, Floats]:
        """Interval of nominal coverage `level` around predictions.

        Args:
            target: One of the targets.
            centre: Predictions.
            epoch: Epochs finished at each.
            final: Whether that is the end of the training.

        Returns:
            Lower and upper ends; NaN where the campaign was too small to set an interval.
        """
        stored = self._intervals[target]
        known = [np.nan if width is None else width for width in stored["by_epoch"]]
        end = np.nan if stored["final"] is None else stored["final"]
        # Beyond the longest training that was seen only its end can speak.
        by_epoch = np.array([*known, end])
        width = np.where(final, end, by_epoch[np.minimum(epoch - 1, len(known))])
        middle = to_scale(target, centre)
        return from_scale(target, middle - width), from_scale(target, middle + width)

    def noisy(self, values: Mapping[str, Floats], pick: NDArray[np.int64]) -> dict[str, Floats]:
        """Shift predictions by the held-out residuals of one run each.

        Residuals of accuracy, energy and time are taken from the same run, so that they are as
        correlated as in the campaign; one factor serves all epochs, so curves stay monotone.

        Args:
            values: Predictions of all targets.
            pick: For each value a large random number that selects the run.

        Raises:
            WattproofError: No run has residuals of all targets.
        """
        if not len(self._draws):
            raise WattproofError(
                "This benchmark has no run with known accuracy, energy and time, so it cannot "
                "draw noise; query it with seed=None."
            )
        shift = self._draws[pick % len(self._draws)]
        found = {
            target: from_scale(target, to_scale(target, values[target]) + shift[:, index])
            for index, target in enumerate(LEARNED)
        }
        found[POWER] = found["energy_j"] / found["time_s"]
        return {target: found[target] for target in TARGETS}


def _same_encoding(name: str, checksum: str, encoding: Encoding) -> None:
    if checksum != encoding.checksum:
        raise WattproofError(
            f"{name} was made for another encoding than the one beside it; publish the benchmark "
            "again from one fit."
        )


def _session(name: str | None, files: Mapping[str, bytes], encoding: Encoding) -> Any:
    if name is None:
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(files[name], options, providers=["CPUExecutionProvider"])
    _same_encoding(name, session.get_modelmeta().custom_metadata_map["encoding"], encoding)
    return session
