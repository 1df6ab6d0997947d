"""Counter and ring in corners: too little of them, zeros, sensors that nobody described."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from driver_simulation import Driver, Load, cut, make_load, record
from energy_tables import NS, channel, clock, integrate, samples, windows
from hypothesis import given, settings
from hypothesis import strategies as st

from wattproof import config, energy, preflight, sensing
from wattproof.energy.sensor import describe
from wattproof.errors import WattproofError
from wattproof.sensing import SensorDescription

ROOT = Path(__file__).resolve().parents[2]


def both(
    counter: tuple[np.ndarray, np.ndarray], ring: tuple[np.ndarray, np.ndarray], span: tuple
) -> pd.DataFrame:
    """Integrate a counter and a ring given by hand; the wall clock is the recording's."""
    stamps = np.rint(ring[0] * NS).astype(np.int64)
    late = samples("gpu0.power_samples", ring[0] + 0.3, ring[1], device_ns=stamps)
    return integrate(
        [samples("gpu0.energy", *counter), late],
        [
            channel("gpu0.energy", kind="energy"),
            channel("gpu0.power_samples", clock="wall", period_s=0.02),
        ],
        windows(span),
    ).set_index("channel")


def test_a_counter_that_stands_still_under_load_is_flagged() -> None:
    """DCGM 171: 0 J of energy with 247 W."""
    t, ring = np.arange(0, 20, 0.1), np.arange(0, 20, 0.02)
    found = both((t, 500.0 + 0 * t), (ring, 247.0 + 0 * ring), (5.0, 15.0))
    assert found["energy_j"].tolist() == pytest.approx([0.0, 2470.0])
    assert found["flags"]["gpu0.energy"] == ["counter_ring_mismatch"]


def test_an_idle_board_that_counts_nothing_and_shows_nothing_is_fine() -> None:
    t, ring = np.arange(0, 20, 0.1), np.arange(0, 20, 0.02)
    found = both((t, 500.0 + 0 * t), (ring, 0.0 * ring), (5.0, 15.0))
    assert found["energy_j"].tolist() == pytest.approx([0.0, 0.0])
    assert found["flags"]["gpu0.energy"] == []


def test_a_ring_that_is_elsewhere_in_time_changes_nothing() -> None:
    t, ring = np.arange(0, 20, 0.1), np.arange(100, 120, 0.02)
    found = both((t, 300.0 * t), (ring, 100.0 + 0 * ring), (5.0, 15.0))
    assert found["energy_j"]["gpu0.energy"] == pytest.approx(3000.0)
    assert found["flags"]["gpu0.energy"] == []
    assert "no_samples" in found["flags"]["gpu0.power_samples"]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.floats(0, 800), min_size=0, max_size=40),
    st.lists(st.floats(0, 800), min_size=0, max_size=150),
    st.floats(0, 3),
    st.floats(0.05, 0.3),
)
def test_whatever_there_is_the_whole_is_what_was_counted(
    power: list[float], ring: list[float], late_s: float, every_s: float
) -> None:
    """No number of samples, and no nonsense in them, breaks the counter's own sum."""
    t = np.arange(len(power)) * every_s
    counted = np.cumsum(power) * every_s
    stamps = late_s + np.arange(len(ring)) * 0.02
    found = both((t, counted), (stamps, np.array(ring)), (0.0, max(len(power) - 1, 1) * every_s))
    row = found.loc["gpu0.energy"]
    if row["coverage"] == 1.0 and len(power) > 1:
        # From the first step to the last: up to an update at each end may lie outside.
        most = counted[-1] - counted[0] + 2 * 800 * 0.3
        assert -1e-6 <= row["energy_j"] <= most
    assert row["energy_u_j"] >= 0 or np.isnan(row["energy_u_j"])
    assert 0 <= row["coverage"] <= 1


def test_epochs_of_a_fused_run_add_up() -> None:
    rng = np.random.default_rng(8)
    load = make_load("training", 40.0, rng)
    frame, channels = record(Driver(), load, 40.0, rng)
    edges = np.concatenate(([0.0], np.sort(rng.uniform(0, 40, 9)), [40.0]))
    start, end = np.append(edges[:-1], 0.0), np.append(edges[1:], 40.0)
    found = integrate(frame, channels, cut(start, end))
    for _, rows in found.groupby("channel"):
        assert rows["energy_j"].to_numpy()[:-1].sum() == pytest.approx(
            rows["energy_j"].to_numpy()[-1], rel=1e-9
        )


def test_same_input_same_numbers() -> None:
    frame, channels = record(
        Driver(), Load(np.array([-3.0, 4.0]), np.array([100.0, 300.0])), 10.0,
        np.random.default_rng(1),
    )  # fmt: skip
    spans = cut(np.array([1.0]), np.array([9.0]))
    first, second = (integrate(frame, channels, spans) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


TOLD = SensorDescription("GPU-0", "energy", 0.1, 0.05, 0.01, "boxcar", {"delay_s": 0.002})


def test_who_is_believed_about_a_sensor() -> None:
    counter = channel("gpu0.energy", kind="energy")
    instant = channel("gpu0.power_instant", identity={"update_s": 0.1, "window_s": 0.025})
    other = channel("gpu1.power_instant", device="GPU-1", identity={"window_s": 0.025})
    told = describe(counter, [instant], {("GPU-0", "energy"): TOLD})
    assert (told.window_s, told.delay_s, told.delay_u_s) == (0.05, 0.01, 0.002)
    assert told.part_time
    by_name = describe(counter, [instant], {})
    assert (by_name.window_s, by_name.source, by_name.part_time) == (0.025, "sibling", True)
    assert not describe(counter, [other], {}).part_time
    full = channel("gpu0.power_instant", identity={"update_s": 0.1, "window_s": 0.1})
    assert not describe(counter, [full], {}).part_time


def test_sensor_descriptions_come_by_path_and_by_name_of_the_key(tmp_path: Path) -> None:
    path = tmp_path / "sensors.json"
    sensing.save(path, [TOLD], {"simulated": True})
    t = np.arange(0, 10, 0.1)
    part = samples("gpu0.energy", t, 300 * t)
    rows = pd.DataFrame([channel("gpu0.energy", kind="energy")])
    clocks = pd.DataFrame([clock()])
    by_path = energy.integrate(part, rows, clocks, windows((2, 8)), {"sensors": str(path)})
    by_map = energy.integrate(
        part, rows, clocks, windows((2, 8)), {"sensors": {("GPU-0", "energy"): TOLD}}
    )
    pd.testing.assert_frame_equal(by_path, by_map)
    with pytest.raises(WattproofError, match=r"nowhere\.json"):
        energy.integrate(part, rows, clocks, windows((2, 8)), {"sensors": "nowhere.json"})
    with pytest.raises(WattproofError, match=r"analysis\.sensors"):
        energy.integrate(part, rows, clocks, windows((2, 8)), {"sensors": 5})


def test_a_campaign_with_a_missing_sensor_description_does_not_start(tmp_path: Path) -> None:
    schema = config.load_schema(ROOT / "config" / "schema" / "campaign.schema.json")
    demo = config.read_yaml(ROOT / "config" / "config.yaml")
    demo = {**demo, "analysis": {**demo["analysis"], "sensors": str(tmp_path / "none.json")}}
    with pytest.raises(WattproofError, match=r"analysis\.sensors.*wattproof characterise"):
        preflight.check(config.validate(demo, schema, "c.yaml"), "c.yaml")
    (tmp_path / "none.json").write_text(json.dumps({"schema": 1, "sensors": []}))
    preflight.check(config.validate(demo, schema, "c.yaml"), "c.yaml")


def test_what_characterise_refused_is_taken_from_the_board() -> None:
    """A refusal must not make a part-time sensor look whole, nor a lag's constant be a window."""
    counter = channel("gpu0.energy", kind="energy")
    instant = channel(
        "gpu0.power_instant", averaging_s=0.025, identity={"window_s": 0.025, "update_s": 0.1}
    )
    refused = SensorDescription("GPU-0", "energy", update_s=0.1, refused="The load was too weak.")
    known = describe(counter, [instant], {("GPU-0", "energy"): refused})
    assert (known.window_s, known.part_time, known.source) == (0.025, True, "sibling")
    lag = SensorDescription("GPU-0", "energy", update_s=0.1, window_s=1.0, averaging="lag")
    assert describe(counter, [instant], {("GPU-0", "energy"): lag}).window_s == 0.025


def test_a_sum_over_devices_may_draw_more_than_one_device() -> None:
    """`cap_w` in the identity: 8 kW of a node are no reset of its counter."""
    t_s = np.arange(0.0, 20.0, 1.0)
    node = {"kind": "energy", "period_s": 1.0, "identity": {"cap_w": 1e5}}
    for cap, energy_j in ((node, 8000.0 * 10), ({**node, "identity": {}}, None)):
        row = channel("codecarbon.node", "codecarbon", **cap)
        part = samples("codecarbon.node", t_s, 8000.0 * t_s, "codecarbon")
        table = integrate(part, [row], windows((5, 15)), [clock("codecarbon")])
        found = table["energy_j"].iloc[0]
        assert (found == pytest.approx(energy_j)) if energy_j else np.isnan(found)
