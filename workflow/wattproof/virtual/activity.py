"""The activity log: what the workload does, as it does it.

The workload appends one fixed-size record each time its load changes; every virtual sensor reads
the same file. One `os.write` on a descriptor opened with ``O_APPEND`` is atomic among processes,
so runs that are packed on one node may write into one log.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from wattproof.errors import WattproofError, did_you_mean
from wattproof.virtual.logtail import HOST_SLOT, RECORD

__all__ = ["DTYPE", "HOST_SLOT", "KINDS", "ActivityReader", "ActivityWriter"]

KINDS = ("idle", "input", "train", "eval", "prime", "stress", "gpu", "sync", "load")
"""What the workload may be doing; a record holds the index. For people: power ignores it."""

DTYPE = np.dtype(
    [
        ("mono_ns", "<i8"),
        ("slot", "<i4"),
        ("kind", "<i4"),
        ("gpu_compute", "<f4"),
        ("gpu_memory", "<f4"),
        ("cpu_load", "<f4"),
        ("dram_load", "<f4"),
    ]
)
"""A record of the log; the same 32 bytes as `logtail.RECORD`."""


class ActivityWriter:
    """Publishes what a workload does.

    Args:
        path: The log; None on a real node, where publishing does nothing.
    """

    def __init__(self, path: Path | str | None) -> None:
        self._fd: int | None = None
        if path is not None:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def publish(
        self,
        slot: int,
        kind: str,
        gpu_compute: float = 0.0,
        gpu_memory: float = 0.0,
        cpu_load: float = 0.0,
        dram_load: float = 0.0,
    ) -> None:
        """Say that from now on this slot is under this load, until its next record.

        Args:
            slot: Index of the GPU; `HOST_SLOT` for load beside any GPU.
            kind: One of `KINDS`.
            gpu_compute: Load of the GPU's multiprocessors, 0 to 1 (clipped).
            gpu_memory: Load of its memory, 0 to 1 (clipped).
            cpu_load: Share of the node's CPUs, 0 to 1 (clipped).
            dram_load: Share of the node's memory bandwidth, 0 to 1 (clipped).

        Raises:
            WattproofError: The kind is unknown, or a load is not a number.
        """
        if self._fd is None:
            return
        if kind not in KINDS:
            raise WattproofError(f"Unknown kind of activity '{kind}'.{did_you_mean(kind, KINDS)}")
        loads = (gpu_compute, gpu_memory, cpu_load, dram_load)
        if any(math.isnan(load) for load in loads):
            raise WattproofError(f"Activity of slot {slot} ({kind}) has a load that is no number.")
        clipped = (min(1.0, max(0.0, load)) for load in loads)
        # The stamp is taken last: sensors wait only a few milliseconds for the record of an event.
        fd, code = self._fd, KINDS.index(kind)
        os.write(fd, RECORD.pack(time.monotonic_ns(), slot, code, *clipped))

    def close(self) -> None:
        """Let go of the log; the last level holds. Safe to call twice."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> ActivityWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class ActivityReader:
    """Follows an activity log that others append to."""

    def __init__(self, path: Path | str) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise WattproofError(
                f"There is no activity log {path}; was the virtual node created (create_node)?"
            ) from error
        self._offset = 0

    def poll(self) -> NDArray[np.void]:
        """Return the records that are new since the last call, as a structured array (`DTYPE`).

        A record at the end that is not complete yet is left for a later call.
        """
        # One cheap call tells that nothing is new: sensors ask a hundred times a second.
        complete = os.fstat(self._fd).st_size // RECORD.size * RECORD.size
        if complete <= self._offset:
            return np.empty(0, DTYPE)
        data = os.pread(self._fd, complete - self._offset, self._offset)
        data = data[: len(data) // RECORD.size * RECORD.size]
        self._offset += len(data)
        return np.frombuffer(data, DTYPE)

    def close(self) -> None:
        """Let go of the log. Safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
