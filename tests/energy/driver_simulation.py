"""A GPU driver and its readers in numpy: the tables that the recorder would make of a known power.

The model is that of the stub driver in ``tests/benches`` (same words), written anew: the sensor
updates at ``phase_s + k * update_s`` and sees the mean of the last ``window_s``; if that is less
than ``update_s``, counter, instant power and ring all derive from what was seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from energy_tables import KEY, NS, channel, integrate

WALL_NS = 1_764_000_000_123_456_000
"""Wall clock less monotonic clock."""
LEAD_S = 3.0
"""Seconds of the load's first level before and after everything."""


class Load:
    """True power, piecewise constant: ``watts[i]`` from ``at_s[i]`` on."""

    def __init__(self, at_s: np.ndarray, watts: np.ndarray) -> None:
        self.at_s, self.watts = np.asarray(at_s, float), np.asarray(watts, float)
        self._sum_j = np.concatenate(([0.0], np.cumsum(np.diff(self.at_s) * self.watts[:-1])))

    def until_j(self, t_s: np.ndarray | float) -> np.ndarray:
        i = np.clip(np.searchsorted(self.at_s, t_s, side="right") - 1, 0, None)
        return self._sum_j[i] + self.watts[i] * (np.asarray(t_s) - self.at_s[i])

    def power_w(self, t_s: np.ndarray) -> np.ndarray:
        return self.watts[np.clip(np.searchsorted(self.at_s, t_s, side="right") - 1, 0, None)]


LOADS = ("steady", "square_1hz", "square_5hz", "burst", "staircase", "training")


def make_load(kind: str, length_s: float, rng: np.random.Generator) -> Load:
    """A load that begins at 0 with a random phase, after `LEAD_S` of its first level."""
    low, high = 75.0, float(rng.uniform(400, 700))
    at, watts = [-LEAD_S], [low]
    t = float(rng.uniform(0, 1))
    if kind == "steady":
        at, watts = [-LEAD_S], [high]
    while t < length_s and kind != "steady":
        if kind.startswith("square"):
            half = 0.5 if kind == "square_1hz" else 0.1
            at += [t, t + half]
            watts += [high, low]
            t += 2 * half
        elif kind == "burst":
            width = float(rng.uniform(0.05, 0.4))
            at += [t, t + width]
            watts += [high, low]
            t += width + float(rng.uniform(0.2, 2.0))
        elif kind == "staircase":
            at.append(t)
            watts.append(75.0 + 75.0 * float(rng.integers(0, 9)))
            t += float(rng.uniform(0.5, 2.0))
        else:  # training: steps of about 0.23 s with a dip, an evaluation now and then
            for _ in range(int(rng.integers(10, 40))):
                step, busy = 0.23 * rng.normal(1, 0.03), high * rng.normal(1, 0.02)
                at += [t, t + 0.8 * step]
                watts += [busy, 0.45 * high]
                t += step
            at += [t, t + 0.3]
            watts += [120.0, 0.7 * high]
            t += float(rng.uniform(1.0, 3.0))
    return Load(np.array(at), np.array(watts))


@dataclass(frozen=True)
class Driver:
    """What a driver shows; see the module."""

    update_s: float = 0.1
    window_s: float = 0.1
    phase_s: float = 0.0
    counter_update_s: float = 0.1
    counter_phase_s: float = 0.037
    ring_period_s: float = 0.02
    ring_phase_s: float = 0.011
    ring_mode: str = "mean"
    ring_gain: float = 1.0
    ring_noise: float = 0.0
    delay_s: float = 0.0

    @property
    def part_time(self) -> bool:
        return self.window_s < self.update_s

    def _tick(self, t_s: np.ndarray) -> np.ndarray:
        turns = np.floor((t_s - self.phase_s) / self.update_s + 1e-9)
        return self.phase_s + turns * self.update_s

    def seen_w(self, load: Load, tick_s: np.ndarray) -> np.ndarray:
        seen = load.until_j(tick_s) - load.until_j(tick_s - self.window_s)
        return seen / self.window_s

    def _summed_j(self, load: Load, tick_s: np.ndarray) -> np.ndarray:
        """What the updates up to these ticks stand for, from an early one on."""
        turns = np.rint((tick_s - self.phase_s) / self.update_s).astype(int)
        first = turns.min()
        each = self.seen_w(load, self.phase_s + np.arange(first, turns.max() + 1) * self.update_s)
        return np.cumsum(each * self.update_s)[turns - first]

    def counter_j(self, load: Load, t_s: np.ndarray) -> np.ndarray:
        turns = np.floor((t_s - self.delay_s - self.counter_phase_s) / self.counter_update_s)
        tick = self.counter_phase_s + turns * self.counter_update_s
        if self.part_time:
            return np.floor((5_000 + self._summed_j(load, self._tick(tick))) * 1e3) / 1e3
        return np.floor((5_000 + load.until_j(tick)) * 1e3) / 1e3

    def instant_w(self, load: Load, t_s: np.ndarray) -> np.ndarray:
        return np.rint(self.seen_w(load, self._tick(t_s - self.delay_s)) * 1e3) / 1e3

    def _held_j(self, load: Load, t_s: np.ndarray) -> np.ndarray:
        tick = self._tick(t_s)
        ticks = np.concatenate((tick - self.update_s, tick))
        summed = self._summed_j(load, ticks)[: len(t_s)]
        return summed + self.seen_w(load, tick) * (t_s - tick)

    def ring(self, load: Load, first_s: float, last_s: float) -> tuple[np.ndarray, np.ndarray]:
        period = self.ring_period_s
        stamps = self.ring_phase_s + period * np.arange(
            np.ceil((first_s - self.ring_phase_s) / period), (last_s - self.ring_phase_s) / period
        )
        if self.ring_mode == "point":
            shown = (
                self.seen_w(load, self._tick(stamps)) if self.part_time else load.power_w(stamps)
            )
        elif self.part_time:
            both = self._held_j(load, np.concatenate((stamps, stamps - period)))
            shown = (both[: len(stamps)] - both[len(stamps) :]) / period
        else:
            shown = (load.until_j(stamps) - load.until_j(stamps - period)) / period
        noise = np.random.default_rng(len(stamps)).standard_normal(len(stamps))
        shown = self.ring_gain * shown * (1 + self.ring_noise * noise)
        return stamps, np.rint(shown * 1e3) / 1e3


def _reads(
    length_s: float, period_s: float, cost_s: float, noise: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of reads on absolute deadlines; noise: idle | busy."""
    start = np.arange(-LEAD_S / 2 + rng.uniform(0, period_s), length_s + LEAD_S / 2, period_s)
    late = rng.exponential(5e-5, len(start))
    cost = cost_s * (1 + rng.exponential(0.02, len(start)))
    if noise == "busy":
        hit = rng.random(len(start)) < 0.3
        late[hit] += rng.uniform(0, 0.01, np.count_nonzero(hit))
        cost[rng.random(len(start)) < 0.05] += 0.004
        kept = rng.random(len(start)) > 0.02
        start, late, cost = start[kept], late[kept], cost[kept]
    start = start + late
    return start, start + cost


def _rows(
    name: str, start_s: np.ndarray, end_s: np.ndarray, value: np.ndarray, stamp_s: np.ndarray | None
) -> pd.DataFrame:
    start, end = (np.rint(t * NS).astype(np.int64) + 100 * NS for t in (start_s, end_s))
    device: list[None] | np.ndarray = [None] * len(start)
    if stamp_s is not None:
        device = np.rint(stamp_s * 1e6).astype(np.int64) * 1000 + 100 * NS + WALL_NS
    return pd.DataFrame(
        {
            **KEY, "source": "nvml", "channel": name,
            "scheduled_ns": pd.array(start, dtype="Int64"), "start_ns": start, "end_ns": end,
            "wall_ns": end + WALL_NS, "device_ns": pd.array(device, dtype="Int64"),
            "value": value, "status": "ok",
        }
    )  # fmt: skip


def record(
    driver: Driver,
    load: Load,
    length_s: float,
    rng: np.random.Generator,
    noise: str = "idle",
    counter_period_s: float = 0.1,
    with_ring: bool = True,
    accuracy: float | None = None,
    facts: dict[str, float] | None = None,
) -> tuple[pd.DataFrame, list[dict[str, object]]]:
    """Return samples and channels of one GPU; the load's 0 s are 100 s on the recording's clock."""
    parts, channels = [], []
    start, end = _reads(length_s, counter_period_s, 0.003, noise, rng)
    latched = start + 0.5 * (end - start)
    parts.append(_rows("gpu0.energy", start, end, driver.counter_j(load, latched), None))
    limit = {"accuracy_reading": accuracy, "quantum": 0.001}
    channels.append(channel("gpu0.energy", kind="energy", period_s=counter_period_s, **limit))
    start, end = _reads(length_s, 0.05, 6e-6, noise, rng)
    parts.append(_rows("gpu0.power_instant", start, end, driver.instant_w(load, end), None))
    facts = {"update_s": 0.1, "window_s": 0.025} if facts is None else facts
    channels.append(
        channel("gpu0.power_instant", period_s=0.05, identity=facts,
                averaging_s=facts.get("window_s", 0.0), **limit)
    )  # fmt: skip
    if with_ring:
        stamps, power = driver.ring(load, -LEAD_S / 2, length_s + LEAD_S / 2)
        drain = np.arange(-LEAD_S / 2 + 0.4, length_s + LEAD_S / 2 + 0.5, 0.4)
        drain = drain + rng.uniform(0, 0.01, len(drain))
        came = drain[np.searchsorted(drain, stamps + driver.delay_s + 1e-4)]
        parts.append(_rows("gpu0.power_samples", came - 3e-4, came, power, stamps))
        channels.append(
            channel("gpu0.power_samples", clock="wall", period_s=driver.ring_period_s, **limit)
        )
    return pd.concat(parts, ignore_index=True), channels


def random_windows(
    length_s: float, shortest_s: float, longest_s: float, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends, in the load's seconds."""
    width = rng.uniform(shortest_s, longest_s, count)
    start = rng.uniform(0, length_s - width)
    return start, start + width


def random_driver(rng: np.random.Generator, **how: object) -> Driver:
    """A driver with random phases; `how` are fields of `Driver`."""
    phases = {
        "phase_s": rng.uniform(0, 0.1),
        "counter_phase_s": rng.uniform(0, 0.1),
        "ring_phase_s": rng.uniform(0, 0.02),
    }
    return Driver(**{**phases, **how})  # type: ignore[arg-type]


def cut(start_s: np.ndarray, end_s: np.ndarray) -> pd.DataFrame:
    """Table ``windows`` of the load's seconds."""
    start, end = (np.rint(t * NS).astype(np.int64) + 100 * NS for t in (start_s, end_s))
    rows = {
        **KEY, "window_id": [f"w{i}" for i in range(len(start))], "run_id": "run",
        "level": "epoch", "kind": "epoch", "epoch": 0, "setting": "single", "slot": 0,
        "start_ns": start, "end_ns": end,
    }  # fmt: skip
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Outcome:
    """Windows of one simulated session: what is said, and the truth."""

    table: pd.DataFrame
    true_j: np.ndarray
    width_s: np.ndarray

    def of(self, channel: str = "gpu0.energy") -> pd.DataFrame:
        """The rows of one channel, with ``error`` (relative) and ``covered`` (90 % interval)."""
        rows = self.table[self.table["channel"] == channel].copy()
        rows["true_j"], rows["width_s"] = self.true_j, self.width_s
        rows["error"] = (rows["energy_j"] / self.true_j - 1).abs()
        off = (rows["energy_j"] - self.true_j).abs()
        # A thousandth of a joule: counters show whole millijoules.
        rows["covered"] = off <= 1.645 * rows["energy_u_j"] + 1e-3
        return rows


def simulate(
    kind: str,
    seed: int,
    spans: tuple[tuple[float, float], ...] = ((1, 5), (5, 20)),
    count: int = 40,
    length_s: float = 60.0,
    settings: dict[str, object] | None = None,
    driver: dict[str, object] | None = None,
    **how: object,
) -> Outcome:
    """Record a load with a random driver and integrate random windows of given lengths."""
    rng = np.random.default_rng([seed, LOADS.index(kind)])
    load = make_load(kind, length_s, rng)
    samples, channels = record(random_driver(rng, **(driver or {})), load, length_s, rng, **how)
    drawn = [random_windows(length_s, low, high, count, rng) for low, high in spans]
    start, end = (np.round(np.concatenate(each), 9) for each in zip(*drawn, strict=True))
    table = integrate(samples, channels, cut(start, end), **(settings or {}))  # type: ignore[arg-type]
    return Outcome(table, load.until_j(end) - load.until_j(start), end - start)
