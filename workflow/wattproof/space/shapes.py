"""What a configuration builds and costs, in arithmetic that holds for numbers and arrays alike.

`regnet.generate` and `Network.complexity` say what is true, one network at a time through lists
and objects. Here the same integers come from closed forms: one configuration in a few
microseconds, ten thousand in a few milliseconds. Where rounding is within a hair of a tie, the
shape says so (`Shape.tie`) and `realise` must be asked; `quick` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from wattproof.space.regnet import QUANTUM, STAGE_STRIDE, output_side

Number = Any
"""An int or float, or an array of n of them: every formula here takes both."""

TIE = 1e-6
"""Level changes so near to a block's index (in blocks) are left to `realise`. Floating point is
wrong by 1e-13 of a block; a wider net costs next to nothing."""


@dataclass(slots=True)
class Shape:
    """Networks of one to three stages, before anything is built.

    Attributes:
        stem: Channels of the stem.
        widths: Channels of each stage, after the group rule.
        depths: Blocks of each stage; 0 = the network has no such stage.
        group: Wanted channels of a convolution group.
        valid: Whether it is an allowed network; the other numbers mean nothing where it is not.
        tie: Whether rounding is too near to a tie to tell.
    """

    stem: Number
    widths: tuple[Number, ...]
    depths: tuple[Number, ...]
    group: Number
    valid: Number
    tie: Number


def two_stage(
    stem: int, depth: Number, w_0: Number, w_a: Number, w_m: Number, group: Number
) -> Shape:
    """Realise RegNet parameters whose network must have exactly two stages.

    Level j of block j is round(log(u_j / w_0) / log(w_m)) with u_j = w_0 + w_a·j: it is 0 up to
    u = w_0·w_m^½ and 1 below w_0·w_m^1½. Solved for j, these are two divisions.

    Args:
        stem: Channels of the stem.
        depth: Blocks of both stages together.
        w_0: First width, in channels; a multiple of 8.
        w_a: Slope of the widths, in channels per block; more than 0.
        w_m: Ratio of the widths; more than 1.
        group: Wanted channels of a convolution group.
    """
    root = w_m**0.5
    zero_until = w_0 * (root - 1.0) / w_a
    one_until = w_0 * (root * w_m - 1.0) / w_a
    first = _whole(zero_until // 1) + 1
    last = depth - 1
    compatible = _compatible if isinstance(w_0, np.ndarray) else _compatible_again
    second = QUANTUM * _whole(_nearest(w_0 * w_m / QUANTUM))
    return Shape(
        stem=stem,
        widths=(compatible(w_0, group), compatible(second, group)),
        depths=(first, depth - first),
        group=group,
        valid=(first <= last) & (one_until > last) & (second != w_0),
        tie=(abs(zero_until - _nearest(zero_until)) < TIE)
        | (abs(one_until - _nearest(one_until)) < TIE),
    )


def costs(shape: Shape, resolution: Number, classes: int) -> tuple[Number, Number, Number]:
    """Return multiply-accumulates, parameters and activations, as `Network.complexity` does.

    Args:
        shape: Networks.
        resolution: Height and width of the images, in pixels.
        classes: Number of classes.
    """
    w_in, side = shape.stem, resolution
    area = side * side
    macs, params, activations = 27 * w_in * area, 29 * w_in, w_in * area
    many = isinstance(shape.depths[0], np.ndarray)
    blocks = _blocks if many else _blocks_again
    for width, depth in zip(shape.widths, shape.depths, strict=True):
        if not many and depth <= 0:
            continue
        first, further = blocks(w_in, width, shape.group, side)
        there, more = depth > 0, depth - 1
        macs = macs + there * (first[0] + more * further[0])
        params = params + there * (first[1] + more * further[1])
        activations = activations + there * (first[2] + more * further[2])
        w_in = w_in + there * (width - w_in)
        side = output_side(side, STAGE_STRIDE)
    linear = (w_in + 1) * classes
    return macs + linear, params + linear, activations + classes


def network_of_one(
    stem: int, point: tuple[Any, ...], resolution: int, classes: int
) -> tuple[str, int, int, int] | None:
    """As `two_stage` and `costs`, of one grid point (depth, w_0, w_a, w_m, group), in one go.

    Calls among small functions cost a single query more than their arithmetic does.

    Returns:
        Key, multiply-accumulates, parameters, activations; None where `realise` must be asked.
    """
    depth, w_0, w_a, w_m, group = point
    root = w_m**0.5
    zero_until = w_0 * (root - 1.0) / w_a
    one_until = w_0 * (root * w_m - 1.0) / w_a
    if abs(zero_until - round(zero_until)) < TIE or abs(one_until - round(one_until)) < TIE:
        return None
    first = int(zero_until) + 1
    rest = depth - first
    second = QUANTUM * round(w_0 * w_m / QUANTUM)
    if rest < 1 or one_until <= depth - 1 or second == w_0:
        return None
    one, two = _compatible_again(w_0, group), _compatible_again(second, group)
    side = output_side(resolution, STAGE_STRIDE)
    a, b = _blocks_again(stem, one, group, resolution)
    c, d = _blocks_again(one, two, group, side)
    more, still = first - 1, rest - 1
    widest = two if two > one else one
    linear, area = (two + 1) * classes, stem * resolution * resolution
    return (
        f"regnet-s{stem}-w{one}x{two}-d{first}x{rest}-g{group if group < widest else widest}",
        27 * area + a[0] + more * b[0] + c[0] + still * d[0] + linear,
        29 * stem + a[1] + more * b[1] + c[1] + still * d[1] + linear,
        area + a[2] + more * b[2] + c[2] + still * d[2] + classes,
    )


Costs = tuple[Number, Number, Number]


def _blocks(w_in: Number, width: Number, group: Number, side: Number) -> tuple[Costs, Costs]:
    """Costs of the first block of a stage, and of each further one."""
    side_out = output_side(side, STAGE_STRIDE)
    area, area_out = side * side, side_out * side_out
    # The first one halves the image and projects the shortcut.
    squeezed, mixed = _squeezed(w_in), w_in * width
    gate = 2 * width * squeezed + squeezed + width
    inner = width * (9 * _smaller(group, width) + width)
    first = (
        mixed * (area + area_out) + inner * area_out + gate,
        2 * mixed + inner + gate + 8 * width,
        width * (area + 3 * area_out) + squeezed + width,
    )
    squeezed = _squeezed(width)
    gate = 2 * width * squeezed + squeezed + width
    inner = inner + width * width
    further = (
        inner * area_out + gate,
        inner + gate + 6 * width,
        3 * width * area_out + squeezed + width,
    )
    return first, further


_blocks_again = lru_cache(maxsize=65_536)(_blocks)
"""Single configurations of a space share few blocks."""


def largest_group(shape: Shape) -> Number:
    """Channels of the largest convolution group that occurs: what the network's key tells."""
    widest = shape.widths[0]
    for width, depth in zip(shape.widths[1:], shape.depths[1:], strict=True):
        width_there = width * (depth > 0)
        widest = widest + (width_there > widest) * (width_there - widest)
    return _smaller(shape.group, widest)


def looked_up(table: Mapping[int, int], value: Number, otherwise: int) -> Number:
    """Look numbers up in a small table."""
    if not isinstance(value, np.ndarray):
        return table.get(value, otherwise)
    keys = list(table)
    return np.select([value == key for key in keys], [table[key] for key in keys], otherwise)


def _compatible(width: Number, group_width: Number) -> Number:
    """`regnet.compatible_width`: to the nearest multiple of the group, ties to even."""
    group = _smaller(group_width, width)
    times = width // group
    rest = width - times * group
    return group * (times + (2 * rest + (times & 1) > group))


_compatible_again = lru_cache(maxsize=65_536)(_compatible)


def _squeezed(width: Number) -> Number:
    """Channels inside squeeze-and-excitation: a quarter of the width, ties to even."""
    times = width // 4
    return times + (width - 4 * times + (times & 1) > 2)


def _nearest(value: Number) -> Number:
    """Round floats, ties to even."""
    return np.rint(value) if isinstance(value, np.ndarray) else round(value)


def _whole(value: Number) -> Number:
    return value.astype(np.int64) if isinstance(value, np.ndarray) else int(value)


def _smaller(one: Number, other: Number) -> Number:
    return one + (other < one) * (other - one)
