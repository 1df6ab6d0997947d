"""Intervals from held-out residuals, and coverage measured on residuals that did not set them.

A score is an absolute residual over its scale, of a run whose network the model had not seen; the
half-width is the scale times the conformal quantile of the scores (Vovk et al., "Algorithmic
Learning in a Random World", 2005), with networks as the exchangeable units, see `quantile`.
Energy, time and power have residuals of logarithms, so their intervals are factors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wattproof.surrogate.cells import (
    BINS,
    Cells,
    HeldOut,
    Ints,
    Mask,
    array_of,
    ends,
    listed,
)
from wattproof.surrogate.encoding import Floats

TINY = 1e-12
"""Smallest scale of a score that is ever divided by."""

OF_A_LENGTH = 80
"""Networks of a training length that deserve intervals of their own: a quantile at 90 % set by
fewer is uncertain by more than 3.4 points of coverage. (EC-NAS-Bench has 91: with intervals of all
lengths together, those of its accuracies covered 72 % after 4 epochs and 100 % after 108.)"""

MOST_LENGTHS = 6
"""With more lengths, neighbours are alike."""

MARGIN = 0.1
"""Share of the typical held-out residual below which no scale of a score may fall: a target with
neither noise nor spread gets intervals of one width, not of none."""


@dataclass(frozen=True)
class Intervals:
    """Normalised conformal intervals of M targets.

    A score is |residual| / sqrt(noise² + spread²) of a network that the model had not seen; an
    interval is as many scales wide as the conformal quantile of the scores says.

    Attributes:
        level: Nominal coverage.
        targets: Names of the targets.
        scales: ``log`` or ``unit`` for each.
        floor: Smallest scale of a score, M.
        quantiles: Quantile of the scores by stratum and bin of progress, S × (`BINS` + 1) × M;
            NaN where too few networks are known to set one.
        networks: Networks that set each of them, same shape.
        edges: Training lengths (epochs) at which a new stratum begins; S − 1.
    """

    level: float
    targets: tuple[str, ...]
    scales: tuple[str, ...]
    floor: Floats
    quantiles: Floats
    networks: Floats
    edges: Floats

    def half_width(self, bins: Ints, epochs: Ints, noise: Floats, spread: Floats) -> Floats:
        """Half-widths on the targets' scales.

        Args:
            bins: Bin of progress, see `cells.bin_of`; n.
            epochs: Length of the training; n.
            noise: Standard deviation of the noise there, n × M.
            spread: Disagreement of the model's members, n × M.

        Returns:
            n × M; NaN where the campaign was too small to set an interval.
        """
        return np.asarray(self.quantile(bins, epochs) * self.scale(noise, spread))

    def quantile(self, bins: Ints, epochs: Ints) -> Floats:
        """Half-widths over their `scale`; n × M. Arguments as of `half_width`."""
        stratum = np.searchsorted(self.edges, epochs, side="right")
        return np.asarray(self.quantiles[stratum, bins])

    def scale(self, noise: Floats, spread: Floats) -> Floats:
        """Scale that residuals are divided by; n × M."""
        return np.asarray(np.sqrt(np.maximum(noise**2 + spread**2, self.floor**2)))

    def bounds(
        self, guess: Floats, bins: Ints, epochs: Ints, noise: Floats, spread: Floats
    ) -> tuple[Floats, Floats]:
        """Lower and upper ends in natural units, each n × M; see `half_width`."""
        half = self.half_width(bins, epochs, noise, spread)
        return ends(guess, half, self.scales)

    def as_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads; plain JSON."""
        return {
            "level": self.level,
            "targets": list(self.targets),
            "scales": list(self.scales),
            "floor": listed(self.floor),
            "quantiles": listed(self.quantiles),
            "networks": listed(self.networks),
            "edges": listed(self.edges),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Intervals:
        """Read what `as_dict` wrote."""
        width = len(content["targets"])
        return cls(
            level=content["level"],
            targets=tuple(content["targets"]),
            scales=tuple(content["scales"]),
            floor=array_of(content["floor"], (width,)),
            quantiles=array_of(content["quantiles"], (-1, BINS + 1, width)),
            networks=array_of(content["networks"], (-1, BINS + 1, width)),
            edges=array_of(content["edges"], (-1,)),
        )


def lengths(cells: Cells) -> tuple[float, ...]:
    """Edges between training lengths, each of which has networks enough for strata of its own.

    Returns:
        Edges for `learn`; none where one length has too few networks, or there are many lengths.
    """
    known = np.unique(cells.epochs)
    if not 1 < len(known) <= MOST_LENGTHS:
        return ()
    final = cells.epoch == cells.epochs
    for length in known:
        if len(np.unique(cells.network[final & (cells.epochs == length)])) < OF_A_LENGTH:
            return ()
    return tuple(((known[1:] + known[:-1]) / 2).tolist())


def learn(held: HeldOut, noise: Floats, level: float, edges: Sequence[float] = ()) -> Intervals:
    """Learn intervals from held-out residuals.

    Args:
        held: Held-out predictions of the networks that may set the intervals.
        noise: Standard deviation of the noise of each cell, C × M (`Noise.by_bin`).
        level: Nominal coverage.
        edges: Training lengths (epochs) at which a new stratum begins; each stratum has quantiles
            of its own, or those of all together where it has too few networks.
    """
    cells = held.cells
    residuals = np.abs(held.residuals)
    known = np.isfinite(residuals)
    middle = [
        np.median(residuals[known[:, m], m]) if known[:, m].any() else 0.0
        for m in range(residuals.shape[1])
    ]
    floor = np.maximum(MARGIN * np.array(middle), TINY)
    empty = np.full((0, BINS + 1, residuals.shape[1]), np.nan)
    found = Intervals(level, cells.targets, cells.scales, floor, empty, empty, np.array(edges))
    scores = residuals / found.scale(noise, held.spread)
    stratum = np.searchsorted(found.edges, cells.epochs, side="right")
    whole, counts = _by_bin(scores, cells, np.ones(len(scores), dtype=bool), level)
    quantiles, networks = [], []
    for part in range(len(found.edges) + 1):
        own, n = _by_bin(scores, cells, stratum == part, level)
        use = np.isfinite(own)
        quantiles.append(_filled(np.where(use, own, whole)))
        networks.append(np.where(use, n, counts))
    return replace(found, quantiles=np.stack(quantiles), networks=np.stack(networks))


def _by_bin(scores: Floats, cells: Cells, which: Mask, level: float) -> tuple[Floats, Floats]:
    """Quantiles and numbers of networks, each (`BINS` + 1) × M."""
    found = np.full((BINS + 1, scores.shape[1]), np.nan)
    counts = np.zeros_like(found)
    bins = cells.bins
    for column in range(scores.shape[1]):
        known = which & np.isfinite(scores[:, column])
        for one in np.unique(bins[known]):
            mine = known & (bins == one)
            networks = cells.network[mine]
            counts[one, column] = len(np.unique(networks))
            width = quantile(scores[mine, column], networks, level)
            found[one, column] = np.nan if width is None else width
    return found, counts


def quantile(scores: Floats, networks: Ints, level: float) -> float | None:
    """Conformal quantile with networks as the exchangeable units.

    Each network has the same weight, however many runs and epochs it brings (Lee, Barber and
    Willett, "Distribution-free inference with hierarchical data", 2023): K networks share
    K/(K + 1), and the rest stands for the new one. With one score a network it is the one of rank
    ceil((K + 1)·level).

    Args:
        scores: Known scores; n.
        networks: Network of each; n.
        level: Nominal coverage.

    Returns:
        The quantile, or None if there are too few networks for this level.
    """
    keys, index, counts = np.unique(networks, return_inverse=True, return_counts=True)
    weight = 1.0 / ((len(keys) + 1) * counts[index])
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(weight[order])
    # Sums of fractions may fall short of the level by rounding.
    rank = int(np.searchsorted(reached, level - 1e-9))
    return None if rank >= len(scores) else float(scores[order[rank]])


def _filled(quantiles: Floats) -> Floats:
    """Where a bin has none, the larger one of the nearest bins that have; (`BINS` + 1) × M."""
    found = quantiles.copy()
    for column in range(found.shape[1]):
        known = np.flatnonzero(np.isfinite(quantiles[:, column]))
        for one in np.flatnonzero(~np.isfinite(quantiles[:, column])) if len(known) else ():
            beside = {known[known < one].max(initial=-1), known[known > one].min(initial=BINS + 1)}
            near = [b for b in beside if 0 <= b <= BINS]
            found[one, column] = quantiles[near, column].max()
    return found


def held_out_half_widths(
    held: HeldOut, noise: Floats, level: float, edges: Sequence[float] = ()
) -> Floats:
    """Half-width of each cell from cells of the *other* folds, on the target's scale; C × M.

    Args:
        held: Held-out predictions with folds.
        noise: As in `learn`.
        level: Nominal coverage.
        edges: As in `learn`.
    """
    cells = held.cells
    found = np.full(held.guess.shape, np.nan)
    for fold in np.unique(held.fold):
        mine = held.fold == fold
        if mine.all():
            continue
        intervals = learn(held.take(~mine), noise[~mine], level, edges)
        found[mine] = intervals.half_width(
            cells.bins[mine], cells.epochs[mine], noise[mine], held.spread[mine]
        )
    return found
