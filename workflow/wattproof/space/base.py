"""What a search space offers, and the grid space that most of them are."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from wattproof.errors import WattproofError
from wattproof.space.regnet import Network

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

Value = int | float | str
Config = dict[str, Any]
Axes = Mapping[str, tuple[Value, ...]]

REFERENCE_RESOLUTION = 32
REFERENCE_CLASSES = 10


@dataclass(frozen=True, slots=True)
class Count:
    """How large a space is.

    Attributes:
        networks: Distinct realised networks.
        configurations: Those × training parameters.
        points: Architectures of the grid that build an allowed network.
        grid: Architectures of the grid.
    """

    networks: int
    configurations: int
    points: int
    grid: int


class Space(Protocol):
    """A search space: configurations, and the networks that they really build."""

    @property
    def name(self) -> str:
        """Name in the registry."""
        ...

    @property
    def costs(self) -> tuple[str, ...]:
        """Further costs that its networks tell (`costs()`), for the surrogates.

        Where there are any, surrogates read them instead of the architecture's parameters.
        """
        ...

    def configspace(self) -> ConfigurationSpace:
        """Return all hyper-parameters as a ConfigSpace object (not all points are `valid`)."""
        ...

    def sample(
        self, n: int, seed: int, recipe: Mapping[str, Value | list[Value]] | None = None
    ) -> list[Config]:
        """Draw `n` valid configurations, with distinct realised networks first."""
        ...

    def count(self) -> Count:
        """Return how many networks and configurations there are, by enumeration."""
        ...

    def realise(
        self,
        config: Mapping[str, Any],
        resolution: int = REFERENCE_RESOLUTION,
        classes: int = REFERENCE_CLASSES,
    ) -> Network:
        """Return the network that a configuration really builds."""
        ...

    def valid(self, config: Mapping[str, Any]) -> bool:
        """Whether the configuration lies in the space and builds an allowed network."""
        ...


class GridSpace(ABC):
    """A space whose parameters all have finitely many values.

    A subclass states its axes and how an architecture is built; enumeration, sampling and the
    ConfigSpace object follow from them.

    Attributes:
        name: Name in the registry.
        architecture: Values of each parameter that shapes the network.
        training: Values of each parameter of the training.
        costs: Names of what ``costs()`` of its networks returns; see `Space`.
        trainable: Whether wattproof can train its networks; else it is for results of others.
    """

    name: ClassVar[str]
    costs: ClassVar[tuple[str, ...]] = ()
    trainable: ClassVar[bool] = True
    architecture: ClassVar[Axes]
    training: ClassVar[Axes]

    @abstractmethod
    def build(self, config: Mapping[str, Any], resolution: int, classes: int) -> Network | None:
        """Build the network of a grid point; None if the point is not an allowed network."""

    def realise(
        self,
        config: Mapping[str, Any],
        resolution: int = REFERENCE_RESOLUTION,
        classes: int = REFERENCE_CLASSES,
    ) -> Network:
        """Return the network that a configuration really builds.

        Args:
            config: At least the architecture's parameters; others are ignored.
            resolution: Height and width of the images, in pixels.
            classes: Number of classes.

        Raises:
            WattproofError: A parameter is missing or outside its values, or what comes out is
                not an allowed network.
        """
        point = self._point(config, self.architecture)
        network = self.build(point, resolution, classes)
        if network is None:
            raise WattproofError(
                f"Configuration {point} does not build an allowed network "
                f"of space '{self.name}'; draw configurations with Space.sample or filter them "
                "with Space.valid."
            )
        return network

    def valid(self, config: Mapping[str, Any]) -> bool:
        """Whether all parameters have values of the space and the network is allowed."""
        try:
            point = self._point(config, self.architecture)
            self._point(config, self.training)
        except WattproofError:
            return False
        return self.build(point, REFERENCE_RESOLUTION, REFERENCE_CLASSES) is not None

    @cached_property
    def networks(self) -> dict[str, tuple[Config, ...]]:
        """All distinct realised networks, by key, each with the grid points that build it."""
        found: dict[str, list[Config]] = {}
        for point in _grid(self.architecture):
            network = self.build(point, REFERENCE_RESOLUTION, REFERENCE_CLASSES)
            if network is not None:
                found.setdefault(network.key, []).append(point)
        return {key: tuple(found[key]) for key in sorted(found)}

    def distinct(self) -> int:
        """Number of distinct configurations: realised networks × training parameters."""
        return len(self.networks) * _size(self.training)

    def points(self) -> int:
        """Number of grid points that build an allowed network."""
        return sum(map(len, self.networks.values()))

    def count(self) -> Count:
        """Return how many networks and configurations there are, by enumeration."""
        return Count(len(self.networks), self.distinct(), self.points(), _size(self.architecture))

    def sample(
        self, n: int, seed: int, recipe: Mapping[str, Value | list[Value]] | None = None
    ) -> list[Config]:
        """Draw valid configurations, no two of them equal in network and training parameters.

        Networks are drawn uniformly among the *distinct realised* ones, not among grid points,
        and all networks come once before any comes again. The first configurations of a longer
        draw with the same seed are those of a shorter one, so a plan can grow.

        Args:
            n: How many.
            seed: Equal seeds give equal draws.
            recipe: Parameters of the training that are not drawn from all their values: the one
                value, or a list of those that remain. While networks last, the same ones are drawn.

        Returns:
            Plain dictionaries (JSON-ready) in the order of the axes.

        Raises:
            WattproofError: More configurations are asked for than there are, or the recipe names
                a parameter or value that the space lacks.
        """
        import numpy as np

        if n < 0:
            raise WattproofError(f"Cannot draw {n} configurations; ask for 0 or more.")
        trainings = list(_grid(self._recipes(recipe or {})))
        distinct = len(self.networks) * len(trainings)
        if n > distinct:
            raise WattproofError(
                f"{n} configurations were asked for, but space '{self.name}' has only "
                f"{distinct} distinct ones{' with this recipe' if recipe else ''}; ask for fewer "
                f"{'or fix less of the recipe' if recipe else 'or take a larger space'}."
            )
        rng = np.random.default_rng(seed)
        keys = list(self.networks)
        orders: dict[str, list[int]] = {}
        drawn: list[Config] = []
        while len(drawn) < n:
            for index in rng.permutation(len(keys)):
                if len(drawn) == n:
                    break
                key = keys[index]
                if key not in orders:
                    orders[key] = rng.permutation(len(trainings)).tolist()
                points = self.networks[key]
                point = points[int(rng.integers(len(points)))]
                drawn.append({**point, **trainings[orders[key].pop()]})
        return drawn

    def configspace(self) -> ConfigurationSpace:
        """Return the space as a ConfigSpace object.

        It holds the whole grid. That a point builds an allowed network is not a forbidden clause
        (it depends on four parameters through logarithms): ask `valid`.
        """
        from ConfigSpace import (
            Categorical,
            ConfigurationSpace,
            Constant,
            Integer,
            OrdinalHyperparameter,
        )

        space = ConfigurationSpace(name=self.name)
        for key, values in (*self.architecture.items(), *self.training.items()):
            if len(values) == 1:
                space.add(Constant(key, values[0]))
            elif any(isinstance(value, str) for value in values):
                space.add(Categorical(key, list(values)))
            elif list(values) == list(range(int(values[0]), int(values[-1]) + 1)):
                space.add(Integer(key, (int(values[0]), int(values[-1]))))
            else:
                space.add(OrdinalHyperparameter(key, list(values)))
        return space

    def _recipes(self, recipe: Mapping[str, Value | list[Value]]) -> Axes:
        """Return the axes of the training, as far as a recipe leaves them."""
        axes = dict(self.training)
        for key, wanted in recipe.items():
            if key not in axes:
                why = "shapes the network" if key in self.architecture else "is not in it"
                raise WattproofError(
                    f"The recipe fixes '{key}', which {why}, but only the training's parameters "
                    f"of space '{self.name}' can be fixed ({', '.join(axes)}); remove it."
                )
            listed = wanted if isinstance(wanted, list) else [wanted]
            if not listed:
                raise WattproofError(
                    f"The recipe leaves no value of '{key}'; give one, or remove the key to draw "
                    f"from all of space '{self.name}'."
                )
            for value in listed:
                if value not in axes[key]:
                    raise WattproofError(
                        f"The recipe fixes '{key}' to {value!r}, but space '{self.name}' only has "
                        f"{_listing(axes[key])}; choose one of them."
                    )
            axes[key] = tuple(value for value in axes[key] if value in listed)
        return axes

    def _point(self, config: Mapping[str, Any], axes: Axes) -> Config:
        """Return the axes' own values: 3.0 from a table or NumPy's 3 become the axis' 3."""
        point: Config = {}
        for key, values in axes.items():
            if key not in config:
                raise WattproofError(
                    f"Configuration of space '{self.name}' lacks '{key}'; add it (one of "
                    f"{_listing(values)})."
                )
            if config[key] not in values:
                raise WattproofError(
                    f"'{key}' is {config[key]!r}, but space '{self.name}' only has "
                    f"{_listing(values)}; choose one of them."
                )
            point[key] = values[values.index(config[key])]
        return point


def _grid(axes: Axes) -> Iterator[Config]:
    for values in product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _size(axes: Axes) -> int:
    return math.prod(map(len, axes.values()))


def _listing(values: tuple[Value, ...]) -> str:
    if len(values) <= 8:
        return ", ".join(map(str, values))
    return f"{values[0]}, {values[1]}, …, {values[-1]}"
