"""NAS-Bench-101 cells: keys, widths and costs against hand counts and what was published."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattproof import config, preflight, space
from wattproof.errors import WattproofError
from wattproof.space.nasbench101 import (
    CONV1X1,
    CONV3X3,
    INPUT,
    MAXPOOL,
    OPS,
    OUTPUT,
    Cell,
    CellNetwork,
    edge,
    op,
)
from wattproof.space.quick import Realiser

FOUR = space.get("nasbench101_4v")
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FILE = Path(os.environ.get("WATTPROOF_REAL_DATA", DATA)) / "ecnas_4v" / "energy_4v9e.csv.gz"

STEM = 3 * 128 * 9 + 2 * 128
HEAD = 512 * 10 + 10
WIDTHS = ((128, 128, 32), (256, 128, 16), (512, 256, 8))
"""Channels of a stack, channels that come into its first cell, and its side in pixels."""


def matrix(*rows: str) -> list[list[int]]:
    return [[int(value) for value in row] for row in rows]


def network(edges: list[list[int]], *inner: str, side: int = 32) -> CellNetwork:
    return CellNetwork(Cell.pruned(edges, [INPUT, *inner, OUTPUT]), side, 10)


def test_a_cell_without_vertices_is_nine_projections() -> None:
    """Counted by hand: per cell a 1×1 convolution with batch normalisation, nothing else."""
    found = network(matrix("01", "00"))
    params, macs, outputs = STEM + HEAD, 3 * 128 * 9 * 32**2 + 5120, 128 * 32**2 + 10
    for width, first, side in WIDTHS:
        for width_in in (first, width, width):
            params += width_in * width + 2 * width
            macs += width_in * width * side**2
            outputs += width * side**2
    costs = found.complexity()
    assert (costs.macs, costs.params, costs.activations) == (macs, params, outputs)
    further = dict(zip(FOUR.costs, found.costs(), strict=True))
    assert further["conv3x3_macs"] == 3 * 128 * 9 * 32**2
    assert further["conv1x1_macs"] == macs - 5120 - further["conv3x3_macs"]
    # 10 convolutions, each with normalisation and ReLU; 2 poolings between stacks and the mean.
    assert further["kernels"] == 3 * 10 + 3
    assert further["add_moved"] == further["concat_moved"] == 0
    assert (further["cell_vertices"], further["cell_depth"], further["cell_skip"]) == (2, 0, 1)


def test_branches_share_the_channels_and_a_shortcut_is_added() -> None:
    """Input to both operations and to the output; both operations to the output."""
    found = network(matrix("0111", "0001", "0001", "0000"), CONV3X3, MAXPOOL)
    params = STEM + HEAD
    for width, first, _ in WIDTHS:
        for width_in in (first, width, width):
            half = width // 2
            projections = 2 * (width_in * half + 2 * half) + width_in * width + 2 * width
            params += projections + 9 * half**2 + 2 * half
    assert found.complexity().params == params
    further = dict(zip(FOUR.costs, found.costs(), strict=True))
    moved = 3 * sum(width * side**2 for width, _, side in WIDTHS)
    assert further["concat_moved"] == 2 * moved
    assert further["add_moved"] == 3 * moved
    assert (further["cell_depth"], further["cell_shortest"], further["cell_skip"]) == (1, 0, 1)


def test_a_vertex_before_another_is_as_wide_as_it() -> None:
    cell = Cell.pruned(
        matrix("01100", "00010", "00001", "00001", "00000"),
        [INPUT, CONV1X1, CONV3X3, MAXPOOL, OUTPUT],
    )
    assert cell.widths(128, 256) == [128, 128, 128, 128, 256]
    three = Cell.pruned(matrix("01110", "00001", "00001", "00001", "00000"), [INPUT, *OPS, OUTPUT])
    assert three.widths(128, 128) == [128, 43, 43, 42, 128]


def test_what_no_way_touches_is_cut_off() -> None:
    whole = matrix("0110", "0001", "0000", "0000")
    assert Cell.pruned(whole, [INPUT, CONV1X1, CONV3X3, OUTPUT]) == Cell(
        ((0, 1, 0), (0, 0, 1), (0, 0, 0)), (INPUT, CONV1X1, OUTPUT)
    )


@pytest.mark.parametrize(
    ("edges", "ops", "words"),
    [
        (matrix("010", "000", "000"), [INPUT, CONV1X1, OUTPUT], "No path"),
        (matrix("010", "001", "010"), [INPUT, CONV1X1, OUTPUT], "0 elsewhere"),
        (matrix("020", "001", "000"), [INPUT, CONV1X1, OUTPUT], "0 or 1"),
        ([[0, 1]], [INPUT, OUTPUT], "square"),
        (matrix("010", "001", "000"), [INPUT, "conv5x5", OUTPUT], "conv5x5"),
        (matrix("010", "001", "000"), [INPUT, OUTPUT], "3 vertices"),
    ],
)
def test_what_is_no_cell_is_refused_in_words(edges, ops, words) -> None:
    with pytest.raises(WattproofError, match=words):
        Cell.pruned(edges, ops)


def test_the_spaces_are_as_large_as_published() -> None:
    assert FOUR.count().networks == 91
    assert space.get("nasbench101_5v").count().networks == 2532


@st.composite
def cells(draw, vertices: int = 5):
    """A cell of the largest space, its vertices also in another order that keeps edges forward."""
    pairs = list(combinations(range(vertices), 2))
    bits = draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    edges = [[0] * vertices for _ in range(vertices)]
    for (v, w), bit in zip(pairs, bits, strict=True):
        edges[v][w] = int(bit)
    inner = [draw(st.sampled_from(OPS)) for _ in range(vertices - 2)]
    order, left = [0], set(range(1, vertices - 1))
    while left:
        ready = [v for v in left if not any(edges[u][v] for u in left)]
        order.append(draw(st.sampled_from(ready)))
        left.discard(order[-1])
    order.append(vertices - 1)
    ops = [INPUT, *inner, OUTPUT]
    other = [[edges[v][w] for w in order] for v in order]
    return edges, ops, other, [ops[v] for v in order]


@given(cells())
def test_neither_key_nor_costs_hang_on_the_order_of_the_vertices(both) -> None:
    edges, ops, other_edges, other_ops = both
    five = space.get("nasbench101_5v")
    first, second = (five.configuration(e, o) for e, o in ((edges, ops), (other_edges, other_ops)))
    if not five.valid({**first, "epochs": 4}):
        assert not five.valid({**second, "epochs": 4})
        return
    one, two = five.realise(first), five.realise(second)
    assert one.key == two.key
    assert one.complexity() == two.complexity()
    assert one.costs() == two.costs()


@given(cells(vertices=4), st.sampled_from(OPS))
def test_an_operation_that_is_cut_off_changes_nothing(both, instead) -> None:
    edges, ops, _, _ = both
    point = FOUR.configuration(edges, ops)
    for v in range(2):
        point[edge(v, 2)] = 0  # nothing flows into vertex 2
    if FOUR.valid({**point, "epochs": 4}):
        assert FOUR.realise(point) == FOUR.realise({**point, op(2): instead})


def test_quick_answers_are_those_of_realise() -> None:
    """Also where nothing leads from input to output: key and costs mean nothing, and it is said."""
    rng = np.random.default_rng(3)
    columns = {
        name: np.array(values, dtype=object)[rng.integers(0, len(values), 300)]
        for name, values in FOUR.architecture.items()
    }
    found = Realiser(FOUR, 32, 10).many(columns)
    assert 0 < found.valid.sum() < 300
    for row in np.flatnonzero(found.valid):
        built = FOUR.realise({name: values[row] for name, values in columns.items()})
        assert found.keys[row] == built.key
        assert found.params[row] == built.complexity().params
        assert tuple(found.further[row]) == built.costs()


def test_a_cell_that_is_too_large_is_refused_in_words() -> None:
    five = matrix("01000", "00100", "00010", "00001", "00000")
    with pytest.raises(WattproofError, match="at most 4"):
        FOUR.configuration(five, [INPUT, *OPS, OUTPUT])


def test_a_campaign_cannot_train_it_and_is_told_so() -> None:
    schema = config.load_schema(
        Path(__file__).resolve().parents[2] / "config" / "schema" / "campaign.schema.json"
    )
    asked = config.validate({"campaign": "x", "space": "nasbench101_4v"}, schema, "mine.yaml")
    with pytest.raises(WattproofError, match=r"mine.yaml: key 'space' .*does not train"):
        preflight.check(asked, "mine.yaml", Path("no-outlines"))


@pytest.mark.data
@pytest.mark.skipif(
    not FILE.is_file() and not os.environ.get("WATTPROOF_REQUIRE_REAL_DATA"),
    reason=f"{FILE} is absent (set WATTPROOF_REAL_DATA)",
)
def test_keys_and_parameters_are_those_of_ec_nas() -> None:
    """All 91 networks: NAS-Bench-101's hash and the parameters that were published."""
    published = pd.read_csv(FILE, dtype={"adjacency": str}).drop_duplicates("arch_hash")
    assert set(FOUR.networks) == set(published["arch_hash"])
    for row in published.itertuples():
        n = row.n_nodes
        rows = [row.adjacency[i * n : (i + 1) * n] for i in range(n)]
        found = FOUR.realise(FOUR.configuration(matrix(*rows), row.ops.split()))
        assert (found.key, found.complexity().params) == (row.arch_hash, row.params)
