"""The registry, the demo space, and what sampling promises."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattproof import space
from wattproof.errors import WattproofError
from wattproof.space.base import GridSpace
from wattproof.space.regnet import Network

DEMO = space.get("regnet_demo")


class TinySpace(GridSpace):
    """Two widths (one of them not allowed above 16) × three trainings: 6 configurations."""

    name = "tiny"
    architecture: ClassVar = {"width": (8, 16, 24), "nuisance": (1, 2)}
    training: ClassVar = {"lr": (0.1, 0.2, 0.3)}

    def build(self, config, resolution, classes):
        if config["width"] > 16:
            return None
        return Network(8, (config["width"],), (1,), 1, classes, resolution)


def cell(config):
    rest = {k: v for k, v in config.items() if k in DEMO.training}
    return DEMO.realise(config).key, json.dumps(rest)


def test_names_and_get():
    assert "regnet_demo" in space.names()
    assert space.get("regnet_demo") is DEMO


def test_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(WattproofError, match="Did you mean 'regnet_demo'"):
        space.get("regnet_dmo")


def test_demo_has_at_least_sixty_networks_and_all_are_two_stage():
    assert len(DEMO.networks) >= 60
    for key, points in DEMO.networks.items():
        network = DEMO.realise(points[0])
        assert network.key == key
        assert len(network.widths) == 2
        assert sum(network.depths) == points[0]["depth"]


@settings(deadline=None, max_examples=20)
@given(n=st.integers(0, 60), more=st.integers(0, 30), seed=st.integers(0, 2**32))
def test_samples_are_valid_distinct_and_grow(n, more, seed):
    drawn = DEMO.sample(n, seed)
    assert all(DEMO.valid(config) for config in drawn)
    assert len({DEMO.realise(config).key for config in drawn}) == n
    assert DEMO.sample(n + more, seed)[:n] == drawn


def test_samples_survive_json_with_their_types():
    for config in DEMO.sample(40, 3):
        assert json.loads(json.dumps(config)) == config
        assert list(config) == [*DEMO.architecture, *DEMO.training]


def test_seeds_differ():
    assert DEMO.sample(5, 1) != DEMO.sample(5, 2)


def test_networks_come_again_only_when_all_were_drawn_and_with_other_trainings():
    count = len(DEMO.networks)
    drawn = DEMO.sample(2 * count + 7, 0)
    keys = [DEMO.realise(config).key for config in drawn]
    assert len(set(keys[:count])) == count
    assert set(Counter(keys[: 2 * count]).values()) == {2}
    assert len({cell(config) for config in drawn}) == len(drawn)


def test_all_configurations_can_be_drawn_and_not_one_more():
    tiny = TinySpace()
    drawn = tiny.sample(6, 0)
    assert {(c["width"], c["lr"]) for c in drawn} == {
        (width, lr) for width in (8, 16) for lr in (0.1, 0.2, 0.3)
    }
    with pytest.raises(WattproofError, match=r"7 .* only 6 distinct"):
        tiny.sample(7, 0)


def test_configspace_holds_the_grid():
    configspace = DEMO.configspace()
    assert set(configspace) == {*DEMO.architecture, *DEMO.training}
    configspace.seed(0)
    drawn = [dict(config) for config in configspace.sample_configuration(300)]
    share = sum(DEMO.valid(config) for config in drawn) / len(drawn)
    points = sum(len(points) for points in DEMO.networks.values())
    grid = 4 * 3 * 12 * 16 * 4
    # Binomial, 300 draws: 4 standard errors are at most 0.12.
    assert share == pytest.approx(points / grid, abs=0.12)


def test_values_of_tables_are_taken_for_what_they_are():
    config = DEMO.sample(1, 0)[0]
    as_floats = {k: float(v) if isinstance(v, int) else v for k, v in config.items()}
    assert DEMO.valid(as_floats)
    assert DEMO.realise(as_floats) == DEMO.realise(config)


def test_realise_takes_resolution_and_classes():
    network = DEMO.realise(DEMO.sample(1, 0)[0], resolution=64, classes=200)
    assert (network.resolution, network.classes) == (64, 200)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"w_0": 12}, r"'w_0' is 12, .* 16, 24, 32"),
        ({"w_m": None}, "'w_m' is None"),
        ({"depth": 5, "w_0": 16, "w_a": 24.0, "w_m": 1.5}, "does not build an allowed network"),
    ],
)
def test_configurations_outside_are_refused(change, words):
    config = DEMO.sample(1, 0)[0] | change
    assert not DEMO.valid(config)
    with pytest.raises(WattproofError, match=words):
        DEMO.realise(config)


def test_a_missing_parameter_is_named():
    config = DEMO.sample(1, 0)[0]
    del config["group_width"]
    assert not DEMO.valid(config)
    with pytest.raises(WattproofError, match="lacks 'group_width'"):
        DEMO.realise(config)


def test_a_training_value_outside_is_not_valid():
    assert not DEMO.valid(DEMO.sample(1, 0)[0] | {"batch_size": 17})


def test_the_room_is_light():
    code = (
        "import sys; from wattproof import space; from wattproof.training import datasets;"
        "space.get('regnet_demo').sample(3, 0); datasets.check('digits', None, 1024);"
        "print(sorted({'torch', 'sklearn', 'ConfigSpace', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
