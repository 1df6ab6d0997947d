"""Networks by closed forms are those that `realise` builds, to the last integer and letter."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattproof import space
from wattproof.errors import WattproofError
from wattproof.space import quick, shapes
from wattproof.space.quick import Realiser

SIZE = {"resolution": 56, "classes": 13}
SPACES = ("ea_has_cifar10", "ea_has_tinyimagenet", "regnet_demo", "wide")
Truth = tuple[str, int, int, int] | None


def truth(name: str, config: dict[str, Any]) -> Truth:
    try:
        network = space.get(name).realise(config, **SIZE)
    except WattproofError:
        return None
    costs = network.complexity()
    return network.key, costs.macs, costs.params, costs.activations


def axes(name: str) -> dict[str, tuple[Any, ...]]:
    found = space.get(name)
    sized = {"resolution": (16, 64)} if name == "wide" else {}
    return {**found.architecture, **sized}


def columns(configs: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    return {key: np.array([config[key] for config in configs]) for key in configs[0]}


def many(realiser: Realiser, configs: list[dict[str, Any]]) -> list[Truth]:
    found = realiser.many(columns(configs))
    costs = (found.macs.tolist(), found.params.tolist(), found.activations.tolist())
    rows = zip(found.keys, *costs, strict=True)
    return [row if valid else None for row, valid in zip(rows, found.valid, strict=True)]


def single(realiser: Realiser, config: dict[str, Any]) -> Truth:
    try:
        return tuple(realiser.one(config))[:4]
    except WattproofError:
        return None


def agree(name: str, configs: list[dict[str, Any]]) -> None:
    realiser = Realiser(space.get(name), **SIZE)
    wanted = [truth(name, config) for config in configs]
    assert many(realiser, configs) == wanted
    alone = [single(realiser, config) for config in configs[::3]]
    assert alone == wanted[::3]


@pytest.mark.parametrize("name", ["regnet_demo", "wide"])
def test_small_grids_agree_everywhere(name: str) -> None:
    grid = axes(name)
    agree(name, [dict(zip(grid, point, strict=True)) for point in product(*grid.values())])


@pytest.mark.parametrize("name", SPACES[:2])
def test_large_grids_agree_at_random_points(name: str) -> None:
    rng, grid = np.random.default_rng(5), axes(name)
    draws = {key: rng.integers(len(values), size=3000) for key, values in grid.items()}
    agree(name, [{key: grid[key][draws[key][row]] for key in grid} for row in range(3000)])


@pytest.mark.parametrize("name", SPACES[:2])
def test_allowed_networks_agree(name: str) -> None:
    agree(name, [points[0] for points in list(space.get(name).networks.values())[::40]])


def test_ties_of_the_rounding_are_decided_by_realise() -> None:
    """w_m = 2.25 has the root 1.5: w_0/2 divided by w_a is a whole block, exactly at the tie."""
    configs = [
        {"depth": depth, "w_0": w_0, "w_a": w_a, "w_m": 2.25, "group_width": 8}
        for depth in (6, 9, 15)
        for w_0 in (48, 64, 96, 128)
        for w_a in (8.0, 12.0, 16.0, 24.0, 32.0)
    ]
    demo = space.get("ea_has_tinyimagenet")
    tied = [demo.shape(config).tie for config in configs]
    assert sum(tied) > 20
    assert demo.shape(columns(configs)).tie.tolist() == tied
    agree("ea_has_tinyimagenet", configs)


@settings(max_examples=300)
@given(
    st.integers(1, 16),
    st.integers(1, 16).map(lambda i: 8 * i),
    st.integers(1, 400).map(lambda i: i / 10),
    st.integers(1101, 4000).map(lambda i: i / 1000),
    st.integers(1, 64),
)
def test_two_stages_of_any_parameters(
    depth: int, w_0: int, w_a: float, w_m: float, group: int
) -> None:
    """Also off every grid: `generate` is the oracle."""
    from wattproof.space.regnet import generate

    shape = shapes.two_stage(16, depth, w_0, w_a, w_m, group)
    stages = generate(w_a, w_0, w_m, depth, group)
    if shape.tie:
        return
    allowed = stages.valid and len(stages.quantised) == 2
    assert shape.valid == allowed
    if allowed:
        assert (shape.widths, shape.depths) == (stages.widths, stages.depths)
        one = {key: np.array([value]) for key, value in (("a", w_a), ("m", w_m))}
        array = shapes.two_stage(
            16, np.array([depth]), np.array([w_0]), one["a"], one["m"], np.array([group])
        )
        assert [int(w[0]) for w in array.widths] == list(stages.widths)


class Plain:
    """A space without closed forms, as a foreign one may be."""

    def __init__(self) -> None:
        self.asked = 0

    def configspace(self) -> Any:
        return space.get("regnet_demo").configspace()

    def realise(self, config: dict[str, Any], resolution: int, classes: int) -> Any:
        self.asked += 1
        return space.get("regnet_demo").realise(config, resolution, classes)


def test_any_space_is_realised_and_remembered() -> None:
    plain, configs = Plain(), space.get("regnet_demo").sample(40, 3)
    realiser = Realiser(plain, **SIZE)
    assert many(realiser, [*configs, *configs]) == 2 * [truth("regnet_demo", c) for c in configs]
    assert plain.asked == len(configs)
    bad = configs[0] | {"depth": 2, "w_a": 2.0, "w_m": 3.0}
    assert truth("regnet_demo", bad) is None
    assert many(realiser, [bad, configs[1]]) == [None, truth("regnet_demo", configs[1])]
    with pytest.raises(WattproofError, match="does not build an allowed network"):
        realiser.one(bad)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "CACHE", 7)
    realiser = Realiser(space.get("regnet_demo"), **SIZE)
    configs = space.get("regnet_demo").sample(60, 1)
    assert [single(realiser, c) for c in configs] == [truth("regnet_demo", c) for c in configs]
    assert len(realiser._known) <= 7


def test_no_rows() -> None:
    nothing = {key: np.array(values)[:0] for key, values in axes("wide").items()}
    found = Realiser(space.get("wide"), **SIZE).many(nothing)
    assert found.keys == []
    assert len(found.macs) == len(found.valid) == 0
