"""Silent failures of other tools (measurement.md section 8), as far as energy arithmetic goes.

Each gives the truth, or an explicit flag. R1 to R9 and F1 to F4, F20, F22, F24, F25 on counters:
``test_counter_oracles.py``; F5, F7 to F12, F15 by one power channel: ``test_integral.py``. Here is
what is left of them, and the same cases on the channels that count most: counter and sample ring.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from driver_simulation import LEAD_S, Driver, Load, cut, record
from energy_tables import NS, channel, clock, integrate, samples, windows

from wattproof import offsocket

TENTHS = np.arange(101) / 10


def constant(watts: float) -> Load:
    return Load(np.array([-LEAD_S]), np.array([watts]))


def session(
    load: Load, length_s: float, gpu: int = 0, seed: int = 0
) -> tuple[pd.DataFrame, list[dict[str, object]]]:
    """Counter, ring and instant power of one GPU, under its own name."""
    frame, channels = record(Driver(), load, length_s, np.random.default_rng(seed))
    own = f"gpu{gpu}."
    frame["channel"] = frame["channel"].str.replace("gpu0.", own)
    for row in channels:
        row["channel"] = str(row["channel"]).replace("gpu0.", own)
        row["device"], row["slot"] = f"GPU-{gpu}", gpu
    return frame, channels


@pytest.mark.parametrize("watts", [(300.0,) * 4, (300.0, 50.0)], ids=["F7", "F8"])
def test_f7_f8_gpus_are_summed_not_averaged(watts: tuple[float, ...]) -> None:
    """carbontracker: 30 kJ for four GPUs at 300 W for 100 s, 17.5 kJ for 300 and 50 W."""
    parts = [session(constant(w), 100.0, i, i) for i, w in enumerate(watts)]
    table = integrate(
        [part for part, _ in parts],
        [row for _, rows in parts for row in rows],
        cut(np.array([0.0]), np.array([100.0])),
    )
    by_counter = table[table["channel"].str.endswith(".energy")]
    assert by_counter["energy_j"].to_numpy() == pytest.approx(100 * np.array(watts), rel=1e-5)
    # One energy a GPU, by its best channel: three channels tell the same joules.
    best = offsocket.nvml_by_gpu(table)
    assert best["gpu"].tolist() == list(range(len(watts)))
    assert best["energy_j"].sum() == pytest.approx(100 * sum(watts), rel=1e-5)


def test_f7_the_nodes_balance_adds_up_all_gpus_or_says_that_it_cannot() -> None:
    """Where a GPU's energy is unknown, the sum is unknown: neither 0 nor the mean of the rest."""
    parts = [session(constant(300.0), 20.0, i, i) for i in range(4)]
    frame = pd.concat([part for part, _ in parts], ignore_index=True)
    listed = [row for _, rows in parts for row in rows]
    window = cut(np.array([0.0]), np.array([20.0]))
    summed = offsocket.node_balance(integrate(frame, listed, window))
    assert summed["gpu_j"].tolist() == pytest.approx([24_000.0], rel=1e-5)
    frame.loc[frame["channel"].str.startswith("gpu2."), ["value", "status"]] = [np.nan, "error"]
    missing = offsocket.node_balance(integrate(frame, listed, window))
    assert missing["gpu_j"].isna().all()


def test_f9_constant_power_is_energy_by_every_route() -> None:
    """Zeus drops equal values: 0 J."""
    table = integrate(*session(constant(300.0), 12.0), cut(np.array([1.0]), np.array([11.0])))
    assert table["energy_j"].tolist() == pytest.approx([3000.0] * 3, rel=1e-5)
    assert table["flags"].map(len).sum() == 0
    assert table["counter_ratio"].dropna().tolist() == pytest.approx([1.0, 1.0], rel=1e-5)


def test_f10_a_step_is_where_it_was() -> None:
    """Zeus: 1500 J."""
    load = Load(np.array([-LEAD_S, 5.0]), np.array([100.0, 500.0]))
    spans = np.array([0.0, 4.0, 4.99]), np.array([10.0, 6.0, 5.01])
    table = integrate(*session(load, 10.0), cut(*spans)).set_index(["channel", "window_id"])
    assert table.loc["gpu0.energy"]["energy_j"].tolist() == pytest.approx([3000, 600, 6], abs=0.5)
    ring = table.loc["gpu0.power_samples"]
    assert ring["energy_j"].tolist() == pytest.approx([3000, 600, 6], abs=0.5)


def test_f11_a_quarter_of_a_second_is_75_joules_and_flagged_as_short() -> None:
    """Zeus: 30 J."""
    table = integrate(*session(constant(300.0), 10.0), cut(np.array([3.33]), np.array([3.58])))
    assert table["energy_j"].tolist() == pytest.approx([75.0] * 3, rel=1e-4)
    flags = table.set_index("channel")["flags"]
    assert "short_window" in flags["gpu0.energy"]
    assert flags["gpu0.power_samples"] == []


def test_f12_four_seconds_without_any_sample_are_flagged_on_each_channel() -> None:
    frame, channels = session(constant(300.0), 20.0)
    at = frame["device_ns"].astype("Int64")
    at = (at - at.min() + 98 * NS + NS // 2).fillna(frame["end_ns"]) - 100 * NS
    kept = frame[~((at > 8 * NS) & (at < 12 * NS)).to_numpy(dtype=bool)]
    table = integrate(kept, channels, cut(np.array([0.0, 0.0]), np.array([20.0, 7.0])))
    whole = table[table["window_id"] == "w0"].set_index("channel")
    before = table[table["window_id"] == "w1"]
    assert all("gap" in flags for flags in whole["flags"])
    # The counter knows the sum over the hole; power does not, and does not make it up.
    assert whole["energy_j"]["gpu0.energy"] == pytest.approx(6000, rel=1e-4)
    power = whole.loc[["gpu0.power_samples", "gpu0.power_instant"]]
    assert power["coverage"].tolist() == pytest.approx([0.8, 0.8], abs=0.02)
    known = power["energy_j"].dropna()
    assert known.tolist() == pytest.approx([300 * 16] * len(known), rel=0.01)
    assert before["energy_j"].tolist() == pytest.approx([2100] * 3, rel=1e-4)
    assert before["flags"].map(len).sum() == 0


def test_f15_noise_biases_no_route() -> None:
    """Alumet counts energy only where power rises: about half of it."""
    rng = np.random.default_rng(1)
    at = np.arange(-LEAD_S, 103.0, 0.05)
    load = Load(at, 300 + rng.normal(0, 20, len(at)))
    table = integrate(*session(load, 100.0), cut(np.array([0.0]), np.array([100.0])))
    true_j = float(load.until_j(100.0) - load.until_j(0.0))
    assert table["energy_j"].to_numpy() == pytest.approx([true_j] * 3, rel=2e-3)


def test_f16_f22_a_restarted_driver_is_a_reset_and_nothing_else() -> None:
    frame, channels = session(constant(300.0), 20.0)
    late = (frame["channel"] == "gpu0.energy") & (frame["end_ns"] > 110 * NS)
    frame.loc[late, "value"] -= frame.loc[late, "value"].iloc[0] - 1.0
    spans = cut(np.array([1.0, 1.0, 11.0]), np.array([19.0, 9.0, 19.0]))
    table = integrate(frame, channels, spans)
    own = table[table["channel"] == "gpu0.energy"].set_index("window_id")
    assert own["flags"].tolist() == [["counter_reset"], [], []]
    assert own["energy_j"][["w1", "w2"]].tolist() == pytest.approx([2400, 2400], rel=1e-4)
    # What was counted, and by how much time it falls short, is said; never negative, never 2^64.
    whole = own.loc["w0"]
    assert whole["energy_j"] == pytest.approx(300 * 18 * whole["coverage"], rel=2e-3)
    assert whole["coverage"] < 1


def test_f26_idle_counter_and_integral_that_disagree_are_told_and_not_mixed() -> None:
    """Zeus 181: 187 J by the counter, 327 J by power, in 5 s."""
    frame, channels = session(constant(37.4), 10.0)
    power = frame["channel"] != "gpu0.energy"
    frame.loc[power, "value"] *= 327 / 187
    table = integrate(frame, channels, cut(np.array([2.0]), np.array([7.0]))).set_index("channel")
    assert table["energy_j"]["gpu0.energy"] == pytest.approx(187, rel=1e-3)
    assert table["energy_j"]["gpu0.power_instant"] == pytest.approx(327, rel=1e-3)
    assert table["flags"]["gpu0.energy"] == ["counter_ring_mismatch"]
    assert table["counter_ratio"]["gpu0.energy"] == pytest.approx(187 / 327, rel=1e-3)


def test_f28_a_year_of_uptime_costs_no_resolution() -> None:
    """perun's float32 axis: 2 s apart after a year. Edges here are met to the nanosecond."""
    late_ns = 365 * 86_400 * NS + 123_456_789
    part = samples("gpu0.power_instant", TENTHS, 40 * TENTHS, origin_ns=late_ns)
    spans = windows((1.0, 2.0), (5.000_000_001, 5.000_000_002), origin_ns=late_ns)
    found = integrate(part, [channel("gpu0.power_instant")], spans)
    assert found["energy_j"].tolist() == pytest.approx([60.0, 2e-7], rel=1e-6)


def test_r1_r2_six_seconds_of_two_packages_are_1200_joules_whatever_failed() -> None:
    """One failed read of one file: Code Carbon 263 344 or 1000 J, perun 263 143 J."""
    even = 100.0 * np.arange(7)
    for lost in range(1, 6):
        failed = [None if i == lost else v for i, v in enumerate(even)]
        parts = [samples("cpu0.package", np.arange(7.0), even, "rapl"),
                 samples("cpu1.package", np.arange(7.0), failed, "rapl")]  # fmt: skip
        rows = [
            channel(f"cpu{i}.package", "rapl", kind="energy", device=f"p{i}", period_s=1.0,
                    wrap=262_143.328850)
            for i in range(2)
        ]  # fmt: skip
        found = integrate(parts, rows, windows((0, 6)), [clock("rapl")])
        assert found["energy_j"].sum() == pytest.approx(1200)
