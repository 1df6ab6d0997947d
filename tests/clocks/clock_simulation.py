"""A small simulation with known truth: a node, its GPU sensor on the host's clock, and a meter
with a clock of its own. Independent of `wattproof.virtual` on purpose: an oracle of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from wattproof import tables

STEP_S = 0.001


def sync_pattern(rng: np.random.Generator, chips: int = 24, chip_s: float = 0.25) -> np.ndarray:
    """Random on/off load, 1 ms steps."""
    return np.repeat(rng.integers(0, 2, chips) * 120.0, round(chip_s / STEP_S))


def training(rng: np.random.Generator, duration_s: float) -> np.ndarray:
    """Epochs with a train level, a lower eval level, short pauses; 1 ms steps."""
    parts, total = [], 0.0
    level = rng.uniform(60, 180)
    while total < duration_s:
        train, evaluation, pause = rng.normal(2.5, 0.15), rng.normal(0.6, 0.05), 0.15
        for seconds, watts in ((train, level), (evaluation, 0.5 * level), (pause, 5.0)):
            parts.append(np.full(max(round(seconds / STEP_S), 1), watts))
            total += seconds
        if rng.random() < 0.1:
            level = rng.uniform(60, 180)
    return np.concatenate(parts)[: round(duration_s / STEP_S)]


@dataclass
class Recording:
    samples: pd.DataFrame
    channels: pd.DataFrame
    marks: pd.DataFrame
    true_mono_ns: np.ndarray = field(repr=False)
    device_ns: np.ndarray = field(repr=False)


def channel(source: str, name: str, kind: str, clock: str, **more: object) -> dict[str, object]:
    return {
        "recording": "r",
        "session": 0,
        "source": source,
        "channel": name,
        "unit": "W" if kind == "power" else "J",
        "kind": kind,
        "device": source,
        "slot": None,
        "period_s": 0.1,
        "averaging_s": 0.0,
        "clock": clock,
        "simulated": True,
        "identity": "{}",
        **more,
    }


def record(
    rng: np.random.Generator,
    gpu_w: np.ndarray,
    node_w: np.ndarray | None = None,
    *,
    drift_ppm: float = 0.0,
    origin_s: float = 0.0,
    host_origin_ns: int = 50_000_000_000_000,
    dropout: float = 0.02,
    noise_w: float = 1.0,
    meter_noise_w: float = 0.3,
    wander_w: float = 4.0,
    sync_s: float | None = None,
    arrival: str = "serial",
    poll_s: float = 0.05,
) -> Recording:
    """Sample a GPU (NVML-like) and a node (meter-like) power, both given in 1 ms steps."""
    seconds = len(gpu_w) * STEP_S
    if node_w is None:
        node_w = (
            150
            + 1.15 * gpu_w
            + np.repeat(rng.normal(0, wander_w, len(gpu_w) // 50 + 1), 50)[: len(gpu_w)]
        )

    def mean(power: np.ndarray, begin_s: np.ndarray, end_s: np.ndarray) -> np.ndarray:
        total = np.concatenate(([0.0], np.cumsum(power)))
        axis = np.arange(len(total)) * STEP_S
        return (np.interp(end_s, axis, total) - np.interp(begin_s, axis, total)) / (
            (end_s - begin_s) / STEP_S
        )

    # GPU: updates each 100 ms at an unknown phase, each the mean of the last 25 ms; held.
    update = np.arange(rng.uniform(0.03, 0.13), seconds, 0.1)
    value = np.round(mean(gpu_w, update - 0.025, update) + rng.normal(0, noise_w, len(update)), 3)
    poll = np.arange(0.2, seconds, poll_s) + rng.exponential(
        0.0005, len(np.arange(0.2, seconds, poll_s))
    )
    latest = np.searchsorted(update, poll, side="right") - 1
    gpu = pd.DataFrame({"t": poll, "value": value[latest]})

    # Meter: cycles of 0.1 s of *its* clock; lines arrive late, some are lost.
    cycle = 0.1 * (1 + drift_ppm * 1e-6)
    stop = np.arange(rng.uniform(0.15, 0.25), seconds, cycle)
    true_ns = host_origin_ns + np.rint(stop * 1e9).astype(np.int64)
    device_ns = np.rint(origin_s * 1e9).astype(np.int64) + np.arange(len(stop)) * 100_000_000
    watts = np.round(mean(node_w, stop - cycle, stop) + rng.normal(0, meter_noise_w, len(stop)), 2)
    late = 0.03 + rng.exponential(0.015, len(stop)) + 0.4 * (rng.random(len(stop)) < 0.01)
    if arrival == "burst":
        late = seconds + 1 - stop
    keep = rng.random(len(stop)) >= dropout
    if dropout and seconds > 40:
        hole = rng.uniform(15, seconds - 10)
        keep &= (stop < hole) | (stop > hole + 3)
    arrived = true_ns + np.rint(late * 1e9).astype(np.int64)

    gpu_ns = host_origin_ns + np.rint(gpu["t"].to_numpy() * 1e9).astype(np.int64)
    common = {"recording": "r", "session": 0, "wall_ns": 0, "status": "ok"}
    samples = pd.concat(
        [
            pd.DataFrame(
                {
                    **common,
                    "source": "nvml",
                    "channel": "gpu0.power_instant",
                    "scheduled_ns": pd.array(gpu_ns, dtype="Int64"),
                    "start_ns": gpu_ns - 20_000,
                    "end_ns": gpu_ns + 20_000,
                    "device_ns": pd.array([None] * len(gpu_ns), dtype="Int64"),
                    "value": gpu["value"],
                }
            ),
            pd.DataFrame(
                {
                    **common,
                    "source": "meter",
                    "channel": "node.ac",
                    "scheduled_ns": pd.array([None] * int(keep.sum()), dtype="Int64"),
                    "start_ns": arrived[keep],
                    "end_ns": arrived[keep],
                    "device_ns": pd.array(device_ns[keep], dtype="Int64"),
                    "value": watts[keep],
                }
            ),
        ],
        ignore_index=True,
    )
    channels = pd.DataFrame(
        [
            channel("nvml", "gpu0.power_instant", "power", "host", averaging_s=0.025),
            channel("meter", "node.ac", "power", "device", averaging_s=0.1),
        ]
    )
    marks = tables.empty("marks")
    if sync_s is not None:
        begin, end = sync_s, sync_s + 6.0
        marks = pd.DataFrame(
            [
                {
                    "recording": "r",
                    "session": 0,
                    "run_id": "sync",
                    "kind": kind,
                    "name": "sync",
                    "mono_ns": host_origin_ns + round(at * 1e9),
                }
                for kind, at in (("load_begin", begin), ("load_end", end))
            ]
        )
    return Recording(samples, channels, marks, true_ns, device_ns)


def error_s(recording: Recording, clocks: pd.DataFrame) -> float:
    """Largest error of the meter's time over the recording, in seconds."""
    row = clocks.set_index("source").loc["meter"]
    device = recording.device_ns
    mono = (
        device
        + int(row["offset_ns"])
        + np.rint((device - int(row["anchor_ns"])) * float(row["drift_ppm"]) * 1e-6).astype(
            np.int64
        )
    )
    return float(np.abs(mono - recording.true_mono_ns).max()) / 1e9
