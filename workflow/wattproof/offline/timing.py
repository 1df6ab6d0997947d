"""When reads take place: what the recorder's loops and the drivers' calls would take.

Costs are those of measurement.md (sections 3, 4 and 10): they are facts of machines, not of the
node's model, so they stand here and not in a preset.
"""

from __future__ import annotations

import math

import numpy as np

from wattproof import units
from wattproof.offline.base import Instants

OPENED_NS = 50_000_000
"""Opening an instrument takes so long after the session began."""
WAKE_NS, WAKE_SPREAD_NS = 40_000.0, 40_000.0
"""A process wakes so late after its deadline: the least, and the mean of what comes on top."""
WAKE_MOST_NS = 2_000_000

FIELDS_NS = 7_000
"""Reading the power fields of a GPU."""
CALL_NS = 2_000
"""Any other cheap call of NVML; so long takes a counter of RAPL, too."""
COUNTER_NS = 3_500_000
"""Reading the energy counter of a GPU."""
RING_NS = 300_000
"""Asking a GPU for its ring of samples."""
HOST_NS = 90_000
"""Asking the kernel for the CPU's load."""

SPAWN_NS = (25_000_000, 35_000_000)
"""One process of nvidia-smi, from start to end, less what it stalls."""
SPAWN_ASKS = 0.8
"""It asks the driver after this share of that time; the rest is printing."""
LOOP_NS = 1_000_000
"""nvidia-smi's loop takes so long to ask and print."""

SERIAL_NS = 5_000_000
"""A meter's line of 70 bytes takes so long at its baud rate, and the host's driver to hand it on,
beyond what the meter's own latency is."""


def lateness_ns(rng: np.random.Generator, number: int) -> Instants:
    """Return by how much so many wake-ups come late."""
    late = WAKE_NS + rng.exponential(WAKE_SPREAD_NS, number)
    return np.minimum(late, WAKE_MOST_NS).astype(np.int64)


def deadlines(
    rng: np.random.Generator, begin_ns: int, end_ns: int, period_s: float, cost_ns: int
) -> tuple[Instants, Instants]:
    """Return deadlines and begins of the reads of a loop like `recorder.loops` drives it.

    Args:
        rng: Of the lateness.
        begin_ns: When the instrument was open; the first deadline comes a period later.
        end_ns: No deadline comes at or after this.
        period_s: Between deadlines.
        cost_ns: How long a read takes.
    """
    period_ns = units.s_to_ns(period_s)
    first = begin_ns + period_ns
    number = max(0, math.ceil((end_ns - first) / period_ns))
    late = np.minimum(lateness_ns(rng, number), period_ns // 4)
    ticks = np.arange(number, dtype=np.int64)
    if cost_ns + WAKE_MOST_NS >= period_ns:
        return _hurried(first, period_ns, cost_ns, late)
    scheduled = first + ticks * period_ns
    return scheduled, scheduled + late


def _hurried(
    first_ns: int, period_ns: int, cost_ns: int, late: Instants
) -> tuple[Instants, Instants]:
    """The same where reads may take longer than a period: deadlines pass without one."""
    scheduled, begun = [], []
    tick, now = 0, first_ns
    while tick < len(late):
        due = first_ns + tick * period_ns
        begin = max(now, due + int(late[tick]))
        scheduled.append(due)
        begun.append(begin)
        now = begin + cost_ns
        tick = max(tick + 1, (now - first_ns) // period_ns)
    return np.array(scheduled, np.int64), np.array(begun, np.int64)
