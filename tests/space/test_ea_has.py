"""EA-HAS-Bench's spaces against the counts that two independent enumerations agree on.

Facts page ``ea_has_bench.md``, sections 2 and 3.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from wattproof import space
from wattproof.space.regnet import Network, generate

EXPECTED = {
    "ea_has_cifar10": {
        "networks": 334,
        "two_stage": 4_086,
        "points": 2_031_321,
        "by_group": {1: 25, 2: 30, 4: 42, 8: 83, 16: 62, 24: 48, 32: 44},
        "macs": (120_010_502, 124_034_968, 129_962_420),
        "params": (658_710, 1_731_388, 1_999_230),
        "activations": (641_646, 918_702, 999_020),
    },
    "ea_has_tinyimagenet": {
        "networks": 38_516,
        "two_stage": 8_305,
        "points": 149_900_534,
        "by_group": {1: 8305, 2: 8305, 4: 8305, 8: 8305, 16: 2835, 24: 1377, 32: 1084},
        "macs": (8_462_206, 82_094_785, 374_066_384),
        "params": (86_606, 966_275, 5_986_672),
        "activations": (221_816, 823_844, 1_666_448),
    },
}


@pytest.fixture(params=EXPECTED)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_full_enumeration_gives_the_published_counts(name: str) -> None:
    found, wanted = space.get(name), EXPECTED[name]
    assert len(found.networks) == wanted["networks"]
    assert len(found._two_stage) == wanted["two_stage"]
    assert found.points() == wanted["points"]
    assert found.distinct() == wanted["networks"] * 540


def test_complexities_of_all_distinct_networks(name: str) -> None:
    found, wanted = space.get(name), EXPECTED[name]
    built = [found.realise(points[0], 32, found.classes) for points in found.networks.values()]
    assert Counter(network.group_width for network in built) == wanted["by_group"]
    costs = [network.complexity() for network in built]
    for what in ("macs", "params", "activations"):
        values = np.array([getattr(cost, what) for cost in costs])
        low, middle, high = wanted[what]
        assert (values.min(), values.max()) == (low, high)
        assert np.median(values) == pytest.approx(middle, abs=0.5)


@pytest.mark.parametrize(
    ("which", "widths", "depths", "group", "costs"),
    [
        ("ea_has_cifar10", (80, 240), (8, 7), 16, (120_010_502, 1_445_558, 976_678)),
        ("ea_has_cifar10", (96, 264), (3, 7), 24, (122_011_082, 1_718_266, 760_890)),
        ("ea_has_tinyimagenet", (48, 72), (2, 4), 1, (8_462_206, 86_606, 230_046)),
        ("ea_has_tinyimagenet", (128, 384), (3, 12), 32, (374_066_384, 5_986_672, 1_448_144)),
    ],
)
def test_complexity_vectors(which, widths, depths, group, costs) -> None:
    of = space.get(which)
    network = Network(of.stem_width, widths, depths, group, of.classes, 32)
    found = network.complexity()
    assert (found.macs, found.params, found.activations) == costs


def test_every_network_stands_for_a_point_that_builds_it(name: str) -> None:
    found = space.get(name)
    keys = list(found.networks)
    for key in keys[:: max(len(keys) // 300, 1)]:
        point = found.networks[key][0]
        assert found.realise(point).key == key
        stages = generate(
            point["w_a"], point["w_0"], point["w_m"], point["depth"], point["group_width"]
        )
        assert stages.valid
        assert len(stages.quantised) == 2


def test_draws_are_valid_distinct_and_grow(name: str) -> None:
    found = space.get(name)
    drawn = found.sample(200, seed=3)
    assert drawn[:50] == found.sample(50, seed=3)
    assert all(found.valid(config) for config in drawn)
    assert len({found.realise(config).key for config in drawn}) == 200
    assert {config["epochs"] for config in drawn} == {50, 100, 200}


def test_points_that_build_nothing_are_refused() -> None:
    found = space.get("ea_has_cifar10")
    point = {"depth": 6, "w_0": 48, "w_a": 8.0, "w_m": 2.5, "group_width": 1}
    assert not found.valid({**found.sample(1, 0)[0], **point})  # too few multiply-accumulates
    tiny = space.get("ea_has_tinyimagenet")
    assert tiny.realise(point).key == "regnet-s32-w48x120-d4x2-g1"


def test_the_configspace_holds_all_axes(name: str) -> None:
    found = space.get(name)
    listed = found.configspace()
    assert set(listed) == {*found.architecture, *found.training}
    assert dict(listed.sample_configuration())["batch_size"] == 1024
