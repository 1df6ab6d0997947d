"""The true power of the node: from activity to watts, and exact energies over any interval.

Power is constant between two events, so energies are sums of products: no quadrature, no noise.
Truth is a pure function of the event log and the parameters; whatever is random belongs to
the sensors. Channels: ``gpu0`` …, ``cpu0.package``, ``cpu0.dram``, ``off_socket``, ``node.ac``,
and (fractions instead of watts) ``gpu0.utilisation``, ``gpu0.memory_utilisation`` ….
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wattproof.errors import WattproofError
from wattproof.virtual import formula
from wattproof.virtual.activity import DTYPE, HOST_SLOT
from wattproof.virtual.presets import Parameters

Array = NDArray[np.float64]

BLOCK_EVENTS = 32_768

LEVELS = ("gpu_compute", "gpu_memory", "cpu_load", "dram_load")


class PowerModel:
    """Watts from loads; every function takes numbers or arrays.

    Args:
        parameters: Of the node.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def gpu_w(self, compute: Any, memory: Any) -> Any:
        """True power of one GPU in watts, from loads of 0 to 1."""
        gpu = self.parameters.gpu
        return formula.gpu_power_w(compute, memory, gpu.idle_w, gpu.limit_w, gpu.compute_weight)

    def package_w(self, cpu_load: Any) -> Any:
        """True power of the CPU packages in watts."""
        cpu = self.parameters.cpu
        return cpu.idle_w + (cpu.max_w - cpu.idle_w) * cpu_load

    def dram_w(self, dram_load: Any) -> Any:
        """True power of the memory modules in watts."""
        dram = self.parameters.dram
        return dram.idle_w + (dram.max_w - dram.idle_w) * dram_load

    def off_socket_w(self, cpu_load: Any, dram_load: Any, gpus_w: Any) -> Any:
        """Node power that RAPL and NVML do not see, power supply loss included.

        This is the paper's P_busy: node AC − packages − DRAM − all GPUs.

        Args:
            cpu_load: Of the node, 0 to 1.
            dram_load: Of the node, 0 to 1.
            gpus_w: True power of all GPUs together, in watts.
        """
        off, gpu = self.parameters.off_socket, self.parameters.gpu
        board = off.board_idle_w + off.board_cpu_w * cpu_load + off.board_dram_w * dram_load
        board = board + off.board_gpu_share * (gpus_w - gpu.count * gpu.idle_w)
        dc = board + gpus_w + self.package_w(cpu_load) + self.dram_w(dram_load)
        return board + off.psu_a_w + off.psu_b * dc + off.psu_c_per_w * dc**2

    def channels(self) -> list[str]:
        """Names of all channels, in the order of the columns of `watts`."""
        slots = range(self.parameters.gpu.count)
        return [
            *(f"gpu{i}" for i in slots),
            *(f"gpu{i}.utilisation" for i in slots),
            *(f"gpu{i}.memory_utilisation" for i in slots),
            "cpu0.package",
            "cpu0.dram",
            "off_socket",
            "node.ac",
        ]

    def watts(self, levels: Array) -> Array:
        """All channels from the loads of all slots.

        Args:
            levels: Loads, shape (times, slots with the host last, 4 in the order of `LEVELS`).

        Returns:
            Watts (utilisations: 0 to 1), shape (times, channels).
        """
        compute, memory = levels[:, :-1, 0], levels[:, :-1, 1]
        cpu = np.clip(levels[:, :, 2].sum(axis=1), 0.0, 1.0)
        dram = np.clip(levels[:, :, 3].sum(axis=1), 0.0, 1.0)
        gpus = self.gpu_w(compute, memory)
        package, modules = self.package_w(cpu), self.dram_w(dram)
        off = self.off_socket_w(cpu, dram, gpus.sum(axis=1))
        node = package + modules + off + gpus.sum(axis=1)
        busy = [formula.utilisation(compute), memory]
        return np.column_stack([gpus, *busy, package, modules, off, node])


class PowerTrace:
    """Power of every channel over time, with exact cumulative energy; grows with the event log.

    Before its first event the node is idle; after its last one the last level holds. So an answer
    about an instant is final as soon as all events up to that instant have been handed in.

    Args:
        parameters: Of the node.
        t0_ns: Monotonic instant from which energies are counted; events before it count as at it.
    """

    def __init__(self, parameters: Parameters, t0_ns: int) -> None:
        self.model = PowerModel(parameters)
        self.t0_ns = int(t0_ns)
        self._column = {name: i for i, name in enumerate(self.model.channels())}
        self._slots = parameters.gpu.count
        self._events: list[NDArray[np.void]] = []
        self._reset()

    @property
    def channels(self) -> Sequence[str]:
        """Names of all channels."""
        return list(self._column)

    @property
    def last_event_ns(self) -> int:
        """Instant of the latest event (`t0_ns` if there is none)."""
        return int(self._t[self._n - 1])

    def extend(self, events: NDArray[np.void]) -> None:
        """Take in more records of the event log, in the order of the file.

        Processes that share a log may append slightly out of the order of their time stamps; then
        the trace is built anew, so that the result depends on the log only, not on who read when.

        Raises:
            WattproofError: A record is of a slot that the node has not.
        """
        if len(events) == 0:
            return
        slots = events["slot"]
        if slots.max() >= self._slots or slots.min() < HOST_SLOT:
            raise WattproofError(
                f"The activity log speaks of slots {slots.min()} to {slots.max()}, but the virtual "
                f"node has {self._slots} GPU(s); run on slots 0 to {self._slots - 1}, or raise "
                "gpu.count in node.overrides."
            )
        late = events["mono_ns"].min() < self._latest_ns
        self._events.append(events)
        if late:
            events = np.concatenate(self._events)
            self._events = [events]
            self._reset()
        self._append(events)

    def power_w(self, channel: str, t_ns: ArrayLike) -> Any:
        """Power in watts at monotonic instants; the shape of `t_ns`."""
        t = np.asarray(t_ns, np.int64)
        return self._w[self._segment(t), self._index(channel)]

    def energy_j(self, channel: str, t_ns: ArrayLike) -> Any:
        """Energy in joules from t0 to monotonic instants (negative before t0)."""
        t = np.asarray(t_ns, np.int64)
        segment, column = self._segment(t), self._index(channel)
        # Differences of int64 stay exact; only the short rest within a segment becomes a float.
        rest_s = (t - self._t[segment]) * 1e-9
        return self._j[segment, column] + self._w[segment, column] * rest_s

    def mean_w(self, channel: str, start_ns: ArrayLike, end_ns: ArrayLike) -> Any:
        """Mean power over [start, end), in watts; the power at `end_ns` where it is empty."""
        start, end = np.asarray(start_ns, np.int64), np.asarray(end_ns, np.int64)
        duration_s = (end - start) * 1e-9
        energy = self.energy_j(channel, end) - self.energy_j(channel, start)
        empty = duration_s <= 0
        mean = energy / np.where(empty, 1.0, duration_s)
        return np.where(empty, self.power_w(channel, end), mean)[()]

    def last_level_w(self, channel: str, before_ns: ArrayLike, at_most_w: float) -> Any:
        """Power of the last level that began before an instant and was not above a limit.

        At the node's beginning it was idle: that is the answer where no level was low enough.
        """
        before, column = np.asarray(before_ns, np.int64), self._index(channel)
        watts = self._w[: self._n, column]
        last = np.maximum.accumulate(np.where(watts <= at_most_w, np.arange(self._n), 0))
        began = np.searchsorted(self._t[: self._n], before, side="left") - 1
        return watts[last[np.maximum(began, 0)]]

    def _index(self, channel: str) -> int:
        try:
            return self._column[channel]
        except KeyError:
            known = ", ".join(self._column)
            raise WattproofError(
                f"The virtual node has no channel '{channel}'; it has {known}."
            ) from None

    def _segment(self, t: NDArray[np.int64]) -> Any:
        found = np.searchsorted(self._t[: self._n], t, side="right") - 1
        return np.maximum(found, 0)

    def _reset(self) -> None:
        self._levels = np.zeros((self._slots + 1, len(LEVELS)))
        self._n = 1
        # Of the events themselves: those before t0 all count as at t0, but still in their order.
        self._latest_ns = np.iinfo(np.int64).min
        self._t = np.full(1, self.t0_ns, np.int64)
        self._w = self.model.watts(self._levels[None])
        self._j = np.zeros_like(self._w)

    def _append(self, events: NDArray[np.void]) -> None:
        """Append events none of which is earlier than the last one so far."""
        events = events[np.argsort(events["mono_ns"], kind="stable")]
        self._latest_ns = int(events["mono_ns"][-1])
        self._reserve(self._n + len(events))
        # In blocks: what is needed in between is several times what stays.
        for begin in range(0, len(events), BLOCK_EVENTS):
            self._append_block(events[begin : begin + BLOCK_EVENTS])

    def _append_block(self, events: NDArray[np.void]) -> None:
        times = np.maximum(events["mono_ns"], self.t0_ns)
        levels = self._filled(events)
        self._levels = levels[-1].copy()
        watts = self.model.watts(levels)
        n, m = self._n, len(events)
        self._t[n : n + m], self._w[n : n + m] = times, watts
        steps_s = np.diff(self._t[n - 1 : n + m]) * 1e-9
        added = np.cumsum(self._w[n - 1 : n + m - 1] * steps_s[:, None], axis=0)
        self._j[n : n + m] = self._j[n - 1] + added
        self._n = n + m

    def _filled(self, events: NDArray[np.void]) -> Array:
        """Loads of all slots right after each event: a slot keeps its level until its next one."""
        row = np.arange(len(events))
        levels = np.repeat(self._levels[None], len(events), axis=0)
        values = np.stack([events[name] for name in LEVELS], axis=1).astype(np.float64)
        for slot in set(events["slot"].tolist()):
            position = self._slots if slot == HOST_SLOT else slot
            last = np.maximum.accumulate(np.where(events["slot"] == slot, row, -1))
            known = last >= 0
            levels[known, position] = values[last[known]]
        return levels

    def _reserve(self, rows: int) -> None:
        if rows <= len(self._t):
            return
        capacity = max(rows, 2 * len(self._t), 64)
        for name in ("_t", "_w", "_j"):
            old = getattr(self, name)
            new = np.empty((capacity, *old.shape[1:]), old.dtype)
            new[: self._n] = old[: self._n]
            setattr(self, name, new)


def events(rows: Sequence[tuple[int, int, int, float, float, float, float]]) -> NDArray[np.void]:
    """Make records of the event log out of tuples in the order of `activity.DTYPE`."""
    return np.array(list(rows), DTYPE)
