"""Under disturbances a value may be refused, but one that is told is right."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sensor_simulator import Sensor, record, scene
from test_characterise_estimators import POLL_S, SHORT_S, draw, judge

from wattproof.characterise.channel import Finding, Series, characterise_channel
from wattproof.characterise.wave import Wave

Disturb = Callable[[Series, Sensor, np.random.Generator, int], Series]


def with_values(series: Series, value: np.ndarray) -> Series:
    return replace(series, polls=replace(series.polls, value=value))


def somebody_else(series: Series, sensor: Sensor, rng: np.random.Generator, seed: int) -> Series:
    """Another load, of 5 to 100 % of ours, with a time of its own."""
    wave, _, _ = scene(SHORT_S, seed + 5000)
    _, _, length_s = scene(SHORT_S, seed)
    other = Wave(wave.t_s * rng.uniform(0.8, 1.3) - rng.uniform(0, 3), wave.level)
    more_w = (sensor.high_w - 75) * rng.uniform(0.05, 1)
    extra = replace(sensor, low_w=0.0, high_w=more_w, noise=0.0)
    added = record(extra, other, length_s, "power", POLL_S, seed=seed)
    return with_values(series, series.polls.value + added.polls.value)


def garbled_reads(series: Series, _: Sensor, rng: np.random.Generator, __: int) -> Series:
    value = series.polls.value.copy()
    hit = rng.random(len(value)) < 0.003
    value[hit] *= rng.uniform(0, 3, hit.sum())
    return with_values(series, value)


def warming(series: Series, _: Sensor, __: np.random.Generator, ___: int) -> Series:
    """High power grows by 8 % within some seconds, update by update."""
    value = series.polls.value
    changes = np.concatenate(([0], np.flatnonzero(np.diff(value) != 0) + 1))
    held = changes[np.searchsorted(changes, np.arange(len(value)), side="right") - 1]
    grown = 1 + 0.08 * (1 - np.exp(-series.polls.start_s[held] / 8))
    return with_values(series, 75 + (value - 75) * grown)


def lost_reads(series: Series, _: Sensor, rng: np.random.Generator, __: int) -> Series:
    """40 holes of up to a quarter of a second."""
    keep = np.ones(len(series.polls.value), dtype=bool)
    for begin in rng.integers(0, len(keep), 40):
        keep[begin : begin + rng.integers(5, 60)] = False
    polls = series.polls
    left = replace(
        polls, start_s=polls.start_s[keep], end_s=polls.end_s[keep], value=polls.value[keep]
    )
    return replace(series, polls=left)


def characterise(seed: int, disturb: Disturb, weak: bool = False) -> tuple[Finding, Sensor]:
    rng = np.random.default_rng([seed, 5])
    sensor, _ = draw(seed)
    if weak:
        sensor = replace(sensor, high_w=75 + rng.uniform(1, 15), noise=0.02)
    wave, spans, length_s = scene(SHORT_S, seed)
    series = record(sensor, wave, length_s, "power", POLL_S, seed=seed)
    return characterise_channel(disturb(series, sensor, rng, seed), wave, spans), sensor


def check(seeds: range, disturb: Disturb, least_told: float, weak: bool = False) -> None:
    told = []
    for seed in seeds:
        found, true = characterise(seed, disturb, weak)
        verdict = judge(found, true)
        assert False not in verdict.values(), f"seed {seed}: {true} {found.sensor}"
        told.append(None not in verdict.values())
    assert np.mean(told) >= least_told


@pytest.mark.parametrize("disturb", [somebody_else, garbled_reads, warming, lost_reads])
def test_disturbed(disturb: Disturb) -> None:
    check(range(4), disturb, 0.0 if disturb is somebody_else else 0.7)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("disturb", "least_told"),
    [(somebody_else, 0.0), (garbled_reads, 0.95), (warming, 0.75), (lost_reads, 0.8)],
)
def test_disturbed_often(disturb: Disturb, least_told: float) -> None:
    check(range(2000, 2030), disturb, least_told)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_weak_loads_often() -> None:
    """1 to 15 W beside noise of 1.5 W."""
    check(range(2000, 2030), lambda series, *_: series, 0.0, weak=True)
