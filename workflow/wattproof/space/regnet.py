"""RegNet: from five design parameters to the network that is really built, and its exact costs.

Rules: Radosavovic et al., "Designing Network Design Spaces" (CVPR 2020), as realised by pycls and
EA-HAS-Bench (facts page ``ea_has_bench.md``, section 2). Rounding is to nearest, ties to even,
throughout: that is what Python's `round` and NumPy do. Pure Python: neither torch nor NumPy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby

from wattproof.errors import WattproofError

QUANTUM = 8
"""Stage widths are multiples of this before the group rule (q in the paper)."""

STAGE_STRIDE = 2
"""Each stage halves the resolution in its first block; the stem keeps it."""

DEFAULT_SE_RATIO = 0.25


@dataclass(frozen=True, slots=True)
class Stages:
    """What the design parameters come to.

    Attributes:
        quantised: Width of each stage before the group rule (step 4), in channels.
        widths: Width of each stage that is really built (step 6), in channels.
        depths: Blocks of each stage.
        group_width: Channels of a convolution group: the largest that occurs. A stage narrower
            than it has groups of its own width.
        valid: True if no level was skipped and no two levels merged (step 5).
    """

    quantised: tuple[int, ...]
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    group_width: int
    valid: bool


@dataclass(frozen=True, slots=True)
class Complexity:
    """Costs of one forward pass of one image.

    Attributes:
        macs: Multiply-accumulates (pycls calls them flops).
        params: Parameters.
        activations: Outputs of all convolutions and of the linear layer.
    """

    macs: int
    params: int
    activations: int

    def __add__(self, other: Complexity) -> Complexity:
        return Complexity(
            self.macs + other.macs,
            self.params + other.params,
            self.activations + other.activations,
        )

    def __mul__(self, times: int) -> Complexity:
        return Complexity(self.macs * times, self.params * times, self.activations * times)


@dataclass(frozen=True, slots=True)
class BlockShape:
    """One residual bottleneck block (bottleneck multiplier 1).

    Attributes:
        w_in: Channels that come in.
        width: Channels inside and out.
        stride: Of the 3×3 convolution and of the shortcut.
        group_width: Channels of a group of the 3×3 convolution.
        se_width: Channels inside squeeze-and-excitation: round(ratio · `w_in`).
        side_in: Height and width of what comes in, in pixels.
    """

    w_in: int
    width: int
    stride: int
    group_width: int
    se_width: int
    side_in: int

    @property
    def projects(self) -> bool:
        """Whether the shortcut is a convolution rather than the identity."""
        return self.w_in != self.width or self.stride != 1

    @property
    def groups(self) -> int:
        """Groups of the 3×3 convolution."""
        return self.width // self.group_width


@dataclass(frozen=True, slots=True)
class Network:
    """A RegNet as it is really built: `stem_width`, then stages of `depths` × `widths`.

    Attributes:
        stem_width: Channels of the stem (3×3, stride 1).
        widths: Channels of each stage, after the group rule.
        depths: Blocks of each stage.
        group_width: Channels of a convolution group; narrower stages have one group.
        classes: Outputs of the head.
        resolution: Height and width of the input image, in pixels; 3 channels.
        se_ratio: Width of squeeze-and-excitation over the block's input width.
    """

    stem_width: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    group_width: int
    classes: int
    resolution: int
    se_ratio: float = DEFAULT_SE_RATIO

    def __post_init__(self) -> None:
        sizes = (self.stem_width, self.group_width, self.classes, self.resolution)
        if not self.widths or len(self.widths) != len(self.depths):
            raise WattproofError(
                f"A network needs as many stage depths as widths, but widths are {self.widths} "
                f"and depths {self.depths}; give one depth for each width."
            )
        if min(*sizes, *self.widths, *self.depths) < 1:
            raise WattproofError(
                f"All sizes of a network must be at least 1, but they are {self}; raise them."
            )
        for width in self.widths:
            if width % min(self.group_width, width):
                raise WattproofError(
                    f"Stage width {width} is not a multiple of group width {self.group_width}; "
                    "build the network from its parameters with wattproof.space.regnet.generate."
                )
        if round(self.se_ratio * min(self.stem_width, *self.widths)) < 1:
            raise WattproofError(
                f"Squeeze-and-excitation with ratio {self.se_ratio} has no channels left in the "
                f"narrowest of stem {self.stem_width} and stages {self.widths}; widen it."
            )

    @property
    def key(self) -> str:
        """Canonical name of the architecture: equal if and only if the same thing is built.

        Resolution and classes belong to the data set and are not part of it.
        """
        group = min(self.group_width, max(self.widths))
        key = network_key(self.stem_width, self.widths, self.depths, group)
        return key if self.se_ratio == DEFAULT_SE_RATIO else f"{key}-se{self.se_ratio:g}"

    def blocks(self) -> tuple[tuple[BlockShape, ...], ...]:
        """Shapes of all blocks, stage by stage."""
        stages = []
        w_in, side = self.stem_width, self.resolution
        for width, depth in zip(self.widths, self.depths, strict=True):
            blocks = []
            for index in range(depth):
                stride = STAGE_STRIDE if index == 0 else 1
                blocks.append(self._block(w_in, width, stride, side))
                w_in, side = width, output_side(side, stride)
            stages.append(tuple(blocks))
        return tuple(stages)

    def _block(self, w_in: int, width: int, stride: int, side_in: int) -> BlockShape:
        return BlockShape(
            w_in=w_in,
            width=width,
            stride=stride,
            group_width=min(self.group_width, width),
            se_width=round(self.se_ratio * w_in),
            side_in=side_in,
        )

    def complexity(self) -> Complexity:
        """Exact multiply-accumulates, parameters and activations of one image's forward pass."""
        total = conv_cost(3, 3, self.stem_width, self.resolution) + _norm_cost(self.stem_width)
        w_in, side = self.stem_width, self.resolution
        for width, depth in zip(self.widths, self.depths, strict=True):
            first = self._block(w_in, width, STAGE_STRIDE, side)
            side = output_side(side, STAGE_STRIDE)
            total += _block_cost(first)
            if depth > 1:
                # All further blocks of a stage are alike.
                total += _block_cost(self._block(width, width, 1, side)) * (depth - 1)
            w_in = width
        width = self.widths[-1]
        linear = (width + 1) * self.classes
        return total + Complexity(linear, linear, self.classes)


def network_key(
    stem_width: int, widths: tuple[int, ...], depths: tuple[int, ...], group_width: int
) -> str:
    """Canonical name of a network; `group_width` is the largest group that occurs in it."""
    return key_format(len(widths)) % (stem_width, *widths, *depths, group_width)


@cache
def key_format(stages: int) -> str:
    """Format of a network's name: stem, widths, depths, and group go into it."""
    numbers = "x".join(["%d"] * stages)
    return f"regnet-s%d-w{numbers}-d{numbers}-g%d"


def output_side(side: int, stride: int) -> int:
    """Side of a convolution's output in pixels, with "same" padding."""
    return (side - 1) // stride + 1


def conv_cost(
    kernel: int, c_in: int, c_out: int, side_out: int, groups: int = 1, bias: bool = False
) -> Complexity:
    """Cost of a square convolution by the conventions of pycls.

    Args:
        kernel: Side of the kernel in pixels.
        c_in: Input channels.
        c_out: Output channels.
        side_out: Height and width of the output in pixels.
        groups: Groups of channels.
        bias: Whether each output channel has a bias (counted as one MAC per output, too).
    """
    area = side_out * side_out
    weights = kernel * kernel * c_in * c_out
    extra = c_out if bias else 0
    return Complexity(
        macs=weights * area // groups + extra * area,
        params=weights // groups + extra,
        activations=c_out * area,
    )


def _norm_cost(channels: int) -> Complexity:
    return Complexity(0, 2 * channels, 0)


@lru_cache(maxsize=65_536)
def _block_cost(block: BlockShape) -> Complexity:
    side_out = output_side(block.side_in, block.stride)
    w_in, width = block.w_in, block.width
    # The first 1×1 runs at the incoming resolution: the stride sits on the 3×3.
    total = conv_cost(1, w_in, width, block.side_in) + _norm_cost(width)
    total += conv_cost(3, width, width, side_out, groups=block.groups) + _norm_cost(width)
    total += conv_cost(1, width, block.se_width, 1, bias=True)
    total += conv_cost(1, block.se_width, width, 1, bias=True)
    total += conv_cost(1, width, width, side_out) + _norm_cost(width)
    if block.projects:
        total += conv_cost(1, w_in, width, side_out) + _norm_cost(width)
    return total


def generate(w_a: float, w_0: int, w_m: float, depth: int, group_width: int) -> Stages:
    """Turn RegNet's design parameters into stages (steps 1 to 6; bottleneck multiplier 1).

    Args:
        w_a: Slope of the linear widths, in channels per block; at least 0.
        w_0: First width, in channels; a positive multiple of 8.
        w_m: Ratio of neighbouring widths; more than 1.
        depth: Blocks in all stages together; at least 1.
        group_width: Wanted channels of a convolution group; at least 1.

    Returns:
        The stages; look at `Stages.valid` before building them.

    Raises:
        WattproofError: A parameter is out of range.

    Example:
        >>> generate(w_a=20.0, w_0=64, w_m=2.7, depth=10, group_width=24).widths
        (72, 168)
    """
    if w_0 <= 0 or w_0 % QUANTUM or w_a < 0 or w_m <= 1 or depth < 1 or group_width < 1:
        raise WattproofError(
            f"RegNet parameters w_a={w_a}, w_0={w_0}, w_m={w_m}, depth={depth}, "
            f"group_width={group_width} are out of range; w_0 must be a positive multiple of "
            f"{QUANTUM}, w_a at least 0, w_m more than 1, depth and group_width at least 1."
        )
    linear = [w_0 + w_a * j for j in range(depth)]
    levels = [round(math.log(u / w_0) / math.log(w_m)) for u in linear]
    blocks = [QUANTUM * round(w_0 * w_m**level / QUANTUM) for level in levels]
    # Widths never fall from block to block, so neighbours with equal widths are all equal ones.
    runs = [(width, len(list(same))) for width, same in groupby(blocks)]
    quantised = tuple(width for width, _ in runs)
    widths = tuple(compatible_width(width, group_width) for width in quantised)
    return Stages(
        quantised=quantised,
        widths=widths,
        depths=tuple(count for _, count in runs),
        group_width=min(group_width, max(quantised)),
        valid=len(quantised) == max(levels) + 1,
    )


def compatible_width(width: int, group_width: int) -> int:
    """Round a stage width to a multiple of its group width (step 6, ties to even)."""
    group = min(group_width, width)
    return max(group, group * round(width / group))
