"""Curve families: a whole curve as a few numbers, and back, by fixed functions of progress.

Progress is epoch over epochs, 0 to 1. Functions are kept as their values on an even grid and read
by linear interpolation, so that every family is evaluated by the same few array operations.

* Cumulative costs: level × a convex combination of functions that rise from 0 (or step up with the
  first epoch) to 1. The line always takes part, so every curve rises strictly: by construction.
* Accuracies: a mean curve plus a combination of functions: Bézier (Bernstein polynomials), cubic
  splines, or principal components of the campaign's own curves. The first two are functions of the
  square root of progress, because curves bend most at their beginning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof.surrogate.encoding import Floats

GRID = 257
"""Points of progress at which functions are kept."""

LINE_SHARE = 1e-3
"""Weight of the line that is added to every predicted combination of rising functions: strictly
rising, also where a regression says that all of the cost falls into the first epoch."""

RISING = ("line", "step", "bezier", "splines")
BENDING = ("bezier", "splines", "pca")
"""Families for costs and for accuracies, the simpler first."""

MAX_COMPONENTS = 5
EXPLAINED = 0.999
"""Principal components are kept until they explain this share of the variance of the curves."""

SMOOTH = 1e-3
"""Pull of a short or incomplete curve to the mean curve, before components are taken."""

TINY = 1e-9
"""Keeps least squares solvable; far below every noise."""


@dataclass(frozen=True)
class Shape:
    """A curve family.

    Attributes:
        name: One of `RISING` or `BENDING`.
        mean: What is added to every curve, on the grid; G.
        functions: Values on the grid; G × q.
    """

    name: str
    mean: Floats
    functions: Floats

    @property
    def size(self) -> int:
        """Number q of functions."""
        return int(self.functions.shape[1])

    def at(self, progress: Floats) -> tuple[Floats, Floats]:
        """Values of the mean (n) and of the functions (n × q) at n progresses."""
        both = read(np.column_stack([self.mean, self.functions]), progress)
        return both[:, 0], both[:, 1:]

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold, exactly."""
        return {
            "name": self.name,
            "mean": self.mean.tolist(),
            "functions": self.functions.T.tolist(),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Shape:
        """Read what `as_dict` gave."""
        functions = np.array(content["functions"], dtype=np.float64).T
        return cls(content["name"], np.array(content["mean"], dtype=np.float64), functions)


def read(table: Floats, progress: Floats) -> Floats:
    """Interpolate columns of a table (G × q) at n progresses; n × q."""
    place = np.asarray(progress, dtype=np.float64) * (len(table) - 1)
    index = np.minimum(place.astype(np.int64), len(table) - 2)
    part = (place - index)[:, None]
    found: Floats = table[index] * (1.0 - part) + table[index + 1] * part
    return found


# Costs -----------------------------------------------------------------------------------------


def rising(name: str) -> Shape:
    """Return a family of cumulative curves; its first function is the line, all end at 1."""
    grid = np.linspace(0.0, 1.0, GRID)
    columns = [grid]
    if name != "line":
        columns.append(np.ones(GRID))  # a cost of the first epoch alone
    if name == "bezier":
        columns += list(_risen(_splines(grid, 4, ())).T)
    if name == "splines":
        columns += list(_risen(_splines(grid, 2, (0.25, 0.5, 0.75))).T)
    return Shape(name, np.zeros(GRID), np.stack(columns, axis=1))


def project_rising(
    shape: Shape, increments: Floats, epochs: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Write measured costs as a level and weights, by least squares of the epochs that are known.

    Args:
        shape: From `rising`.
        increments: Cost of each epoch, R × E; NaN where unknown.
        epochs: Length of each run; R.

    Returns:
        Logarithm of the mean cost of an epoch (R), and weights of the functions (R × q; not
        negative, sum 1). NaN for runs without a known epoch.
    """
    from scipy.optimize import nnls

    level = np.full(len(epochs), np.nan)
    weights = np.full((len(epochs), shape.size), np.nan)
    pull = np.diag(np.full(shape.size, np.sqrt(TINY)))[1:]  # prefers the line between equals
    for runs, known, length in _patterns(np.isfinite(increments), epochs):
        steps = np.arange(length + 1) / length
        functions = shape.at(steps)[1]
        functions[0] = 0.0  # nothing is spent before the first epoch
        design = np.concatenate([np.diff(functions, axis=0)[known[:length]] * length, pull])
        cells = increments[np.ix_(runs, np.flatnonzero(known))]
        scale = cells.mean(axis=1)
        for run, row in zip(runs, cells / scale[:, None], strict=True):
            found = nnls(design, np.concatenate([row, np.zeros(len(pull))]))[0]
            weights[run] = found / found.sum()
            level[run] = found.sum()
        level[runs] = np.log(level[runs] * scale)
    return level, weights


def combine(weights: Floats, functions: Floats) -> Floats:
    """Share of a cost that is spent, from predicted weights (… × q) and functions (… × q).

    Predictions may be negative or sum to another number; they are brought back to a convex
    combination in which the line has a part.
    """
    positive = np.maximum(weights, 0.0)
    positive[..., 0] += LINE_SHARE
    share: Floats = (positive * functions).sum(axis=-1) / positive.sum(axis=-1)
    return share


# Accuracies ------------------------------------------------------------------------------------


def bending(name: str, cells: Floats, epochs: NDArray[np.int64]) -> Shape:
    """Return a family of accuracy curves, around the mean of the measured ones.

    Args:
        name: One of `BENDING`.
        cells: Measured accuracies, R × E; NaN where unknown.
        epochs: Length of each run; R.
    """
    root = np.sqrt(np.linspace(0.0, 1.0, GRID))
    functions = _splines(root, 5, ()) if name == "bezier" else _splines(root, 3, (0.3, 0.5, 0.7))
    plain = Shape(name, np.zeros(GRID), functions)
    # The mean curve: what one combination says best of all curves together.
    run, column = np.nonzero(np.isfinite(cells))
    rows = plain.at((column + 1) / epochs[run])[1]
    centre = _solve(rows, cells[run, column][None, :], np.sqrt(TINY) * len(rows))[0]
    shape = Shape(name, functions @ centre, functions)
    return shape if name != "pca" else _components(shape, cells, epochs)


def project_bending(
    shape: Shape, cells: Floats, epochs: NDArray[np.int64], pull: float = TINY
) -> Floats:
    """Write measured accuracies as coefficients, by least squares of the epochs that are known.

    Args:
        shape: From `bending`.
        cells: Accuracies, R × E; NaN where unknown.
        epochs: Length of each run; R.
        pull: To the mean curve: decides what too few epochs leave open.

    Returns:
        R × q; NaN for runs without a known epoch.
    """
    found = np.full((len(epochs), shape.size), np.nan)
    for runs, known, length in _patterns(np.isfinite(cells), epochs):
        mean, functions = shape.at((np.flatnonzero(known) + 1) / length)
        found[runs] = _solve(functions, cells[np.ix_(runs, np.flatnonzero(known))] - mean, pull)
    return found


def _components(shape: Shape, cells: Floats, epochs: NDArray[np.int64]) -> Shape:
    """Principal components of the curves, smoothed by `shape`; mean square 1 on the grid."""
    known = project_bending(shape, cells, epochs, SMOOTH)
    known = known[np.isfinite(known).all(axis=1)]
    values = known @ shape.functions.T
    # The curves' second moments around their mean curve; its few eigenvectors are the components.
    size, turned = np.linalg.eigh(values.T @ values / max(len(values), 1))
    order = np.argsort(size)[::-1]
    share = np.cumsum(np.maximum(size[order], 0.0)) / max(float(size.sum()), TINY)
    wanted = min(int(np.searchsorted(share, EXPLAINED)) + 1, MAX_COMPONENTS, shape.size)
    vectors = turned[:, order[:wanted]] * np.sqrt(GRID)
    # An eigenvector has no sign of its own: the same inputs must give the same bytes.
    vectors *= np.where(vectors.sum(axis=0) < 0, -1.0, 1.0)
    return Shape("pca", shape.mean, vectors)


def _solve(design: Floats, rows: Floats, pull: float) -> Floats:
    """Least squares of many right sides (r × m) by one design (m × q); r × q."""
    gram = design.T @ design + pull * np.eye(design.shape[1])
    return np.asarray(np.linalg.solve(gram, design.T @ rows.T).T, dtype=np.float64)


def _splines(at: Floats, degree: int, inner: tuple[float, ...]) -> Floats:
    """Clamped B-splines on 0 to 1; without inner knots they are Bernstein polynomials."""
    from scipy.interpolate import BSpline

    ends = degree + 1
    knots = np.concatenate([np.zeros(ends), inner, np.ones(ends)])
    found: Floats = BSpline.design_matrix(at, knots, degree).toarray()
    return found


def _risen(basis: Floats) -> Floats:
    """Sums of the later functions of a basis: each rises from 0 to 1 (integrated splines)."""
    found: Floats = np.cumsum(basis[:, ::-1], axis=1)[:, ::-1][:, 1:]
    return found


def _patterns(
    known: NDArray[np.bool_], epochs: NDArray[np.int64]
) -> list[tuple[NDArray[np.int64], NDArray[np.bool_], int]]:
    """Runs that have the same length and the same known epochs: runs, known (E), length."""
    if not known.any():
        return []
    rows, of = np.unique(np.column_stack([epochs, known]), axis=0, return_inverse=True)
    found = []
    for number, row in enumerate(rows):
        if row[1:].any():
            runs = np.flatnonzero(of.reshape(-1) == number)
            found.append((runs, row[1:].astype(bool), int(row[0])))
    return found
