"""Gain of each board's sensor from the node's meter: what can be told, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from assessment_node import channels, load, node_powers, table, window
from offline_campaign import calibrated

from wattproof import calibration, offsocket
from wattproof.calibration import boards
from wattproof.virtual import node, presets

GROWTH = 0.2
GAINS = (0.96, 1.03, 1.01)


def campaign(moving=(0, 1, 2), together=False, recordings=6, meter=True, noise_w=0.0):
    """Three boards at GAINS; the rest of the node grows by GROWTH a watt of GPU."""
    rng = np.random.default_rng(1)
    rows = []
    for i in range(recordings):
        day_w = rng.normal(0, 10)  # the meter's offset is another one each day
        for run in range(10):
            level = rng.uniform(100, 400, 3)
            if together:
                level[:] = level[0]
            true = [level[k] if k in moving else 50.0 for k in range(3)]
            packages, dram = rng.uniform(80, 160), rng.uniform(20, 40)
            shown = node_powers(packages, dram, [g * w for g, w in zip(GAINS, true, strict=True)],
                                0.0)  # fmt: skip
            node_w = 300 + day_w + 1.1 * packages + 1.4 * dram + (1 + GROWTH) * sum(true)
            shown["node.ac"] = node_w + noise_w * rng.normal() if meter else None
            name = f"r{i}-{run}"
            rows.append(window(name, shown, level="run", recording=f"rec-{i}", run_id=name))
    return table(*rows)


def found(energy):
    rows = calibration.calibrate(energy, channels(), offsocket.fit(energy), {"alpha": 0.05}).table
    return rows[rows["estimator"] == boards.NAME].set_index("device")


def parameters(row):
    return {k: v["value"] for k, v in json.loads(row["parameters"]).items()}


def test_gains_of_boards_that_move_separately():
    rows = found(campaign())
    assert list(rows.index) == ["GPU-0", "GPU-1", "GPU-2"]
    middle = 1 / np.mean(1 / np.array(GAINS))
    for k, gain in enumerate(GAINS):
        says = parameters(rows.iloc[k])
        assert says["slope"] == pytest.approx((1 + GROWTH) / gain)
        assert says["relative_gain"] == pytest.approx(gain / middle)
        assert says["gain_at_least"] < gain
        assert "absolute gain cannot be told" in rows.iloc[k]["refused"]
        assert "offset" in rows.iloc[k]["refused"]
        low, high, unit = json.loads(rows.iloc[k]["valid_range"])["gpu_w"]
        assert 100 * gain <= low < high <= 400 * gain
        assert unit == "W"


def test_uncertainties_hold_the_truth_under_noise():
    rows = found(campaign(noise_w=3.0))
    middle = 1 / np.mean(1 / np.array(GAINS))
    for k, gain in enumerate(GAINS):
        says = json.loads(rows.iloc[k]["parameters"])["relative_gain"]
        assert 0.0005 < says["u"] < 0.02
        assert abs(says["value"] - gain / middle) < 4 * says["u"]


def test_a_board_that_never_moved_is_refused():
    rows = found(campaign(moving=(0, 1)))
    assert "it moved by itself by only 0.0 W" in rows.loc["GPU-2", "refused"]
    assert rows.loc["GPU-2", "parameters"] == "{}"
    assert "relative_gain" in rows.loc["GPU-0", "parameters"]
    alone = found(campaign(moving=(1,)))
    assert "no relative gain" in alone.loc["GPU-1", "refused"]
    assert parameters(alone.loc["GPU-1"])["slope"] == pytest.approx((1 + GROWTH) / GAINS[1])


def test_boards_that_move_together_are_refused():
    rows = found(campaign(together=True))
    assert (rows["parameters"] == "{}").all()
    assert rows["refused"].str.contains("moved by itself by only 0.0 W").all()


def test_too_little_to_tell():
    assert found(campaign(meter=False))["refused"].str.contains("no energy from the meter").all()
    assert found(campaign(recordings=3))["refused"].str.contains("fewer than 4 recordings").all()
    loads = table(*[load("idle", i, node_powers(70, 10, [50.0], 90.0)) for i in range(3)])
    assert found(loads)["refused"].str.contains("fewer than 4 recordings").all()


def test_gains_known_too_badly_are_withheld():
    rows = found(campaign(noise_w=150.0))
    said = rows["refused"].str.contains("known only within|tells its slope only as")
    assert said.all()
    assert not rows["parameters"].str.contains("relative_gain").any()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_gains_of_virtual_boards() -> None:
    """Against the hidden gains, over seeds: errors are as large as the uncertainties say."""
    parts = presets.get("workstation")
    scores = []
    for seed in range(1, 7):
        rows = calibrated("workstation", seed, 24, 4, "packed").table
        told = boards.relative_gains(rows)
        spec = node.draw("workstation", parts, seed, [seed], 10**9, Path("unused"))
        gains = np.array([board.gain for board in spec.boards])
        middle = 1 / np.mean(1 / gains)
        mine = rows[rows["estimator"] == boards.NAME]
        for k, (device, text) in enumerate(zip(mine["device"], mine["parameters"], strict=True)):
            known = json.loads(text)
            if "gain_at_least" in known:
                bound = known["gain_at_least"]
                assert bound["value"] - 2 * bound["u"] <= gains[k]
            if device in told:
                assert told[device].value == pytest.approx(gains[k] / middle, abs=0.03)
                scores.append((told[device].value - gains[k] / middle) / told[device].u)
    assert len(scores) >= 8
    assert np.sqrt(np.mean(np.square(scores))) < 2.5
