"""Search spaces: one file each.

A new space is one file with a class that offers what `wattproof.space.base.Space` asks for, and
one line in `_SPACES`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from wattproof.errors import WattproofError, did_you_mean
from wattproof.space.base import Space
from wattproof.space.ea_has import EaHasCifar10, EaHasTinyImageNet
from wattproof.space.nasbench101 import NasBench101Cells4, NasBench101Cells5
from wattproof.space.regnet import Complexity, Network
from wattproof.space.regnet_demo import RegNetDemo
from wattproof.space.wide import Wide

__all__ = ["Complexity", "Network", "Space", "get", "names"]

_SPACES: dict[str, Callable[[], Space]] = {
    "ea_has_cifar10": EaHasCifar10,
    "ea_has_tinyimagenet": EaHasTinyImageNet,
    "nasbench101_4v": NasBench101Cells4,
    "nasbench101_5v": NasBench101Cells5,
    "regnet_demo": RegNetDemo,
    "wide": Wide,
}


def names() -> list[str]:
    """Names of all search spaces."""
    return sorted(_SPACES)


@cache
def get(name: str) -> Space:
    """Return a search space by name.

    Raises:
        WattproofError: There is no such space; names the nearest one.
    """
    if name not in _SPACES:
        raise WattproofError(
            f"There is no search space '{name}'.{did_you_mean(name, _SPACES)} "
            "Correct the key 'space'."
        )
    return _SPACES[name]()
