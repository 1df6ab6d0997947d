"""Alignment against known truth, from a simulation that shares no code with the package."""

from __future__ import annotations

import clock_simulation as sim
import numpy as np
import pandas as pd
import pytest

from wattproof import clocks, tables

IDLE = np.full(2000, 5.0)
HALF_INTERVAL_S = 0.05


def positive(
    seed: int, seconds: float, sync: bool, **options: float
) -> tuple[sim.Recording, float]:
    rng = np.random.default_rng(seed)
    drift, origin = rng.uniform(-50, 50), rng.uniform(-20_000, 20_000)
    pattern = [IDLE, sim.sync_pattern(rng)] if sync else []
    load = np.concatenate([*pattern, IDLE, sim.training(rng, seconds)])
    recording = sim.record(
        rng, load, drift_ppm=drift, origin_s=origin, sync_s=2.0 if sync else None, **options
    )
    return recording, drift


def meter_row(recording: sim.Recording, **settings: float) -> pd.Series:
    found = clocks.align(recording.samples, recording.channels, recording.marks, settings)
    tables.conform(found, "clocks")
    return found.set_index("source").loc["meter"]


def test_recordings_with_a_pattern_are_aligned_to_half_a_meter_interval() -> None:
    errors = []
    for seed in range(20):
        recording, _ = positive(seed, seconds=15 + 5 * seed, sync=True)
        found = clocks.align(recording.samples, recording.channels, recording.marks, {})
        row = found.set_index("source").loc["meter"]
        assert row["accepted"], (seed, row["reason"])
        assert row["against"] == "nvml"
        errors.append(sim.error_s(recording, found))
    assert max(errors) < HALF_INTERVAL_S
    # Polls at 50 ms cannot tell the phase of a 100 ms update better than ±25 ms.
    assert np.median(errors) < 0.020


def test_without_a_pattern_acceptance_is_rarer_but_never_wrong() -> None:
    accepted = []
    for seed in range(10):
        recording, _ = positive(seed, seconds=60, sync=False)
        found = clocks.align(recording.samples, recording.channels, recording.marks, {})
        row = found.set_index("source").loc["meter"]
        if row["accepted"]:
            accepted.append(sim.error_s(recording, found))
    assert len(accepted) >= 8
    assert max(accepted) < HALF_INTERVAL_S


def test_drift_of_a_long_recording() -> None:
    for seed in range(2):
        recording, drift = positive(seed, seconds=600, sync=True, poll_s=0.047)
        row = meter_row(recording)
        assert row["method"] == "level_correlation"
        # mono = device·(1 + drift): a meter whose cycle is too long lags by that much.
        assert float(row["drift_ppm"]) == pytest.approx(drift, abs=5)
        found = clocks.align(recording.samples, recording.channels, recording.marks, {})
        assert sim.error_s(recording, found) < 0.010


def test_short_recording_has_no_drift_and_says_so() -> None:
    recording, _ = positive(3, seconds=12, sync=True)
    row = meter_row(recording)
    assert row["accepted"]
    assert row["method"] == "level_correlation_zero_drift"
    assert row["drift_ppm"] == 0.0


def test_noise_and_dropouts_do_not_harm() -> None:
    recording, _ = positive(5, seconds=60, sync=True, noise_w=8.0, dropout=0.15)
    found = clocks.align(recording.samples, recording.channels, recording.marks, {})
    assert sim.error_s(recording, found) < HALF_INTERVAL_S


def test_sensors_without_noise() -> None:
    """Constant levels hide the sensor's updates, and make a meter look as if it held values."""
    quiet = {"noise_w": 0.0, "meter_noise_w": 0.0, "wander_w": 0.0}
    for seed in range(6):
        recording, _ = positive(seed, seconds=30, sync=True, **quiet)
        found = clocks.align(recording.samples, recording.channels, recording.marks, {})
        assert sim.error_s(recording, found) < HALF_INTERVAL_S


def periodic(rng: np.random.Generator, period_s: float) -> tuple[np.ndarray, None]:
    return np.where(np.arange(60_000) * 1e-3 % period_s < period_s / 2, 150.0, 20.0), None


def unrelated_pattern(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    first, second = (
        np.concatenate([IDLE, sim.sync_pattern(rng), IDLE, sim.training(rng, 20)]) for _ in range(2)
    )
    return first, 150 + second


NEGATIVES = {
    "constant": (lambda rng: (np.full(60_000, 100.0), None), None),
    "periodic, 0.5 s": (lambda rng: periodic(rng, 0.5), None),
    "periodic, 2 s": (lambda rng: periodic(rng, 2.0), None),
    "periodic, 4.5 s": (lambda rng: periodic(rng, 4.5), None),
    "unrelated trainings": (
        lambda rng: (sim.training(rng, 30), 150 + sim.training(rng, 30)),
        None,
    ),
    "unrelated patterns": (unrelated_pattern, 2.0),
    "one step": (lambda rng: (np.repeat([5.0, 150.0], 15_000), None), None),
    "too short": (lambda rng: (sim.training(rng, 4), None), None),
    "unrelated noise": (
        lambda rng: tuple(np.repeat(rng.normal(100, 30, 800), 50) for _ in range(2)),
        None,
    ),
}


@pytest.mark.parametrize("name", NEGATIVES)
def test_weak_evidence_is_refused(name: str) -> None:
    make, sync_s = NEGATIVES[name]
    for seed in range(8):
        rng = np.random.default_rng(seed)
        gpu, node = make(rng)
        recording = sim.record(
            rng, gpu, node, drift_ppm=rng.uniform(-50, 50), origin_s=7e3, sync_s=sync_s
        )
        row = meter_row(recording)
        assert not row["accepted"], (seed, row["confidence"])
        assert pd.isna(row["offset_ns"])
        assert pd.isna(row["drift_ppm"])
        assert row["reason"].endswith(".")


def test_a_higher_bar_refuses_what_is_accepted_else() -> None:
    recording, _ = positive(1, seconds=30, sync=True)
    assert meter_row(recording)["accepted"]
    refused = meter_row(recording, min_confidence=0.999)
    assert not refused["accepted"]
    assert 0.5 < refused["confidence"] < 0.999


def test_a_clock_that_jumps_half_way_is_refused() -> None:
    recording, _ = positive(2, seconds=120, sync=True)
    samples = recording.samples.copy()
    meter = samples.index[samples["source"] == "meter"]
    samples.loc[meter[len(meter) // 3 :], "device_ns"] += 1_000_000_000
    row = clocks.align(samples, recording.channels, recording.marks, {}).set_index("source")
    assert not row.loc["meter", "accepted"]


def test_host_sources_share_the_clock() -> None:
    recording, _ = positive(1, seconds=20, sync=True)
    found = clocks.align(recording.samples, recording.channels, recording.marks, {})
    row = found.set_index("source").loc["nvml"]
    assert (row["method"], row["offset_ns"], row["drift_ppm"]) == ("same_clock", 0, 0.0)
    assert row["accepted"]
    assert row["confidence"] == 1.0


def test_rapl_stands_in_where_there_is_no_gpu() -> None:
    recording, _ = positive(4, seconds=40, sync=True)
    samples, channels = recording.samples.copy(), recording.channels.copy()
    gpu = (samples["source"] == "nvml").to_numpy()
    # A counter that integrates the very power the GPU channel showed, read at the same times.
    t = samples.loc[gpu, "end_ns"].to_numpy()
    watts = samples.loc[gpu, "value"].to_numpy()
    samples.loc[gpu, "value"] = np.cumsum(watts * np.diff(t, prepend=t[0]) / 1e9)
    samples.loc[gpu, ["source", "channel"]] = ["rapl", "cpu0.package"]
    channels.loc[0] = sim.channel("rapl", "cpu0.package", "energy", "host")
    found = clocks.align(samples, channels, recording.marks, {})
    row = found.set_index("source").loc["meter"]
    assert row["against"] == "rapl"
    # The counter was made from held values, so it is late by the age of a held value, 50 ms.
    assert sim.error_s(recording, found) < 0.1


def test_sources_without_their_stamps_or_a_partner_are_refused_in_words() -> None:
    recording, _ = positive(1, seconds=20, sync=True)
    only_meter = recording.samples[recording.samples["source"] == "meter"]
    row = clocks.align(only_meter, recording.channels, recording.marks, {}).set_index("source")
    assert "No power channel" in row.loc["meter", "reason"]
    only_gpu = recording.samples[recording.samples["source"] == "nvml"]
    row = clocks.align(only_gpu, recording.channels, recording.marks, {}).set_index("source")
    assert "no good samples" in row.loc["meter", "reason"]


def test_arrow_tables_and_empty_tables() -> None:
    recording, _ = positive(1, seconds=20, sync=True)
    as_arrow = (
        tables.conform(recording.samples, "samples"),
        tables.conform(recording.channels, "channels"),
    )
    found = clocks.align(*as_arrow, recording.marks, {})
    again = clocks.align(recording.samples, recording.channels, recording.marks, {})
    pd.testing.assert_frame_equal(found, again, check_dtype=False)
    empty = clocks.align(*(tables.empty(n) for n in ("samples", "channels", "marks")), {})
    assert len(tables.conform(empty, "clocks")) == 0
