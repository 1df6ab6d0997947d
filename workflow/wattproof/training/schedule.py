"""Learning-rate schedules of EA-HAS-Bench (``ea_has_bench.md``, section 6). No torch."""

from __future__ import annotations

import math

from wattproof.errors import WattproofError, did_you_mean

FLOOR = 1e-6
"""The schedule ends near this share of the base learning rate (m in the paper's code)."""

POLICIES = ("cos", "exp", "lin")


WARM_UP_START = 0.1
"""Share of the schedule's rate in the first epoch of a warm-up."""


def learning_rate(policy: str, base: float, epoch: int, epochs: int, warmup: int = 0) -> float:
    """Learning rate of an epoch; constant within it.

    Args:
        policy: "cos": (1−m)·½(1+cos(πe/E))+m; "lin": (1−m)(1−e/E)+m; "exp": m^(e/E).
        base: Learning rate of the first epoch.
        epoch: 0-based epoch e.
        epochs: All epochs E of the schedule.
        warmup: In so many epochs w the schedule's rate is multiplied by 0.1(1−e/w)+e/w.

    Raises:
        WattproofError: There is no such policy.
    """
    share = epoch / epochs
    if policy == "cos":
        factor = (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * share)) + FLOOR
    elif policy == "lin":
        factor = (1 - FLOOR) * (1 - share) + FLOOR
    elif policy == "exp":
        factor = FLOOR**share
    else:
        raise WattproofError(
            f"There is no learning-rate policy '{policy}'.{did_you_mean(policy, POLICIES)} "
            "Correct the configuration."
        )
    if epoch < warmup:
        climbed = epoch / warmup
        factor *= WARM_UP_START * (1 - climbed) + climbed
    return factor * base


def trained_epochs(epochs: int, shorten: int) -> int:
    """Return how many epochs a shortened training has: what surrogates know as its length.

    Halves are rounded to the even number, as `round` and numpy's ``rint`` do.

    Args:
        epochs: All epochs of the schedule (``config_epochs``).
        shorten: How many times fewer are done; 1 = all.
    """
    return max(1, round(epochs / shorten))


def kept_epochs(epochs: int, shorten: int) -> tuple[int, ...]:
    """Epochs of a schedule that a shortened training does: fewer, spread over all of it.

    Args:
        epochs: All epochs E of the schedule.
        shorten: How many times fewer are done; 1 = all.

    Returns:
        0-based epochs of the schedule in order, from 0 to E − 1 if there are two or more.
    """
    count = trained_epochs(epochs, shorten)
    if count == 1:
        return (0,)
    return tuple(round(i * (epochs - 1) / (count - 1)) for i in range(count))
