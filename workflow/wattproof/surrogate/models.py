"""Model families: a mean curve, a log-linear regression, boosted trees, and trees on the line.

Every family is the sum of a linear part and a (possibly absent) ensemble of trees, so there is
one way to store, load and evaluate them all. The trees alone cannot extrapolate; on few networks
the line is usually the better one, and the table of scores says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wattproof.surrogate.encoding import Floats, Matrix

if TYPE_CHECKING:
    import lightgbm as lgb

FAMILIES = ("mean", "linear", "trees", "linear+trees")
"""In order of preference between equals: the simpler first."""

PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Ridge penalties tried, per network: small data want more."""

INNER_FOLDS = 4
EPOCH_COLUMNS = 2
"""Columns at the end that depend on the epoch, see `Encoding.names`."""

EPOCH_PENALTY = 1e-3
"""Only keeps the system solvable where every training has one epoch."""

OPSET = 15
"""ONNX operator set of the default domain that every onnxruntime since 1.8 reads."""


@dataclass(frozen=True)
class Linear:
    """y = intercept + X · coefficients, on the encoded columns as they are."""

    intercept: float
    coefficients: Floats

    def predict(self, matrix: Matrix) -> Floats:
        """Evaluate for n rows; float64."""
        found: Floats = self.intercept + matrix.astype(np.float64) @ self.coefficients
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold, exactly."""
        return {"intercept": self.intercept, "coefficients": self.coefficients.tolist()}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Linear:
        """Read what `as_dict` gave."""
        return cls(content["intercept"], np.array(content["coefficients"], dtype=np.float64))


@dataclass(frozen=True)
class Fitted:
    """A fitted family: linear part plus trees."""

    linear: Linear
    booster: lgb.Booster | None

    def predict(self, matrix: Matrix) -> Floats:
        """Evaluate for n rows; float64."""
        found = self.linear.predict(matrix)
        if self.booster is not None:
            found = found + np.asarray(self.booster.predict(matrix, num_threads=1))
        return found


def fit_family(
    family: str,
    matrix: Matrix,
    target: Floats,
    groups: NDArray[np.int64],
    trees: int,
    seed: int,
) -> Fitted:
    """Fit one family.

    Args:
        family: One of `FAMILIES`.
        matrix: Encoded rows, n × k.
        target: n finite values.
        groups: Network of each row; rows of a network are never split in inner validation.
        trees: Boosting rounds.
        seed: Of the trees.
    """
    if family.startswith("linear"):
        linear = fit_ridge(matrix, target, groups)
    else:
        linear = mean_curve(matrix, target)
    if not family.endswith("trees"):
        return Fitted(linear, None)
    return Fitted(linear, fit_trees(matrix, target - linear.predict(matrix), trees, seed))


def mean_curve(matrix: Matrix, target: Floats) -> Linear:
    """What an average network does at that epoch: a line in the last two columns only.

    A mean over all epochs would be no fair baseline for accuracy, which rises.
    """
    known = _ridge(matrix[:, -EPOCH_COLUMNS:], target, EPOCH_PENALTY)
    silent = np.zeros(matrix.shape[1] - EPOCH_COLUMNS)
    return Linear(known.intercept, np.concatenate([silent, known.coefficients]))


def fit_ridge(matrix: Matrix, target: Floats, groups: NDArray[np.int64]) -> Linear:
    """Ridge regression on standardised columns, penalty chosen by inner grouped validation."""
    networks = np.unique(groups)
    if len(networks) < INNER_FOLDS:
        return _ridge(matrix, target, PENALTIES[-1] * len(networks))
    fold = np.searchsorted(networks, groups) % INNER_FOLDS
    errors = []
    for penalty in PENALTIES:
        error = 0.0
        for held in range(INNER_FOLDS):
            train = fold != held
            size = len(np.unique(groups[train]))
            model = _ridge(matrix[train], target[train], penalty * size)
            error += float(np.abs(model.predict(matrix[~train]) - target[~train]).sum())
        errors.append(error)
    return _ridge(matrix, target, PENALTIES[int(np.argmin(errors))] * len(networks))


def _ridge(matrix: Matrix, target: Floats, penalty: float) -> Linear:
    wide = matrix.astype(np.float64)
    centre, scale = wide.mean(axis=0), wide.std(axis=0)
    # A column that never varied carries nothing: a scale of 1 makes its coefficient exactly 0.
    scale[scale < 1e-9] = 1.0
    unit = (wide - centre) / scale
    unit[:, wide.std(axis=0) < 1e-9] = 0.0
    level = float(target.mean())
    gram = unit.T @ unit + penalty * np.eye(unit.shape[1])
    coefficients = np.linalg.solve(gram, unit.T @ (target - level)) / scale
    return Linear(level - float(centre @ coefficients), coefficients)


def fit_trees(matrix: Matrix, target: Floats, trees: int, seed: int) -> lgb.Booster:
    """Boosted trees (LightGBM), deterministic, sized for few rows."""
    import lightgbm as lgb

    parameters = {
        "objective": "regression",
        "learning_rate": 0.05,
        "num_leaves": 15,
        "min_data_in_leaf": int(np.clip(len(target) // 20, 4, 20)),
        "lambda_l2": 1.0,
        "feature_fraction": 0.7,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    data = lgb.Dataset(matrix, label=target, params={"verbosity": -1, "feature_pre_filter": False})
    return lgb.train(parameters, data, num_boost_round=trees)


def to_onnx(booster: lgb.Booster, name: str, columns: list[str], encoding: str) -> bytes:
    """Convert trees to ONNX bytes that are the same for the same trees.

    Args:
        booster: The trees.
        name: Name of the graph.
        columns: Names of the columns; kept in the file's metadata.
        encoding: Checksum of the encoding; kept in the file's metadata.
    """
    import onnx
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType

    model = onnxmltools.convert_lightgbm(
        booster,
        name=name,
        initial_types=[("x", FloatTensorType([None, len(columns)]))],
        target_opset=OPSET,
        zipmap=False,
    )
    metadata = {"columns": json.dumps(columns), "encoding": encoding}
    onnx.helper.set_model_props(model, metadata)
    # The converter collects the operator sets in a Python set, whose order changes by process.
    operator_sets = sorted(model.opset_import, key=lambda item: str(item.domain))
    del model.opset_import[:]
    model.opset_import.extend(operator_sets)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
