"""CPU load from ``/proc/stat``, a third of the price of asking psutil, at any rate of asking."""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path

WINDOW_S = 0.1
"""The kernel counts in ticks of 10 ms: a load over less than some of them is noise."""

IDLE, WAITING = 3, 4
COUNTED = 8
"""user nice system idle iowait irq softirq steal; guest times are part of user and nice."""


class ProcStat:
    """Mean load of all CPUs over the last `WINDOW_S`, or since the previous call if that is longer.

    Args:
        path: The file, which stays open.

    Raises:
        OSError: If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._past: deque[tuple[int, int, int]] = deque()

    def percent(self) -> float | None:
        """Return the load in percent; None when no tick has passed, as at the first call.

        Raises:
            OSError: If it cannot be read.
            ValueError: If it is not what the kernel writes.
        """
        now_ns = time.monotonic_ns()
        times = [int(word) for word in os.pread(self._handle, 256, 0).split(None, 9)[1:9]]
        if len(times) < COUNTED:
            raise ValueError("/proc/stat has fewer columns than kernels write.")
        total, idle = sum(times), times[IDLE] + times[WAITING]
        past = self._past
        past.append((now_ns, total, idle))
        # The latest reading that is a window old stays, as the one to compare with.
        while len(past) > 2 and past[1][0] <= now_ns - WINDOW_S * 1e9:
            past.popleft()
        _, total_before, idle_before = past[0]
        ticks = total - total_before
        if ticks <= 0:
            return None
        busy = 100.0 * (1.0 - (idle - idle_before) / ticks)
        # The kernel's count of idle time may step back by a tick.
        return min(max(busy, 0.0), 100.0)

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)
