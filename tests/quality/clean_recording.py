"""Clean recordings with known power, as tables, and ways to spoil exactly one thing in them.

A node with two GPUs: NVML's instant power and counter, nvidia-smi, RAPL, a wall meter. Noise,
jitter of reads, a sensor that updates each 100 ms and values with a resolution are there, because
they are on every healthy node; nothing else is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from wattproof import clocks, energy, quality, tables

S = 10**9
T0 = 5_000 * S
FINE_S = 0.01
IDLE_W = 20.0
LIMIT_W = 300.0
SETTINGS = {"min_samples": 5, "min_coverage": 0.8, "max_gap_s": 2.0}


@dataclass
class Clean:
    """A recording: power by channel on a fine grid, and what the instruments made of it."""

    samples: dict[tuple[str, str], pd.DataFrame]
    channels: list[dict[str, Any]]
    windows: list[tuple[str, str, float, float]]
    recording: str = "r"
    health: pd.DataFrame | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def channel(self, source: str, name: str) -> pd.DataFrame:
        """Readings of a channel; change them in place."""
        return self.samples[source, name]

    def about(self, source: str, name: str) -> dict[str, Any]:
        """Its row of table channels; change it in place."""
        return next(c for c in self.channels if (c["source"], c["channel"]) == (source, name))


def load(rng: np.random.Generator, seconds: float, gpus: int) -> np.ndarray:
    """True power of each GPU: idle, then trainings with epochs of their own rhythm."""
    n = round(seconds / FINE_S)
    power = np.full((gpus, n), IDLE_W)
    for gpu in range(gpus):
        at = round(rng.uniform(12, 16) / FINE_S)
        while at < n:
            level = rng.uniform(80, 250)
            for _ in range(rng.integers(3, 7)):
                for length, share in ((rng.uniform(2.5, 4.5), 1.0), (rng.uniform(0.6, 1.2), 0.6)):
                    stop = at + round(length / FINE_S)
                    power[gpu, at:stop] = IDLE_W + share * (level - IDLE_W)
                    at = stop
            at += round(rng.uniform(1.0, 2.5) / FINE_S)
    return power


def _rows(t_s: np.ndarray, value: np.ndarray) -> pd.DataFrame:
    t_ns = T0 + np.rint(t_s * 1e9).astype(np.int64)
    return pd.DataFrame({"t_ns": t_ns, "value": value, "status": "ok"})


def make(seed: int, seconds: float = 150.0, gpus: int = 2, recording: str = "r") -> Clean:
    """A clean recording."""
    rng = np.random.default_rng(seed)
    power = load(rng, seconds, gpus)
    grid = np.arange(power.shape[1]) * FINE_S
    total_j = np.concatenate((np.zeros((gpus, 1)), np.cumsum(power, axis=1) * FINE_S), axis=1)
    edges = np.append(grid, grid[-1] + FINE_S)

    def mean(joules: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (np.interp(b, edges, joules) - np.interp(a, edges, joules)) / (b - a)

    def polls(period: float) -> np.ndarray:
        t = np.arange(0.3, seconds - 0.3, period)
        return t + rng.exponential(0.0005, len(t))

    samples: dict[tuple[str, str], pd.DataFrame] = {}
    listed: list[dict[str, Any]] = []

    def add(source: str, name: str, rows: pd.DataFrame, **about: Any) -> None:
        samples[source, name] = rows
        listed.append(
            {
                "recording": recording,
                "session": 0,
                "source": source,
                "channel": name,
                "unit": "W",
                "kind": "power",
                "device": name.partition(".")[0],
                "slot": None,
                "period_s": 0.1,
                "averaging_s": 0.0,
                "clock": "host",
                "simulated": True,
                "identity": "{}",
                **about,
            }
        )

    identity = {"identity": '{"limit_w": 300.0}'}
    for gpu in range(gpus):
        update = np.arange(rng.uniform(0.15, 0.25), seconds, 0.1)
        seen = mean(total_j[gpu], update - 0.1, update) + rng.normal(0, 0.4, len(update))
        held = np.round(seen, 3)

        def at(t: np.ndarray, update: np.ndarray = update, held: np.ndarray = held) -> np.ndarray:
            return held[np.maximum(np.searchsorted(update, t, side="right") - 1, 0)]

        t = polls(0.1)
        mine = {"slot": gpu, **identity}
        add("nvml", f"gpu{gpu}.power_instant", _rows(t, at(t)), averaging_s=0.025, **mine)
        t = polls(0.1)
        counter = np.round(np.interp(np.floor(t / 0.1) * 0.1, edges, total_j[gpu]) + 1e6, 3)
        add("nvml", f"gpu{gpu}.energy", _rows(t, counter), kind="energy", unit="J", **mine)
        t = polls(0.25)
        add("smi", f"gpu{gpu}.power", _rows(t, np.round(at(t), 2)), period_s=0.25, **mine)
        t = polls(0.2)
        add(
            "nvml",
            f"gpu{gpu}.throttle_reasons",
            _rows(t, np.zeros(len(t))),
            kind="state",
            unit="bits",
            **mine,
        )
    cpu = (
        40.0
        + 0.05 * (power.sum(axis=0) - gpus * IDLE_W)
        + np.repeat(rng.normal(0, 1.0, len(grid) // 50 + 1), 50)[: len(grid)]
    )
    cpu_j = np.concatenate(([0.0], np.cumsum(cpu) * FINE_S))
    t = polls(0.1)
    add(
        "rapl",
        "cpu0.package",
        _rows(t, np.round(np.interp(t, edges, cpu_j), 4)),
        kind="energy",
        unit="J",
    )
    node_j = np.concatenate(([0.0], np.cumsum(60 + 1.12 * (power.sum(axis=0) + cpu)) * FINE_S))
    stop = np.arange(0.25, seconds, 0.1)
    watts = mean(node_j, stop - 0.1, stop) + rng.normal(0, 0.3, len(stop))
    add("meter", "node.ac", _rows(stop, np.round(watts, 2)), averaging_s=0.1)
    spans = [("idle", "load", 2.0, 11.0)]
    spans += [
        (f"run-{i}", "run", a, a + 32.0) for i, a in enumerate(np.arange(16.0, seconds - 33, 33.0))
    ]
    return Clean(samples, listed, spans, recording)


def findings(clean: Clean, **more: Any) -> pd.DataFrame:
    """What the true pipeline says of it: align, integrate, flag, inspect, survey."""
    parts = []
    listed = pd.DataFrame(clean.channels)
    for (source, name), rows in clean.samples.items():
        about = clean.about(source, name)
        part = pd.DataFrame(
            {
                "recording": clean.recording,
                "session": 0,
                "source": source,
                "channel": name,
                "scheduled_ns": pd.array(rows["t_ns"], dtype="Int64"),
                "start_ns": rows["t_ns"],
                "end_ns": rows["t_ns"],
                "wall_ns": rows["t_ns"],
                "device_ns": pd.array(
                    rows["t_ns"] if about["clock"] == "device" else [None] * len(rows),
                    dtype="Int64",
                ),
                "value": rows["value"].astype("float64"),
                "status": rows["status"],
            }
        )
        parts.append(part)
    samples = pd.concat(parts, ignore_index=True)
    windows = pd.DataFrame(
        [
            {
                "recording": clean.recording,
                "session": 0,
                "window_id": f"{clean.recording}/{name}",
                "run_id": name,
                "level": level,
                "kind": "idle" if level == "load" else level,
                "epoch": None,
                "setting": "calibration" if level == "load" else "single",
                "slot": None,
                "start_ns": T0 + round(a * S),
                "end_ns": T0 + round(b * S),
            }
            for name, level, a, b in clean.windows
        ]
    )
    listed = tables.conform(listed, "channels").to_pandas()
    windows = tables.conform(windows, "windows").to_pandas()
    marks = tables.empty("marks")
    found = clocks.align(samples, listed, marks, {})
    usable = windows[windows["end_ns"] > windows["start_ns"]]
    table = energy.integrate(samples, listed, found, usable, SETTINGS)
    table = quality.flag_windows(table, listed)
    samples["t_ns"] = clocks.to_recording_time(samples, listed, found)
    inspected = quality.inspect(samples, listed, marks, found, windows, clean.health)
    return quality.survey(table, listed, tables.empty("reported"), [inspected], **more)


def serious(found: pd.DataFrame) -> list[str]:
    """Flags of errors and warnings."""
    return found.loc[found["severity"] != "note", "flag"].tolist()


def reported(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    """Clean rows of others' figures: GPU, CPU and a total, by network, budget and repeat."""
    rng = np.random.default_rng(seed)
    found = []
    for row in range(rows):
        network, epochs, repeat = row // 6, (4, 12)[row % 2], row // 2 % 3
        time_s = epochs * (10 + network) * rng.normal(1, 0.02) + 3.3
        gpu_w, cpu_w = 150 + 5 * network + rng.normal(0, 2), 50 + rng.normal(0, 1)
        total = (gpu_w + cpu_w) * time_s * rng.normal(1.25, 0.15)
        figures = {
            "node.total": total,
            "gpu0.energy": gpu_w * time_s * rng.normal(1, 0.001),
            "cpu.energy": cpu_w * time_s * rng.normal(1, 0.001),
        }
        for channel, energy_j in figures.items():
            found.append(
                {
                    "recording": "rows",
                    "row": row + 1,
                    "run_id": f"{network}/{epochs}/{repeat}",
                    "level": "run",
                    "kind": "run",
                    "epochs": epochs,
                    "network_key": f"net-{network}",
                    "split": "train" if network < 7 else "test",
                    "replicate": repeat,
                    "source": "others",
                    "channel": channel,
                    "device": channel.partition(".")[0],
                    "duration_s": time_s,
                    "energy_j": energy_j,
                    "mean_w": energy_j / time_s,
                    "simulated": True,
                }
            )
    return tables.conform(found, "reported").to_pandas()


__all__ = ["Clean", "findings", "load", "make", "replace", "reported", "serious"]
