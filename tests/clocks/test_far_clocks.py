"""Logs that nothing places: no arrival stamps, and a clock that may be anywhere."""

from __future__ import annotations

import json

import clock_simulation as sim
import numpy as np
import pandas as pd
import pytest

from wattproof import clocks
from wattproof.clocks import far

HOUR_S = 3600.0
YEAR_S = 365.25 * 24 * HOUR_S
IDLE = np.full(2000, 5.0)


def foreign(recording: sim.Recording, ahead_s: float) -> sim.Recording:
    """The same recording as two logs: the meter's has the stamps of its own clock, nothing else.

    Its clock runs ahead of the recording's by `ahead_s` at its first sample.
    """
    move = int(recording.true_mono_ns[0] - recording.device_ns[0]) + round(ahead_s * 1e9)
    samples, channels = recording.samples.copy(), recording.channels.copy()
    meter = (samples["source"] == "meter").to_numpy()
    stamps = samples.loc[meter, "device_ns"].astype("int64") + move
    for column in ("start_ns", "end_ns", "wall_ns", "device_ns"):
        samples.loc[meter, column] = stamps
    channels.loc[channels["source"] == "meter", "identity"] = json.dumps({"arrival": False})
    return sim.Recording(
        samples,
        channels,
        recording.marks,
        recording.true_mono_ns,
        recording.device_ns + move,
    )


def training(seed: int, seconds: float, ahead_s: float, **options: float) -> sim.Recording:
    rng = np.random.default_rng(seed)
    load = np.concatenate([IDLE, sim.sync_pattern(rng), IDLE, sim.training(rng, seconds)])
    return foreign(sim.record(rng, load, drift_ppm=rng.uniform(-50, 50), **options), ahead_s)


def align(recording: sim.Recording, **settings: float) -> tuple[pd.DataFrame, pd.Series]:
    found = clocks.align(recording.samples, recording.channels, recording.marks, settings)
    return found, found.set_index("source").loc["meter"]


@pytest.mark.parametrize(
    "ahead_s",
    [0.0, -7.3, 9.9, HOUR_S + 0.42, -2 * HOUR_S - 1.7, 5.5 * HOUR_S, 9.5 * YEAR_S, -54 * YEAR_S],
)
def test_the_offset_is_found_wherever_it_is(ahead_s: float) -> None:
    recording = training(11, 240.0, ahead_s)
    found, row = align(recording)
    assert row["accepted"], row["reason"]
    assert sim.error_s(recording, found) < 0.05
    # The very offset, not one that only happens to map these samples well.
    assert int(row["offset_ns"]) == pytest.approx(-ahead_s * 1e9, abs=0.05e9)


def test_offsets_of_many_recordings_are_right_or_refused() -> None:
    refused = 0
    for seed in range(12):
        ahead_s = np.random.default_rng(seed).uniform(-10, 10)
        recording = training(100 + seed, 90.0 + 30 * (seed % 4), ahead_s)
        found, row = align(recording)
        if row["accepted"]:
            assert sim.error_s(recording, found) < 0.05, seed
        else:
            refused += 1
    assert refused <= 2


def test_a_slow_meter_is_placed_to_a_fraction_of_its_interval() -> None:
    """A meter of one value a second, as the director of MLPerf logs it."""
    rng = np.random.default_rng(3)
    # Epochs of 13 s.
    load = np.concatenate([IDLE, np.repeat(sim.training(rng, 300.0), 4)])
    recording = sim.record(rng, load, dropout=0.0)
    samples = recording.samples
    meter = samples.index[samples["source"] == "meter"]
    whole = meter[: len(meter) // 10 * 10]
    means = samples.loc[whole, "value"].to_numpy().reshape(-1, 10).mean(axis=1)
    kept = samples.drop(meter.difference(whole[9::10]))
    kept.loc[whole[9::10], "value"] = means
    channels = recording.channels.assign(averaging_s=[0.025, 1.0], period_s=[0.1, 1.0])
    slow = foreign(
        sim.Recording(kept, channels, recording.marks, recording.true_mono_ns, recording.device_ns),
        -HOUR_S + 0.6,
    )
    found, row = align(slow)
    assert row["accepted"], row["reason"]
    assert sim.error_s(slow, found) < 0.25


def test_unrelated_logs_have_no_place() -> None:
    for seed in range(20):
        rng = np.random.default_rng(2000 + seed)
        pair = sim.training(rng, 120.0), 150 + sim.training(rng, 120.0)
        recording = foreign(sim.record(rng, *pair), rng.uniform(-10, 10))
        _, row = align(recording)
        assert not row["accepted"], seed
        assert row["reason"].endswith(".")


def test_a_periodic_load_has_many_places() -> None:
    power = np.where(np.arange(120_000) * 1e-3 % 4.5 < 2.25, 150.0, 20.0)
    recording = foreign(sim.record(np.random.default_rng(0), power), 3.0)
    _, row = align(recording)
    assert not row["accepted"]
    assert "several places" in row["reason"]


@pytest.mark.parametrize(
    ("offset_s", "words"),
    [
        (0.25, "0.250 s behind"),
        (-3.0, "3.000 s ahead"),
        (HOUR_S, "1 h behind (a time zone or summer time)"),
        (-(8 * HOUR_S + 0.043), "8 h plus 0.043 s ahead (a time zone or summer time)"),
        (5.5 * HOUR_S - 2, "5 h 30 min minus 2.000 s behind (a time zone or summer time)"),
        (20 * YEAR_S, "20.0 years behind (a clock that was never set, or another day's log)"),
        (-3 * 24 * HOUR_S, "3.0 days ahead (a clock that was never set, or another day's log)"),
    ],
)
def test_offsets_in_words(offset_s: float, words: str) -> None:
    assert far.describe(round(offset_s * 1e9)) == words
