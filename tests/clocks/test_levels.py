"""Instants at which values really stand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from clock_simulation import channel

from wattproof.clocks.correlate import correlation, find_peak, high_pass, swings
from wattproof.clocks.levels import from_counter, held_updates, pick_reference


def held(update_s: np.ndarray, value: np.ndarray, poll_s: np.ndarray):
    shown = value[np.searchsorted(update_s, poll_s, side="right") - 1]
    t, v = held_updates(np.rint(poll_s * 1e9).astype(np.int64), shown, 0.1)
    return t / 1e9, v


def test_updates_are_found_between_reads_without_bias() -> None:
    rng = np.random.default_rng(0)
    update = np.arange(0, 30, 0.1)
    value = rng.normal(100, 10, len(update))
    t, v = held(update, value, np.arange(0.02, 29.9, 0.033))
    at = {w: s for s, w in zip(t, v, strict=True)}
    error = np.array([at[w] - u for u, w in zip(update, value, strict=True) if w in at])[3:-3]
    assert len(error) > 290 - 6
    assert abs(error.mean()) < 0.003
    assert np.abs(error).max() <= 0.033 / 2 + 1e-9


def test_an_edge_after_a_constant_stretch_is_not_smeared() -> None:
    update = np.arange(0, 20, 0.1)
    value = np.where(update < 10, 15.0, 115.0)
    t, v = held(update, value, np.arange(0.02, 19.9, 0.05))
    assert t[v == 15].max() == pytest.approx(9.9, abs=0.026)
    assert t[v == 115].min() == pytest.approx(10.0, abs=0.026)
    assert np.diff(t).max() < 0.3


def test_a_sensor_that_does_not_hold_is_left_alone() -> None:
    t = np.arange(50, dtype=np.int64)
    value = np.random.default_rng(0).normal(size=50)
    for limit in (None, 0.1):
        again = held_updates(t, value, limit)
        assert again[0] is t
        assert again[1] is value


def test_rate_of_a_counter_skips_steps_backwards() -> None:
    t = np.arange(5, dtype=np.int64) * 10**9
    levels = from_counter(t, np.array([0.0, 100, 200, 5, 105]))
    assert levels.value.tolist() == [100, 100, 100]
    assert levels.t_ns.tolist() == [500_000_000, 1_500_000_000, 3_500_000_000]


def test_what_is_compared_with() -> None:
    listed = pd.DataFrame(
        [
            channel("nvml", "gpu0.power_average", "power", "host"),
            channel("nvml", "gpu0.power_instant", "power", "host"),
            channel("nvml", "gpu1.power_instant", "power", "host"),
            channel("rapl", "cpu0.package", "energy", "host"),
            channel("meter", "node.ac", "power", "device"),
        ]
    )
    names = [(source, part["channel"].tolist()) for source, part in pick_reference(listed)]
    assert names[0] == (
        "nvml+rapl",
        ["gpu0.power_instant", "gpu1.power_instant", "cpu0.package"],
    )
    assert names[1] == ("nvml", ["gpu0.power_instant", "gpu1.power_instant"])
    assert names[-1] == ("rapl", ["cpu0.package"])
    assert all("node.ac" not in part for _, part in names)


@pytest.mark.parametrize("lag", [-37, -1, 0, 12, 80])
def test_correlation_by_fft_against_the_definition(lag: int) -> None:
    rng = np.random.default_rng(1)
    n, most = 400, 100
    long = rng.normal(size=n + 300)
    first, second = long[150 : 150 + n].copy(), long[150 - lag : 150 - lag + n].copy()
    valid_1, valid_2 = rng.random(n) > 0.1, rng.random(n) > 0.1
    first[~valid_1] = 0
    second[~valid_2] = 0
    r, overlap = correlation(first, valid_1, second, valid_2, most)
    for k in (-100, -3, 0, 5, 99):
        i = np.arange(max(0, -k), min(n, n - k))
        both = valid_1[i] & valid_2[i + k]
        a, b = first[i][both], second[i + k][both]
        assert overlap[most + k] == both.sum()
        assert r[most + k] == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)))
    peak = find_peak(r, overlap, 1.0, 50, 3)
    assert round(peak.lag_s) == lag
    assert peak.height == pytest.approx(1)


def test_high_pass_takes_out_levels_and_ignores_holes() -> None:
    valid = np.ones(1000, dtype=bool)
    valid[300:350] = False
    x = np.full(1000, 500.0)
    x[~valid] = 1e6
    assert np.abs(high_pass(x, valid, 0.02)).max() < 1e-9
    assert (high_pass(x, np.zeros(1000, dtype=bool), 0.02) == 0).all()


def test_swings_are_counted_once_whatever_the_noise() -> None:
    rng = np.random.default_rng(2)
    square = np.sign(np.sin(np.arange(1000) * 2 * np.pi / 100 + 0.01))
    assert swings(square + rng.normal(0, 0.1, 1000)) == 19
