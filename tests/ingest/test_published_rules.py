"""The rules of published results against figures worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattproof.errors import WattproofError
from wattproof.ingest import rules

S = 1_000_000_000
T0 = 1_715_341_078_316_000_000


def at(*seconds):
    return np.array([T0 + round(s * S) for s in seconds], dtype=np.int64)


def test_energy_by_hand_with_the_mark_as_begin():
    # Readings hold for the time before them: 100 W·2 s + 200 W·2 s + 100 W·4 s = 1000 J in 8 s.
    energy = rules.mlperf_training_energy_j(
        at(2, 4, 8), [100, 200, 100], T0 + S, T0 + 4 * S, log_start_ns=T0
    )
    assert energy == pytest.approx(125 * 3, rel=1e-15)


def test_energy_by_hand_without_the_mark():
    # The first reading only sets the clock: 200 W·2 s + 100 W·4 s = 800 J in 6 s.
    energy = rules.mlperf_training_energy_j(at(2, 4, 8), [100, 200, 100], T0 + S, T0 + 4 * S)
    assert energy == pytest.approx(800 / 6 * 3, rel=1e-15)


def test_readings_before_the_mark_do_not_count_and_the_efficiency_does():
    energy = rules.mlperf_training_energy_j(
        at(-1, 2, 4), [9e9, 100, 200], T0, T0 + S, log_start_ns=T0, conversion_efficiency=0.5
    )
    assert energy == pytest.approx(0.5 * (200 + 400) / 4)


def test_nanoseconds_are_subtracted_as_integers():
    # Near the end of int64 neighbouring floats are 1024 ns apart.
    base = 9 * 10**18 + 1
    times = np.array([base, base + 1, base + 3], dtype=np.int64)
    energy = rules.mlperf_training_energy_j(times, [0, 100, 400], base, base + 3)
    assert energy == pytest.approx((100 * 1 + 400 * 2) / 3 * 3e-9, rel=1e-12)


logs = st.lists(st.integers(0, 10**13), min_size=2, max_size=30, unique=True)


@given(logs, st.floats(1, 1e5), st.integers(1, 10**13), st.booleans(), st.randoms())
def test_constant_power_gives_power_times_duration(steps, watts, duration_ns, mark, random):
    random.shuffle(steps)
    times = T0 + np.array(steps, dtype=np.int64)
    energy = rules.mlperf_training_energy_j(
        times, np.full(len(steps), watts), T0, T0 + duration_ns, log_start_ns=T0 if mark else None
    )
    assert energy == pytest.approx(watts * duration_ns / 1e9, rel=1e-9)


@given(
    st.lists(st.tuples(st.integers(1, 10**10), st.floats(0, 1e5)), min_size=2, max_size=30),
    st.randoms(),
)
def test_order_of_the_lines_does_not_matter(log, random):
    unique = list({time: (time, watts) for time, watts in log}.values())
    if len(unique) < 2:
        unique.append((unique[0][0] + 1, 5.0))
    shuffled = unique.copy()
    random.shuffle(shuffled)
    first, second = (
        rules.mlperf_training_energy_j(
            T0 + np.array([t for t, _ in rows], dtype=np.int64), [w for _, w in rows], T0, T0 + S
        )
        for rows in (sorted(unique), shuffled)
    )
    assert first == second


@pytest.mark.parametrize(
    ("times", "power", "stop", "sentence"),
    [
        ([], [], T0 + S, "no two good readings"),
        (at(1), [5], T0 + S, "no two good readings"),
        (at(1, 1), [5, 6], T0 + S, "no two good readings"),
        (at(1, 2), [5], T0 + S, "2 times and 1 readings"),
        (at(1, 2), [5, np.nan], T0 + S, "no finite number"),
        (at(1, 2).astype(float), [5, 5], T0 + S, "floats cannot hold"),
        (at(1, 2), [5, 5], T0, "not after its begin"),
    ],
)
def test_unusable_logs_are_refused(times, power, stop, sentence):
    with pytest.raises(WattproofError, match=sentence):
        rules.mlperf_training_energy_j(times, power, T0, stop)


def test_result_drops_by_time_to_train_not_by_energy():
    # Fastest (10 s) and slowest (40 s) go, although neither has an extreme energy.
    result = rules.mlperf_training_result([5.0, 1.0, 9.0, 6.0], [10, 20, 30, 40], 1.5)
    assert result == pytest.approx(1.5 * (1.0 + 9.0) / 2)


def test_a_failed_run_counts_as_the_slowest():
    assert rules.mlperf_training_selection([30, 10, 20], failed=1) == [2, 0]
    assert rules.mlperf_training_selection([30, 10, 20]) == [2]
    assert rules.mlperf_training_selection(range(10), dropped=4) == [4, 5]


@pytest.mark.parametrize(
    ("energies", "times", "failed", "sentence"),
    [
        ([1.0, 2.0], [1, 2], 0, "too few"),
        ([], [], 0, "too few"),
        ([1.0], [1], 1, "too few"),
        ([1.0] * 5, [1] * 5, 2, "2 runs failed"),
        ([1.0], [1, 2, 3], 0, "1 energies but 3 times"),
    ],
)
def test_too_few_runs_are_refused(energies, times, failed, sentence):
    with pytest.raises(WattproofError, match=sentence):
        rules.mlperf_training_result(energies, times, failed=failed)


def trapezoid(times, power, start, end, edge=0.0):
    return rules.trapezoid_j(
        at(*times), power, T0 + round(start * S), T0 + round(end * S), max_edge_ns=round(edge * S)
    )


def test_trapezoid_by_hand():
    assert trapezoid([0, 10], [0, 100], 2, 6) == pytest.approx(4 * 40)  # ramp: mean 40 W
    assert trapezoid([0, 1, 3], [10, 20, 20], 0, 3) == pytest.approx(15 + 40)
    assert trapezoid([0, 1, 1, 2], [10, 10, 30, 30], 0, 2) == pytest.approx(40)  # same stamp twice


def test_trapezoid_holds_the_nearest_reading_at_short_edges_only():
    assert trapezoid([1, 3], [10, 20], 0, 5, edge=2) == pytest.approx(10 + 30 + 40)
    assert trapezoid([1, 3], [10, 20], 0, 5, edge=1.5) is None
    assert trapezoid([1, 3], [10, 20], 0.5, 3, edge=0.4) is None
    assert trapezoid([1, 2], [10, 20], 3, 4, edge=9) is None
    assert trapezoid([], [], 0, 1, edge=9) is None


@given(st.floats(0.5, 7.5), st.floats(0.1, 0.9))
def test_trapezoid_of_parts_adds_up(end, share):
    times, power = [0, 1, 2.5, 3, 6, 8], [3, 1, 4, 1, 5, 9]
    cut = end * share
    whole = trapezoid(times, power, 0, end)
    parts = trapezoid(times, power, 0, cut) + trapezoid(times, power, cut, end)
    assert parts == pytest.approx(whole, rel=1e-9)


def test_a_window_of_no_length_is_refused():
    with pytest.raises(WattproofError, match="not after its begin"):
        trapezoid([0, 1], [1, 1], 1, 1)
