"""RegNet generation and costs against the vectors of ``ea_has_bench.md``, section 2."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattproof.errors import WattproofError
from wattproof.space.regnet import Complexity, Network, generate

# w_a, w_0, w_m, d, g, widths after step 4, depths, widths after step 6, two stages.
GENERATION = [
    (36.44, 24, 2.49, 13, 8, (24, 56, 152, 368), (1, 1, 4, 7), (24, 56, 152, 368), False),
    (27.89, 48, 2.09, 16, 8, (48, 104, 208, 440), (1, 3, 6, 6), (48, 104, 208, 440), False),
    (26.31, 88, 2.25, 25, 48, (88, 200, 448, 1000), (2, 6, 15, 2), (96, 192, 432, 1008), False),
    (8.0, 48, 2.5, 6, 1, (48, 120), (4, 2), (48, 120), True),
    (20.0, 64, 2.7, 10, 24, (64, 176), (3, 7), (72, 168), True),
    (12.5, 96, 2.75, 12, 16, (96, 264), (6, 6), (96, 256), True),
    (32.0, 128, 3.0, 15, 32, (128, 384), (3, 12), (128, 384), True),
    (
        32.0,
        48,
        1.5,
        15,
        8,
        (48, 72, 112, 160, 240, 368, 544),
        (1, 1, 1, 2, 3, 5, 2),
        (48, 72, 112, 160, 240, 368, 544),
        False,
    ),
]

# stem, classes, (w1, w2, d1, d2, g), MACs, parameters, activations.
COSTS = [
    (16, 10, (80, 240, 8, 7, 16), 120_010_502, 1_445_558, 976_678),
    (16, 10, (96, 264, 3, 7, 24), 122_011_082, 1_718_266, 760_890),
    (16, 10, (120, 336, 3, 6, 8), 129_962_420, 1_909_060, 891_732),
    (32, 200, (48, 72, 2, 4, 1), 8_462_206, 86_606, 230_046),
    (32, 200, (64, 64, 2, 4, 32), 23_978_144, 192_064, 262_816),
    (32, 200, (64, 128, 2, 4, 32), 35_546_064, 395_248, 328_656),
    (32, 200, (128, 384, 3, 12, 32), 374_066_384, 5_986_672, 1_448_144),
]


@pytest.mark.parametrize(("w_a", "w_0", "w_m", "d", "g", "w4", "depths", "w6", "two"), GENERATION)
def test_generation_vectors(w_a, w_0, w_m, d, g, w4, depths, w6, two):
    stages = generate(w_a, w_0, w_m, d, g)
    assert (stages.quantised, stages.depths, stages.widths) == (w4, depths, w6)
    assert stages.valid
    assert (len(stages.widths) == 2) is two


@pytest.mark.parametrize(("stem", "classes", "shape", "macs", "params", "activations"), COSTS)
def test_complexity_vectors(stem, classes, shape, macs, params, activations):
    w1, w2, d1, d2, g = shape
    network = Network(stem, (w1, w2), (d1, d2), g, classes, resolution=32)
    assert network.complexity() == Complexity(macs, params, activations)


def reference_generation(w_a, w_0, w_m, d, g):
    """Steps 1 to 6 word by word in NumPy, sharing no code with the package."""
    linear = w_0 + w_a * np.arange(d)
    levels = np.round(np.log(linear / w_0) / np.log(w_m))
    blocks = (8 * np.round(w_0 * np.power(w_m, levels) / 8)).astype(int)
    widths, depths = np.unique(blocks, return_counts=True)
    group = np.minimum(g, widths)
    built = np.maximum(group, group * np.round(widths / group)).astype(int)
    return widths, depths, built, len(widths) == levels.max() + 1


@given(
    w_a=st.integers(0, 400).map(lambda i: i / 10),
    w_0=st.integers(1, 16).map(lambda i: 8 * i),
    w_m=st.integers(1100, 3000).map(lambda i: i / 1000),
    d=st.integers(1, 20),
    g=st.sampled_from([1, 2, 4, 8, 16, 24, 32, 48]),
)
def test_generation_is_the_reference_everywhere(w_a, w_0, w_m, d, g):
    stages = generate(w_a, w_0, w_m, d, g)
    widths, depths, built, valid = reference_generation(w_a, w_0, w_m, d, g)
    assert stages.quantised == tuple(widths)
    assert stages.depths == tuple(depths)
    assert stages.widths == tuple(built)
    assert stages.valid == valid
    # Whatever comes out can be built: the constructor checks the group rule.
    assert Network(16, stages.widths, stages.depths, stages.group_width, 10, 32).complexity()


def test_a_skipped_level_is_invalid():
    # u = 8, 24; levels round(log(1)/log(1.5)) = 0 and round(log 3/log 1.5 = 2.71) = 3.
    assert not generate(w_a=16.0, w_0=8, w_m=1.5, depth=2, group_width=1).valid


def test_key_names_what_is_built_after_the_group_rule():
    stages = generate(20.0, 64, 2.7, 10, 24)
    network = Network(16, stages.widths, stages.depths, stages.group_width, 10, 32)
    assert network.key == "regnet-s16-w72x168-d3x7-g24"


def test_group_widths_beyond_all_stages_build_the_same_network():
    keys = set()
    for group in (64, 128):
        stages = generate(8.0, 16, 2.5, 4, group)
        keys.add(Network(8, stages.widths, stages.depths, stages.group_width, 10, 32).key)
    assert len(keys) == 1


def test_key_tells_other_squeeze_ratios_apart():
    shape = (16, (16, 32), (1, 1), 8, 10, 32)
    assert Network(*shape).key != Network(*shape, se_ratio=0.5).key


def test_resolution_moves_costs_but_not_parameters_nor_key():
    small, large = (Network(16, (16, 32), (1, 2), 8, 10, side) for side in (16, 32))
    assert small.key == large.key
    assert small.complexity().params == large.complexity().params
    assert small.complexity().macs < large.complexity().macs


@pytest.mark.parametrize(
    "bad",
    [
        {"w_0": 12},
        {"w_0": 0},
        {"w_a": -1.0},
        {"w_m": 1.0},
        {"depth": 0},
        {"group_width": 0},
    ],
)
def test_parameters_out_of_range_are_refused(bad):
    good = {"w_a": 8.0, "w_0": 48, "w_m": 2.5, "depth": 6, "group_width": 1}
    with pytest.raises(WattproofError, match="out of range"):
        generate(**(good | bad))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((16, (16, 36), (1, 1), 8, 10, 32), "not a multiple of group width 8"),
        ((16, (16,), (1, 1), 8, 10, 32), "as many stage depths as widths"),
        ((16, (16, 32), (1, 0), 8, 10, 32), "at least 1"),
        ((2, (16, 32), (1, 1), 8, 10, 32), "no channels left"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(shape, words):
    with pytest.raises(WattproofError, match=words):
        Network(*shape)
