"""Layout of the activity log, and reading it backwards. Standard library only (see `formula`)."""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RECORD = struct.Struct("<qiiffff")
"""mono_ns, slot, kind, gpu_compute, gpu_memory, cpu_load, dram_load: 32 bytes."""

HOST_SLOT = -1
"""Slot of activity that occupies no GPU."""

BLOCK_RECORDS = 512

Level = tuple[int, float, float]
"""Since when (ns), compute load, memory load of one GPU."""


def backwards(fd: int, slot: int, before_ns: int) -> Iterator[Level]:
    """Yield the levels of a GPU that began before an instant, latest first.

    A record that is not complete yet is left out.
    """
    end = os.fstat(fd).st_size // RECORD.size
    while end > 0:
        begin = max(0, end - BLOCK_RECORDS)
        block = os.pread(fd, (end - begin) * RECORD.size, begin * RECORD.size)
        block = block[: len(block) // RECORD.size * RECORD.size]
        for record in reversed(list(RECORD.iter_unpack(block))):
            if record[1] == slot and record[0] < before_ns:
                yield record[0], record[3], record[4]
        end = begin


def mean_power_w(
    fd: int, slot: int, start_ns: int, end_ns: int, power_w: Callable[[float, float], float]
) -> float:
    """Mean of a GPU's true power over an interval (its level if the interval is empty).

    Args:
        fd: Descriptor of the activity log.
        slot: Index of the GPU.
        start_ns: Monotonic begin.
        end_ns: Monotonic end.
        power_w: Power in watts from compute and memory load.
    """
    if end_ns <= start_ns:
        return last_level_w(fd, slot, end_ns, power_w)
    joules_e9, until = 0.0, end_ns
    for since, compute, memory in backwards(fd, slot, end_ns):
        begin = max(since, start_ns)
        joules_e9 += power_w(compute, memory) * max(0, until - begin)
        until = min(until, begin)
        if since <= start_ns:
            break
    joules_e9 += power_w(0.0, 0.0) * (until - start_ns)
    return joules_e9 / (end_ns - start_ns)


def last_level_w(
    fd: int,
    slot: int,
    before_ns: int,
    power_w: Callable[[float, float], float],
    at_most_w: float = float("inf"),
) -> float:
    """Power of the last level before an instant that was not above a limit; idle if none was."""
    for _, compute, memory in backwards(fd, slot, before_ns):
        power = power_w(compute, memory)
        if power <= at_most_w:
            return power
    return power_w(0.0, 0.0)
