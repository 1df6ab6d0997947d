"""What the layers of a cell network cost: arithmetic, memory traffic and kernels, by kind of layer.

A GPU runs a network kernel by kernel, and each kernel is limited by arithmetic, by memory or by
its launch. The three are counted apart, by kind of layer, for one forward pass of one image.
"""

from __future__ import annotations

from collections.abc import Sequence

COSTS = (
    "conv3x3_macs",
    "conv1x1_macs",
    "conv3x3_moved",
    "conv1x1_moved",
    "norm_moved",
    "pool_moved",
    "add_moved",
    "concat_moved",
    "moved",
    "kernels",
    "cell_vertices",
    "cell_edges",
    "cell_conv3x3",
    "cell_conv1x1",
    "cell_maxpool",
    "cell_depth",
    "cell_shortest",
    "cell_skip",
)
"""Costs of a cell network beside `Complexity`. ``…_macs``: multiply-accumulates; ``…_moved``:
numbers that kernels read and write (activations, without weights); ``kernels``: how many there are;
``cell_…``: shape of the cell (vertices and edges, operations of each kind, longest and
shortest way in operations, whether input and output are joined directly)."""

KINDS = ("conv3x3", "conv1x1", "norm", "pool", "add", "concat")


class Tally:
    """Counts of one network, layer by layer.

    Attributes:
        macs: Multiply-accumulates.
        params: Trainable parameters; batch normalisation has two a channel.
        activations: Outputs of all convolutions and of the linear layer.
    """

    def __init__(self) -> None:
        self.macs = self.params = self.activations = self.kernels = 0
        self._macs = dict.fromkeys(KINDS, 0)
        self._moved = dict.fromkeys(KINDS, 0)

    def conv(self, width_in: int, width_out: int, kernel: int, side: int) -> None:
        """A convolution (stride 1, no bias), batch normalisation and ReLU."""
        pixels = side * side
        kind = f"conv{kernel}x{kernel}"
        macs = width_in * width_out * kernel * kernel * pixels
        self.macs += macs
        self._macs[kind] += macs
        self.params += width_in * width_out * kernel * kernel + 2 * width_out
        self.activations += width_out * pixels
        self._move(kind, (width_in + width_out) * pixels)
        self._move("norm", 4 * width_out * pixels)
        self.kernels += 1  # ReLU is a kernel of its own; both read and write once

    def pool(self, width: int, side: int) -> None:
        """A 3×3 maximum at stride 1."""
        self._move("pool", 2 * width * side * side)

    def downsample(self, width: int, side: int) -> None:
        """A 2×2 maximum at stride 2."""
        self._move("pool", width * side * side + width * (side // 2) ** 2)

    def add(self, tensors: int, width: int, side: int) -> None:
        """The sum of so many tensors; one is no sum."""
        if tensors > 1:
            self._move("add", (tensors + 1) * width * side * side)

    def concat(self, tensors: int, width: int, side: int) -> None:
        """So many tensors side by side; `width` is that of the result."""
        if tensors > 1:
            self._move("concat", 2 * width * side * side)

    def head(self, width: int, side: int, classes: int) -> None:
        """Mean over the image and a linear layer with bias."""
        self.macs += width * classes
        self.params += (width + 1) * classes
        self.activations += classes
        self._move("pool", width * side * side + width)

    def _move(self, kind: str, numbers: int) -> None:
        self._moved[kind] += numbers
        self.kernels += 1

    def costs(self) -> tuple[float, ...]:
        """The first ten of `COSTS`."""
        moved = [self._moved[kind] for kind in KINDS]
        return (
            float(self._macs["conv3x3"]),
            float(self._macs["conv1x1"]),
            *map(float, moved),
            float(sum(moved)),
            float(self.kernels),
        )


def structure(edges: Sequence[Sequence[int]], ops: Sequence[str]) -> tuple[float, ...]:
    """The last eight of `COSTS`: the shape of a cell."""
    n = len(ops)
    counts = [float(sum(op.startswith(name) for op in ops)) for name in ("conv3", "conv1", "max")]
    longest, shortest = [0] * n, [0] * n
    for vertex in range(1, n):
        before = [v for v in range(vertex) if edges[v][vertex]]
        own = vertex < n - 1
        longest[vertex] = own + max(longest[v] for v in before)
        shortest[vertex] = own + min(shortest[v] for v in before)
    return (
        float(n),
        float(sum(map(sum, edges))),
        *counts,
        float(longest[-1]),
        float(shortest[-1]),
        float(edges[0][-1]),
    )
