"""Counters: oracle cases R1 to R9 (measurement.md section 6) and F16, F22, F24."""

from __future__ import annotations

import numpy as np
import pytest
from energy_tables import channel, clock, integrate, samples, windows

RANGE_J = 262_143.328850
SECONDS = np.arange(7.0)


def rapl(
    *series: tuple[str, list[float | None]], spans: tuple[tuple[float, float], ...] = ((0, 6),)
):
    """Integrate RAPL-like domains read once a second; returns the table by channel."""
    parts = [samples(name, np.arange(len(v), dtype=float), v, "rapl") for name, v in series]
    channels = [
        channel(name, "rapl", kind="energy", device=name, slot=None, period_s=1.0, wrap=RANGE_J)
        for name, _ in series
    ]
    found = integrate(parts, channels, windows(*spans), [clock("rapl")])
    return found.set_index(["channel", "window_id"])


EVEN = [0.0, 100.0, 200.0, 300.0, 400.0, 500.0, 600.0]


def test_r1_two_packages() -> None:
    found = rapl(("cpu0.package", EVEN), ("cpu1.package", EVEN))
    assert found["energy_j"].sum() == pytest.approx(1200)
    assert (found["method"] == "counter").all()
    assert found["flags"].map(len).sum() == 0


def test_r2_f1_f2_f3_a_failed_read_costs_nothing() -> None:
    """Code Carbon says 263 344 J or 1000 J, perun 263 143 J."""
    failed = [v if i != 3 else None for i, v in enumerate(EVEN)]
    found = rapl(("cpu0.package", EVEN), ("cpu1.package", failed))
    assert found["energy_j"].sum() == pytest.approx(1200)
    row = found.loc[("cpu1.package", "w0")]
    assert row["samples"] == 5
    assert row["longest_gap_s"] == 2.0
    tight = rapl(("cpu1.package", failed), spans=((0, 6), (0, 2)))
    assert tight["longest_gap_s"].tolist() == [2.0, 1.0]


def test_r2_the_gap_is_flagged_on_the_source_that_has_it() -> None:
    failed = [v if i != 3 else None for i, v in enumerate(EVEN)]
    parts = [samples(n, SECONDS, v, "rapl") for n, v in (("a", EVEN), ("b", failed))]
    channels = [channel(n, "rapl", kind="energy", device=n, period_s=1.0) for n in "ab"]
    found = integrate(parts, channels, windows((0, 6)), [clock("rapl")], max_gap_s=1.5)
    flags = found.set_index("channel")["flags"]
    assert flags["a"] == []
    assert flags["b"] == ["gap"]


def test_r3_f4_f20_f25_wrap() -> None:
    start = RANGE_J - 250
    wrapped = [(start + v) % RANGE_J for v in EVEN]
    row = rapl(("p", wrapped)).loc[("p", "w0")]
    assert row["energy_j"] == pytest.approx(600)
    assert row["flags"] == ["counter_wrap"]


def test_f24_a_window_that_closes_between_a_wrap_and_the_next_poll() -> None:
    start = RANGE_J - 250
    wrapped = [(start + v) % RANGE_J for v in EVEN]
    found = rapl(("p", wrapped), spans=((2, 2.7), (2.7, 4)))
    assert found["energy_j"].tolist() == pytest.approx([70, 130])


@pytest.mark.parametrize("at", [2, 3, 4])
def test_r4_a_failed_read_passed_on_as_zero_is_no_wrap(at: int) -> None:
    wrong = [v if i != at else 0.0 for i, v in enumerate(EVEN)]
    row = rapl(("p", wrong)).loc[("p", "w0")]
    assert row["energy_j"] == pytest.approx(600)
    assert row["flags"] == ["counter_ambiguous"]


def test_r5_f16_f22_reset_closes_the_segment_and_keeps_what_was_before() -> None:
    offset = 100_000.0
    reset = [offset + v for v in EVEN[:4]] + [10.0, 110.0, 210.0]
    found = rapl(("p", reset), spans=((0, 6), (0, 3), (4, 6)))
    whole, before, after = (found.loc[("p", f"w{i}")] for i in range(3))
    # 300 J before, 200 J after; the second in between is not known and not made up.
    assert whole["energy_j"] == pytest.approx(500)
    assert whole["coverage"] == pytest.approx(5 / 6)
    assert whole["flags"] == ["counter_reset"]
    assert before["energy_j"] == pytest.approx(300)
    assert after["energy_j"] == pytest.approx(200)
    assert before["flags"] == ["few_samples", "short_window"]


def test_r5_a_counter_that_never_wraps_cannot_have_wrapped() -> None:
    """F16: Alumet adds 2^64 when the driver restarts."""
    value = [1000.0, 1100.0, 1200.0, 5.0, 105.0, 205.0, 305.0]
    part = samples("gpu0.energy", SECONDS, value)
    found = integrate(
        part, [channel("gpu0.energy", kind="energy", period_s=1.0)], windows((0, 6))
    ).iloc[0]
    assert found["energy_j"] == pytest.approx(500)
    assert found["flags"] == ["counter_reset"]


def test_r6_two_wraps_may_hide_between_two_reads() -> None:
    t = [0.0, 1.0, 2.0, 302.0, 303.0, 304.0]
    value = [0.0, 100.0, 200.0, 30_200.0, 30_300.0, 30_400.0]
    part = samples("p", t, value, "rapl")
    one = channel("p", "rapl", kind="energy", wrap=RANGE_J, period_s=1.0)
    found = integrate(part, [one], windows((0, 304)), [clock("rapl")]).iloc[0]
    assert "counter_ambiguous" in found["flags"]
    assert np.isnan(found["energy_j"])
    # With a cap of 400 W no wrap fits into 300 s: the very same readings are proof.
    sure = integrate(part, [one], windows((0, 304)), [clock("rapl")], counter_cap_w=400).iloc[0]
    assert sure["energy_j"] == pytest.approx(30_400)


def test_r7_zero_length_window() -> None:
    row = rapl(("p", EVEN), spans=((3, 3),)).loc[("p", "w0")]
    assert row["energy_j"] == 0.0
    assert row["duration_s"] == 0.0
    assert np.isnan(row["mean_w"])
    assert row["energy_u_j"] == 0.0


def test_r8_f6_dram_counts_beside_its_package() -> None:
    found = rapl(
        ("cpu0.package", [0.0, 100.0, 200.0]),
        ("cpu0.dram", [0.0, 30.0, 60.0]),
        spans=((0, 2),),
    )
    assert found["energy_j"].tolist() == pytest.approx([200, 60])
    assert found["energy_j"].sum() == pytest.approx(260)


def test_r9_each_channel_is_one_row() -> None:
    """Mirrors are dropped by the source; here nothing is summed, so nothing counts twice."""
    found = rapl(("cpu0.package", EVEN), ("cpu1.package", EVEN))
    assert found.index.is_unique
    assert len(found) == 2


def test_r10_a_counter_that_cannot_be_read_has_no_energy() -> None:
    row = rapl(("p", [None] * 7)).loc[("p", "w0")]
    assert np.isnan(row["energy_j"])
    assert np.isnan(row["energy_u_j"])
    assert (row["samples"], row["coverage"]) == (0, 0.0)
    assert {"no_samples", "low_coverage"} <= set(row["flags"])


def test_a_counter_that_steps_is_timed_to_a_poll() -> None:
    """NVML: steps each 100 ms, read each 20 ms; 300 W until 5 s, then 100 W."""
    step = np.arange(0.037, 10, 0.1)
    energy = np.where(step < 5, 300 * step, 1500 + 100 * (step - 5))
    poll = np.arange(0.05, 9.95, 0.02)
    value = energy[np.searchsorted(step, poll, side="right") - 1]
    found = integrate(
        samples("gpu0.energy", poll, value),
        [channel("gpu0.energy", kind="energy")],
        windows((1, 4), (4.5, 5.5), (6, 9)),
    )
    # A poll period of timing error at each edge, times the power there.
    assert found["energy_j"].tolist() == pytest.approx([900, 200, 300], abs=300 * 0.02)


def test_a_pause_without_power_is_not_smeared() -> None:
    """200 W, nothing at all from 3 s to 7 s, 200 W: no energy inside the pause."""
    step = np.arange(0.0, 10.0, 0.1)
    energy = 200 * np.where(step < 3, step, np.where(step < 7, 3.0, step - 4))
    poll = np.arange(0.01, 9.99, 0.05)
    value = energy[np.searchsorted(step, poll, side="right") - 1]
    found = integrate(
        samples("gpu0.energy", poll, value),
        [channel("gpu0.energy", kind="energy")],
        windows((3.2, 6.8), (1, 3), (7, 9)),
    )
    assert found["energy_j"].tolist() == pytest.approx([0, 400, 400], abs=200 * 0.1)
    assert found["energy_j"].iloc[0] == pytest.approx(0, abs=1e-9)


def test_f26_the_ratio_of_counter_and_integral_is_on_both_rows() -> None:
    t = np.arange(0, 10.01, 0.1)
    found = integrate(
        [samples("gpu0.energy", t, 37.4 * t), samples("gpu0.power_instant", t, 65.4 + 0 * t)],
        [channel("gpu0.energy", kind="energy"), channel("gpu0.power_instant")],
        windows((2, 7)),
    )
    assert found["counter_ratio"].tolist() == pytest.approx([187 / 327, 187 / 327])


def test_an_edge_inside_a_long_hole_lowers_the_coverage_but_the_total_is_known() -> None:
    t = np.array([0.0, 1, 2, 12, 13, 14])
    part = samples("p", t, 50 * t)
    one = channel("p", kind="energy", period_s=1.0)
    found = integrate(part, [one], windows((0, 14), (0, 7), (7, 14), (4, 9)), min_coverage=0.0)
    assert found["energy_j"].tolist() == pytest.approx([700, 350, 350, 250])
    assert found["coverage"].tolist() == pytest.approx([1, 2 / 7, 2 / 7, 0])
    assert all("gap" in flags for flags in found["flags"])


def test_a_gpu_counter_read_as_slowly_as_it_steps_is_not_late() -> None:
    """Read each 100 ms, stepping each 100 ms: values never repeat and are 50 ms old on average."""
    errors = []
    for phase in np.random.default_rng(5).uniform(0, 0.1, 40):
        step = np.arange(-1 + phase, 12, 0.1)
        energy = 1000 + np.where(step < 5, 100 * step, 500 + 500 * (step - 5))
        poll = np.arange(-0.5, 11.5, 0.1) + 0.013
        value = energy[np.searchsorted(step, poll, side="right") - 1]
        part = samples("gpu0.energy", poll, value)
        found = integrate(part, [channel("gpu0.energy", kind="energy")], windows((4.5, 9.5)))
        errors.append(found["energy_j"].iloc[0] - (0.5 * 100 + 4.5 * 500))
    assert abs(np.mean(errors)) < 5
    assert np.abs(errors).max() <= 400 * 0.05 + 1
