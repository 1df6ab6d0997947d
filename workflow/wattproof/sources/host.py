"""The host itself: CPU load, memory in use, CPU frequency (psutil). Never simulated."""

from __future__ import annotations

import contextlib
import importlib
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wattproof.errors import WattproofError
from wattproof.sources.base import Channel, Description, Every, Pacing, Reading, Status
from wattproof.sources.endpoints import Endpoints
from wattproof.sources.procstat import WINDOW_S, ProcStat

MEMORY_PERIOD_S = 0.25
"""Memory is context, and asking for it costs more than the load does."""
FREQUENCY_PERIOD_S = 1.0
"""The kernel asks each core for its frequency: too dear for every read on a large node."""


class HostSource:
    """Load, memory and frequency of the machine that this process runs on.

    Args:
        psutil: Module ``psutil``, or what stands in its place.
        period_s: Time between two reads, in seconds.
        stat: The kernel's counts of CPU time; None, or a file that is not there, to ask psutil.
    """

    name = "host"
    pacing = Pacing.DEADLINE

    def __init__(
        self, psutil: Any, period_s: float = 0.25, stat: Path | None = Path("/proc/stat")
    ) -> None:
        self._psutil = psutil
        self._stat_path = stat
        self._stat: ProcStat | None = None
        self.period_s = period_s
        self._memory_due = Every(MEMORY_PERIOD_S, period_s / 2)
        self._frequency_due = Every(FREQUENCY_PERIOD_S, period_s / 2)
        self._has_frequency = False

    def open(self) -> Description:
        """Identify the host and see whether it tells its frequency (many containers do not)."""
        self._has_frequency = self._read("cpu.frequency", self._frequency).status is Status.OK
        if self._stat_path is not None:
            with contextlib.suppress(OSError):
                self._stat = ProcStat(self._stat_path)
        # A load is the mean since an earlier call: the first one means nothing.
        with contextlib.suppress(OSError, ValueError):
            self._load()
        host = platform.node()
        identity = {
            "name": host,
            "kernel": platform.release(),
            "cpus": self._psutil.cpu_count(),
            "memory_bytes": self._psutil.virtual_memory().total,
        }

        def channel(name: str, unit: str, kind: str, means: str, **more: Any) -> Channel:
            facts = {**identity, "means": means}
            period = {"period_s": self.period_s, **more}
            return Channel(name, unit, kind, device=host, identity=facts, **period)

        window_s = max(self.period_s, WINDOW_S) if self._stat is not None else self.period_s
        load = "mean over all CPUs"
        channels = [
            channel("cpu.load", "%", "load", load, averaging_s=window_s),
            channel(
                *("memory.used", "bytes", "memory", "total less available to programs"),
                period_s=max(self.period_s, MEMORY_PERIOD_S),
            ),
        ]
        if self._has_frequency:
            period_s = max(self.period_s, FREQUENCY_PERIOD_S)
            means = "mean over all CPUs"
            channels.append(channel("cpu.frequency", "Hz", "clock", means, period_s=period_s))
        return Description(identity, tuple(channels), simulated=False)

    def read(self) -> Sequence[Reading]:
        """Read the load, and memory and frequency when they are due."""
        readings = [self._read("cpu.load", self._load)]
        now = time.monotonic_ns()
        if self._memory_due.due(now):
            readings.append(self._read("memory.used", self._memory))
        if self._has_frequency and self._frequency_due.due(now):
            readings.append(self._read("cpu.frequency", self._frequency))
        return readings

    def close(self) -> None:
        """Close the file."""
        stat, self._stat = self._stat, None
        if stat is not None:
            stat.close()

    def _read(self, channel: str, call: Callable[[], float | None]) -> Reading:
        value: float | None = None
        start = time.monotonic_ns()
        try:
            value = call()
            status = Status.OK
            if value is None:
                status = Status.MISSING if channel == "cpu.load" else Status.NOT_SUPPORTED
        except PermissionError:
            status = Status.NO_PERMISSION
        except (OSError, ValueError, NotImplementedError, self._psutil.Error):
            status = Status.ERROR
        return Reading(channel, value, status, start_ns=start, end_ns=time.monotonic_ns())

    def _load(self) -> float | None:
        if self._stat is not None:
            return self._stat.percent()
        return float(self._psutil.cpu_percent(interval=None))

    def _memory(self) -> float:
        memory = self._psutil.virtual_memory()
        return float(memory.total - memory.available)

    def _frequency(self) -> float | None:
        frequency = self._psutil.cpu_freq()
        # psutil answers 0 MHz where the kernel does not tell.
        return frequency.current * 1e6 if frequency is not None and frequency.current else None


def build(settings: Mapping[str, Any], endpoints: Endpoints) -> HostSource:
    """Make the source from a campaign's settings; the endpoints play no part.

    Raises:
        WattproofError: If psutil is not installed.
    """
    del endpoints
    try:
        psutil = importlib.import_module("psutil")
    except ImportError as error:
        raise WattproofError(
            "psutil is not installed: pip install psutil, or remove 'host' from 'sources'."
        ) from error
    return HostSource(psutil, settings.get("period_s", 0.25))
