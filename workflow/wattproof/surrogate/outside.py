"""Proof that novelty tells what was trained from what was not: regions left out are found again.

The figure that counts is the mean AUROC over all regions; the definition is `DEFINITION`, and it
is stored with the figures, so that whoever prints them prints what they mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wattproof.surrogate import novelty
from wattproof.surrogate.cells import Ints, Mask
from wattproof.surrogate.encoding import Floats

DEFINITION = (
    "A region of configurations is left out, novelty is learned from four fifths of the others, "
    "and the AUROC says how well its score tells the region from the last fifth: the probability "
    "that a configuration of the region scores higher than one from inside. Regions: of each "
    "input the lowest, middle and highest level (of inputs with many values, the lowest and the "
    "highest tenth), each category, and upper thirds of two inputs at once. Runs inside "
    "that are told from the region share no network with those learned from. The figure is the "
    "mean over the regions."
)

FEWEST = 20
"""Runs that a region and the inside must at least have."""

LARGEST = 0.6
"""A region with more of the runs is the campaign itself."""

JOINT = 8
"""Regions of two inputs."""


def prove(static: Floats, names: Sequence[str], folds: Ints) -> dict[str, Any]:
    """Leave out one region after the other, and tell it from runs inside.

    Args:
        static: Encoded configurations that were trained, n × k.
        names: Names of the k inputs (`Encoding.features`).
        folds: Fold of each run by network.

    Returns:
        ``definition``, ``auroc`` (mean over regions; None where there are none), ``worst`` and
        ``regions``: name, runs left out, AUROC, the share of them with a score over 1, and the
        share of runs inside with one. Plain JSON.
    """
    found: list[dict[str, Any]] = []
    for name, region in regions(static, names):
        inside = ~region
        test = inside & (folds == folds.min())
        learned = inside & ~test
        if min(region.sum(), test.sum(), learned.sum()) < FEWEST:
            continue
        model = novelty.learn(static[learned], folds[learned])
        ours, theirs = model.score(static[test]), model.score(static[region])
        found.append(
            {
                "region": name,
                "runs": int(region.sum()),
                "auroc": novelty.auroc(ours, theirs),
                "found": float((theirs > 1).mean()),
                "false_alarms": float((ours > 1).mean()),
            }
        )
    return {
        "definition": DEFINITION,
        "auroc": float(np.mean([one["auroc"] for one in found])) if found else None,
        "worst": min(one["auroc"] for one in found) if found else None,
        "false_alarms": float(np.mean([one["false_alarms"] for one in found])) if found else None,
        "regions": found,
    }


def regions(static: Floats, names: Sequence[str]) -> Iterator[tuple[str, Mask]]:
    """Name and runs of each region to leave out."""
    many: list[tuple[str, Mask]] = []
    for column, name in enumerate(names):
        values = static[:, column]
        seen = np.unique(values)
        source = name.partition("=")[0]
        if len(seen) < 2 or (source != name and {source, f"log_{source}"} & set(names)):
            continue  # nothing to leave out, or a level of an input that is met as a number
        if "=" in name:
            yield from _fit(name, values == 1)
        elif novelty.has_levels(values, seen):
            for place, which in (("lowest", 0), ("middle", len(seen) // 2), ("highest", -1)):
                if place != "middle" or len(seen) > 2:
                    yield from _fit(f"{place} {name}", values == seen[which])
        else:
            low, high = np.quantile(values, [0.1, 0.9])
            yield from _fit(f"lowest tenth of {name}", values <= low)
            yield from _fit(f"highest tenth of {name}", values >= high)
        if "=" not in name:
            many.append((name, values >= np.quantile(values, 2 / 3)))
    pairs = [(a, b) for number, a in enumerate(many) for b in many[number + 1 :]]
    for pick in np.random.default_rng(0).permutation(len(pairs))[:JOINT]:
        (first, one), (second, other) = pairs[pick]
        yield from _fit(f"upper thirds of {first} and {second}", one & other)


def _fit(name: str, region: Mask) -> Iterator[tuple[str, Mask]]:
    if FEWEST <= region.sum() <= LARGEST * len(region):
        yield name, region
