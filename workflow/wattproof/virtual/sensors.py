"""What the sensors on the boards and the power-capping counters show, as functions of time.

All functions take arrays of instants, so that whole campaigns can be made without waiting. None
reads a clock or a file: they see a `PowerTrace` that must know all events up to the instants asked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wattproof import units
from wattproof.virtual import formula
from wattproof.virtual.model import PowerTrace
from wattproof.virtual.node import NodeSpec

UJ_PER_J = 1_000_000.0
MIB = 2**20
GIB = 2**30

IDLE_MEMORY_SHARE = 0.01
BUSY_MEMORY_SHARE = 0.50
"""Memory in use is this share of the board at no and at full memory load: only a plausible value,
which nothing is derived from."""

TEMPERATURE_S = 10.0
"""Temperature follows the mean power of so many seconds."""

RAPL_CHANNELS = ("cpu0.package", "cpu0.dram")


class GpuSensor:
    """Power sensor of one board: windows, update period, gain, energy counter.

    Args:
        spec: The node.
        slot: Index of the board.
    """

    def __init__(self, spec: NodeSpec, slot: int) -> None:
        nvml = spec.parameters.nvml
        self._gpu = spec.parameters.gpu
        self.board = spec.boards[slot]
        self.channel = f"gpu{slot}"
        self._t0_ns = spec.t0_ns
        self._period_ns = units.s_to_ns(nvml.update_period_s)
        self._instant_ns = units.s_to_ns(nvml.instant_window_s)
        self._average_ns = units.s_to_ns(nvml.average_window_s)
        self._ring_ns = units.s_to_ns(nvml.ring_period_s)
        self._ring_length = round(nvml.ring_span_s / nvml.ring_period_s)
        self._latency_ns = units.s_to_ns(nvml.latency_s)

    def tick_ns(self, t_ns: ArrayLike) -> Any:
        """Latest update that can be read at these instants (monotonic)."""
        t = np.asarray(t_ns, np.int64)
        return formula.last_tick_ns(t, self.board.phase_ns, self._period_ns, self._latency_ns)

    def average_mw(self, trace: PowerTrace, t_ns: ArrayLike) -> Any:
        """Average power (field 185) in whole mW of board units: the last second before the tick."""
        return self._mean_mw(trace, t_ns, self._average_ns)

    def instant_mw(self, trace: PowerTrace, t_ns: ArrayLike) -> Any:
        """Instant power (field 186) in whole mW: only the last 25 of each 100 ms are seen."""
        return self._mean_mw(trace, t_ns, self._instant_ns)

    def counter_mj(self, trace: PowerTrace, t_ns: ArrayLike) -> Any:
        """Energy counter (field 83) in whole mJ of board units at the tick."""
        tick = self.tick_ns(t_ns)
        true_j = trace.energy_j(self.channel, tick)
        offset_j = self.board.offset_w * ((tick - self._t0_ns) * 1e-9)
        shown_mj = np.floor((self.board.gain * true_j + offset_j) * 1e3).astype(np.int64)
        return self.board.counter_start_mj + shown_mj

    def utilisation_percent(self, trace: PowerTrace, t_ns: ArrayLike, memory: bool = False) -> Any:
        """Utilisation of the GPU (or of its memory) in whole percent over one update period."""
        name = f"{self.channel}.{'memory_' if memory else ''}utilisation"
        tick = self.tick_ns(t_ns)
        return np.rint(100.0 * trace.mean_w(name, tick - self._period_ns, tick)).astype(np.int64)

    def ring(self, trace: PowerTrace, t_ns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The driver's ring at an instant: stamps (monotonic ns, rising) and power (whole mW)."""
        back = np.arange(self._ring_length - 1, -1, -1, dtype=np.int64)
        stamps = int(self.ring_stamps(t_ns)) - self._ring_ns * back
        return stamps, self.ring_mw(trace, stamps)

    def ring_stamps(self, t_ns: ArrayLike) -> Any:
        """Newest sample of the driver's ring at these instants (monotonic ns)."""
        t = np.asarray(t_ns, np.int64)
        return formula.last_tick_ns(t, self.board.phase_ns, self._ring_ns, self._latency_ns)

    def ring_mw(self, trace: PowerTrace, stamps_ns: ArrayLike) -> Any:
        """Power of ring samples with these stamps, in whole mW: each the mean since the last."""
        return self._shown_mw(trace, np.asarray(stamps_ns, np.int64), self._ring_ns)

    def average_w(self, trace: PowerTrace, t_ns: ArrayLike) -> Any:
        """Average power in board units, as exact as a float (nvidia-smi rounds it by itself)."""
        tick = self.tick_ns(t_ns)
        true_w = trace.mean_w(self.channel, tick - self._average_ns, tick)
        return self.board.gain * true_w + self.board.offset_w

    def stale_w(self, trace: PowerTrace, t_ns: ArrayLike, at_most_w: float) -> Any:
        """Power in board units of the last level before these instants that was low enough."""
        true_w = trace.last_level_w(self.channel, t_ns, at_most_w)
        return self.board.gain * true_w + self.board.offset_w

    def busy(self, trace: PowerTrace, t_ns: ArrayLike) -> Any:
        """Whether any kernel runs at these instants."""
        return trace.power_w(f"{self.channel}.utilisation", t_ns) > 0

    def memory_used_bytes(self, trace: PowerTrace, t_ns: ArrayLike) -> Any:
        """Allocated memory in bytes, in whole MiB."""
        moved = trace.power_w(f"{self.channel}.memory_utilisation", t_ns)
        share = IDLE_MEMORY_SHARE + (BUSY_MEMORY_SHARE - IDLE_MEMORY_SHARE) * moved
        total = round(self._gpu.memory_gib * GIB)
        return np.floor(total * share).astype(np.int64) // MIB * MIB

    def clock_sm_mhz(self, trace: PowerTrace, t_ns: ArrayLike) -> Any:
        """SM clock: high while any kernel runs."""
        gpu = self._gpu
        return np.where(self.busy(trace, t_ns), gpu.clock_max_mhz, gpu.clock_idle_mhz)

    def temperature_c(self, trace: PowerTrace, t_ns: ArrayLike) -> Any:
        """Temperature in whole degrees: follows average power."""
        gpu, t = self._gpu, np.asarray(t_ns, np.int64)
        power_w = trace.mean_w(self.channel, t - units.s_to_ns(TEMPERATURE_S), t)
        rise = (power_w - gpu.idle_w) / max(gpu.limit_w - gpu.idle_w, 1e-9)
        span_c = gpu.temperature_limit_c - gpu.temperature_idle_c
        return np.rint(gpu.temperature_idle_c + span_c * rise).astype(np.int64)

    def _mean_mw(self, trace: PowerTrace, t_ns: ArrayLike, window_ns: int) -> Any:
        return self._shown_mw(trace, self.tick_ns(t_ns), window_ns)

    def _shown_mw(self, trace: PowerTrace, end_ns: NDArray[np.int64], window_ns: int) -> Any:
        true_w = trace.mean_w(self.channel, end_ns - window_ns, end_ns)
        shown_w = self.board.gain * true_w + self.board.offset_w
        return np.maximum(np.rint(shown_w * 1e3), 0).astype(np.int64)


def rapl_uj(spec: NodeSpec, trace: PowerTrace, domain: int, t_ns: ArrayLike) -> Any:
    """Counter of a RAPL domain (0 package, 1 DRAM) in µJ; wraps at ``max_energy_range_uj``."""
    true_uj = trace.energy_j(RAPL_CHANNELS[domain], t_ns) * UJ_PER_J
    counted = spec.rapl_start_uj[domain] + np.floor(true_uj).astype(np.int64)
    return counted % spec.parameters.rapl.max_energy_range_uj
