"""Calibration loads: what the node does while instruments are calibrated and clocks aligned.

Each load is a programme of steps with a level from 0 to 1. A real node really works: `prime` and
`stress` on all CPU threads it may use, `gpu` and `sync` on the GPU. On the virtual node one thread
works lightly and the *published* levels are what its simulated sensors see.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from wattproof.training.activity import Activity
from wattproof.training.work import Timetable
from wattproof.units import s_to_ns

CHIP_S = 0.25
"""Length of one chip of the synchronisation pattern, in seconds."""

STAIRS = (0.25, 0.5, 0.75, 1.0)

KINDS = ("gpu", "idle", "prime", "stress", "sync")


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch of constant load: length in seconds, level 0 to 1."""

    seconds: float
    level: float


def programme(load: str, seconds: float, seed: int) -> list[Step]:
    """Return the steps of a load.

    Args:
        load: idle (nothing), prime and stress (full), gpu (four stairs of equal length) or sync
            (pseudo-random on and off, chips of 0.25 s; 24 of them in 6 s).
        seconds: Length of the whole load; `sync` takes the nearest whole number of chips.
        seed: Of the pattern of `sync`.
    """
    if load == "gpu":
        return [Step(seconds / len(STAIRS), level) for level in STAIRS]
    if load == "sync":
        chips = sync_pattern(max(1, round(seconds / CHIP_S)), seed)
        return [Step(CHIP_S, float(on)) for on in chips]
    return [Step(seconds, 0.0 if load == "idle" else 1.0)]


def sync_pattern(chips: int, seed: int) -> tuple[bool, ...]:
    """Return a stretch of a maximal-length sequence: it resembles none of its own shifts.

    Args:
        chips: Length. The shift register is the shortest (from 5 bits) whose period is longer, so
            no chip pattern repeats.
        seed: Chooses where in the period the stretch begins.
    """
    # Feedback taps of maximal-length registers (Xilinx XAPP 052, table 3).
    taps = {5: 3, 6: 5, 7: 6, 9: 5, 10: 7, 11: 9, 15: 14, 17: 14}
    bits = next(n for n in taps if 2**n - 1 >= chips)
    state = random.Random(seed).randrange(1, 2**bits)
    pattern = []
    for _ in range(chips):
        new = (state >> (bits - 1) ^ state >> (taps[bits] - 1)) & 1
        state = (state << 1 | new) & (2**bits - 1)
        pattern.append(bool(new))
    return tuple(pattern)


class Workers(Protocol):
    """Who does the work of a load: `work.Crew`, or a program that stands in its place."""

    def start(self, timetable: Timetable) -> None:
        """Begin."""
        ...

    def work(self, end_ns: int, level: float) -> None:
        """Work until an instant."""
        ...


def play(
    load: str, steps: list[Step], crew: Workers, activities: Activity | Sequence[Activity]
) -> None:
    """Play a programme from now on, each step on its absolute deadline.

    Args:
        load: Kind of load.
        steps: See `programme`.
        crew: Who works.
        activities: Of the slots it is played on; told the level of each step, idle at the end.
    """
    told = [activities] if isinstance(activities, Activity) else activities
    start_ns = time.monotonic_ns()
    timetable = list(_timetable(start_ns, steps))
    try:
        crew.start(timetable)
        for end_ns, level in timetable:
            for activity in told:
                activity.calibration(load, level)
            crew.work(end_ns, level)
    finally:
        for activity in told:
            activity.idle()


def _timetable(start_ns: int, steps: list[Step]) -> Iterator[tuple[int, float]]:
    passed_s = 0.0
    for step in steps:
        passed_s += step.seconds
        yield start_ns + s_to_ns(passed_s), step.level
