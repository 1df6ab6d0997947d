"""Integrals against closed forms, oracle cases F5 and F9 to F18, edges and properties."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from energy_tables import NS, channel, clock, integrate, samples, windows
from hypothesis import given, settings
from hypothesis import strategies as st

from wattproof import energy, tables
from wattproof.errors import WattproofError

GPU = channel("gpu0.power_instant")
EPOCH_NS = 1_764_000_000_123_456_789  # float64 knows this only to 256 ns
TENTHS = np.arange(101) / 10


def by_power(t, value, *spans, **options):
    """Energies of the windows by one instant power channel."""
    return integrate(samples("gpu0.power_instant", t, value), [GPU], windows(*spans), **options)


def test_f9_constant_power() -> None:
    """Zeus drops equal values and says 0 J."""
    found = by_power(TENTHS, 300 + 0 * TENTHS, (0, 10)).iloc[0]
    assert found["energy_j"] == pytest.approx(3000)
    assert found["mean_w"] == pytest.approx(300)
    assert found["coverage"] == 1.0
    assert found["flags"] == []
    assert found["method"] == "integral"
    assert (found["samples"], found["expected"]) == (100, pytest.approx(100))


def test_f10_step() -> None:
    t = np.arange(-5, 106) / 10 + 0.05
    value = np.where(t < 5, 100.0, 500.0)
    plug = integrate(
        samples("plug.power", t, value), [channel("plug.power")], windows((0, 10), (0, 4))
    )
    assert plug["energy_j"].tolist() == pytest.approx([3000, 400])
    # A board holds its value for up to 100 ms: the step may have been that much earlier.
    board = by_power(t, value, (0, 10), (0, 4))
    assert board["energy_j"].tolist() == pytest.approx([3000, 400], abs=400 * 0.05 + 1e-6)


def test_f11_a_window_shorter_than_three_samples() -> None:
    """Zeus, without interpolation at the edges: 30 J."""
    found = by_power(TENTHS, 300 + 0 * TENTHS, (3.33, 3.58)).iloc[0]
    assert found["energy_j"] == pytest.approx(75)
    assert found["flags"] == ["few_samples", "short_window"]


def test_f12_a_hole_is_flagged_and_not_bridged() -> None:
    keep = (TENTHS <= 3) | (TENTHS >= 7)
    found = by_power(TENTHS[keep], 300 + 0 * TENTHS[keep], (0, 10), (0, 3), min_coverage=0.5)
    whole, before = found.iloc[0], found.iloc[1]
    assert whole["energy_j"] == pytest.approx(1800)
    assert whole["coverage"] == pytest.approx(0.6)
    assert whole["longest_gap_s"] == pytest.approx(4)
    assert whole["flags"] == ["gap"]
    # The truth, 3000 J, is inside the interval at 95 %.
    assert whole["energy_j"] + 1.96 * whole["energy_u_j"] > 3000
    assert before["energy_j"] == pytest.approx(900)
    refused = by_power(TENTHS[keep], 300 + 0 * TENTHS[keep], (0, 10)).iloc[0]
    assert np.isnan(refused["energy_j"])
    assert refused["flags"] == ["low_coverage", "gap"]


def test_f5_f17_f19_a_failed_read_is_not_zero_watts() -> None:
    value: list[float | None] = [300.0] * 11
    value[5] = None
    found = by_power(np.arange(11.0), value, (0, 10)).iloc[0]
    assert found["energy_j"] == pytest.approx(3000)
    assert found["samples"] == 9


def test_f7_f8_every_gpu_has_its_own_energy() -> None:
    names = [f"gpu{i}.power_instant" for i in range(2)]
    found = integrate(
        [samples(n, TENTHS * 10, p + 0 * TENTHS) for n, p in zip(names, (300, 50), strict=True)],
        [channel(n, device=n, slot=i, period_s=1.0) for i, n in enumerate(names)],
        windows((0, 100)),
    )
    assert found["energy_j"].tolist() == pytest.approx([30_000, 5_000])


def test_f15_noise_does_not_bias() -> None:
    rng = np.random.default_rng(0)
    t = np.arange(0, 100.01, 0.1)
    found = by_power(t, 300 + rng.normal(0, 20, len(t)), (0, 100)).iloc[0]
    assert found["energy_j"] == pytest.approx(30_000, rel=3 * 20 / 300 / np.sqrt(1000))


def test_ramp_is_exact_at_any_edge() -> None:
    """P = 40 t: energy 20 (b² − a²), edges between samples."""
    spans = ((0, 10), (1.234, 8.765), (2.01, 2.02))
    found = by_power(TENTHS, 40 * TENTHS, *spans)
    assert found["energy_j"].tolist() == pytest.approx([20 * (b * b - a * a) for a, b in spans])


def test_zero_length_window_and_f18_half_open_windows() -> None:
    found = by_power(TENTHS, 300 + 0 * TENTHS, (5, 5), (5, 6))
    assert found["energy_j"].iloc[0] == 0.0
    assert np.isnan(found["mean_w"].iloc[0])
    assert found["samples"].tolist() == [0, 10]


def test_averaging_sets_values_back() -> None:
    """A 1 s running mean of a ramp, read at its end, is the ramp half a second ago."""
    average = channel("gpu0.power_average", averaging_s=1.0)
    t = np.arange(0, 20.01, 0.1)
    part = samples("gpu0.power_average", t, 40 * (t - 0.5))
    found = integrate(part, [average], windows((5, 15)))
    assert found["energy_j"].iloc[0] == pytest.approx(20 * (15**2 - 5**2))


def meter(t, value, *spans, averaging_s: float = 0.1, **options):
    node = channel("node.ac", "meter", averaging_s=averaging_s, period_s=averaging_s, slot=None)
    part = samples("node.ac", t, value, "meter", streamed=True)
    return integrate(part, [node], windows(*spans), [clock("meter")], **options)


def test_meter_cycles_are_integrated_by_overlap() -> None:
    """Means over (t − 0.1, t]: a jump at a cycle's end is met to the microsecond."""
    end = np.arange(1, 101) / 10
    value = np.where(end <= 5.05, 100.0, 500.0)
    found = meter(end, value, (0, 10), (4.95, 5.05), (0.03, 0.05))
    assert found["energy_j"].tolist() == pytest.approx([3000, 5 + 25, 2])
    assert found["coverage"].tolist() == [1, 1, 1]


def test_a_lost_cycle_is_bridged_and_a_long_hole_is_not() -> None:
    end = np.arange(1, 101) / 10
    value = 200.0 + 0 * end
    lost = np.delete(np.arange(100), [30])
    assert meter(end[lost], value[lost], (0, 10))["energy_j"].iloc[0] == pytest.approx(2000)
    hole = np.delete(np.arange(100), np.arange(30, 60))
    found = meter(end[hole], value[hole], (0, 10), min_coverage=0.5).iloc[0]
    assert found["energy_j"] == pytest.approx(1400)
    assert found["coverage"] == pytest.approx(0.7)
    assert "gap" in found["flags"]


def test_cycles_of_whole_mains_periods() -> None:
    """0.5002 s for 0.5 s asked (LMG): no millijoule falls between cycles."""
    end = np.cumsum(np.full(40, 0.5002))
    found = meter(end, 300 + 0 * end, (1, 19), averaging_s=0.5).iloc[0]
    assert found["energy_j"] == pytest.approx(5400)
    assert found["coverage"] == 1.0


def smi(t, value, *spans, **options):
    rule = channel("gpu0.power", "smi", identity={"energy_rule": "mean"})
    part = samples("gpu0.power", t, value, "smi")
    return integrate(part, [rule], windows(*spans), [clock("smi")], **options)


def test_mean_rule_is_mean_times_duration() -> None:
    found = smi([0.5, 1.0, 3.0, 9.0], [100, 200, 300, 900], (0, 4), (4, 8))
    first, second = found.iloc[0], found.iloc[1]
    assert first["method"] == "mean"
    assert first["energy_j"] == pytest.approx(200 * 4)
    assert first["coverage"] == pytest.approx(3 * 0.1 / 4)
    assert {"few_samples", "low_coverage"} <= set(first["flags"])
    assert np.isnan(second["energy_j"])
    assert "no_samples" in second["flags"]


def test_a_refused_clock_gives_no_energy() -> None:
    node = channel("node.ac", "meter", clock="device", averaging_s=0.1)
    t = np.arange(1, 101) / 10
    stamps = np.rint(t * NS).astype(np.int64)
    part = samples("node.ac", t, 100 + 0 * t, "meter", streamed=True, device_ns=stamps)
    nothing = {"offset_ns": None, "drift_ppm": None, "anchor_ns": None, "residual_ns": None}
    refused = clock("meter", accepted=False, **nothing)
    found = integrate(part, [node], windows((1, 9)), [refused]).iloc[0]
    assert np.isnan(found["energy_j"])
    assert found["flags"] == ["clock_not_proven"]
    assert integrate(part, [node], windows((1, 9)), [clock("other")]).iloc[0]["flags"] == [
        "clock_not_proven"
    ]
    # Proven, 2 s ahead: the same stamps cover the window two seconds later.
    proven = clock("meter", offset_ns=2 * NS, residual_ns=1e7)
    found = integrate(part, [node], windows((2, 12), (0, 10)), [proven])
    assert found["energy_j"].iloc[0] == pytest.approx(1000)
    assert found["coverage"].tolist() == pytest.approx([1, 0.8])


@pytest.mark.parametrize("offset_ns", [-1, 0, 1])
def test_samples_at_the_edge_of_epoch_sized_stamps(offset_ns: int) -> None:
    """surrogates.md section 14: float64 stamps put a run's first sample before its first mark."""
    t = np.arange(0, 20) / 10
    cut = windows((0.5, 1.5), origin_ns=EPOCH_NS)
    cut["start_ns"] += offset_ns
    cut["end_ns"] += offset_ns
    part = samples("gpu0.power_instant", t, 100 + 0 * t, origin_ns=EPOCH_NS)
    found = integrate(part, [GPU], cut).iloc[0]
    # [start, end): the sample at the start is in, the one at the end is not.
    shifted = (t * 10).round().astype(int)
    inside = [
        (500_000_000 + offset_ns) <= i * 100_000_000 < (NS * 3 // 2 + offset_ns) for i in shifted
    ]
    assert found["samples"] == sum(inside) == 10
    assert found["energy_j"] == pytest.approx(100, rel=1e-12)
    assert found["longest_gap_s"] == pytest.approx(0.1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 800), min_size=5, max_size=60),
    st.lists(st.floats(0.01, 0.99), min_size=1, max_size=6, unique=True),
    st.sampled_from(["integral", "counter", "cycles"]),
    st.integers(0, 10**18),
)
def test_epochs_of_a_run_add_up(
    power: list[float], cuts: list[float], method: str, origin_ns: int
) -> None:
    t = np.arange(len(power)) / 10
    length = t[-1]
    inner = sorted(cuts)
    edges = [0.0, *(c * length for c in inner), length]
    spans = [(0.0, length), *pairwise(edges)]
    cut = windows(*spans, origin_ns=origin_ns)
    if method == "counter":
        one = channel("gpu0.energy", kind="energy")
        part = samples("gpu0.energy", t, np.cumsum(power) / 10, origin_ns=origin_ns)
    elif method == "cycles":
        one = channel("node.ac", averaging_s=0.1)
        part = samples("node.ac", t, power, origin_ns=origin_ns, streamed=True)
    else:
        one = GPU
        part = samples("gpu0.power_instant", t, power, origin_ns=origin_ns)
    found = integrate(part, [one], cut)["energy_j"].to_numpy()
    assert found[1:].sum() == pytest.approx(found[0], rel=1e-9, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 800), min_size=3, max_size=40, unique=True),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_fast_path_against_a_slow_reference(power: list[float], a: float, b: float) -> None:
    """Trapezoids of a finely interpolated series."""
    t = np.arange(len(power)) / 10
    start, end = sorted((a * t[-1], b * t[-1]))
    start, end = round(start, 6), round(end, 6)
    inner = t[(t > start) & (t < end)]
    grid = np.concatenate(([start], inner, [end]))
    slow = np.trapezoid(np.interp(grid, t, power), grid)
    fast = by_power(t, power, (start, end)).iloc[0]
    assert fast["energy_j"] == pytest.approx(slow, rel=1e-9, abs=1e-9)
    holes = np.diff(np.concatenate(([start], t[(t >= start) & (t < end)], [end])))
    assert fast["longest_gap_s"] == pytest.approx(holes.max(), abs=1e-9)


def test_uncertainty_of_a_constant_by_hand() -> None:
    """1 % of reading and 0.5 W of range, rectangular: 3000 J ± √(30² + 5²)/√3 J."""
    exact = {**GPU, "accuracy_reading": 0.01, "accuracy_range_w": 0.5}
    part = samples("gpu0.power_instant", TENTHS, 300 + 0 * TENTHS)
    found = integrate(part, [exact], windows((0, 10))).iloc[0]
    assert found["energy_u_j"] == pytest.approx(np.hypot(30, 5) / np.sqrt(3))


def test_uncertainty_covers_unknown_edges() -> None:
    """Step of 400 W at a random phase: the stated 95 % interval covers the truth in ≥ 90 %."""
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(60):
        phase = rng.uniform(0, 0.1)
        t = np.arange(-1, 11, 0.1) + phase
        found = by_power(t, np.where(t < 5, 100.0, 500.0), (5, 8)).iloc[0]
        covered.append(abs(found["energy_j"] - 1500) <= 1.96 * found["energy_u_j"])
    assert np.mean(covered) >= 0.9


def test_table_conforms_and_has_a_row_for_each_window_and_channel() -> None:
    t = TENTHS
    parts = [samples("gpu0.power_instant", t, 100 + 0 * t), samples("gpu0.util", t, 50 + 0 * t)]
    listed = [GPU, channel("gpu0.util", kind="utilisation", unit="%")]
    found = integrate(parts, listed, windows((1, 2), (2, 3)))
    assert len(tables.conform(found, "energy")) == 2
    assert set(energy.FLAGS) >= {flag for flags in found["flags"] for flag in flags}
    arrow = energy.integrate(
        tables.conform(pd.concat(parts), "samples"),
        tables.conform(pd.DataFrame(listed), "channels"),
        pd.DataFrame([clock()]),
        tables.conform(windows((1, 2), (2, 3)), "windows"),
        {},
    )
    assert arrow["energy_j"].tolist() == found["energy_j"].tolist()


def test_other_sessions_are_left_alone() -> None:
    part = samples("gpu0.power_instant", TENTHS, 100 + 0 * TENTHS)
    later = windows((0, 1)).assign(session=1)
    assert len(integrate(part, [GPU], later)) == 0


def test_wrong_units_are_refused_in_words() -> None:
    wrong = channel("gpu0.power_instant", unit="mW")
    with pytest.raises(WattproofError, match="mW"):
        integrate(samples("gpu0.power_instant", [0, 1], [1, 1]), [wrong], windows((0, 1)))


def test_a_sensor_that_holds_its_value_is_timed_by_its_updates() -> None:
    """NVML: new value each 100 ms, polled each 50 ms; half a second of a 400 W step is 200 J."""
    rng = np.random.default_rng(3)
    errors = []
    for phase in rng.uniform(0, 0.1, 40):
        update = np.arange(-1 + phase, 12, 0.1)
        value = np.where(update < 5, 100.0, 500.0) + rng.normal(0, 0.1, len(update))
        poll = np.arange(-0.5, 11.5, 0.05) + 0.013
        held = value[np.searchsorted(update, poll, side="right") - 1]
        found = by_power(poll, held, (4.5, 9.5)).iloc[0]
        errors.append(found["energy_j"] - (0.5 * 100 + 4.5 * 500))
    # Without bias: taken at face value, reads are 50 ms old on average, and 20 J would be missing.
    assert abs(np.mean(errors)) < 5
    assert np.abs(errors).max() < 400 * 0.08


def test_a_held_constant_is_covered_throughout() -> None:
    t = np.arange(0, 60, 0.05)
    value = np.where((t > 20) & (t < 40), 75.0, 100 + np.floor(t / 0.1) % 7)
    found = by_power(t, value, (25, 35), (0, 59)).iloc
    assert found[0]["energy_j"] == pytest.approx(750)
    assert [found[i]["coverage"] for i in (0, 1)] == [1.0, 1.0]
