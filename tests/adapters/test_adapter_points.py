"""Which points are networks, where others move to, and how mistakes are told."""

import sys
from collections.abc import Callable
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from wattproof import space
from wattproof.adapters.points import Points, own_space
from wattproof.adapters.view import NotANetwork, View
from wattproof.benchmark.api import Benchmark
from wattproof.errors import WattproofError


def test_points_that_build_nothing_move_to_networks_near_by(
    bench: Benchmark, box: Callable[[int], list[dict[str, object]]]
) -> None:
    points = Points(bench)
    drawn = box(200)
    kept = [config for config in drawn if points.valid(config)]
    assert 60 < len(kept) < 140  # 56 % of this box are networks
    training = ("lr", "optimizer", "policy", "cutout", "batch_size", "epochs")
    for config in drawn:
        moved = points.nearest(config)
        bench.query(moved)  # an allowed network, or this raises
        assert (moved == config) == points.valid(config)
        assert all(moved[name] == config[name] for name in training)


def test_a_moved_point_is_the_nearest(
    bench: Benchmark, box: Callable[[int], list[dict[str, object]]]
) -> None:
    """Against all 9,216 shapes of the small space, by the distance that the page states."""
    demo = space.get("regnet_demo")
    points = Points(bench)
    values = {name: demo.architecture[name] for name in demo.architecture}
    grid = [dict(zip(values, shape, strict=True)) for shape in product(*values.values())]
    training = bench.sample(seed=0)
    allowed = [shape for shape in grid if demo.valid(training | shape)]

    def place(shape: dict[str, object]) -> list[float]:
        return [axis.index(shape[n]) / (len(axis) - 1) for n, axis in values.items()]

    places = np.array([place(shape) for shape in allowed])
    for config in box(60):
        own = np.array(place(config))
        moved = np.array(place(points.nearest(config)))
        shortest = ((places - own) ** 2).sum(axis=1).min()
        assert ((moved - own) ** 2).sum() == pytest.approx(shortest)


@pytest.mark.parametrize(
    "name", ["ea_has_cifar10", "ea_has_tinyimagenet", "nasbench101_4v", "wide"]
)
def test_points_of_every_space_find_a_network(name: str) -> None:
    """Of the points of ``ea_has_cifar10`` 2 % are networks; in ``wide`` training decides, too."""
    own = space.get(name)
    bench = SimpleNamespace(space=own.configspace())
    points, drawn = Points(bench), own_space(bench)
    drawn.seed(1)
    for config in drawn.sample_configuration(40):
        assert own.valid(points.nearest(points.plain(dict(config))))


def test_values_of_other_packages_become_the_spaces_own(bench: Benchmark) -> None:
    config = bench.sample(seed=2)
    foreign = config | {
        "w_m": np.float64(config["w_m"]) + 1e-15,
        "depth": np.int64(config["depth"]),
    }
    plain = Points(bench).plain(foreign)
    assert plain == config
    assert all(type(plain[name]) is type(config[name]) for name in config)


def test_rejected_points_are_told_in_one_sentence(
    bench: Benchmark, no_network: dict[str, object]
) -> None:
    with pytest.raises(NotANetwork, match=r"builds no allowed network of space 'regnet_demo'"):
        View(bench, ["accuracy"], "reject").ask(no_network)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.5}, "lr=0.5, which is not in the space"),
        ({"lrr": 0.1}, "unknown key 'lrr'"),
    ],
)
def test_what_lies_outside_of_the_space_is_never_moved(
    bench: Benchmark, change: dict[str, object], message: str
) -> None:
    with pytest.raises(WattproofError, match=message):
        View(bench, ["accuracy"]).ask(bench.sample(seed=0) | change)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("accuracy", "names no list of objectives"),
        ([], "names no list of objectives"),
        (["acuracy"], "Did you mean 'accuracy'"),
    ],
)
def test_objectives_are_checked(bench: Benchmark, names: object, message: str) -> None:
    with pytest.raises(WattproofError, match=message):
        View(bench, names)


def test_many_points_answer_as_one_by_one(bench: Benchmark) -> None:
    view = View(bench, ["accuracy", "energy_j", "power_w"])
    configs = [bench.sample(seed) for seed in range(20)]
    for epoch, seed in ((None, None), (5, 3)):
        many = view.ask_many(configs, epoch, seed)
        single = [list(view.ask(config, epoch, seed).losses.values()) for config in configs]
        np.testing.assert_allclose(many, single, rtol=1e-6)


def test_a_curve_ends_where_the_query_does(bench: Benchmark) -> None:
    view = View(bench, ["accuracy", "power_w"])
    config = bench.sample(seed=4)
    curve = view.curve(config, seed=7, also=["energy_j"])
    end = bench.query(config, seed=7)
    assert curve["error"][-1] == pytest.approx(1 - end.accuracy.value)
    assert curve["power_w"][-1] == pytest.approx(end.power_w.value)
    assert curve["energy_j"][-1] == pytest.approx(end.energy_j.value)
    assert view.longest() == 6


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", space.names())
def test_optuna_reaches_every_value(name: str) -> None:
    import optuna

    from wattproof.adapters.optuna import distributions

    found = distributions(SimpleNamespace(space=space.get(name).configspace()))
    points = Points(SimpleNamespace(space=space.get(name).configspace()))
    study = optuna.create_study()
    for end in (0, 1, -2, -1):
        wanted = {key: axis.values[end] for key, axis in points.axes.items()}
        study.enqueue_trial(wanted)
        asked = study.ask(found).params
        assert points.plain(asked) == points.constants | wanted
    for key, one in found.items():
        if isinstance(one, optuna.distributions.FloatDistribution):
            assert round((one.high - one.low) / one.step) + 1 == len(points.axes[key].values)


@pytest.mark.parametrize("package", ["optuna", "pymoo", "syne_tune"])
def test_a_missing_package_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    for name in [*sys.modules]:
        if name == package or name.startswith((f"{package}.", f"wattproof.adapters.{package}")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(WattproofError, match=r"install it with pip install 'wattproof\[search\]'"):
        __import__(f"wattproof.adapters.{package}")
