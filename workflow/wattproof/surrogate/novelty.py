"""How far a configuration lies outside of what was trained.

Two looks, both cheap: *alone*: each input by itself, how far from the nearest trained value
(outside of the range, in a hole of it, a category or level that was never trained); *together*:
all inputs at once, how unusual their combination is (Mahalanobis distance with a floor under small
variances, so that relations which always held in training, such as between operations and
parameters, must hold). The larger one counts, each divided by what 99 % of trained configurations
stay below when they are left out of learning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wattproof.surrogate.cells import Ints, array_of, listed
from wattproof.surrogate.encoding import Floats

INSIDE = 0.99
"""Share of trained configurations, left out of learning, whose score is at most 1."""

GRID = 256
"""Steps of the table of single inputs between its ends."""

FLOOR = 1e-3
"""Smallest variance of a direction, as a share of the mean one: rounding is no relation."""


@dataclass(frozen=True)
class Novelty:
    """Score of encoded configurations; more than 1 means outside of what was trained.

    Attributes:
        low: Left end of the table of each input, k.
        step: Width of a step of each, k.
        table: How far the middle of each step is from trained values, k × (`GRID` + 2).
        centre: Mean of each input, k.
        whiten: Directions divided by their spread, k × d.
        together: Distance that counts as 1.
    """

    low: Floats
    step: Floats
    table: Floats
    centre: Floats
    whiten: Floats
    together: float

    def score(self, static: Floats) -> Floats:
        """Score configurations.

        Args:
            static: Encoded configurations, n × k (`Encoding.static`).

        Returns:
            n scores; more than 1 is outside.
        """
        return np.asarray(np.maximum(self.alone(static), self.distance(static) / self.together))

    def alone(self, static: Floats) -> Floats:
        """Largest distance of a single input from its trained values; n."""
        place = (static - self.low) / self.step
        kept = np.minimum(np.maximum(place, 0.0), GRID + 1.0)
        found = self.table[np.arange(len(self.low)), kept.astype(np.int64)]
        return np.asarray((found + np.abs(place - kept)).max(axis=1))

    def distance(self, static: Floats) -> Floats:
        """Distance from the centre in the spread of the trained ones; n."""
        return np.asarray(np.sqrt((((static - self.centre) @ self.whiten) ** 2).sum(axis=1)))

    def as_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads; plain JSON."""
        return {
            "low": listed(self.low),
            "step": listed(self.step),
            "table": listed(self.table),
            "centre": listed(self.centre),
            "whiten": listed(self.whiten),
            "together": self.together,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Novelty:
        """Read what `as_dict` wrote."""
        k = len(content["low"])
        return cls(
            low=array_of(content["low"], (k,)),
            step=array_of(content["step"], (k,)),
            table=array_of(content["table"], (k, GRID + 2)),
            centre=array_of(content["centre"], (k,)),
            whiten=array_of(content["whiten"], (k, -1)),
            together=content["together"],
        )


def learn(static: Floats, folds: Ints) -> Novelty:
    """Learn what is inside.

    Args:
        static: Encoded configurations that were trained, n × k.
        folds: Fold of each by network; the limit is set by configurations of other folds than
            those that were learned from.
    """
    whole = _learn(static)
    parts = np.unique(folds)
    if len(parts) < 2:
        distances = whole.distance(static)
    else:
        distances = np.concatenate(
            [_learn(static[folds != fold]).distance(static[folds == fold]) for fold in parts]
        )
    return replace(whole, together=max(float(np.quantile(distances, INSIDE)), 1e-9))


def _learn(static: Floats) -> Novelty:
    low, step, table = _tables(static)
    centre = static.mean(axis=0)
    deviations = static - centre
    spread = deviations.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    values, axes = np.linalg.eigh(
        np.cov(deviations / scale, rowvar=False, ddof=0).reshape(len(scale), len(scale))
    )
    widths = np.sqrt(np.maximum(values, FLOOR))
    return Novelty(low, step, table, centre, (axes / widths) / scale[:, None], 1.0)


def _tables(static: Floats) -> tuple[Floats, Floats, Floats]:
    """Table of each input: 0 at trained values, 1 a typical gap of theirs away."""
    lows, steps, rows = [], [], []
    for values in static.T:
        seen = np.unique(values)
        span = float(np.ptp(seen)) or 1.0
        gap = max(float(np.median(np.diff(seen))) if len(seen) > 1 else 1.0, 0.02 * span)
        low, high = seen[0] - gap, seen[-1] + gap
        step = (high - low) / GRID
        middle = low + (np.arange(GRID + 2) - 0.5) * step
        nearest = np.abs(middle[:, None] - seen[None, :]).min(axis=1)
        lows.append(low - step)
        steps.append(step)
        rows.append(np.maximum(nearest - step, 0.0) / gap)
    return np.array(lows), np.array(steps), np.stack(rows)


def auroc(inside: Floats, outside: Floats) -> float:
    """Probability that one outside scores higher than one inside; ties count half."""
    from scipy import stats

    ranks = stats.rankdata(np.concatenate([inside, outside]))[len(inside) :]
    n, m = len(inside), len(outside)
    return float((ranks.sum() - m * (m + 1) / 2) / (n * m))
