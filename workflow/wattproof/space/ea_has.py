"""Spaces "ea_has_cifar10" and "ea_has_tinyimagenet": EA-HAS-Bench as its sweep files define it.

Facts page ``ea_has_bench.md``, sections 1 to 3. The two sweeps differ in the range of w_m, the
stem, the classes, and in a filter on complexity that only the CIFAR-10 file has. Most grid points
build the same networks (278,540,570 build 38,516), so they are enumerated by what they realise:
level j of a two-stage RegNet is 0 or 1, and rises with j.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from wattproof.space import shapes
from wattproof.space.base import REFERENCE_RESOLUTION, Axes, Config, GridSpace
from wattproof.space.regnet import QUANTUM, Network, compatible_width, generate

STAGES = 2

TIE = 1e-9
"""Levels so near to a tie of the rounding are decided by `generate`."""

DEPTHS = tuple(range(6, 16))
W_0 = tuple(range(48, 129, 8))
# Decimals as integers over ten or a thousand: these are the floats that a user types.
W_A = tuple(i / 10 for i in range(80, 321))
GROUP_WIDTHS = (1, 2, 4, 8, 16, 24, 32)

TRAINING: Axes = {
    "lr": (0.001, 0.003, 0.005, 0.01, 0.03, 0.05, 0.1, 0.3, 0.5, 1.0),
    "optimizer": ("sgd", "adam", "adamw"),
    "policy": ("cos", "exp", "lin"),
    "cutout": (0, 16),
    "batch_size": (1024,),
    "epochs": (50, 100, 200),
}
"""Section 1.1, and the batch of section 6: 540 combinations."""


class EaHas(GridSpace):
    """Two-stage RegNets with squeeze-and-excitation, by their five design parameters.

    Attributes:
        stem_width: Channels of the stem.
        classes: Of the data set that the filter is told for.
        filtered: Whether networks outside the complexity filter are left out.
    """

    stem_width: ClassVar[int]
    classes: ClassVar[int]
    filtered: ClassVar[bool] = False
    training: ClassVar[Axes] = TRAINING

    def allowed(self, network: Network) -> bool:
        """Whether a network passes the sweep's complexity filter (told for 32×32 images)."""
        if not self.filtered:
            return True
        costs = network.complexity()
        return bool(_passes(costs.macs, costs.params, costs.activations))

    def build(self, config: Mapping[str, Any], resolution: int, classes: int) -> Network | None:
        """Build the network of a grid point; None unless the sweep would have trained it."""
        stages = generate(
            w_a=config["w_a"],
            w_0=config["w_0"],
            w_m=config["w_m"],
            depth=config["depth"],
            group_width=config["group_width"],
        )
        if not stages.valid or len(stages.quantised) != STAGES:
            return None
        reference = self._network(stages.widths, stages.depths, config["group_width"])
        if not self.allowed(reference):
            return None
        return self._network(
            stages.widths, stages.depths, config["group_width"], resolution, classes
        )

    def network_of_one(
        self, point: tuple[Any, ...], resolution: int, classes: int
    ) -> tuple[str, int, int, int] | None:
        """Return key and costs of a grid point, or None where `realise` must be asked."""
        if self.filtered:
            return None
        return shapes.network_of_one(self.stem_width, point, resolution, classes)

    def shape(self, values: Mapping[str, Any]) -> shapes.Shape:
        """Return what values of the grid build, numbers or arrays; see `quick.Realiser`."""
        depth, w_0, w_a, w_m, group = (values[key] for key in self.architecture)
        found = shapes.two_stage(self.stem_width, depth, w_0, w_a, w_m, group)
        if self.filtered:
            costs = shapes.costs(found, REFERENCE_RESOLUTION, self.classes)
            found.valid = found.valid & _passes(*costs)
        return found

    def _network(
        self,
        widths: tuple[int, ...],
        depths: tuple[int, ...],
        group_width: int,
        resolution: int = REFERENCE_RESOLUTION,
        classes: int | None = None,
    ) -> Network:
        return Network(
            stem_width=self.stem_width,
            widths=widths,
            depths=depths,
            group_width=group_width,
            classes=self.classes if classes is None else classes,
            resolution=resolution,
        )

    @cached_property
    def networks(self) -> dict[str, tuple[Config, ...]]:
        """All distinct realised networks by key, each with one grid point that builds it."""
        found: dict[str, Config] = {}
        seen: set[tuple[int, ...]] = set()
        for (w_0, w_2, first, second), (w_a, w_m, _) in self._two_stage.items():
            for group in GROUP_WIDTHS:
                widths = compatible_width(w_0, group), compatible_width(w_2, group)
                realised = (*widths, first, second, group)
                if realised in seen:
                    continue
                seen.add(realised)
                network = self._network(widths, (first, second), group)
                if network.key not in found and self.allowed(network):
                    found[network.key] = {
                        "depth": first + second,
                        "w_0": w_0,
                        "w_a": w_a,
                        "w_m": w_m,
                        "group_width": group,
                    }
        return {key: (found[key],) for key in sorted(found)}

    @cached_property
    def _two_stage(self) -> dict[tuple[int, int, int, int], tuple[float, float, int]]:
        """What is realised before the group rule → a grid point (w_a, w_m), and how many there are.

        Of ``(w_0, second width, first depth, second depth)``. Where the logarithms leave a tie of
        the rounding to the last digit, `generate` itself is asked.
        """
        w_m, w_a = (np.array(self.architecture[key], dtype=np.float64) for key in ("w_m", "w_a"))
        last = max(DEPTHS)
        found: dict[tuple[int, int, int, int], tuple[float, float, int]] = {}
        base = np.log(w_m)
        for w_0 in W_0:
            second = QUANTUM * np.rint(w_0 * w_m / QUANTUM).astype(np.int64)
            ratio = np.log((w_0 + w_a[:, None] * np.arange(last)) / w_0)
            # Level 0 up to half of the base, level 1 up to one and a half; both rise with j.
            zeros = np.zeros((len(w_a), len(w_m)), dtype=np.int64)
            ones, near = zeros.copy(), np.zeros(zeros.shape, dtype=bool)
            for j in range(last):
                share = ratio[:, j, None] / base
                zeros += share <= 0.5
                ones += share < 1.5
                near |= (np.abs(share - 0.5) < TIE) | (np.abs(share - 1.5) < TIE)
            usable = (second != w_0) & ~near
            for depth in DEPTHS:
                row, column = np.nonzero((zeros < depth) & (ones >= depth) & usable)
                codes = second[column] * 100 + zeros[row, column]
                size = int(codes.max(initial=0)) + 1
                count = np.bincount(codes, minlength=size)
                at = np.zeros(size, dtype=np.int64)
                at[codes[::-1]] = np.arange(len(codes))[::-1]
                for code in np.flatnonzero(count).tolist():
                    width, first = divmod(code, 100)
                    point = float(w_a[row[at[code]]]), float(w_m[column[at[code]]])
                    found[w_0, width, first, depth - first] = (*point, int(count[code]))
            for row_, column_ in np.argwhere(near).tolist():
                self._ask(found, w_0, float(w_a[row_]), float(w_m[column_]))
        return found

    @staticmethod
    def _ask(
        found: dict[tuple[int, int, int, int], tuple[float, float, int]],
        w_0: int,
        w_a: float,
        w_m: float,
    ) -> None:
        """Add a grid point at a tie, for every depth, as `generate` realises it."""
        for depth in DEPTHS:
            stages = generate(w_a, w_0, w_m, depth, 1)
            if stages.valid and len(stages.quantised) == STAGES:
                key = (w_0, stages.quantised[1], stages.depths[0], stages.depths[1])
                point = found.get(key, (w_a, w_m, 0))
                found[key] = (point[0], point[1], point[2] + 1)

    def points(self) -> int:
        """Number of grid points that build an allowed network."""
        total = 0
        for (w_0, w_2, first, second), (_, _, count) in self._two_stage.items():
            for group in GROUP_WIDTHS:
                widths = compatible_width(w_0, group), compatible_width(w_2, group)
                total += count * self.allowed(self._network(widths, (first, second), group))
        return total


def _passes(macs: Any, params: Any, activations: Any) -> Any:
    """Whether costs (numbers or arrays) pass the filter of the CIFAR-10 sweep."""
    light = (params <= 2_000_000) & (activations <= 1_000_000)
    return light & (macs >= 120_000_000) & (macs <= 130_000_000)


class EaHasCifar10(EaHas):
    """Sweep ``cifar/mb_v0.4``: 334 networks of 120 to 130 million multiply-accumulates."""

    name = "ea_has_cifar10"
    stem_width = 16
    classes = 10
    filtered = True
    architecture: ClassVar[Axes] = {
        "depth": DEPTHS,
        "w_0": W_0,
        "w_a": W_A,
        "w_m": tuple(i / 1000 for i in range(2500, 3001)),
        "group_width": GROUP_WIDTHS,
    }


class EaHasTinyImageNet(EaHas):
    """Sweep ``tinyimagenet/mb_v0.1``: 38,516 networks, without a complexity filter."""

    name = "ea_has_tinyimagenet"
    stem_width = 32
    classes = 200
    architecture: ClassVar[Axes] = {
        "depth": DEPTHS,
        "w_0": W_0,
        "w_a": W_A,
        "w_m": tuple(i / 1000 for i in range(1500, 3001)),
        "group_width": GROUP_WIDTHS,
    }
