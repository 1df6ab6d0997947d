"""Learning curve of the surrogate itself: score against number of trained networks.

The test networks stay the same; models are fitted to nested parts of the others. A power law
through the errors says what twice as many runs would bring, so that a builder knows when to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wattproof.surrogate import conformal, scoring
from wattproof.surrogate.cells import LOG, HeldOut, Ints, Mask
from wattproof.surrogate.encoding import Floats
from wattproof.surrogate.noise import REPLICATES, Noise, mean_error

FRACTIONS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Parts of the networks that are not for testing."""

TEST_SHARE = 0.2

MIN_TRAIN = 8
"""Fewer networks are no surrogate."""

STEEPEST = 2.0
"""Logarithm of the steepest exponent that a fit tries."""

FEWEST = 4
"""Sizes of training set that a curve needs."""

LOOSE = 0.25
"""Errors further off the curve than this, relatively, do not follow it."""

LIMITED = 1.5
"""An error that settles at so many times the noise is the model's, not the data's."""

AT_THE_FLOOR = 1.1
"""An error below so many times what noise alone makes has nowhere to go."""

MEASURED, EXPECTED = "measured", "expected"


@dataclass(frozen=True)
class Part:
    """One fit of the learning curve.

    Attributes:
        seed: Seed of the split.
        train: Runs to fit to; R.
        test: Runs to predict; R.
        networks: Distinct networks to fit to.
    """

    seed: int
    train: Mask
    test: Mask
    networks: int


def parts(networks: Ints, seeds: int, seed: int = 0) -> list[Part]:
    """Nested parts of the campaign; the test networks are the same for all fractions of a seed.

    Args:
        networks: Network of each run; R.
        seeds: Repetitions, each with its own order of the networks.
        seed: Of the first of them.
    """
    keys, index = np.unique(networks, return_inverse=True)
    found = []
    # One test set for all seeds: the curve shall show the training set's effect, nothing else.
    order = np.random.default_rng([seed, 0]).permutation(len(keys))
    count = max(1, round(TEST_SHARE * len(keys)))
    test, rest = order[:count], order[count:]
    for number in range(seeds):
        mine = np.random.default_rng([seed, 1 + number]).permutation(rest)
        sizes = sorted({round(part * len(rest)) for part in FRACTIONS})
        for size in sizes:
            if size >= MIN_TRAIN:
                found.append(
                    Part(
                        number,
                        np.isin(index, mine[:size]),
                        np.isin(index, test),
                        size,
                    )
                )
    return found


def rows(
    all_parts: Sequence[Part],
    held: Sequence[HeldOut],
    noise: Noise,
    level: float,
) -> list[dict[str, Any]]:
    """Score the fits of a learning curve, and extrapolate it by one doubling.

    Args:
        all_parts: See `parts`.
        held: Predictions of the test runs of each; the folds of its cells (two or more) let each
            part of the test networks be covered by intervals of the others.
        noise: Noise of the campaign.
        level: Nominal coverage.

    Returns:
        Rows of table ``growth``: one for each fit and target, then one for each target with what
        twice as many networks are expected to bring, or why that cannot be told.
    """
    measured = [
        row
        for part, one in zip(all_parts, held, strict=True)
        for row in _scores(part, one, noise, level)
    ]
    targets = list(dict.fromkeys(row["target"] for row in measured))
    logs = {} if not held else dict(zip(held[0].cells.targets, held[0].cells.scales, strict=True))
    return measured + [
        expected(target, [r for r in measured if r["target"] == target], logs[target] == LOG)
        for target in targets
    ]


def _scores(part: Part, held: HeldOut, noise: Noise, level: float) -> list[dict[str, Any]]:
    half = conformal.held_out_half_widths(
        held, noise.at(held.cells.epoch, held.cells.epochs), level
    )
    found = []
    for column, target in enumerate(held.cells.targets):
        row = scoring.at_the_end(held, half, column, level)
        about = noise.about[target]
        found.append(
            {
                "target": target,
                "kind": MEASURED,
                "seed": part.seed,
                "networks": part.networks,
                "runs": int(part.train.sum()),
                **{key: row.get(key) for key in ("kendall_tau", "r2", "mae", "mape", "coverage")},
                "noise": about.std if about.source == REPLICATES else None,
                "words": "",
            }
        )
    return found


def expected(target: str, measured: Sequence[dict[str, Any]], log: bool) -> dict[str, Any]:
    """Extrapolate a learning curve by one doubling, or say why not."""
    name = "mape" if log else "mae"
    known = [row for row in measured if row[name] is not None]
    networks = np.array([row["networks"] for row in known], dtype=np.float64)
    errors = np.array([row[name] for row in known], dtype=np.float64)
    largest = int(networks.max()) if len(networks) else 0
    row: dict[str, Any] = {
        "target": target,
        "kind": EXPECTED,
        "seed": None,
        "networks": 2 * largest,
        "noise": measured[0]["noise"] if measured else None,
    }
    floor = 0.0 if row["noise"] is None else mean_error(row["noise"])
    found = power_law(networks, errors, floor)
    if isinstance(found, str):
        return row | {"words": f"What more runs would bring cannot be told: {found}."}
    scale, exponent, rest, misfit = found
    scatter = among_equals(networks, errors)
    scatter = misfit if scatter is None else scatter
    now, then = (scale * n**-exponent + rest for n in (largest, 2 * largest))
    seen = float(errors[networks == largest].mean())
    now, then = seen, max(seen * then / now, min(seen, floor))
    if floor and now < AT_THE_FLOOR * floor:
        words = (
            f"Stop here: the error is {_size(now, log)}, and noise alone makes "
            f"{_size(floor, log)}; no model can do better."
        )
        return row | {name: then, "words": words}
    words = _advice(largest, now, then, exponent, scatter, log)
    if floor and rest > LIMITED * floor and 1 - then / now < scatter:
        words += (
            f" The error settles at {_size(rest, log)}, {rest / floor:.1f} times what noise alone "
            f"makes ({_size(floor, log)}): another model would help, more runs would not."
        )
    return row | {name: then, "words": words}


def among_equals(networks: Floats, errors: Floats) -> float | None:
    """Relative standard deviation among fits of equal size, pooled; None without repetitions."""
    sizes, index, counts = np.unique(networks, return_inverse=True, return_counts=True)
    freedom = len(networks) - len(sizes)
    if freedom == 0:
        return None
    logs = np.log(errors)
    means = np.bincount(index, logs) / counts
    return float(np.sqrt(((logs - means[index]) ** 2).sum() / freedom))


def _advice(
    largest: int, now: float, then: float, exponent: float, scatter: float, log: bool
) -> str:
    gain = 1 - then / now
    change = (
        f"with {2 * largest:,} networks instead of {largest:,} the error would be about "
        f"{_size(then, log)} instead of {_size(now, log)} ({gain:.0%} less)"
    )
    if gain < scatter:
        return (
            f"Stop here: {change}, and fits of equal size differ by {scatter:.0%} among themselves."
        )
    return f"More runs help: {change}; it falls as networks^-{exponent:.2f}."


def _size(error: float, log: bool) -> str:
    return f"{error:.2%}" if log else f"{100 * error:.2f} points"


def power_law(
    networks: Floats, errors: Floats, floor: float = 0.0
) -> tuple[float, float, float, float] | str:
    """Fit error = a · n^−b + c with a, b > 0 and c ≥ floor.

    Args:
        networks: Sizes; m, several may be equal.
        errors: Error of each; m.
        floor: Mean absolute noise: no number of networks gets below it.

    Returns:
        a, b, c and the misfit (relative standard deviation around the curve), or why the data
        cannot carry a fit. Where the smallest size spoils it (models that have not begun to learn),
        it is left out.
    """
    sizes = np.unique(networks)
    if len(sizes) < FEWEST:
        return f"{len(sizes)} sizes of training set are too few for a curve ({FEWEST} are needed)"
    if not np.all(errors > 0):
        return "an error is zero"
    middle = np.array([np.log(errors[networks == size]).mean() for size in sizes])
    if middle[-1] >= middle[0]:
        return "the error does not fall with the number of networks"
    found = _fitted(networks, errors, floor)
    if found[3] > LOOSE and len(sizes) > FEWEST:
        large = networks > sizes[0]
        found = _fitted(networks[large], errors[large], floor)
    if found[3] > LOOSE:
        return f"errors lie {found[3]:.0%} off any curve"
    return found


def _fitted(networks: Floats, errors: Floats, floor: float) -> tuple[float, float, float, float]:
    from scipy import optimize

    sizes = np.unique(networks)
    x = networks / sizes[-1]
    last = float(np.log(errors[networks == sizes[-1]]).mean())

    def misfit(p: Floats) -> Floats:
        falling = p[0] - np.exp(min(p[1], STEEPEST)) * np.log(x)
        return np.asarray(np.log(np.exp(falling) + np.exp(p[2]) + floor) - np.log(errors))

    starts = [(last, -0.7, last - 6.0), (last - 1.0, 0.0, last - 0.5)]
    fits = [optimize.least_squares(misfit, start, max_nfev=500) for start in starts]
    best = min(fits, key=lambda fit: float(fit.cost))
    scale, exponent, rest = np.exp(np.minimum(best.x, [np.inf, STEEPEST, np.inf])).tolist()
    off = float(np.sqrt(2 * best.cost / max(len(errors) - 3, 1)))
    return scale * float(sizes[-1]) ** exponent, exponent, rest + floor, off
