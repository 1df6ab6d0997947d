"""What a sensor that sees a quarter of the time leaves unknown, against simulated loads."""

from __future__ import annotations

import numpy as np
import pytest
from driver_simulation import Driver, Load

from wattproof.energy.dutycycle import unseen_u_j
from wattproof.energy.ring import make_ring
from wattproof.energy.timing import step_times

T, W = 0.1, 0.025
EDGES = np.arange(0.0, 60.0 + T / 2, T)


def looks(load: Load, phase_s: float = 0.0) -> np.ndarray:
    """What a sensor sees in each period."""
    return Driver(window_s=W).seen_w(load, EDGES[1:] - phase_s)


def stated(values: np.ndarray, start_s: float = 5.0, end_s: float = 55.0) -> float:
    span = np.array([start_s]), np.array([end_s])
    return float(unseen_u_j(EDGES, values, *span, T, W)[0])


def real(loads: list[Load], phases: np.ndarray, start_s: float = 5.0, end_s: float = 55.0) -> float:
    """Root mean square error of the sum of looks."""
    inside = (EDGES[:-1] >= start_s - 1e-9) & (EDGES[1:] <= end_s + 1e-9)
    off = [
        looks(load, phase)[inside].sum() * T - (load.until_j(end_s) - load.until_j(start_s))
        for load, phase in zip(loads, phases, strict=True)
    ]
    return float(np.sqrt(np.mean(np.square(off))))


def test_constant_power_leaves_nothing_unknown() -> None:
    assert stated(np.full(600, 300.0)) == 0.0


def test_fast_noise_is_stratified_sampling() -> None:
    """Power that is new every 25 ms: σ² · (1 − W/T) a period."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(40):
        at = np.arange(-1.0, 62.0, W)
        made.append(Load(at, 300 + 50 * rng.standard_normal(len(at))))
    error = real(made, np.zeros(40))
    assert error == pytest.approx(50 * np.sqrt(0.75) * T * np.sqrt(500), rel=0.25)
    assert stated(looks(made[0])) == pytest.approx(error, rel=0.25)


def test_rare_steps_cost_a_twelfth_of_their_square() -> None:
    rng = np.random.default_rng(1)
    made = []
    for _ in range(60):
        at = np.concatenate(([-1.0], np.cumsum(rng.uniform(0.5, 1.5, 80))))
        made.append(Load(at, rng.uniform(100, 600, len(at))))
    error = real(made, np.zeros(60))
    said = np.mean([stated(looks(load)) for load in made])
    assert 0.9 * error <= said <= 1.5 * error


def test_a_load_that_keeps_pace_is_not_averaged_out() -> None:
    """1 s period, high for 0.44 s: each period is seen alike, and its error counts 50 times."""
    at = np.sort(np.concatenate((np.arange(-1, 62) + 0.03, np.arange(-1, 62) + 0.47)))
    load = Load(at, np.where(np.arange(len(at)) % 2 == 0, 600.0, 100.0))
    phases = np.random.default_rng(2).uniform(0, T, 60)
    error = real([load] * 60, phases)
    free = T * 500 / np.sqrt(12) * np.sqrt(100)
    assert error > 2 * free  # errors of single steps, if they were independent
    said = np.mean([stated(looks(load, phase)) for phase in phases])
    assert 0.8 * error <= said <= 2.5 * error


def test_a_load_that_does_not_keep_pace_is_averaged_out() -> None:
    """1.037 s period: each period is seen at other places."""
    start = np.arange(-2, 62) * 1.037
    at = np.sort(np.concatenate((start, start + 0.44)))
    load = Load(at, np.where(np.arange(len(at)) % 2 == 0, 600.0, 100.0))
    locked = np.sort(np.concatenate((np.arange(-1, 62) + 0.03, np.arange(-1, 62) + 0.47)))
    other = Load(locked, np.where(np.arange(len(locked)) % 2 == 0, 600.0, 100.0))
    phases = np.random.default_rng(3).uniform(0, T, 30)
    said = np.mean([stated(looks(load, phase)) for phase in phases])
    assert said < 0.6 * np.mean([stated(looks(other, phase)) for phase in phases])
    assert said >= 0.9 * real([load] * 30, phases)


def test_unknown_looks_do_not_spoil_the_rest() -> None:
    values = np.full(600, 300.0)
    values[100:120] = np.nan
    assert stated(values) == 0.0


RING_S = np.arange(0.0, 60.0, 0.02)


def test_a_ring_that_repeats_a_noisy_sensors_values_is_known_as_such() -> None:
    rng = np.random.default_rng(4)
    held = np.repeat(300 + rng.normal(0, 5, 600), 5)
    ring = make_ring(RING_S, held, 0.02)
    assert ring is not None
    assert ring.hold_s == pytest.approx(0.1)


@pytest.mark.parametrize("half", [5, 25], ids=["5 Hz", "1 Hz"])
def test_a_square_wave_that_keeps_pace_proves_nothing(half: int) -> None:
    square = np.where(np.arange(3000) // half % 2 == 0, 100.0, 600.0)
    ring = make_ring(RING_S, square, 0.02)
    assert ring is not None
    assert ring.hold_s == 0.0


def test_a_ring_with_new_values_at_each_sample_holds_nothing() -> None:
    rng = np.random.default_rng(5)
    for values in (300 + rng.normal(0, 5, 3000), np.full(3000, 300.0)):
        ring = make_ring(RING_S, values, 0.02)
        assert ring is not None
        assert ring.hold_s == 0.0


def test_reads_of_a_counter_place_its_grid_better_than_any_single_read() -> None:
    """Steps each 100 ms, reads each 47 ms: a single step is known to ± 23 ms, the grid to 2 ms."""
    reads = np.arange(0.0, 60.0, 0.047)
    shown = np.floor((reads - 0.0317) / 0.1)
    changed = np.flatnonzero(np.diff(shown) != 0) + 1
    found = step_times(reads, changed, 0.1)
    true_s = 0.0317 + shown[changed] * 0.1
    assert np.abs(found - true_s).max() < 0.002
    # Steps without a grid are left where their own reads put them.
    rng = np.random.default_rng(6)
    loose = np.sort(rng.uniform(0, 60, 400))
    shown = np.searchsorted(loose, reads)
    changed = np.flatnonzero(np.diff(shown) != 0) + 1
    half = np.minimum(reads[changed] - reads[changed - 1], 0.1) / 2
    assert step_times(reads, changed, 0.1) == pytest.approx(reads[changed] - half)
