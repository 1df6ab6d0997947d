"""NAS-Bench-101 cells with few vertices: the space of EC-NAS-Bench.

Rules: Ying et al., "NAS-Bench-101" (ICML 2019), as its reference code has them (``model_spec.py``,
``model_builder.py``, ``graph_util.py``): what no path from input to output touches is cut off, two
cells are the same network if their labelled graphs hash alike, and the network is a 3×3 stem and
three stacks of three cells. Pure Python: neither torch nor NumPy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations
from typing import Any, ClassVar

from wattproof.errors import WattproofError
from wattproof.space.base import Axes, GridSpace, Value
from wattproof.space.cell_costs import COSTS, Tally, structure
from wattproof.space.regnet import Complexity

INPUT, OUTPUT = "input", "output"
CONV3X3, CONV1X1, MAXPOOL = "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3"
OPS = (CONV3X3, CONV1X1, MAXPOOL)

MAX_EDGES = 9
"""Cells with more edges are no part of NAS-Bench-101."""

STEM_WIDTH, STACKS, CELLS = 128, 3, 3
"""Channels of the stem; stacks of so many cells, each with twice the channels at half the side."""

Matrix = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: a directed graph from its first vertex (input) to its last one (output).

    Attributes:
        edges: Upper triangular; 1 where data flow from the row's vertex to the column's.
        ops: What each vertex does: ``input``, operations of `OPS`, ``output``.
    """

    edges: Matrix
    ops: tuple[str, ...]

    @classmethod
    def pruned(cls, edges: Sequence[Sequence[int]], ops: Sequence[str]) -> Cell:
        """Return the cell without the vertices that no path from input to output touches.

        Raises:
            WattproofError: The matrix is no upper triangle of 0 and 1, the operations do not fit
                it, or no path leads from input to output.
        """
        _check(edges, ops)
        n = len(ops)
        forward, backward = {0}, {n - 1}
        for vertex in range(n):
            if any(edges[v][vertex] for v in forward if v < vertex):
                forward.add(vertex)
        for vertex in reversed(range(n)):
            if any(edges[vertex][v] for v in backward if v > vertex):
                backward.add(vertex)
        kept = sorted(forward & backward)
        if 0 not in kept or n - 1 not in kept:
            raise WattproofError(
                f"No path leads from input to output of the cell {_text(edges)}; add an edge."
            )
        return cls(
            tuple(tuple(int(edges[v][w]) for w in kept) for v in kept),
            tuple(ops[v] for v in kept),
        )

    @property
    def key(self) -> str:
        """Hash of the labelled graph, the same for every order of its vertices.

        It is NAS-Bench-101's own (MD5, as many rounds as there are vertices), so that it can be
        looked up there.
        """
        return _md5(str(sorted(self._hashes())))

    def _hashes(self) -> list[str]:
        """Hash of each vertex and of what surrounds it."""
        n = len(self.ops)
        labels = [-1, *(OPS.index(op) for op in self.ops[1:-1]), -2]
        into = [[v for v in range(n) if self.edges[v][w]] for w in range(n)]
        out_of = [[w for w in range(n) if self.edges[v][w]] for v in range(n)]
        hashes = [_md5(str((len(out_of[v]), len(into[v]), labels[v]))) for v in range(n)]
        for _ in range(n):
            hashes = [
                _md5(
                    "".join(sorted(hashes[w] for w in into[v]))
                    + "|"
                    + "".join(sorted(hashes[w] for w in out_of[v]))
                    + "|"
                    + hashes[v]
                )
                for v in range(n)
            ]
        return hashes

    def ordered(self) -> Cell:
        """Return the same cell with its vertices in an order that its graph alone determines.

        If 128 channels are shared by three vertices, one of them gets 42: which one depends on the
        order. In this order equal keys have equal costs.
        """
        n, hashes = len(self.ops), self._hashes()
        order = [0]
        while len(order) < n - 1:
            ready = [
                v
                for v in range(1, n - 1)
                if v not in order and all(u in order for u in range(n) if self.edges[u][v])
            ]
            order.append(min(ready, key=lambda v: hashes[v]))
        order.append(n - 1)
        edges = tuple(tuple(self.edges[v][w] for w in order) for v in order)
        return Cell(edges, tuple(self.ops[v] for v in order))

    def widths(self, width_in: int, width_out: int) -> list[int]:
        """Channels of each vertex (``compute_vertex_channels`` of the reference code).

        Vertices that flow into the output share its channels, since they are concatenated; the
        others are as wide as the widest vertex that they flow into.
        """
        n = len(self.ops)
        found = [width_in, *[0] * (n - 2), width_out]
        last = [v for v in range(1, n - 1) if self.edges[v][n - 1]]
        for number, vertex in enumerate(last):
            found[vertex] = width_out // len(last) + (number < width_out % len(last))
        for vertex in range(n - 3, 0, -1):
            if not self.edges[vertex][n - 1]:
                found[vertex] = max(found[w] for w in range(n - 1) if self.edges[vertex][w])
        return found


@dataclass(frozen=True)
class CellNetwork:
    """A network of NAS-Bench-101 as it is really built.

    Attributes:
        cell: Its cell, pruned.
        resolution: Height and width of the input image, in pixels; 3 channels.
        classes: Outputs of the head.
    """

    cell: Cell
    resolution: int
    classes: int

    @property
    def key(self) -> str:
        """Hash of the cell, as NAS-Bench-101 has it."""
        return self.cell.key

    def complexity(self) -> Complexity:
        """Costs of one forward pass of one image."""
        tally = self._tally
        return Complexity(tally.macs, tally.params, tally.activations)

    def costs(self) -> tuple[float, ...]:
        """Further costs, and the shape of the cell; see `COSTS`."""
        return (*self._tally.costs(), *structure(self.cell.edges, self.cell.ops))

    @cached_property
    def _tally(self) -> Tally:
        return _tally(self.cell, self.resolution, self.classes)


@lru_cache(maxsize=4096)
def _tally(cell: Cell, resolution: int, classes: int) -> Tally:
    """Go through the network and count what each layer costs."""
    tally = Tally()
    side, width = resolution, STEM_WIDTH
    tally.conv(3, width, 3, side)
    width_in = width
    for stack in range(STACKS):
        if stack:
            tally.downsample(width_in, side)
            side, width = side // 2, width * 2
        for _ in range(CELLS):
            _count_cell(tally, cell, width_in, width, side)
            width_in = width
    tally.head(width_in, side, classes)
    return tally


def _count_cell(tally: Tally, cell: Cell, width_in: int, width_out: int, side: int) -> None:
    widths = cell.widths(width_in, width_out)
    last = len(cell.ops) - 1
    for vertex in range(1, last):
        width = widths[vertex]
        inputs = [v for v in range(vertex) if cell.edges[v][vertex]]
        if 0 in inputs:
            tally.conv(width_in, width, 1, side)
        tally.add(len(inputs), width, side)
        if cell.ops[vertex] == MAXPOOL:
            tally.pool(width, side)
        else:
            tally.conv(width, width, 3 if cell.ops[vertex] == CONV3X3 else 1, side)
    joined = [v for v in range(1, last) if cell.edges[v][last]]
    tally.concat(len(joined), width_out, side)
    if cell.edges[0][last]:
        tally.conv(width_in, width_out, 1, side)
        tally.add(2 if joined else 1, width_out, side)


class CellSpace(GridSpace):
    """Cells of at most so many vertices, each trained for one of four budgets.

    An architecture is one bit an edge and one operation a vertex. Most of them build the same
    network as others: what is cut off does not matter, nor does the order of the vertices. The
    surrogates therefore read costs and shape of the network (`costs`), not these parameters.

    Attributes:
        vertices: Of the largest cell, input and output included.
    """

    vertices: ClassVar[int]
    costs: ClassVar[tuple[str, ...]] = COSTS
    trainable: ClassVar[bool] = False
    training: ClassVar[Axes] = {"epochs": (4, 12, 36, 108)}

    def build(self, config: Mapping[str, Any], resolution: int, classes: int) -> Any:
        """Build the network of a grid point.

        None if nothing leads from input to output, or if there are more edges than `MAX_EDGES`.
        """
        n = self.vertices
        edges = [[0] * n for _ in range(n)]
        for v, w in combinations(range(n), 2):
            edges[v][w] = int(config[edge(v, w)])
        ops = [INPUT, *(str(config[op(v)]) for v in range(1, n - 1)), OUTPUT]
        try:
            cell = Cell.pruned(edges, ops)
        except WattproofError:
            return None
        if sum(map(sum, cell.edges)) > MAX_EDGES:
            return None
        return CellNetwork(cell.ordered(), resolution, classes)

    def configuration(self, edges: Sequence[Sequence[int]], ops: Sequence[str]) -> dict[str, Value]:
        """Return the grid point of a cell of at most `vertices` vertices.

        The output becomes the last vertex; vertices that the cell lacks have no edges and the
        first operation.

        Raises:
            WattproofError: The cell is no cell, or too large.
        """
        _check(edges, ops)
        n, most = len(ops), self.vertices
        if n > most:
            raise WattproofError(
                f"The cell {_text(edges)} has {n} vertices, but space '{self.name}' has cells of "
                f"at most {most}; take a larger space."
            )
        place = [*range(n - 1), most - 1]
        point: dict[str, Value] = {edge(v, w): 0 for v, w in combinations(range(most), 2)}
        for v, w in combinations(range(n), 2):
            point[edge(place[v], place[w])] = int(edges[v][w])
        for vertex in range(1, most - 1):
            point[op(vertex)] = ops[vertex] if vertex < n - 1 else OPS[0]
        return point


def edge(v: int, w: int) -> str:
    """Parameter that says whether data flow from vertex v to w."""
    return f"edge_{v}_{w}"


def op(vertex: int) -> str:
    """Parameter that says what a vertex does."""
    return f"op_{vertex}"


def _axes(vertices: int) -> Axes:
    edges: dict[str, tuple[Value, ...]] = {
        edge(v, w): (0, 1) for v, w in combinations(range(vertices), 2)
    }
    return {**edges, **{op(v): OPS for v in range(1, vertices - 1)}}


class NasBench101Cells4(CellSpace):
    """Cells of at most 4 vertices: the 91 networks of EC-NAS-Bench's set 4V."""

    name = "nasbench101_4v"
    vertices = 4
    architecture: ClassVar[Axes] = _axes(4)


class NasBench101Cells5(CellSpace):
    """Cells of at most 5 vertices: the 2,532 networks of EC-NAS-Bench's set 5V."""

    name = "nasbench101_5v"
    vertices = 5
    architecture: ClassVar[Axes] = _axes(5)


def _check(edges: Sequence[Sequence[int]], ops: Sequence[str]) -> None:
    n = len(edges)
    square = n >= 2 and all(len(row) == n for row in edges)
    if not square or any(
        edges[v][w] not in ((0, 1) if v < w else (0,)) for v in range(n) for w in range(n)
    ):
        raise WattproofError(
            f"A cell's matrix is square, 0 or 1 above the diagonal and 0 elsewhere, but this one "
            f"is {_text(edges)}; give one row a vertex, input first and output last."
        )
    wrong = [one for one in ops[1:-1] if one not in OPS]
    if len(ops) != n or ops[0] != INPUT or ops[-1] != OUTPUT or wrong:
        raise WattproofError(
            f"A cell of {n} vertices has operations 'input', {n - 2} of {', '.join(OPS)}, and "
            f"'output', but these are {' '.join(ops)}; correct them."
        )


def _text(edges: Sequence[Sequence[int]]) -> str:
    return "/".join("".join(str(value) for value in row) for row in edges)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
