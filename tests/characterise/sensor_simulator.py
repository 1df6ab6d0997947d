"""A power sensor in numpy, with exact mathematics of its own: what each read must show."""

from dataclasses import dataclass

import numpy as np

from wattproof.characterise.channel import Series, Span
from wattproof.characterise.pattern import Block, programme
from wattproof.characterise.updates import Polls
from wattproof.characterise.wave import Wave


@dataclass(frozen=True)
class Sensor:
    update_s: float = 0.1
    window_s: float = 0.025
    delay_s: float = 0.01
    averaging: str = "boxcar"
    phase_s: float = 0.037
    noise: float = 0.0
    low_w: float = 75.0
    high_w: float = 600.0
    quantum_w: float = 0.001
    ramp_s: float = 0.0
    """Time constant with which the power itself follows the load."""
    seen_s: float | None = None
    """An average over updates that each see only so much of their period."""


def play(blocks: list[Block], jitter_s: float = 0.002, seed: int = 0) -> tuple[Wave, list[Span]]:
    """Edges of a load that keeps its plan to within some milliseconds, like a real one."""
    draw = np.random.default_rng([seed, 1])
    t, times, levels, spans = 0.0, [0.0], [0.0], []
    for block in blocks:
        begin = t
        for seconds, high in block.steps:
            if float(high) != levels[-1]:
                times.append(max(t + draw.uniform(0, jitter_s), times[-1] + 1e-4))
                levels.append(float(high))
            t += seconds
        if block.name != "quiet":
            spans.append(Span(block.name, begin, t))
    return Wave(np.array(times), np.array(levels)), spans


def integral(wave: Wave, t: np.ndarray) -> np.ndarray:
    """Exact integral of the level, written anew (not `Wave.area`)."""
    total = np.zeros_like(t)
    ends = np.append(wave.t_s[1:], np.inf)
    for begin, end, level in zip(wave.t_s, ends, wave.level, strict=True):
        if level:
            total += level * np.clip(np.minimum(t, end) - begin, 0, None)
    return total


def lagged(wave: Wave, t: np.ndarray, tau: float) -> np.ndarray:
    """Sum of the exponential answers to all edges (superposition)."""
    steps = np.diff(wave.level, prepend=0.0)
    since = t[:, None] - wave.t_s[None, :]
    answer = np.where(since > 0, 1 - np.exp(-np.maximum(since, 0) / tau), 0.0)
    return answer @ steps


def values(sensor: Sensor, wave: Wave, ticks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Values of the updates whose windows end at `ticks`."""
    if sensor.seen_s is not None:
        shape = np.zeros(len(ticks))
        count = round(sensor.window_s / sensor.update_s)
        for earlier in range(count):
            end = ticks - earlier * sensor.update_s
            shape += integral(wave, end) - integral(wave, end - sensor.seen_s)
        shape /= count * sensor.seen_s
    elif sensor.averaging == "lag":
        shape = lagged(wave, ticks, sensor.window_s)
    elif sensor.ramp_s:
        # A fine sum in place of a formula.
        steps = np.linspace(0, sensor.window_s, 801)[:-1] + sensor.window_s / 1600
        shape = np.mean([lagged(wave, ticks - back, sensor.ramp_s) for back in steps], axis=0)
    elif sensor.window_s == 0:
        shape = wave.at(ticks)
    else:
        before = ticks - sensor.window_s
        shape = (integral(wave, ticks) - integral(wave, before)) / sensor.window_s
    power = sensor.low_w + (sensor.high_w - sensor.low_w) * shape
    return power * (1 + sensor.noise * rng.standard_normal(len(ticks)))


def read_times(
    length_s: float, poll_s: float, cost_s: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Reads on absolute deadlines, late by some tenths of a millisecond, now and then by more."""
    start = np.arange(0.0, length_s, poll_s)
    late = rng.exponential(2e-4, len(start))
    late[rng.random(len(start)) < 0.005] += rng.uniform(0, 0.03)
    start = np.maximum.accumulate(start + late)
    start = start[np.append(True, np.diff(start) > cost_s + 1e-5)]
    return start, start + cost_s


def record(
    sensor: Sensor,
    wave: Wave,
    length_s: float,
    kind: str = "power",
    poll_s: float = 0.004,
    cost_s: float = 5e-6,
    seed: int = 0,
) -> Series:
    """Reads of a channel of this sensor under this load."""
    rng = np.random.default_rng([seed, 2])
    ticks = np.arange(-2.0 + sensor.phase_s, length_s, sensor.update_s)
    value = values(sensor, wave, ticks, rng)
    if kind == "energy":
        value = 1000.0 + np.cumsum(value * sensor.update_s)
    value = np.round(value / sensor.quantum_w) * sensor.quantum_w
    if kind == "ring":
        stamps = ticks + sensor.delay_s
        inside = stamps >= 0
        polls = Polls(stamps[inside], stamps[inside], value[inside])
        return Series("GPU-1", "power_samples", "power", polls, stamp_s=stamps[inside])
    start, end = read_times(length_s, poll_s, cost_s, rng)
    latest = np.searchsorted(ticks + sensor.delay_s, start + cost_s / 2, side="right") - 1
    return Series("GPU-1", "power_instant", kind, Polls(start, end, value[latest]))


def scene(seconds: float, seed: int = 0) -> tuple[Wave, list[Span], float]:
    """A whole run: wave, its stretches and its length."""
    blocks = programme(seconds, seed)
    wave, spans = play(blocks, seed=seed)
    return wave, spans, sum(block.seconds for block in blocks)
