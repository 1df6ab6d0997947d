"""How far a configuration lies outside of what was trained.

Three looks, all cheap:

* *alone*: each input by itself: how far from the nearest trained value (outside of the range, in a
  hole of it, a level or category that was never trained);
* *pairs*: two levels that were never trained together although, were inputs independent, they
  would have been many times;
* *together*: all inputs at once: how unusual their combination is (Mahalanobis distance with a
  floor under small variances, so relations that always held in training must hold, such as between
  operations and parameters).

The largest counts. It is scaled so that 98 % of trained configurations, left out of learning, stay
at or below 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof.surrogate.cells import Ints, array_of, listed
from wattproof.surrogate.encoding import Floats, Matrix

INSIDE = 0.98
"""Share of trained configurations, left out of learning, whose score is at most 1."""

GRID = 256
"""Steps of the table of single inputs between its ends."""

LAST = GRID + 1
"""Last place of a table."""

FLOOR = 1e-3
"""Smallest variance of a direction, as a share of the mean one: rounding is no relation."""

LEVELS = 20
"""An input with up to so many values has levels; one with more is cut into `PIECES` for pairs."""

PIECES = 8

SMALL = 0.01
"""Smallest unit of distance, as a share of the trained range."""

NEVER = 8.0
"""A pair that independence would make so frequent, and that never was, is outside: by chance that
happens once in exp(8) = 3,000 pairs."""

RELATED = 0.4
"""Inputs that hang together more than this (Cramér's V) are left to the look *together*: that two
of their levels never meet is no news."""

PAIR = 1.5
"""Score of such a pair."""

RARE = 0.998
"""Share of trained values that have another one within a unit of distance."""

WORD = 64


@dataclass(frozen=True)
class Novelty:
    """Score of encoded configurations; more than 1 means outside of what was trained.

    Attributes:
        slope: From an input to its place in its table, k × 1.
        offset: Place of 0, k × 1.
        table: Distance of each place from trained values, k × (`GRID` + 2).
        edges: Edges between the levels of each input, for *pairs*.
        pairs: Pairs of levels that were never trained together, numbered through all inputs.
        whiten: Directions divided by their spread, k × k.
        shift: Place of the centre there, k.
        together: Distance that counts as 1.
    """

    slope: Floats
    offset: Floats
    table: Floats
    edges: list[list[float]]
    pairs: list[list[int]]
    whiten: Floats
    shift: Floats
    together: float
    base: Ints = field(init=False, repr=False)
    bits: NDArray[np.uint64] = field(init=False, repr=False)
    never: NDArray[np.uint64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        base = np.arange(len(self.slope), dtype=np.int64)[:, None] * (GRID + 2)
        bits, never = _masks(self.slope, self.offset, self.edges, self.pairs)
        for name, values in (("base", base), ("bits", bits), ("never", never)):
            object.__setattr__(self, name, values)

    def score(self, static: Floats) -> Floats:
        """Score configurations.

        Args:
            static: Encoded configurations, n × k (`Encoding.static`).

        Returns:
            n scores; more than 1 is outside.
        """
        return np.maximum(self.apart(static), self.distance(static) / self.together)

    def one(self, static: Floats) -> float:
        """As `score`, of one configuration (1 × k): by plain numbers, which is faster for one."""
        slopes, offsets, tables, own_bits, never_bits = self._plain
        row: list[float] = static[0].tolist()
        score, places = 0.0, []
        for value, slope, offset, table in zip(row, slopes, offsets, tables, strict=True):
            place = value * slope + offset
            index = 0 if place < 0.0 else int(place) if place < LAST else LAST
            places.append(index)
            if table[index] > score:
                score = table[index]
        if own_bits:
            own = never = 0
            for index, bits, strange in zip(places, own_bits, never_bits, strict=True):
                own |= bits[index]
                never |= strange[index]
            if own & never and score < PAIR:
                score = PAIR
        off = (static @ self.whiten - self.shift)[0]
        return max(score, sqrt(float(off.dot(off))) / self.together)

    @cached_property
    def _plain(self) -> tuple[list[Any], ...]:
        """Slopes, offsets, tables, and bits of each input as plain numbers, for `one`."""
        own, never = ([], []) if not len(self.bits) else map(_words, (self.bits, self.never))
        slopes, offsets = self.slope[:, 0].tolist(), self.offset[:, 0].tolist()
        return slopes, offsets, self.table.tolist(), own, never

    def apart(self, static: Floats) -> Floats:
        """The larger one of *alone* and *pairs*; n."""
        # Inputs along the first axis: reductions over it are several times as fast.
        place = np.ascontiguousarray(static.T) * self.slope + self.offset
        index = np.minimum(np.maximum(place, 0.0), GRID + 1.0).astype(np.int64)
        index += self.base
        found = np.maximum.reduce(self.table.take(index), axis=0)
        for bits, never in zip(self.bits, self.never, strict=True):
            own = np.bitwise_or.reduce(bits.take(index), axis=0)
            strange = own & np.bitwise_or.reduce(never.take(index), axis=0)
            if strange.any():
                found = np.maximum(found, PAIR * (strange != 0))
        return np.asarray(found)

    def distance(self, static: Floats) -> Floats:
        """Distance from the centre in the spread of the trained ones; n."""
        found = static @ self.whiten - self.shift
        return np.sqrt(np.einsum("ij,ij->i", found, found))

    def as_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads; plain JSON."""
        return {
            "slope": listed(self.slope),
            "offset": listed(self.offset),
            "table": listed(self.table),
            "edges": self.edges,
            "pairs": self.pairs,
            "whiten": listed(self.whiten),
            "shift": listed(self.shift),
            "together": self.together,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Novelty:
        """Read what `as_dict` wrote."""
        k = len(content["slope"])
        return cls(
            slope=array_of(content["slope"], (k, 1)),
            offset=array_of(content["offset"], (k, 1)),
            table=array_of(content["table"], (k, GRID + 2)),
            edges=content["edges"],
            pairs=content["pairs"],
            whiten=array_of(content["whiten"], (k, k)),
            shift=array_of(content["shift"], (k,)),
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
    looks = [(whole, static)]
    if len(parts) > 1:
        looks = [(_learn(static[folds != fold]), static[folds == fold]) for fold in parts]
    apart = np.concatenate([found.apart(some) for found, some in looks])
    distance = np.concatenate([found.distance(some) for found, some in looks])
    # What the other looks put outside is spent; the limit of this one gets the rest, if any.
    spent = float((apart > 1).mean())
    rest = max(1 - INSIDE - spent, (1 - INSIDE) / 4)
    limit = float(np.quantile(distance[apart <= 1], 1 - rest)) if (apart <= 1).any() else 0.0
    return replace(whole, together=max(limit, 1e-9))


def _learn(static: Floats) -> Novelty:
    width = static.shape[1]
    looks = [_alone(values) for values in static.T]
    slope, offset = (np.array([[look[part]] for look in looks]) for part in (0, 1))
    table = np.stack([look[2] for look in looks])
    edges, pairs = _pairs(static)
    centre, scale = static.mean(axis=0), static.std(axis=0)
    # An input that never moved: any move is one of many spreads.
    scale = np.where(scale > 0, scale, 1e-3 * np.maximum(np.abs(centre), 1.0))
    unit = (static - centre) / scale
    values, axes = np.linalg.eigh((unit.T @ unit / len(unit)).reshape(width, width))
    whiten = (axes / np.sqrt(np.maximum(values, FLOOR))) / scale[:, None]
    return Novelty(slope, offset, table, edges, pairs, whiten, centre @ whiten, 1.0)


def _alone(values: Floats) -> tuple[float, float, Floats]:
    """Slope, offset and table of one input.

    The unit of distance: a fifth of the smallest gap between levels, so that no other level is
    inside; of inputs with many values, what all but a few trained values have another one within.
    """
    seen, counts = np.unique(values, return_counts=True)
    span = float(np.ptp(seen)) or max(abs(float(seen[0])), 1.0)
    gaps = np.diff(seen)
    if len(seen) == 1:
        unit = 1e-3 * span
    elif has_levels(values, seen):
        unit = float(gaps.min()) / 5
    else:
        padded = np.concatenate([[np.inf], gaps, [np.inf]])
        alone = np.where(counts > 1, 0.0, np.minimum(padded[:-1], padded[1:]))
        unit = float(np.quantile(np.repeat(alone, counts), RARE))
    unit = max(unit, SMALL * span) if len(seen) > 1 else unit
    low, high = float(seen[0]) - 2 * unit, float(seen[-1]) + 2 * unit
    step = (high - low) / GRID
    # Places 0 and GRID + 1 are everything beyond the ends.
    middle = low + (np.arange(GRID + 2) - 0.5) * step
    after = np.searchsorted(seen, middle)
    left = np.abs(middle - seen[np.maximum(after - 1, 0)])
    right = np.abs(seen[np.minimum(after, len(seen) - 1)] - middle)
    table = np.maximum(np.minimum(left, right) - step / 2, 0.0) / unit
    return 1 / step, 1 - low / step, np.round(table, 4)


def _pairs(static: Floats) -> tuple[list[list[float]], list[list[int]]]:
    """Edges between the levels of each input, and the pairs of levels never trained together."""
    edges = [_edges(values) for values in static.T]
    starts = _starts(edges)
    levels = [
        start + np.searchsorted(between, values, side="right")
        for start, between, values in zip(starts, edges, static.T, strict=False)
    ]
    present = np.zeros((len(static), starts[-1]), dtype=np.float32)
    present[np.arange(len(static))[:, None], np.stack(levels, axis=1)] = 1.0
    often = present.sum(axis=0)
    expected = often[:, None] * often[None, :] / len(static)
    owner = np.repeat(np.arange(len(edges)), np.diff(starts))
    found = present.T @ present
    strange = (found == 0) & (expected >= NEVER) & (owner[:, None] < owner[None, :])
    strange &= _related(found, expected, starts)[owner][:, owner] < RELATED
    return edges, np.argwhere(strange).tolist()


def _related(found: Matrix, expected: Matrix, starts: list[int]) -> Floats:
    """How much two inputs hang together (Cramér's V), k × k: 0 independent, 1 the same."""
    excess = (found - expected) ** 2 / np.maximum(expected, 1e-9)
    by_input = np.add.reduceat(np.add.reduceat(excess, starts[:-1], 0), starts[:-1], 1)
    levels = np.diff(starts)
    ways = np.maximum(np.minimum(levels[:, None], levels[None, :]) - 1, 1)
    runs = found.trace() / len(levels)
    return np.asarray(np.sqrt(by_input / (runs * ways)))


def _edges(values: Floats) -> list[float]:
    seen = np.unique(values)
    if has_levels(values, seen):
        between: list[float] = ((seen[1:] + seen[:-1]) / 2).tolist()
    else:
        between = np.unique(np.quantile(values, np.arange(1, PIECES) / PIECES)).tolist()
    return between


def _starts(edges: list[list[float]]) -> list[int]:
    """Number of the first level of each input, and the number of levels."""
    return [0, *np.cumsum([len(between) + 1 for between in edges]).tolist()]


def _words(bits: NDArray[np.uint64]) -> list[list[int]]:
    """Bits of W words as whole numbers, W × k × places → k × places."""
    whole = sum(words.astype(object) << WORD * number for number, words in enumerate(bits))
    found: list[list[int]] = np.asarray(whole).tolist()
    return found


def _masks(
    slope: Floats, offset: Floats, edges: list[list[float]], pairs: list[list[int]]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Bits of the level of each place, and bits of the levels never trained with it."""
    starts = _starts(edges)
    kept = sorted({level for pair in pairs for level in pair})  # the others need no bit
    bit_of = {level: divmod(number, WORD) for number, level in enumerate(kept)}
    own = np.zeros((-(-len(kept) // WORD), starts[-1]), dtype=np.uint64)
    never = np.zeros_like(own)
    for level, (word, bit) in bit_of.items():
        own[word, level] = np.uint64(1) << np.uint64(bit)
    for first, second in pairs:
        never[:, first] |= own[:, second]
        never[:, second] |= own[:, first]
    middle = (np.arange(GRID + 2) + 0.5 - offset) / slope
    index = np.stack(
        [
            start + np.searchsorted(between, places, side="right")
            for start, between, places in zip(starts, edges, middle, strict=False)
        ]
    )
    return own[:, index], never[:, index]


def has_levels(values: Floats, seen: Floats) -> bool:
    """Whether an input has few values, each of them several times."""
    return len(seen) <= min(LEVELS, len(values) / 3)


def auroc(inside: Floats, outside: Floats) -> float:
    """Probability that one outside scores higher than one inside; ties count half."""
    from scipy import stats

    ranks = stats.rankdata(np.concatenate([inside, outside]))[len(inside) :]
    n, m = len(inside), len(outside)
    return float((ranks.sum() - m * (m + 1) / 2) / (n * m))
