"""Small neural networks, several at once: two hidden layers, trained with numpy alone.

The members of an ensemble differ in their first weights and in the order in which they see the
data. Their mean is the prediction; their disagreement says where the data do not decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof.surrogate.encoding import Floats, Matrix

MEMBERS = 5
HIDDEN = 24
PASSES = 200
"""Passes over the data, at least; few data get more, see `STEPS`."""

STEPS = 600
"""Steps of the optimiser, at least."""

BATCH = 128
RATE = 0.02
"""First step width; it falls to 0 along half a cosine."""

SPARE = 0.3
"""Shrinking of all weights of an input in the first layer, as one length, times the rate (group
lasso): an input that explains nothing is left out. Nothing else is shrunk."""

FIRST, SECOND, SMALL = 0.9, 0.99, 1e-7
"""Constants of Adam (Kingma and Ba, 2015)."""

Weights = list[NDArray[np.float32]]


@dataclass(frozen=True)
class Net:
    """An ensemble of B networks k → H → H → M with hyperbolic tangents.

    Attributes:
        weights: W1 (B × k × H), b1 (B × 1 × H), W2, b2, W3 (B × H × M), b3; single precision. The
            last layer answers in the targets' own units.
    """

    weights: Weights

    def predict(self, matrix: Matrix) -> Floats:
        """Answers of all members for n rows; B × n × M."""
        return _forward(self.weights, matrix)[-1].astype(np.float64)

    @property
    def operations(self) -> int:
        """Multiply-adds a row, as the published graph does them (`export`): zeros included."""
        members, inputs, hidden = self.weights[0].shape
        wide = members * hidden
        return wide * (inputs + wide + members * self.weights[4].shape[2])


def fit_net(
    matrix: Matrix,
    targets: Floats,
    seed: int,
    even: bool = False,
    silent: Sequence[int] = (),
) -> Net:
    """Train an ensemble.

    Args:
        matrix: Standardised inputs, n × k.
        targets: n × M; NaN where unknown.
        even: Whether an error counts alike in all columns (they have one unit, such as those of
            curves' coefficients); else each column is divided by its spread.
        silent: Columns that are not learned; the answer there is 0.
        seed: Of first weights and orders.
    """
    targets = targets.copy()
    targets[:, list(silent)] = 0.0
    known = np.isfinite(targets)
    centre = np.nanmean(targets, axis=0)
    spread = np.nanstd(targets, axis=0)
    if even:
        spread[:] = np.sqrt(np.mean(spread**2))
    spread[spread < 1e-12] = 1.0
    wanted = np.where(known, (targets - centre) / spread, 0.0).astype(np.float32)
    rng = np.random.default_rng(seed)
    weights = _start(rng, matrix.shape[1], targets.shape[1])
    first = [np.zeros_like(w) for w in weights]
    second = [np.zeros_like(w) for w in weights]
    n = len(matrix)
    batch = min(BATCH, n)
    a_pass = -(-n // batch)
    passes = max(PASSES, -(-STEPS // a_pass))
    step, steps = 0, passes * a_pass
    mask = known.astype(np.float32)
    for _ in range(passes):
        orders = np.stack([rng.permutation(n) for _ in range(MEMBERS)])
        for start in range(0, n, batch):
            rows = orders[:, start : start + batch]
            gradients = _gradients(weights, matrix[rows], wanted[rows], mask[rows])
            step += 1
            rate = 0.5 * RATE * (1.0 + np.cos(np.pi * step / steps))
            _adam(weights, gradients, first, second, np.float32(rate), step)
    scale = spread.astype(np.float32)
    weights[4] = weights[4] * scale
    weights[5] = weights[5] * scale + centre.astype(np.float32)
    for column in silent:
        weights[4][:, :, column] = 0.0
        weights[5][:, :, column] = 0.0
    return Net(weights)


def _start(rng: np.random.Generator, inputs: int, outputs: int) -> Weights:
    """Random weights; small ones in the last layer."""
    weights: Weights = []
    drawn: NDArray[np.float64]
    for fan_in, fan_out, gain in (
        (inputs, HIDDEN, 1.0),
        (HIDDEN, HIDDEN, 1.0),
        (HIDDEN, outputs, 0.1),
    ):
        drawn = rng.normal(0.0, np.sqrt(gain / fan_in), size=(MEMBERS, fan_in, fan_out))
        weights += [drawn.astype(np.float32), np.zeros((MEMBERS, 1, fan_out), dtype=np.float32)]
    return weights


def _forward(weights: Weights, rows: Matrix) -> tuple[NDArray[np.float32], ...]:
    w1, b1, w2, b2, w3, b3 = weights
    hidden = np.tanh(rows @ w1 + b1)
    deeper = np.tanh(hidden @ w2 + b2)
    return hidden, deeper, deeper @ w3 + b3


def _gradients(weights: Weights, rows: Matrix, wanted: Matrix, mask: Matrix) -> Weights:
    """Gradients of half the mean squared error; rows B × m × k, wanted and mask B × m × M."""
    _, _, w2, _, w3, _ = weights
    hidden, deeper, answer = _forward(weights, rows)
    out = (answer - wanted) * mask * np.float32(1.0 / rows.shape[1])
    back2 = (out @ w3.transpose(0, 2, 1)) * (np.float32(1.0) - deeper * deeper)
    back1 = (back2 @ w2.transpose(0, 2, 1)) * (np.float32(1.0) - hidden * hidden)
    found: Weights = []
    for inputs, error in ((rows, back1), (hidden, back2), (deeper, out)):
        product: NDArray[Any] = inputs.transpose(0, 2, 1) @ error
        found += [product, error.sum(axis=1, keepdims=True)]
    return found


def _adam(
    weights: Weights,
    gradients: Weights,
    first: Weights,
    second: Weights,
    rate: np.float32,
    step: int,
) -> None:
    """One step of Adam, and of the group lasso of the inputs, in place."""
    one, two = np.float32(1 - FIRST**step), np.float32(1 - SECOND**step)
    for number, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
        m, v = first[number], second[number]
        m += np.float32(1 - FIRST) * (gradient - m)
        v += np.float32(1 - SECOND) * (gradient * gradient - v)
        weight -= rate * (m / one) / (np.sqrt(v / two) + np.float32(SMALL))
    inputs = weights[0]
    lengths = np.sqrt((inputs * inputs).sum(axis=2, keepdims=True)) + np.float32(SMALL)
    inputs *= np.maximum(np.float32(0.0), np.float32(1.0) - rate * np.float32(SPARE) / lengths)
