"""Which networks are held out together: folds by realised network, so that nothing leaks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np

Key = TypeVar("Key", str, int)


def deal(networks: Iterable[Key], wanted: int, seed: int) -> dict[Key, int]:
    """Deal networks into folds of almost equal size.

    A pure function of the *set* of networks: neither the order of the runs nor how often a network
    was trained changes it.

    Args:
        networks: Keys of realised networks, in any order, as often as they come.
        wanted: Folds asked for; there are never more than networks.
        seed: Of the shuffle.

    Returns:
        Fold of each network, 0-based.
    """
    keys = sorted(set(networks))
    folds = max(1, min(wanted, len(keys)))
    order = np.random.default_rng(seed).permutation(len(keys))
    return {keys[place]: rank % folds for rank, place in enumerate(order.tolist())}
