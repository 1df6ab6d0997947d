"""Space "wide": networks and recipes that use a GPU from next to idle up to its limit.

EA-HAS-Bench keeps a large GPU in a fifth of its power range: grouped convolutions of a few hundred
channels, one batch size, fed by loaders. Here width, depth, stages, groups, resolution, batch size,
precision and feeding are searched together, and configurations can be drawn evenly over the *power*
that pilot runs promise (`sample` with a pilot), which a draw even over the parameters is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from wattproof.errors import WattproofError
from wattproof.space import shapes
from wattproof.space.base import (
    REFERENCE_CLASSES,
    REFERENCE_RESOLUTION,
    Axes,
    Config,
    GridSpace,
    Value,
)
from wattproof.space.pilot import Pilot, stratified
from wattproof.space.regnet import Complexity, Network

if TYPE_CHECKING:
    import numpy as np

STEM_WIDTHS = {8: 8, 16: 16, 32: 16, 64: 32}
"""Channels of the stem by first width; 64 for wider ones."""
WIDEST_STEM = 64

DENSE = 0
"""Value of `group_width` for convolutions without groups."""

IMAGES = 50_000
"""An epoch of the data sets that the space is for."""

EPOCH_S = (2.0, 120.0)
"""Nominal length of an epoch: shorter ones cannot be measured, longer ones cost too much."""

OPERATIONS_HZ = {"fp32": 1.5e14, "amp": 3e14}
GROUPED_HZ, GROUPED_OPERATIONS = 3e13, 3456
BYTES_HZ, BYTES_MOVED = 2e12, 40
LAUNCH_S, BLOCK_KERNELS, OTHER_KERNELS = 7e-6, 60, 40
PIXELS_HZ = 1e7
"""Nominal rates of a large GPU of 2023 and of its host, for that length only: operations, grouped
ones (for an activation, whatever the groups), bytes (twice as many in fp32), launches, loaders."""

MEMORY_BYTES = 60 * 2**30
"""Trainings that would need more of the GPU's memory are left out (for a board of 80 GB)."""

PARAMETER_BYTES = 20
"""Of a parameter: itself, its gradient, two moments, a copy in 16 bits, and what is being cast."""

KEPT = 4
"""Activations that are kept for the backward pass, per output of a convolution: of itself, of its
batch norm and of what follows."""

POOL = 12_000
"""Candidates that a stratified draw chooses from, whatever is asked for: so draws can grow."""


class Wide(GridSpace):
    """RegNets of one to three stages, from 8 to 8192 channels, and how they are trained."""

    name = "wide"
    architecture: ClassVar[Axes] = {
        "stages": (1, 2, 3),
        "width": (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192),
        "growth": (1, 2),
        "depth": (1, 2, 3, 5),
        "group_width": (DENSE, 8, 32),
    }
    training: ClassVar[Axes] = {
        "resolution": (16, 32, 64, 128),
        "batch_size": (16, 32, 64, 128, 256, 512, 1024, 2048),
        "precision": ("fp32", "amp"),
        "feed": ("device", "loader"),
        "lr": (0.003, 0.01, 0.03, 0.1),
        "optimizer": ("sgd", "adamw"),
        "policy": ("cos", "lin"),
        "cutout": (0, 8),
        "epochs": (4, 8),
    }

    def _built(self, config: Mapping[str, Any]) -> Network:
        """As `realise`, of a configuration that is known to lie in the space."""
        network = self.build(config, int(config["resolution"]), REFERENCE_CLASSES)
        assert network is not None
        return network

    def build(self, config: Mapping[str, Any], resolution: int, classes: int) -> Network | None:
        """Build the network of a grid point; None if its last stage would be wider than 8192."""
        widths = tuple(config["width"] * config["growth"] ** i for i in range(config["stages"]))
        widest = max(self.architecture["width"])
        if widths[-1] > int(widest):
            return None
        return _network(
            widths,
            (config["depth"],) * config["stages"],
            config["group_width"] or widths[-1],
            classes,
            resolution,
        )

    def shape(self, values: Mapping[str, Any]) -> shapes.Shape:
        """Return what values of the grid build, numbers or arrays; see `quick.Realiser`."""
        stages, width, growth, depth, group = (values[key] for key in self.architecture)
        most = range(max(map(int, self.architecture["stages"])))
        last = width * growth ** (stages - 1)
        return shapes.Shape(
            stem=shapes.looked_up(STEM_WIDTHS, width, WIDEST_STEM),
            widths=tuple(width * growth**i for i in most),
            depths=tuple(depth * (stages > i) for i in most),
            group=group + (group == DENSE) * last,
            valid=last <= max(map(int, self.architecture["width"])),
            tie=last < 0,
        )

    def realise(
        self,
        config: Mapping[str, Any],
        resolution: int = REFERENCE_RESOLUTION,
        classes: int = REFERENCE_CLASSES,
    ) -> Network:
        """Return the network that a configuration builds; its own resolution wins."""
        return super().realise(config, int(config.get("resolution", resolution)), classes)

    def valid(self, config: Mapping[str, Any]) -> bool:
        """Whether the configuration lies in the space, and its training in time and memory."""
        return super().valid(config) and self.feasible(config)

    def feasible(self, config: Mapping[str, Any]) -> bool:
        """Whether an epoch takes seconds to minutes, and the training fits in 80 GB."""
        network = self._built(config)
        costs = _costs(network)
        width_bytes = 2 if config["precision"] == "amp" else 4
        kept = costs.activations * config["batch_size"] * KEPT * width_bytes
        if kept + costs.params * PARAMETER_BYTES > MEMORY_BYTES:
            return False
        shortest, longest = EPOCH_S
        return shortest <= IMAGES * max(_nominal_s(network, config)) <= longest

    def sample(
        self,
        n: int,
        seed: int,
        recipe: Mapping[str, Value | list[Value]] | None = None,
        pilot: Pilot | None = None,
    ) -> list[Config]:
        """Draw feasible configurations, evenly over networks, or over power.

        Args:
            n: How many.
            seed: Equal seeds give equal draws, and longer ones begin with the shorter ones.
            recipe: As of `GridSpace.sample`.
            pilot: What trainings drew: then the draw is even over the power that they promise.
                Without it, networks are drawn evenly.

        Raises:
            WattproofError: More are asked for than there are candidates; the recipe names what the
                space lacks; the pilot is too small.
        """
        axes = self._recipes(recipe or {})
        pool = self._pool(seed, tuple(axes.items()))
        if n > len(pool):
            raise WattproofError(
                f"{n} configurations were asked for, but draws from space '{self.name}' choose "
                f"from {len(pool)}; ask for fewer."
            )
        if n < 0:
            raise WattproofError(f"Cannot draw {n} configurations; ask for 0 or more.")
        if pilot is None:
            return [dict(config) for config in pool[:n]]
        predicted = pilot.predict([self.features(config) for config in pool])
        keys = [self._built(config).key for config in pool]
        return [dict(pool[i]) for i in stratified(predicted, keys, n)]

    def features(self, config: Mapping[str, Any]) -> list[float]:
        """What a power predictor may know of a configuration before it runs.

        Shares of the step that operations, bytes … would take by nominal rates, and logarithms of
        sizes: the pilot runs say what these are worth in watts.
        """
        network = self._built(config)
        costs, batch = _costs(network), int(config["batch_size"])
        parts = _nominal_s(network, config)
        longest = max(parts)
        return [
            *(part / longest for part in parts),
            math.log(costs.macs * batch),
            math.log(costs.activations * batch),
            math.log(max(network.widths)),
            math.log(longest * batch),
        ]

    @lru_cache(maxsize=4)  # noqa: B019 (there is one such space in a process)
    def _pool(
        self, seed: int, trainings: tuple[tuple[str, tuple[Value, ...]], ...]
    ) -> list[Config]:
        """Draw distinct feasible candidates: each round brings each network once."""
        import numpy as np

        rng = np.random.default_rng(seed)
        axes = dict(trainings)
        keys = list(self.networks)
        found: list[Config] = []
        seen: set[tuple[Any, ...]] = set()
        barren = 0
        while len(found) < POOL and barren < BARREN:
            before = len(found)
            for index in rng.permutation(len(keys)):
                points = self.networks[keys[index]]
                point = points[int(rng.integers(len(points)))]
                config = {**point, **_drawn(axes, rng)}
                mark = (keys[index], *(config[key] for key in axes))
                if mark not in seen and self.feasible(config):
                    seen.add(mark)
                    found.append(config)
            barren = 0 if len(found) > before else barren + 1
        return found[:POOL]


BARREN = 5
"""So many rounds without anything new: the space with this recipe is exhausted."""


def _drawn(axes: Axes, rng: np.random.Generator) -> Config:
    return {key: values[int(rng.integers(len(values)))] for key, values in axes.items()}


@cache
def _costs(network: Network) -> Complexity:
    return network.complexity()


@cache
def _network(
    widths: tuple[int, ...], depths: tuple[int, ...], group_width: int, classes: int, side: int
) -> Network:
    return Network(
        stem_width=STEM_WIDTHS.get(widths[0], WIDEST_STEM),
        widths=widths,
        depths=depths,
        group_width=min(group_width, widths[-1]),
        classes=classes,
        resolution=side,
    )


def _nominal_s(network: Network, config: Mapping[str, Any]) -> tuple[float, ...]:
    """Return what an image costs in seconds, roughly, if only this counted.

    Operations, bytes, grouped convolutions, launches, loaders.
    """
    costs = _costs(network)
    single = config["precision"] == "fp32"
    kernels = BLOCK_KERNELS * sum(network.depths) + OTHER_KERNELS
    grouped = network.group_width < max(network.widths)
    return (
        6 * costs.macs / OPERATIONS_HZ[config["precision"]],
        costs.activations * BYTES_MOVED * (1 + single) / BYTES_HZ,
        costs.activations / 3 * GROUPED_OPERATIONS / GROUPED_HZ if grouped else 0.0,
        kernels * LAUNCH_S / config["batch_size"],
        network.resolution**2 / PIXELS_HZ if config["feed"] == "loader" else 0.0,
    )
