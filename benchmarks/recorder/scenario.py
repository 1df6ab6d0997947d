"""What is played and which windows of it are measured: the same for every tool."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from stub_nvml import PowerScript, loads

IDLE_W = 75.0
BETWEEN_S = 1.0
"""Idle time before each load."""
LEAD_S = 2.0
"""Idle time before the first load, in which every tool is already at work."""
EDGES_APART_S = 0.012
"""Tools that read at the edges read one after the other: no two edges are closer."""
CHAINS = 6
"""Code Carbon measures one task at a time: so many trackers share the windows."""
CHAIN_PAUSE_S = 0.3

CLASSES = {"1–5 s": (1.0, 5.0), "5–20 s": (5.0, 20.0)}


@dataclass(frozen=True, slots=True)
class Window:
    """An interval to measure, in seconds after the start of the script."""

    id: int
    load: str
    length: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """A script of all loads, one after the other, and random, overlapping windows inside each.

    Attributes:
        steps: Steps of the script.
        windows: The windows.
        chains: Windows (by id) that do not overlap, for tools that can only do one at a time.
        duration_s: Length of the script.
    """

    steps: loads.Steps
    windows: list[Window]
    chains: list[list[int]]
    duration_s: float

    def script(self, start_ns: int) -> PowerScript:
        """The script, begun at an instant."""
        return PowerScript(start_ns, self.steps, then=IDLE_W, idle_w=IDLE_W)

    def save(self, path: Path) -> None:
        """Write what the tools' processes must know."""
        plan = {
            "duration_s": self.duration_s,
            "windows": [asdict(window) for window in self.windows],
            "chains": self.chains,
        }
        path.write_text(json.dumps(plan), encoding="utf-8")


def load_steps(load_s: float, seed: int) -> dict[str, loads.Steps]:
    """Return the loads by name."""
    return {
        "steady": loads.steady(load_s),
        "square 1 Hz": loads.square(load_s, 1.0),
        "square 5 Hz": loads.square(load_s, 0.2),
        "burst": loads.burst(load_s, seed),
        "staircase": loads.staircase(load_s),
        "training-like": loads.training_like(load_s, seed),
    }


def make(load_s: float, windows_each: int, seed: int) -> Scenario:
    """Make a scenario.

    Args:
        load_s: Seconds of each load; more than 5.
        windows_each: Windows of each length in each load.
        seed: Of loads and windows.
    """
    random = np.random.default_rng(seed)
    steps: loads.Steps = [(LEAD_S, IDLE_W)]
    windows: list[Window] = []
    edges: list[float] = []
    at_s = LEAD_S
    for name, part in load_steps(load_s, seed).items():
        steps.append((BETWEEN_S, IDLE_W))
        at_s += BETWEEN_S
        for length, (least_s, most_s) in CLASSES.items():
            for _ in range(windows_each):
                while True:
                    wide_s = random.uniform(least_s, min(most_s, load_s - 0.2))
                    start_s = at_s + 0.1 + random.uniform(0.0, load_s - 0.2 - wide_s)
                    new = [start_s, start_s + wide_s]
                    if all(abs(a - b) >= EDGES_APART_S for a in edges for b in new):
                        break
                edges += new
                windows.append(Window(len(windows), name, length, *new))
        steps += part
        at_s += load_s
    return Scenario(steps, windows, _chains(windows), at_s + BETWEEN_S)


def _chains(windows: list[Window]) -> list[list[int]]:
    chains: list[list[int]] = [[] for _ in range(CHAINS)]
    free_s = [0.0] * CHAINS
    for window in sorted(windows, key=lambda w: w.start_s):
        for chain in range(CHAINS):
            if free_s[chain] <= window.start_s:
                chains[chain].append(window.id)
                free_s[chain] = window.end_s + CHAIN_PAUSE_S
                break
    return chains
