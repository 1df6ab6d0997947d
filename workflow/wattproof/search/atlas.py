"""Where a search moves: genes in the unit cube, each of them a configuration that can be trained.

Most points of a space's grid build no allowed network (of 278,540,570 in EA-HAS-Bench's Tiny
ImageNet space only some do, and they are 38,516 distinct networks), so a search on the grid would
spend its trials on refusals. Here a gene is a parameter's place among its values, from 0 to 1, and
a proposal is *moved to the nearest network that exists*; the parameters of the training are taken
as they are. This is the same for every method, so none is helped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import KDTree

from wattproof.errors import WattproofError

Floats = NDArray[np.float64]
Config = dict[str, Any]
Axes = Mapping[str, tuple[Any, ...]]

NEIGHBOURS = 64
"""Networks near a proposal that are tried at once, where the training's parameters decide too."""


class Enumerable(Protocol):
    """A search space whose networks can be listed (`wattproof.space.GridSpace` is one)."""

    @property
    def name(self) -> str:
        """Name in the registry."""
        ...

    @property
    def architecture(self) -> Axes:
        """Values of each parameter that shapes the network."""
        ...

    @property
    def training(self) -> Axes:
        """Values of each parameter of the training."""
        ...

    @property
    def networks(self) -> Mapping[str, Sequence[Config]]:
        """All distinct networks, each with points that build it."""
        ...

    def valid(self, config: Mapping[str, Any]) -> bool:
        """Whether a configuration can be trained."""
        ...


class Atlas:
    """All configurations of a space, as points of a unit cube.

    Attributes:
        names: Parameter of each gene; parameters with one value only have none.
        categorical: Whether the gene's values have no order; the same length.
        sizes: How many values each of them has.
    """

    def __init__(self, space: Enumerable) -> None:
        for need in ("architecture", "training", "networks"):
            if not hasattr(space, need):
                raise WattproofError(
                    f"The networks of space '{space.name}' cannot be listed, so no search can "
                    "move among them; remove the section 'search' of the campaign."
                )
        self._space = space
        axes = {**space.architecture, **space.training}
        self._fixed = {name: values[0] for name, values in axes.items() if len(values) == 1}
        self._axes = {name: values for name, values in axes.items() if len(values) > 1}
        self.names = list(self._axes)
        self.sizes = [len(self._axes[name]) for name in self.names]
        self.categorical = [
            any(isinstance(value, str) for value in self._axes[name]) for name in self.names
        ]
        self._shape = [name for name in self.names if name in space.architecture]
        self._points = [points[0] for points in space.networks.values()]
        self._places = np.array(
            [[self._place(name, point[name]) for name in self._shape] for point in self._points]
        ).reshape(len(self._points), len(self._shape))
        self._tree = KDTree(self._places)

    def draw(self, n: int, rng: np.random.Generator) -> Floats:
        """Genes of `n` configurations: uniform among networks, then among trainings; n × k."""
        genes = rng.random((n, len(self.names)))
        genes[:, : len(self._shape)] = self._places[rng.integers(len(self._points), size=n)]
        return genes

    def decode(self, genes: Floats) -> list[Config]:
        """Return the configurations that proposals stand for; genes are clipped to the cube."""
        genes = np.clip(np.atleast_2d(np.asarray(genes, dtype=np.float64)), 0.0, 1.0)
        near = np.asarray(self._tree.query(genes[:, : len(self._shape)])[1])
        return [
            self._config(row, int(index)) for row, index in zip(genes, near.tolist(), strict=True)
        ]

    def frame(self, configs: Sequence[Config]) -> pd.DataFrame:
        """Configurations as the benchmark is asked: a column a parameter."""
        names = [*self._space.architecture, *self._space.training]
        return pd.DataFrame({name: [config[name] for config in configs] for name in names})

    def _config(self, row: Floats, nearest: int) -> Config:
        training = {
            name: values[min(int(row[self.names.index(name)] * len(values)), len(values) - 1)]
            for name, values in self._axes.items()
            if name not in self._shape
        }
        config = {**self._fixed, **self._points[nearest], **training}
        if self._space.valid(config):
            return config
        count = min(NEIGHBOURS, len(self._points))
        while True:
            order = np.atleast_1d(self._tree.query(row[: len(self._shape)], k=count)[1])
            for index in order.tolist():
                config = {**self._fixed, **self._points[index], **training}
                if self._space.valid(config):
                    return config
            if count == len(self._points):
                raise WattproofError(
                    f"Space '{self._space.name}' has no network that can be trained with {training}"
                )
            count = min(8 * count, len(self._points))

    def _place(self, name: str, value: Any) -> float:
        values = self._axes[name]
        return values.index(value) / (len(values) - 1)


def identity(config: Mapping[str, Any]) -> str:
    """A short text that two configurations share only if they are equal."""
    text = json.dumps(dict(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
