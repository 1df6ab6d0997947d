"""What a training step asks of a GPU, kernel by kernel, against the device's limits.

A kernel takes as long as its arithmetic or its bytes need, whichever is longer (the roofline), and
never less than a floor; kernels follow each other no faster than the host launches them. Shapes
come from `space.regnet`; nothing here is fitted to any space but the two constants that say so.

Kernels of PyTorch's eager mode, as counted here (element: of a convolution's output, one image):

=========================== ================================ ==================================
layer                       forward                          backward
=========================== ================================ ==================================
convolution                 1 kernel, input + output         2 kernels (data, weights), the same
batch norm                  1, 3 elements (read 2x, write)   1, 5 elements
ReLU in place               1, 2 elements                    1, 3 elements
squeeze-and-excitation      6 (pool, 2 tiny, 2, multiply),   9, 7 elements
                            3 elements
sum of the two branches     1, 3 elements                    none (gradient is shared)
optimizer, casts            --                               12 + 1 a layer, 24 bytes a parameter
=========================== ================================ ==================================

Sources of the limits are beside the presets (`virtual.presets`). Assumed: everything in the table,
tiles of 128 x 64 outputs, `SUSTAINED`, `BANDWIDTH`, `FLOOR_S`. Fitted: `GROUPED` (durations).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from wattproof.errors import WattproofError, did_you_mean
from wattproof.space.regnet import BlockShape, Network, output_side
from wattproof.virtual.presets import GpuParameters

PRECISIONS = {"fp32": 4, "amp": 2}
"""Bytes of an activation. Convolutions of ``fp32`` are TF32 on tensor cores: PyTorch's default."""

SUSTAINED = 0.65
"""Share of the data sheet's dense peak that large products sustain at the power limit: boards of
700 W run cuBLAS at 600 to 680 of 989 TFLOP/s, because they throttle. So a kernel at this rate
draws the limit, by definition."""

BANDWIDTH = 0.9
"""Share of the data sheet's bandwidth that streaming kernels reach."""

TILE_ROWS, TILE_COLUMNS, TILE_DEPTH = 128, 64, 32
"""Products are cut into tiles; a tile that is filled in part takes as long as a full one."""

GROUPED = 0.475
"""FITTED (mean epoch of the paper): share of the ordinary cores' peak at which grouped convolutions
run, beside the tiles that their few channels a group leave empty. Known to be slow in cuDNN."""

FLOOR_S = 2e-6
"""No kernel is shorter."""

OPTIMIZER_BYTES, OPTIMIZER_KERNELS = 24, 12


@dataclass(frozen=True, slots=True)
class GpuStep:
    """What one step costs the GPU, all in seconds.

    Attributes:
        seconds: From its first kernel to its last, gaps between launches included.
        kernels_s: While kernels run.
        arithmetic_s: What its arithmetic would take at the sustained rate.
        bandwidth_s: What its bytes would take at the full bandwidth.
        kernels: How many there are.
    """

    seconds: float
    kernels_s: float
    arithmetic_s: float
    bandwidth_s: float
    kernels: int


@dataclass(frozen=True, slots=True)
class _Conv:
    """A convolution: sides of the products, and elements that it moves for one image."""

    macs: int
    rows: int
    columns: int
    depth: int
    groups: int
    elements: int
    weights: int


@dataclass(frozen=True, slots=True)
class _Pointwise:
    """Kernels that only move data: elements of one image, in how many equal kernels."""

    elements: int
    kernels: int = 1


def _conv(
    kernel: int, c_in: int, c_out: int, side_in: int, side_out: int, groups: int = 1
) -> _Conv:
    depth = kernel * kernel * c_in // groups
    rows = side_out * side_out
    elements = c_in * side_in**2 + c_out * rows
    return _Conv(
        depth * c_out * rows, rows, c_out // groups, depth, groups, elements, depth * c_out
    )


@dataclass(frozen=True, slots=True)
class _Layers:
    """All of a network, with how often each shape occurs."""

    convs: tuple[tuple[_Conv, int], ...]
    forward: tuple[tuple[_Pointwise, int], ...]
    backward: tuple[tuple[_Pointwise, int], ...]
    params: int
    layers: int


@lru_cache(maxsize=4096)
def _layers(network: Network) -> _Layers:
    convs: dict[_Conv, int] = {}
    forward: dict[_Pointwise, int] = {}
    backward: dict[_Pointwise, int] = {}

    def moved(there: int, back: int, element: int, kernels: tuple[int, int] = (1, 1)) -> None:
        for found, share, number in ((forward, there, kernels[0]), (backward, back, kernels[1])):
            if number:
                work = _Pointwise(share * element, number)
                found[work] = found.get(work, 0) + 1

    def normed(conv: _Conv, channels: int, relu: bool) -> None:
        convs[conv] = convs.get(conv, 0) + 1
        element = channels * conv.rows
        moved(3, 5, element)
        if relu:
            moved(2, 3, element)

    def block(shape: BlockShape) -> None:
        width, side_in = shape.width, shape.side_in
        side = output_side(side_in, shape.stride)
        element = width * side * side
        normed(_conv(1, shape.w_in, width, side_in, side_in), width, relu=True)
        normed(_conv(3, width, width, side_in, side, shape.groups), width, relu=True)
        moved(3, 7, element, kernels=(6, 9))
        normed(_conv(1, width, width, side, side), width, relu=False)
        if shape.projects:
            normed(_conv(1, shape.w_in, width, side, side), width, relu=False)
        moved(3, 0, element, kernels=(1, 0))
        moved(2, 3, element)

    side = network.resolution
    normed(_conv(3, 3, network.stem_width, side, side), network.stem_width, relu=True)
    for stage in network.blocks():
        for shape in stage:
            block(shape)
    head = _conv(1, network.widths[-1], network.classes, 1, 1)
    convs[head] = convs.get(head, 0) + 1
    moved(2, 3, network.widths[-1])
    moved(2, 3, network.classes)
    return _Layers(
        tuple(convs.items()),
        tuple(forward.items()),
        tuple(backward.items()),
        network.complexity().params,
        sum(convs.values()),
    )


def rate_hz(gpu: GpuParameters, precision: str) -> float:
    """Floating-point operations a second that large products sustain.

    Raises:
        WattproofError: The precision is unknown.
    """
    if precision not in PRECISIONS:
        raise WattproofError(
            f"Unknown precision '{precision}'.{did_you_mean(precision, PRECISIONS)}"
        )
    return SUSTAINED * (gpu.amp_hz if precision == "amp" else gpu.fp32_hz)


def filled(rows: int, columns: int, depth: int, groups: int, units: int) -> float:
    """Share of tiles and waves that products of these sides fill (0 to 1].

    Args:
        rows: Positions of all images of a step.
        columns: Output channels of a group.
        depth: Terms of a sum: kernel area times input channels of a group.
        groups: Of channels; each is a product of its own.
        units: Streaming multiprocessors; the last wave of tiles fills them in part.
    """
    full = columns / (TILE_COLUMNS * math.ceil(columns / TILE_COLUMNS))
    full *= depth / (TILE_DEPTH * math.ceil(depth / TILE_DEPTH))
    tiles = math.ceil(rows / TILE_ROWS) * math.ceil(columns / TILE_COLUMNS) * groups
    return full * tiles / (units * math.ceil(tiles / units))


def gpu_step(
    network: Network, batch_size: int, gpu: GpuParameters, precision: str, train: bool = True
) -> GpuStep:
    """Return what one step costs a GPU that waits for nothing.

    Args:
        network: With its resolution.
        batch_size: Images of the step on this GPU.
        gpu: Its limits.
        precision: ``fp32`` or ``amp``.
        train: Forward, backward and update; False: forward only.

    Raises:
        WattproofError: The precision is unknown.
    """
    rate, width = rate_hz(gpu, precision), PRECISIONS.get(precision, 4)
    bytes_hz = BANDWIDTH * gpu.memory_hz
    layers = _layers(network)
    total, arithmetic, bandwidth, number = 0.0, 0.0, 0.0, 0
    passes = 3 if train else 1
    for conv, times in layers.convs:
        operations = 2.0 * conv.macs * batch_size
        ideal = operations / rate
        moved = (conv.elements * batch_size + conv.weights) * width / bytes_hz
        share = filled(conv.rows * batch_size, conv.columns, conv.depth, conv.groups, gpu.units)
        reached = GROUPED * gpu.simt_hz if conv.groups > 1 else rate
        total += passes * times * max(operations / (reached * share), moved, FLOOR_S)
        arithmetic += passes * times * ideal
        bandwidth += passes * times * moved
        number += passes * times
    for work, times in _pointwise(layers, train):
        moved = work.elements * batch_size * width / bytes_hz
        total += times * max(moved, work.kernels * FLOOR_S)
        bandwidth += times * moved
        number += times * work.kernels
    if train:
        moved = OPTIMIZER_BYTES * layers.params / bytes_hz
        kernels = OPTIMIZER_KERNELS + layers.layers
        total += max(moved, kernels * FLOOR_S)
        bandwidth += moved
        number += kernels
    return GpuStep(max(total, number * gpu.launch_s), total, arithmetic, bandwidth, number)


def _pointwise(layers: _Layers, train: bool) -> Iterator[tuple[_Pointwise, int]]:
    yield from layers.forward
    if train:
        yield from layers.backward
