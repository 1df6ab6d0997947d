"""Space wide: what is built, what is left out, and draws that are even over power."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from wattproof import space, tables
from wattproof.errors import WattproofError
from wattproof.space import pilot
from wattproof.space.wide import MEMORY_BYTES
from wattproof.virtual import presets, training_load
from wattproof.virtual.model import PowerModel

WIDE = space.get("wide")
PAPER = presets.get("paper")
MODEL = PowerModel(PAPER)


def power_w(config):
    load = training_load(
        WIDE.realise(config),
        "train",
        config["batch_size"],
        PAPER,
        config["precision"],
        config["feed"],
    )
    return float(MODEL.gpu_w(load.gpu_compute, load.gpu_memory))


@pytest.fixture(scope="module")
def pilots():
    return pilot.of([(c, power_w(c)) for c in WIDE.sample(80, 1)], WIDE.features, "test")


def mark(config):
    rest = {key: config[key] for key in WIDE.training}
    return WIDE.realise(config).key, json.dumps(rest)


def test_built_modules_have_the_costs_of_the_formula():
    torch = pytest.importorskip("torch")
    from wattproof.training import regnet

    drawn = [c for c in WIDE.sample(300, 3) if WIDE.realise(c).complexity().params < 1e6]
    assert len(drawn) > 30
    shapes = Counter(len(WIDE.realise(c).widths) for c in drawn)
    assert set(shapes) == {1, 2, 3}
    for config in drawn[:20]:
        network = dataclasses.replace(WIDE.realise(config), resolution=16)
        model = regnet.build(network, 0)
        costs = network.complexity()
        assert sum(p.numel() for p in model.parameters()) == costs.params
        outputs: list[int] = []
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                module.register_forward_hook(lambda _m, _i, out, to=outputs: to.append(out.numel()))
        with torch.no_grad():
            scores = model.eval()(torch.zeros(1, 3, 16, 16))
        assert scores.shape == (1, 10)
        assert sum(outputs) == costs.activations


def test_a_configuration_has_its_own_resolution():
    config = WIDE.sample(1, 0)[0] | {"resolution": 64}
    assert WIDE.realise(config, resolution=32).resolution == 64
    del config["resolution"]
    assert WIDE.realise(config, resolution=48).resolution == 48


def test_duplicates_of_the_grid_are_one_network():
    config = WIDE.sample(1, 0)[0] | {"stages": 1, "width": 8}
    same = [config | {"growth": g, "group_width": w} for g in (1, 2) for w in (0, 8, 32)]
    assert len({WIDE.realise(c).key for c in same}) == 1
    assert len(WIDE.networks) < sum(map(len, WIDE.networks.values()))


@pytest.mark.parametrize("with_pilot", [False, True])
def test_draws_are_distinct_feasible_and_grow(pilots, with_pilot):
    by = pilots if with_pilot else None
    drawn = WIDE.sample(200, 5, pilot=by)
    assert len({mark(config) for config in drawn}) == 200
    assert all(WIDE.valid(config) for config in drawn)
    assert WIDE.sample(60, 5, pilot=by) == drawn[:60]
    assert WIDE.sample(60, 6, pilot=by) != drawn[:60]
    assert all(json.loads(json.dumps(config)) == config for config in drawn)


def test_networks_come_once_before_any_comes_again():
    drawn = WIDE.sample(200, 5)
    assert len({WIDE.realise(c).key for c in drawn}) == 200


def test_what_does_not_fit_or_takes_too_long_is_not_drawn():
    config = WIDE.sample(1, 0)[0]
    huge = {"width": 8192, "group_width": 0, "growth": 1, "stages": 3, "depth": 5}
    assert not WIDE.valid(config | huge)
    tiny = {"width": 8, "stages": 1, "depth": 1, "feed": "device", "batch_size": 2048}
    assert not WIDE.valid(config | tiny | {"resolution": 16})  # an epoch of 20 ms
    for drawn in WIDE.sample(100, 1):
        assert WIDE.realise(drawn).complexity().params * 20 < MEMORY_BYTES


def test_a_draw_by_pilots_fills_the_power_axis(pilots):
    """Evenness: of ten equal strata of the true power that is reached, the emptiest."""
    found = {}
    for name, by in (("even over networks", None), ("by pilots", pilots)):
        watts = [power_w(config) for config in WIDE.sample(240, 2, pilot=by)]
        found[name] = np.histogram(watts, 10, (125, 770))[0]
        assert np.ptp(watts) > 0.8 * 725
    assert found["by pilots"].min() >= 12  # 24 each would be perfect
    assert found["even over networks"].min() < 12
    assert found["by pilots"].std() < 0.5 * found["even over networks"].std()


def test_the_predictor_knows_how_wrong_it_is(pilots):
    others = WIDE.sample(300, 77)
    errors = pilots.predict([WIDE.features(c) for c in others]) - [power_w(c) for c in others]
    rms = float(np.sqrt(np.mean(errors**2)))
    assert rms < 50
    assert pilots.error_w == pytest.approx(rms, rel=0.5)


def test_pilots_are_the_same_in_any_order_and_others_have_another_digest(pilots):
    runs = [(c, power_w(c)) for c in WIDE.sample(80, 1)]
    again = pilot.of(runs[::-1], WIDE.features, "test")
    assert again.digest == pilots.digest
    changed = pilot.of([*runs[:-1], (runs[-1][0], 1.0)], WIDE.features, "test")
    assert changed.digest != pilots.digest


def dataset(tmp_path, count):
    rows = [
        {
            "run_id": f"r{i}",
            "network_key": WIDE.realise(config).key,
            "setting": "single",
            "recording": "single-000",
            "seed": 0,
            "status": "ok",
            "epochs": 1,
            "time_s": 8.0,
            "gpu_energy_j": 8.0 * power_w(config),
            "node_energy_by": "",
            "flags": [],
            **{f"config_{key}": value for key, value in config.items()},
        }
        for i, config in enumerate(WIDE.sample(count, 1))
    ]
    path = tmp_path / "pilot" / "tables" / "dataset.parquet"
    path.parent.mkdir(parents=True)
    tables.write(rows, "dataset", path, tables.Meta("pilot", True))
    return path


def wattproof(*arguments):
    return subprocess.run(
        [sys.executable, "-c", "from wattproof.cli import main; main()", "space", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_pilots_from_a_campaign(tmp_path, pilots):
    path = dataset(tmp_path, 80)
    drawn, digest = pilot.draw(WIDE, str(path.parents[1]), 30, 4)
    assert digest == pilots.digest
    assert drawn == WIDE.sample(30, 4, pilot=pilots)
    done = wattproof("wide", "--sample", "30", "--seed", "4", "--pilot", str(path))
    assert done.returncode == 0, done.stderr
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert [{k: v for k, v in row.items() if k != "network_key"} for row in shown] == drawn


@pytest.mark.parametrize(
    ("name", "count", "words"),
    [
        ("wide", None, r"no pilot runs .*wide_pilot.yaml"),
        ("wide", 5, r"5 run\(s\) with GPU energy, .* at least 20"),
        ("ea_has_cifar10", 30, "do not follow pilot runs"),
    ],
)
def test_pilots_that_cannot_be(tmp_path, name, count, words):
    path = tmp_path / "none" if count is None else dataset(tmp_path, count)
    with pytest.raises(WattproofError, match=words):
        pilot.draw(space.get(name), str(path), 3, 0)
