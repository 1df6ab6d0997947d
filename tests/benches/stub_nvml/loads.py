"""Loads that tests and benchmarks play: their power over time, as steps of a `PowerScript`."""

from __future__ import annotations

from itertools import cycle

import numpy as np

Steps = list[tuple[float, float]]
"""``(how long in s, watts)``, one after the other."""

LOW_W = 120.0
HIGH_W = 600.0


def steady(duration_s: float, watts: float = HIGH_W) -> Steps:
    """One power all the time."""
    return [(duration_s, watts)]


def square(
    duration_s: float,
    period_s: float = 1.0,
    duty: float = 0.5,
    low_w: float = LOW_W,
    high_w: float = HIGH_W,
) -> Steps:
    """High for `duty` of each period, then low."""
    return _cut([(period_s * duty, high_w), (period_s * (1.0 - duty), low_w)], duration_s)


def burst(
    duration_s: float,
    seed: int = 0,
    mean_s: float = 0.4,
    low_w: float = LOW_W,
    high_w: float = HIGH_W,
) -> Steps:
    """On and off at random: exponential times of `mean_s`, powers of the bursts at random."""
    random = np.random.default_rng(seed)
    steps: Steps = []
    while _length_s(steps) < duration_s:
        steps.append((0.02 + random.exponential(mean_s), random.uniform(0.6, 1.0) * high_w))
        steps.append((0.02 + random.exponential(mean_s), low_w))
    return _cut(steps, duration_s)


def staircase(
    duration_s: float,
    levels: int = 6,
    hold_s: float = 1.5,
    low_w: float = LOW_W,
    high_w: float = HIGH_W,
) -> Steps:
    """Up and down in even steps."""
    up = [low_w + (high_w - low_w) * level / (levels - 1) for level in range(levels)]
    return _cut([(hold_s, watts) for watts in up + up[-2:0:-1]], duration_s)


def training_like(duration_s: float, seed: int = 0, high_w: float = HIGH_W) -> Steps:
    """Epochs of batches (each with a dip for its data), an evaluation, and a gap for saving."""
    random = np.random.default_rng(seed)
    steps: Steps = []
    while _length_s(steps) < duration_s:
        for _ in range(int(random.integers(20, 40))):  # batches of an epoch
            steps.append((random.uniform(0.10, 0.16), high_w * random.uniform(0.9, 1.0)))
            steps.append((random.uniform(0.015, 0.06), high_w * random.uniform(0.35, 0.55)))
        for _ in range(int(random.integers(6, 12))):  # evaluation: less work, more waiting
            steps.append((random.uniform(0.04, 0.08), high_w * random.uniform(0.6, 0.7)))
            steps.append((random.uniform(0.02, 0.05), high_w * 0.3))
        steps.append((random.uniform(0.2, 0.7), LOW_W))  # saving, starting the next epoch
    return _cut(steps, duration_s)


def _length_s(steps: Steps) -> float:
    return sum(step[0] for step in steps)


def _cut(steps: Steps, duration_s: float) -> Steps:
    """Repeat the steps until the time is full, and end exactly there."""
    result: Steps = []
    left_s = duration_s
    for how_long_s, watts in cycle(steps):
        if left_s <= 1e-9:
            break
        result.append((min(how_long_s, left_s), watts))
        left_s -= how_long_s
    return result
