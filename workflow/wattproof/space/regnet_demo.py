"""Space "regnet_demo": small two-stage RegNets that a CPU thread trains in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from wattproof.space import shapes
from wattproof.space.base import Axes, GridSpace
from wattproof.space.regnet import Network, generate

STEM_WIDTH = 8
STAGES = 2


class RegNetDemo(GridSpace):
    """Two-stage RegNets with stem width 8, and the recipe they are trained by."""

    name = "regnet_demo"
    architecture: ClassVar[Axes] = {
        "depth": (2, 3, 4, 5),
        "w_0": (16, 24, 32),
        # Decimals as integer/10, so that 1.7 is the float that a user types.
        "w_a": tuple(2.0 * i for i in range(1, 13)),
        "w_m": tuple(i / 10 for i in range(15, 31)),
        "group_width": (1, 2, 4, 8),
    }
    training: ClassVar[Axes] = {
        "lr": (0.001, 0.003, 0.01, 0.03, 0.1),
        "optimizer": ("sgd", "adam", "adamw"),
        "policy": ("cos", "lin", "exp"),
        "cutout": (0, 8),
        "batch_size": (16, 32, 64, 128),
        "epochs": (4, 6),
    }

    def build(self, config: Mapping[str, Any], resolution: int, classes: int) -> Network | None:
        """Build the network of a grid point; None unless it has exactly two stages."""
        stages = generate(
            w_a=config["w_a"],
            w_0=config["w_0"],
            w_m=config["w_m"],
            depth=config["depth"],
            group_width=config["group_width"],
        )
        if not stages.valid or len(stages.widths) != STAGES:
            return None
        return Network(
            stem_width=STEM_WIDTH,
            widths=stages.widths,
            depths=stages.depths,
            group_width=stages.group_width,
            classes=classes,
            resolution=resolution,
        )

    def network_of_one(
        self, point: tuple[Any, ...], resolution: int, classes: int
    ) -> tuple[str, int, int, int] | None:
        """Return key and costs of a grid point, or None where `realise` must be asked."""
        return shapes.network_of_one(STEM_WIDTH, point, resolution, classes)

    def shape(self, values: Mapping[str, Any]) -> shapes.Shape:
        """Return what values of the grid build, numbers or arrays; see `quick.Realiser`."""
        depth, w_0, w_a, w_m, group = (values[key] for key in self.architecture)
        return shapes.two_stage(STEM_WIDTH, depth, w_0, w_a, w_m, group)
