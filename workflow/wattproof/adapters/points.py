"""The points of a benchmark's space, and which of them build an allowed network.

Optimisers draw from a box, but not each point of the box is a network: of the RegNet spaces'
points 56 % are, of `ea_has_cifar10`'s 2 %. `Points.nearest` moves a point to a network near it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ConfigSpace
import numpy as np
from numpy.typing import NDArray

from wattproof import space as spaces
from wattproof.benchmark.api import Benchmark
from wattproof.errors import WattproofError

Config = dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """One parameter.

    Attributes:
        name: Its name.
        values: All its values.
        ordered: Whether they are numbers in rising order.
    """

    name: str
    values: tuple[Any, ...]
    ordered: bool

    def position(self, value: Any) -> int | None:
        """Where a value stands among the axis' values; None if it is none of them.

        Arithmetic on steps may leave the last digit of a float wrong: such values are found.
        """
        if isinstance(value, np.generic):
            value = value.item()
        try:
            return self._places[value]
        except (KeyError, TypeError):
            pass
        if self.ordered and isinstance(value, float):
            for place, known in enumerate(self.values):
                if math.isclose(known, value, rel_tol=1e-9):
                    return place
        return None

    @cached_property
    def _places(self) -> dict[Any, int]:
        return {value: place for place, value in enumerate(self.values)}


class Points:
    """The points of a benchmark's space.

    Attributes:
        axes: Parameters with more than one value, in the order of the ConfigSpace object.
        constants: Parameters with one value.
    """

    def __init__(self, bench: Benchmark) -> None:
        self.axes: dict[str, Axis] = {}
        self.constants: Config = {}
        for name, parameter in bench.space.items():
            axis = _axis(name, parameter)
            if len(axis.values) == 1:
                self.constants[name] = axis.values[0]
            else:
                self.axes[name] = axis
        self._space: Any = spaces.get(str(bench.space.name))  # all of them list their networks

    def plain(self, config: Mapping[str, Any]) -> Config:
        """Return a configuration with the space's own values, constants added.

        What is no value of the space stays as it is: a query refuses it in words.
        """
        found: Config = dict(self.constants)
        for name, value in config.items():
            axis = self.axes.get(name)
            place = axis.position(value) if axis else None
            found[name] = axis.values[place] if axis and place is not None else value
        return found

    def valid(self, config: Mapping[str, Any]) -> bool:
        """Whether a configuration builds an allowed network."""
        return bool(self._space.valid(config))

    def inside(self, config: Mapping[str, Any]) -> bool:
        """Whether a configuration has a value of the space for each parameter, and no other key."""
        if set(config) != {*self.axes, *self.constants}:
            return False
        constant = all(config[name] == value for name, value in self.constants.items())
        return constant and all(
            axis.position(config[name]) is not None for name, axis in self.axes.items()
        )

    def nearest(self, config: Config) -> Config:
        """Return the point itself if it builds an allowed network, or the nearest that does.

        Near in steps of the parameters that shape the network, each axis from 0 to 1 long; the
        training stays as it is. The same point always moves to the same one.

        Args:
            config: A point inside the space (`inside`).

        Raises:
            WattproofError: No network is allowed with that training.
        """
        if self.valid(config):
            return config
        own = np.array([self._coordinate(name, config[name]) for name in self._shape])
        distances = ((self._coordinates - own) ** 2).sum(axis=1)
        for index in _nearest_first(distances):
            shape = self._pool[index]
            moved = config | {name: shape[name] for name in self._shape}
            if self.valid(moved):
                return moved
        raise WattproofError(
            f"Space '{self._space.name}' allows no network with the training of {config}; draw "
            "with bench.sample."
        )

    @cached_property
    def _shape(self) -> list[str]:
        """Parameters that shape the network."""
        return [name for name in self.axes if name in self._space.architecture]

    @cached_property
    def _pool(self) -> list[Config]:
        """Shapes that a point may be moved to: all that the space enumerates."""
        return [point for points in self._space.networks.values() for point in points]

    @cached_property
    def _coordinates(self) -> NDArray[np.float64]:
        """Shapes of the pool × parameters of a shape."""
        columns = [[self._coordinate(n, one[n]) for one in self._pool] for n in self._shape]
        return np.array(columns, dtype=np.float64).T

    def _coordinate(self, name: str, value: Any) -> float:
        axis = self.axes[name]
        return (axis.position(value) or 0) / (len(axis.values) - 1)


def _nearest_first(distances: NDArray[np.float64]) -> Iterator[int]:
    """Places by distance; sorts only for who asks for a second one."""
    yield int(np.argmin(distances))
    yield from np.argsort(distances, kind="stable")[1:].tolist()


def own_space(bench: Benchmark) -> ConfigSpace.ConfigurationSpace:
    """Return a copy of a benchmark's space, for optimisers that seed what they are given."""
    return copy.deepcopy(bench.space)


def _axis(name: str, parameter: Any) -> Axis:
    if isinstance(parameter, ConfigSpace.Constant):
        return Axis(name, (_item(parameter.value),), ordered=False)
    if isinstance(parameter, ConfigSpace.CategoricalHyperparameter):
        return Axis(name, tuple(map(_item, parameter.choices)), ordered=False)
    if isinstance(parameter, ConfigSpace.OrdinalHyperparameter):
        return Axis(name, tuple(map(_item, parameter.sequence)), ordered=True)
    if isinstance(parameter, ConfigSpace.UniformIntegerHyperparameter):
        return Axis(name, tuple(range(int(parameter.lower), int(parameter.upper) + 1)), True)
    raise WattproofError(
        f"The adapters know no parameter like '{name}' ({type(parameter).__name__}): they read "
        "constants, categories, ordered values and ranges of integers."
    )


def _item(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
