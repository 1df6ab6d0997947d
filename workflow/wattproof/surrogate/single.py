"""One configuration by plain numbers.

What `Heads` and `Intervals` compute for n configurations takes some fifty calls of NumPy, each a
microsecond whatever it has to do. For one configuration Python's own numbers are three times as
fast. The arithmetic is the same, term by term; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from operator import mul
from typing import Any

import numpy as np

from wattproof.surrogate.heads import Heads, Moment
from wattproof.surrogate.shapes import LINE_SHARE
from wattproof.surrogate.targets import ENERGY, TIME

HIGHEST = 700.0
"""Logarithms above this are infinite in double precision, or nearly."""

Row = tuple[float, float, float, float, float]
"""Value, low, high, noise and model of one target; NaN where unknown."""


@dataclass(frozen=True, slots=True)
class Plain:
    """Where a training is, see `wattproof.surrogate.heads.Moment`; and how uncertain it is there.

    Attributes:
        mean: Mean accuracy.
        bending: Functions of accuracies.
        rising: Functions of costs.
        length: Length of the training, in epochs.
        spent: Logarithm of the share of a cost, if models have no say in it.
        noise: Standard deviation of the noise, by target.
        quantile: Half-width over its scale, by target.
    """

    mean: float
    bending: list[float]
    rising: list[float]
    length: int
    spent: float | None
    noise: list[float]
    quantile: list[float]


def plain(moment: Moment, noise: Any, quantile: Any) -> Plain:
    """Return the moment of one training (n = 1) as plain numbers."""
    mean, *bending = moment.bending[0].tolist()
    return Plain(
        mean,
        bending,
        moment.rising[0].tolist(),
        int(moment.length[0, 0]),
        None if moment.spent is None else float(moment.spent[0, 0]),
        noise[0].tolist(),
        quantile[0].tolist(),
    )


class Single:
    """Evaluates single configurations; made for one surrogate."""

    def __init__(self, heads: Heads, floor: Any) -> None:
        """Prepare.

        Args:
            heads: What the models' outputs mean.
            floor: Smallest scale of an interval, by target.
        """
        names = heads.of("cost", "curve")
        self._curves, self._energy, self._time = len(names), names.index(ENERGY), names.index(TIME)
        self._bends, self._rises = heads.bending.size, heads.rising.size
        self._least = np.asarray(floor**2).tolist()

    def rows(
        self, accuracy: Any, cost: Any, weights: Any, at: Plain, shift: Sequence[float] | None
    ) -> list[Row]:
        """Return value, interval, noise and disagreement of each target.

        Args:
            accuracy: Outputs of group ``accuracy``, B × 1 × M.
            cost: Outputs of group ``cost``, B × 1 × M.
            weights: Of the rising functions, 1 × (curves · q); None where there is one.
            at: Epochs finished.
            shift: Noise of a draw, by target, on the targets' scales; None for none.
        """
        shares = self._accuracies(accuracy[:, 0].tolist(), at)
        costs = self._costs(cost[:, 0].tolist(), weights, at)
        border = len(shares)
        rows: list[Row] = []
        numbers = zip(shares + costs, at.noise, at.quantile, self._least, strict=True)
        for place, ((guess, spread), noise, quantile, least) in enumerate(numbers):
            variance = noise * noise + spread * spread
            half = quantile * sqrt(least if variance < least else variance)  # NaN stays NaN
            to_natural = _share if place < border else _exp
            value = to_natural(guess)
            if shift is not None:
                moved = shift[place]
                value = _share(value + moved) if place < border else value * exp(moved)
            rows.append((value, to_natural(guess - half), to_natural(guess + half), noise, spread))
        return rows

    def _accuracies(self, members: list[list[float]], at: Plain) -> list[tuple[float, float]]:
        bends = self._bends
        curve = [sum(map(mul, member, at.bending)) + at.mean for member in members]
        return [_settled(curve)] + [
            _settled(column) for column in zip(*[member[bends:] for member in members], strict=True)
        ]

    def _costs(
        self, members: list[list[float]], weights: Any, at: Plain
    ) -> list[tuple[float, float]]:
        columns: list[Sequence[float]] = list(zip(*members, strict=True))
        levels = columns[self._time]
        found = []
        for place, column in enumerate(columns[: self._curves]):
            # Models tell powers; a power times the time is an energy.
            if place != self._time:
                column = [a + b for a, b in zip(column, levels, strict=True)]
            mean, spread = _settled(column)
            found.append((mean + self._spent(place, weights, at), spread))
        power = found[self._energy][0] - found[self._time][0]
        found += [_settled(column) for column in columns[self._curves :]]
        found.append((power, _settled(columns[self._energy])[1]))
        return found

    def _spent(self, place: int, weights: Any, at: Plain) -> float:
        """Logarithm of the share of one cost that is spent, times the length."""
        if at.spent is not None:
            return at.spent
        own = weights[0, place * self._rises : (place + 1) * self._rises].tolist()
        positive = [weight if weight > 0.0 else 0.0 for weight in own]
        positive[0] += LINE_SHARE
        return log(sum(map(mul, positive, at.rising)) / sum(positive) * at.length)


def _settled(members: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of members; the latter is 0 for one."""
    count = len(members)
    if count == 1:
        return members[0], 0.0
    # Off the first one rather than off the mean: one pass, and as exact, since all lie near it.
    first = members[0]
    off = [member - first for member in members]
    total = sum(off)
    squares = sum(map(mul, off, off)) - total * total / count
    return first + total / count, sqrt(squares / (count - 1)) if squares > 0.0 else 0.0


def _share(value: float) -> float:
    return 0.0 if value < 0.0 else 1.0 if value > 1.0 else value  # NaN stays NaN


def _exp(value: float) -> float:
    return inf if value > HIGHEST else exp(value)
