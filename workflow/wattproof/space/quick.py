"""Keys and costs of realised networks, fast enough for queries: one at a time or many at once.

A space that offers ``shape`` (see `shapes.Shape`) is answered from closed forms; of any other
space each architecture is realised once and remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wattproof.errors import WattproofError
from wattproof.space import shapes
from wattproof.space.base import Space
from wattproof.space.regnet import key_format, network_key

CACHE = 65_536
"""Networks that are remembered; when there are more, all are forgotten."""

Ints = NDArray[np.int64]


class Identity(NamedTuple):
    """The network that a configuration builds, and the costs of one forward pass of one image.

    Attributes:
        key: Canonical name of the network.
        macs: Multiply-accumulates.
        params: Parameters.
        activations: Outputs of all convolutions and of the linear layer.
        further: The space's further `costs`, in their order.
    """

    key: str
    macs: int
    params: int
    activations: int
    further: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Realised:
    """The networks of n configurations; where one is not `valid`, key and costs mean nothing.

    Attributes:
        keys: Canonical name of each network; n.
        macs: Multiply-accumulates of a forward pass; n.
        params: Parameters; n.
        activations: Outputs of all convolutions and of the linear layer; n.
        valid: Whether the configuration builds an allowed network; n.
        further: The space's further `costs`; n × as many as it has.
    """

    keys: list[str]
    macs: Ints
    params: Ints
    activations: Ints
    valid: NDArray[np.bool_]
    further: NDArray[np.float64]


class Realiser:
    """Realises configurations of one space for images of one size."""

    def __init__(self, space: Space, resolution: int, classes: int) -> None:
        """Prepare.

        Args:
            space: Search space.
            resolution: Height and width of the images, in pixels, unless the space has a parameter
                of that name.
            classes: Number of classes.
        """
        self._space = space
        self._costs: tuple[str, ...] = getattr(space, "costs", ())
        self._input = {"resolution": resolution, "classes": classes}
        self._shape = getattr(space, "shape", None)
        self._of_one = getattr(space, "network_of_one", None)
        everything = list(space.configspace())
        self._sized = "resolution" in everything
        shaping = getattr(space, "architecture", everything)
        sized = ["resolution"] if self._sized and "resolution" not in shaping else []
        self.parameters: tuple[str, ...] = (*shaping, *sized)
        """Parameters that the network and its costs may depend on."""
        self.costs: tuple[str, ...] = ("macs", "params", "activations", *self._costs)
        """What `one` and `many` tell beside the key, in their order."""
        self._known: dict[tuple[Any, ...], Identity] = {}

    def one(self, config: Mapping[str, Any]) -> Identity:
        """Realise one configuration, whose values lie in the space.

        Raises:
            WattproofError: It builds no allowed network.
        """
        return self.at(tuple([config[name] for name in self.parameters]))

    def at(self, point: tuple[Any, ...]) -> Identity:
        """As `one`, of the values of `parameters`."""
        found = self._known.get(point)
        if found is None:
            found = self._at(point)
            if len(self._known) >= CACHE:
                self._known.clear()
            self._known[point] = found
        return found

    def many(self, columns: Mapping[str, NDArray[Any]]) -> Realised:
        """Realise n configurations, whose values lie in the space.

        Args:
            columns: At least `parameters`, an array of n each.
        """
        if self._shape is None:
            return self._each(columns, np.ones(len(columns[self.parameters[0]]), dtype=bool))
        shape = self._shape(columns)
        side = self._input["resolution"]
        resolution = np.asarray(columns["resolution"], np.int64) if self._sized else side
        macs, params, activations = shapes.costs(shape, resolution, self._input["classes"])
        # Where nothing allowed is built the formulas may have run into nonsense.
        valid = shape.valid & ~shape.tie
        found = Realised(_names(shape), macs, params, activations, valid, self._further(valid))
        if not shape.tie.any():
            return found
        return self._each(columns, shape.tie, found)

    def _at(self, point: tuple[Any, ...]) -> Identity:
        if self._of_one is not None:
            found = self._of_one(point, self._input["resolution"], self._input["classes"])
            if found is not None:
                return Identity(*found)
        return self._one(dict(zip(self.parameters, point, strict=True)))

    def _one(self, config: Mapping[str, Any]) -> Identity:
        if self._shape is not None:
            shape = self._shape(config)
            if shape.valid and not shape.tie:
                side = self._input["resolution"]
                resolution = int(config["resolution"]) if self._sized else side
                found = shapes.costs(shape, resolution, self._input["classes"])
                group = shapes.largest_group(shape)
                return Identity(_key(shape.stem, group, shape.widths, shape.depths), *found)
        network: Any = self._space.realise(config, **self._input)
        costs = network.complexity()
        further = network.costs() if self._costs else ()
        return Identity(network.key, costs.macs, costs.params, costs.activations, further)

    def _further(self, rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.zeros((len(rows), len(self._costs)))

    def _each(
        self,
        columns: Mapping[str, NDArray[Any]],
        chosen: NDArray[np.bool_],
        found: Realised | None = None,
    ) -> Realised:
        """Realise some rows one by one; the others are found already."""
        n = len(chosen)
        if found is None:
            macs, params, activations = np.zeros((3, n), dtype=np.int64)
            nothing = np.zeros(n, dtype=bool)
            further = self._further(nothing)
            found = Realised([""] * n, macs, params, activations, nothing, further)
        rows = np.flatnonzero(chosen).tolist()
        points = zip(*(columns[name][chosen].tolist() for name in self.parameters), strict=True)
        for row, point in zip(rows, points, strict=True):
            try:
                network = self.at(point)
            except WattproofError:
                found.valid[row] = False
                continue
            found.keys[row] = network.key
            found.macs[row], found.params[row] = network.macs, network.params
            found.activations[row] = network.activations
            found.further[row] = network.further
            found.valid[row] = True
        return found


def _names(shape: shapes.Shape) -> list[str]:
    """Names of n networks: formatted together, by how many stages they have."""
    group = shapes.largest_group(shape)
    stem, group, *rest = np.broadcast_arrays(shape.stem, group, *shape.widths, *shape.depths)
    widths, depths = rest[: len(shape.widths)], rest[len(shape.widths) :]
    stages = sum((depth > 0).astype(np.int64) for depth in depths)
    found = np.empty(len(stem), dtype=object)
    for count in np.unique(stages).tolist():
        there = stages == count
        columns = [stem, *widths[:count], *depths[:count], group]
        text = key_format(count)
        found[there] = [
            text % row for row in zip(*(c[there].tolist() for c in columns), strict=True)
        ]
    names: list[str] = found.tolist()
    return names


def _key(stem: int, group: int, widths: tuple[int, ...], depths: tuple[int, ...]) -> str:
    if 0 in depths:
        stages = [(width, depth) for width, depth in zip(widths, depths, strict=True) if depth]
        widths, depths = zip(*stages, strict=True)
    return network_key(stem, widths, depths, group)
