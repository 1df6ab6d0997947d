"""Coverage of intervals, measured on networks that neither model nor intervals have seen.

Over several seeded splits by network the covered cells are pooled. Runs of one network, and one
network in several splits, are not independent: standard errors are clustered by network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from wattproof.surrogate import conformal
from wattproof.surrogate.cells import HeldOut, Mask, ends
from wattproof.surrogate.encoding import Floats
from wattproof.surrogate.noise import Noise
from wattproof.surrogate.targets import ENERGY

TOLERANCE = 0.02
"""Coverage may be off by so much, or by two standard errors if those are more."""

WIDEST = 1.5
"""Mean width that intervals may have, in widths that perfect predictions would need."""

MIN_NETWORKS = 30
"""Fewer networks carry no statement on 90 % coverage: one network is three points."""

LENGTHS = 6
"""Up to so many training lengths are strata of their own; more are cut into thirds."""

ALL = "all"
RANDOM = "by network"
LEFT_OUT = "left out"
WITHIN = "of the training"

Predict = Callable[[Mask, Mask], HeldOut]
"""(runs to fit to, runs to predict) → held-out predictions of the latter."""


def measure(
    splits: Sequence[HeldOut],
    noise: Noise,
    level: float,
    edges: Sequence[float] = (),
) -> list[dict[str, Any]]:
    """Measure coverage over seeded splits, for all cells and by stratum.

    Args:
        splits: Held-out predictions of each split; an interval is set by the cells of a split's
            other folds.
        noise: Noise of the campaign.
        level: Nominal coverage.
        edges: Strata of the intervals, see `conformal.learn`.

    Returns:
        Rows of table ``coverage``.
    """
    half = [
        conformal.held_out_half_widths(
            one, noise.at(one.cells.epoch, one.cells.epochs), level, edges
        )
        for one in splits
    ]
    return of_widths(splits, half, noise, level)


def of_widths(
    splits: Sequence[HeldOut],
    half: Sequence[Floats],
    noise: Noise,
    level: float,
) -> list[dict[str, Any]]:
    """Measure the coverage of intervals of any origin.

    Args:
        splits: Held-out predictions of each split.
        half: Half-widths on the targets' scales for each split, C × M; NaN where none was set.
        noise: Noise of the campaign.
        level: Nominal coverage.

    Returns:
        Rows of table ``coverage``.
    """
    if not splits:
        return []
    split = f"{len(splits)} seeded splits {RANDOM}"
    masks: dict[str, list[Mask]] = {}
    for number, one in enumerate(splits):
        for name, mask in strata(one):
            empty = [np.zeros(len(s.fold), dtype=bool) for s in splits]
            masks.setdefault(name, empty)[number] = mask
    found = [
        _row(column, splits, half, which, noise, level, name, split)
        for column in range(len(splits[0].cells.targets))
        for name, which in masks.items()
    ]
    # One number a run has no value within a training.
    return [row for row in found if row["n"] or row["stratum"] == ALL]


def leave_out(
    held: HeldOut,
    predict: Predict,
    noise: Noise,
    level: float,
    edges: Sequence[float] = (),
) -> list[dict[str, Any]]:
    """Measure coverage in each stratum by models and intervals of the rest alone.

    Args:
        held: Held-out predictions of all runs: what sets the intervals of the rest, and what makes
            the strata.
        predict: (runs to fit to, runs to predict) → predictions of the latter.
        noise: Noise of the campaign.
        level: Nominal coverage.
        edges: Strata of the intervals, see `conformal.learn`.

    Returns:
        Rows of table ``coverage`` with split "left out"; none of strata whose rest holds fewer
        than `MIN_NETWORKS` networks.
    """
    rows = []
    runs = int(held.cells.run.max(initial=-1)) + 1
    for name, mask in strata(held):
        if name == ALL or WITHIN in name:
            continue
        test = np.isin(np.arange(runs), held.cells.run[mask])
        rest = held.take(~test[held.cells.run])
        if len(np.unique(rest.cells.network)) < MIN_NETWORKS:
            continue
        std = noise.at(rest.cells.epoch, rest.cells.epochs)
        intervals = conformal.learn(rest, std, level, edges)
        rows += left_out(predict(~test, test), intervals, noise, name)
    return rows


def left_out(
    held: HeldOut,
    intervals: conformal.Intervals,
    noise: Noise,
    stratum: str,
) -> list[dict[str, Any]]:
    """Coverage in a stratum that neither model nor intervals have seen at all.

    Args:
        held: Predictions in the stratum, by a model fitted to the rest.
        intervals: Learned from the rest.
        noise: Noise of the campaign.
        stratum: Its name.
    """
    cells = held.cells
    half = intervals.half_width(
        cells.bins, cells.epochs, noise.at(cells.epoch, cells.epochs), held.spread
    )
    which = cells.final
    return [
        _row(column, [held], [half], [which], noise, intervals.level, stratum, LEFT_OUT)
        for column in range(len(cells.targets))
    ]


def strata(held: HeldOut) -> Iterator[tuple[str, Mask]]:
    """Name and cells of each stratum.

    All but "at half of the training" are at the end of trainings, which is what users ask for
    first.
    """
    cells = held.cells
    final = cells.final
    yield ALL, final
    lengths = np.unique(cells.epochs)
    if 1 < len(lengths) <= LENGTHS:
        for length in lengths:
            yield f"{length} epochs", final & (cells.epochs == length)
    elif len(lengths) > 1:
        yield from _thirds(cells.epochs.astype(np.float64), final, "lengths of training")
    if ENERGY in cells.targets:
        yield from _thirds(held.guess[:, cells.targets.index(ENERGY)], final, f"predicted {ENERGY}")
    progress = cells.epoch / cells.epochs
    yield f"at a quarter {WITHIN}", _nearest(progress, 0.25)
    yield f"at half {WITHIN}", _nearest(progress, 0.5)


def _nearest(progress: Floats, wanted: float) -> Mask:
    found: Mask = (np.abs(progress - wanted) <= 0.051) & (progress < 1)
    return found


def _thirds(values: Floats, final: Mask, what: str) -> Iterator[tuple[str, Mask]]:
    known = final & np.isfinite(values)
    if not known.any():
        return
    low, high = np.quantile(values[known], [1 / 3, 2 / 3])
    yield f"lower third of {what}", known & (values <= low)
    yield f"middle third of {what}", known & (values > low) & (values <= high)
    yield f"upper third of {what}", known & (values > high)


def _row(
    column: int,
    splits: Sequence[HeldOut],
    half: Sequence[Floats],
    masks: Sequence[Mask],
    noise: Noise,
    level: float,
    stratum: str,
    split: str,
) -> dict[str, Any]:
    first = splits[0].cells
    target = first.targets[column]
    inside, widths, network, plain, ideal = [], [], [], [], []  # of each split
    predicted = 0
    for one, width, mask in zip(splits, half, masks, strict=True):
        residual = np.abs(one.residuals[:, column])
        known = mask & np.isfinite(residual)
        predicted += int(known.sum())
        known &= np.isfinite(width[:, column])
        w = width[known, column]
        inside.append(residual[known] <= w)
        plain.append(2 * w)
        guess = one.guess[known, column]
        low, high = ends(guess[:, None], w[:, None], (first.scales[column],))
        widths.append((high - low)[:, 0])
        network.append(one.cells.network[known])
        ideal.append(noise.at(one.cells.epoch[known], one.cells.epochs[known])[:, column])
    hits, units = np.concatenate(inside).astype(np.float64), np.concatenate(network)
    row: dict[str, Any] = {
        "target": target,
        "stratum": stratum,
        "split": split,
        "level": level,
        "n": len(hits),
        "networks": len(np.unique(units)),
    }
    if predicted == 0:
        return row | {"verdict": "refused: no held-out run has a value here"}
    if len(hits) == 0:
        return row | {
            "verdict": f"refused: too few networks to set a {level:.0%} interval on some and "
            "check it on others"
        }
    share, error = share_by_network(hits, units)
    only = np.concatenate(ideal)
    row |= {
        "coverage": share,
        "standard_error": error,
        "width": float(np.concatenate(widths).mean()),
    }
    if noise.about[target].source == "replicates" and np.nanmean(only) > 0:
        need = 2 * _z(level) * float(np.mean(only))
        row["width_ratio"] = float(np.concatenate(plain).mean()) / need
    return row | {"verdict": verdict(share, error, row["networks"], level, row.get("width_ratio"))}


def share_by_network(hits: Floats, networks: Any) -> tuple[float, float | None]:
    """Share of hits, and its standard error clustered by network (None for a single one).

    Args:
        hits: 1 where covered, else 0; n.
        networks: Network of each; n.
    """
    _, index = np.unique(networks, return_inverse=True)
    count = int(index.max()) + 1
    share = float(hits.mean())
    if count < 2:
        return share, None
    sums = np.bincount(index, hits - share)
    error = np.sqrt((sums**2).sum() * count / (count - 1)) / len(hits)
    return share, float(error)


def verdict(
    share: float, error: float | None, networks: int, level: float, ratio: float | None
) -> str:
    """What a coverage means, in words."""
    if networks < MIN_NETWORKS or error is None:
        return f"refused: {networks} network(s) are too few to judge {level:.0%} coverage"
    allowed = max(TOLERANCE, 2 * error)
    off = share - level
    if off < -allowed:
        text = f"covers less than it says, by {-100 * off:.1f} points"
    elif off > allowed:
        text = f"covers more than it says, by {100 * off:.1f} points: wider than needed"
    else:
        text = "covers what it says"
    if ratio is not None and ratio > WIDEST:
        text += f"; {ratio:.1f} times as wide as noise alone would need"
    return text


def _z(level: float) -> float:
    from scipy import stats

    return float(stats.norm.ppf(0.5 + level / 2))
