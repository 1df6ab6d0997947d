"""Model families: the mean, a line, boosted trees, trees on the line, and neural networks.

Every family is the sum of a linear part and, where it has them, boosted trees or an ensemble of
networks, so there is one way to store, export and evaluate them all. All read the same standardised
columns and predict several outputs at once (coefficients of curves, see `heads`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wattproof.surrogate.encoding import Floats, Matrix
from wattproof.surrogate.neural import Net, fit_net

if TYPE_CHECKING:
    import lightgbm as lgb

FAMILIES = ("mean", "linear", "trees", "linear+trees", "neural")
"""In order of preference between equals: the simpler first."""

PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Ridge penalties tried, per network: small data want more."""

INNER_FOLDS = 4

LEAVES = 15

VISIT = 100
"""Multiply-adds that take as long as one visit to a node of a tree: in onnxruntime a visit takes
about 3 ns, a multiply-add of a network 0.02 to 0.03 ns (measured)."""


@dataclass(frozen=True)
class Scaler:
    """Columns brought to mean 0 and spread 1, in single precision as the published graph does it.

    Attributes:
        centre: What is subtracted; k.
        factor: What is multiplied with then; 0 where a column never varied. k.
    """

    centre: Matrix
    factor: Matrix

    @classmethod
    def of(cls, static: Floats) -> Scaler:
        """Learn from n × k encoded configurations."""
        spread = static.std(axis=0)
        silent = spread < 1e-9
        factor = np.where(silent, 0.0, 1.0 / np.where(silent, 1.0, spread))
        return cls(static.mean(axis=0).astype(np.float32), factor.astype(np.float32))

    def apply(self, static: Floats) -> Matrix:
        """Standardise n × k columns."""
        found: Matrix = (static.astype(np.float32) - self.centre) * self.factor
        return found


@dataclass(frozen=True)
class Linear:
    """y = intercept + x · coefficients, for M outputs.

    Attributes:
        intercept: M.
        coefficients: k × M.
    """

    intercept: Floats
    coefficients: Floats

    def predict(self, matrix: Matrix) -> Floats:
        """Evaluate for n rows; n × M."""
        found: Floats = self.intercept + matrix.astype(np.float64) @ self.coefficients
        return found


@dataclass(frozen=True)
class Fitted:
    """A fitted family.

    Attributes:
        family: One of `FAMILIES`.
        linear: Part that every family has.
        boosters: One for each output; empty without trees.
        net: An ensemble of networks, or None.
    """

    family: str
    linear: Linear
    boosters: tuple[lgb.Booster, ...] = ()
    net: Net | None = None

    def predict(self, matrix: Matrix) -> Floats:
        """Answers of all members for n rows; B × n × M (B is 1 except for networks)."""
        found = self.linear.predict(matrix)[None]
        if self.boosters:
            trees = [np.asarray(one.predict(matrix, num_threads=1)) for one in self.boosters]
            found = found + np.stack(trees, axis=1)
        if self.net is not None:
            found = found + self.net.predict(matrix)
        return found

    @property
    def members(self) -> int:
        """Number B of models that may disagree."""
        return 1 if self.net is None else len(self.net.weights[0])

    @property
    def outputs(self) -> int:
        """Number M of outputs."""
        return len(self.linear.intercept)

    @property
    def operations(self) -> int:
        """Counted cost of a query: multiply-adds, and visited nodes of trees, see `VISIT`."""
        cost = int(self.linear.coefficients.size) if self.family != "mean" else 0
        cost += VISIT * sum(_visits(booster) for booster in self.boosters)
        return cost + (self.net.operations if self.net is not None else 0)


def fit_family(
    family: str,
    matrix: Matrix,
    targets: Floats,
    groups: NDArray[np.int64],
    trees: int,
    seed: int,
    even: bool = False,
    straight: Sequence[int] = (),
) -> Fitted:
    """Fit one family.

    Args:
        family: One of `FAMILIES`.
        matrix: Standardised rows, n × k.
        targets: n × M; NaN where unknown. Every column knows at least one value.
        groups: Network of each row; rows of a network are never split in inner validation.
        trees: Boosting rounds.
        seed: Of trees and networks.
        even: Whether the outputs share one unit, see `wattproof.surrogate.neural.fit_net`.
        straight: Outputs of which networks learn no more than the line.
    """
    if family.startswith("linear") or family == "neural":
        linear = fit_ridge(matrix, targets, groups)
    else:
        centre = np.nanmean(targets, axis=0)
        linear = Linear(centre, np.zeros((matrix.shape[1], targets.shape[1])))
    if family in ("mean", "linear"):
        return Fitted(family, linear)
    rest = targets - linear.predict(matrix)
    if family == "neural":
        return Fitted(family, linear, net=fit_net(matrix, rest, seed, even, straight))
    boosters = [_fit_known(matrix, column, trees, seed) for column in rest.T]
    return Fitted(family, linear, boosters=tuple(boosters))


def fit_ridge(matrix: Matrix, targets: Floats, groups: NDArray[np.int64]) -> Linear:
    """Ridge regressions of M outputs, each with a penalty chosen by inner grouped validation."""
    found = Linear(np.full(targets.shape[1], np.nan), np.zeros((matrix.shape[1], targets.shape[1])))
    known, of = np.unique(np.isfinite(targets), axis=1, return_inverse=True)
    for number, rows in enumerate(known.T):
        columns = np.flatnonzero(of.reshape(-1) == number)
        part = _fit_complete(matrix[rows], targets[np.ix_(rows, columns)], groups[rows])
        found.intercept[columns] = part.intercept
        found.coefficients[:, columns] = part.coefficients
    return found


def _fit_complete(matrix: Matrix, targets: Floats, groups: NDArray[np.int64]) -> Linear:
    networks = np.unique(groups)
    if len(networks) < INNER_FOLDS:
        return _ridge(matrix, targets, PENALTIES[-1] * len(networks))
    fold = np.searchsorted(networks, groups) % INNER_FOLDS
    errors = np.zeros((len(PENALTIES), targets.shape[1]))
    for held in range(INNER_FOLDS):
        train = fold != held
        size = len(np.unique(groups[train]))
        for number, penalty in enumerate(PENALTIES):
            model = _ridge(matrix[train], targets[train], penalty * size)
            errors[number] += np.abs(model.predict(matrix[~train]) - targets[~train]).sum(axis=0)
    best = errors.argmin(axis=0)
    tried = [_ridge(matrix, targets, penalty * len(networks)) for penalty in PENALTIES]
    columns = np.arange(targets.shape[1])
    intercepts = np.stack([one.intercept for one in tried])
    coefficients = np.stack([one.coefficients for one in tried])
    return Linear(intercepts[best, columns], coefficients[best, :, columns].T)


def _ridge(matrix: Matrix, targets: Floats, penalty: float) -> Linear:
    wide = matrix.astype(np.float64)
    centre, scale = wide.mean(axis=0), wide.std(axis=0)
    # A column that never varied carries nothing: a scale of 1 makes its coefficient exactly 0.
    silent = scale < 1e-9
    unit = (wide - centre) / np.where(silent, 1.0, scale)
    unit[:, silent] = 0.0
    level = targets.mean(axis=0)
    gram = unit.T @ unit + penalty * np.eye(unit.shape[1])
    solved = np.linalg.solve(gram, unit.T @ (targets - level))
    coefficients = solved / np.where(silent, 1.0, scale)[:, None]
    return Linear(level - centre @ coefficients, coefficients)


def _fit_known(matrix: Matrix, target: Floats, trees: int, seed: int) -> lgb.Booster:
    known = np.isfinite(target)
    return fit_trees(matrix[known], target[known], trees, seed)


def fit_trees(matrix: Matrix, target: Floats, trees: int, seed: int) -> lgb.Booster:
    """Boosted trees (LightGBM), deterministic, sized for few rows."""
    import lightgbm as lgb

    parameters = {
        "objective": "regression",
        "learning_rate": 0.05,
        "num_leaves": LEAVES,
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


def _visits(booster: lgb.Booster) -> int:
    """Nodes that a row visits at most, summed over the trees."""
    return sum(_depth(tree["tree_structure"]) for tree in booster.dump_model()["tree_info"])


def _depth(node: dict[str, Any]) -> int:
    if "left_child" not in node:
        return 1
    return 1 + max(_depth(node["left_child"]), _depth(node["right_child"]))
