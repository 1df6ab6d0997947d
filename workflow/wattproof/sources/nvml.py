"""NVML: power by field id, energy counter, utilisation, memory, clock and temperature by GPU.

Facts: NVML API reference; measurement.md sections 2 and 3. Average and instant power are kept
apart by field id, because ``nvmlDeviceGetPowerUsage`` means one or the other by generation.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wattproof.errors import WattproofError
from wattproof.sources.base import Channel, Description, Every, Pacing, Reading, Status
from wattproof.sources.endpoints import Endpoints
from wattproof.units import mj_to_j, mw_to_w

FIELD_POWER_AVERAGE = 185
FIELD_POWER_INSTANT = 186
CLOCK_SM = 1
TEMPERATURE_GPU = 0

COUNTER_PERIOD_S = 0.1
"""The energy counter steps every 100 ms and costs 3–4 ms a read (measurement.md 3)."""
SLOW_PERIOD_S = 1.0
"""Memory, clock and temperature: context, not energy."""
PROBES = 3
PROBE_PAUSE_S = 0.12
"""Drivers report "not supported" spuriously now and then (measurement.md 2.2): ask again."""

POWER_ACCURACY = 0.05
"""Limit of the steady, proportional error of the boards' sensors: ±5 % (arXiv 2312.02741)."""

# Window that "instant" power averages over, by name of the board (arXiv 2312.02741).
_INSTANT_WINDOW_S = (("GH200", 0.020), ("A100", 0.025))
ARCHITECTURE_HOPPER = 9
_HOPPER_WINDOW_S = 0.025

# Union member of c_nvmlValue_t by NVML_VALUE_TYPE_*.
_UNION = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")

_STATUS = {
    3: Status.NOT_SUPPORTED,
    4: Status.NO_PERMISSION,
    10: Status.TIMEOUT,
    12: Status.NOT_SUPPORTED,  # library without the function
    13: Status.NOT_SUPPORTED,  # driver without the function
    15: Status.DEVICE_LOST,
    16: Status.DEVICE_LOST,  # needs a reset
    21: Status.MISSING,  # no data
    27: Status.MISSING,  # not ready
    28: Status.DEVICE_LOST,
}


def status_of(code: int) -> Status:
    """Translate an NVML return code other than 0."""
    return _STATUS.get(code, Status.ERROR)


@dataclass(frozen=True, slots=True)
class _Gpu:
    index: int
    handle: Any
    uuid: str
    fields: tuple[int, ...]
    counter: bool

    def channel(self, what: str) -> str:
        return f"gpu{self.index}.{what}"


_FIELD_CHANNELS = {FIELD_POWER_INSTANT: "power_instant", FIELD_POWER_AVERAGE: "power_average"}


class NvmlSource:
    """All GPUs of the node, addressed by UUID.

    Args:
        nvml: Module ``pynvml``, or what stands in its place.
        period_s: Time between two reads of power and utilisation, in seconds.
        simulated: True if a virtual node stands behind it.
    """

    name = "nvml"
    pacing = Pacing.DEADLINE

    def __init__(self, nvml: Any, period_s: float = 0.05, simulated: bool = False) -> None:
        self._nvml = nvml
        self.period_s = period_s
        self._simulated = simulated
        self._gpus: list[_Gpu] = []
        self._counter = Every(COUNTER_PERIOD_S, period_s / 2)
        self._slow = Every(SLOW_PERIOD_S, period_s / 2)
        self._open = False

    def open(self) -> Description:
        """Initialise NVML, find the GPUs and what each of them supports."""
        try:
            self._nvml.nvmlInit()
            self._open = True
            driver = _text(self._nvml.nvmlSystemGetDriverVersion())
            channels: list[Channel] = []
            for index in range(self._nvml.nvmlDeviceGetCount()):
                gpu, identity = self._identify(index, driver)
                self._gpus.append(gpu)
                channels += self._channels(gpu, identity)
        except self._nvml.NVMLError as error:
            raise WattproofError(
                f"NVML does not work here ({error}); check that 'nvidia-smi' works, or remove "
                "'nvml' from 'sources'."
            ) from error
        if not self._gpus:
            raise WattproofError(
                "NVML sees no GPU; remove 'nvml' from 'sources' or check the driver."
            )
        if not any(gpu.fields or gpu.counter for gpu in self._gpus):
            raise WattproofError(
                "NVML gives neither power nor energy of any GPU; update the driver, or remove "
                "'nvml' from 'sources'."
            )
        identity = {"driver": driver, "uuids": [gpu.uuid for gpu in self._gpus]}
        return Description(identity, tuple(channels), self._simulated)

    def read(self) -> Sequence[Reading]:
        """Read power and utilisation of every GPU, then what else is due."""
        readings: list[Reading] = []
        for gpu in self._gpus:
            readings += self._read_fields(gpu)
        for gpu in self._gpus:
            readings += self._read_utilisation(gpu)
        now = time.monotonic_ns()
        if self._counter.due(now):
            for gpu in self._gpus:
                if gpu.counter:
                    readings += self._timed(gpu, ("energy",), self._energy)
        if self._slow.due(now):
            for gpu in self._gpus:
                readings += self._timed(gpu, ("memory_used",), self._memory)
                readings += self._timed(gpu, ("clock_sm",), self._clock)
                readings += self._timed(gpu, ("temperature",), self._temperature)
        return readings

    def close(self) -> None:
        """Shut NVML down."""
        if self._open:
            self._open = False
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()

    # ---------------------------------------------------------------- identity

    def _identify(self, index: int, driver: str) -> tuple[_Gpu, dict[str, Any]]:
        handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
        uuid = _text(self._nvml.nvmlDeviceGetUUID(handle))
        limit_mw = self._optional("nvmlDeviceGetEnforcedPowerLimit", handle)
        if limit_mw is None:
            limit_mw = self._optional("nvmlDeviceGetPowerManagementLimit", handle)
        persistence = self._optional("nvmlDeviceGetPersistenceMode", handle)
        unsupported: list[str] = []
        fields: list[int] = []
        counter = False
        for attempt in range(PROBES):
            if attempt:
                time.sleep(PROBE_PAUSE_S)
            probe = _Gpu(index, handle, uuid, (FIELD_POWER_INSTANT, FIELD_POWER_AVERAGE), True)
            readings = self._read_fields(probe) + self._timed(probe, ("energy",), self._energy)
            lacking = {r.channel for r in readings if r.status is Status.NOT_SUPPORTED}
            fields = [f for f in probe.fields if probe.channel(_FIELD_CHANNELS[f]) not in lacking]
            counter = probe.channel("energy") not in lacking
            unsupported = sorted(name.partition(".")[2] for name in lacking)
            if not lacking:
                break
        identity = {
            "name": _text(self._nvml.nvmlDeviceGetName(handle)),
            "driver": driver,
            "architecture": self._optional("nvmlDeviceGetArchitecture", handle),
            "limit_w": None if limit_mw is None else mw_to_w(limit_mw),
            "persistence_mode": None if persistence is None else bool(persistence),
            "unsupported": unsupported,
        }
        return _Gpu(index, handle, uuid, tuple(fields), counter), identity

    def _optional(self, function: str, handle: Any) -> Any | None:
        """Ask for a fact that not every board or driver knows."""
        try:
            return getattr(self._nvml, function)(handle)
        except (self._nvml.NVMLError, AttributeError):
            return None

    def _channels(self, gpu: _Gpu, identity: dict[str, Any]) -> list[Channel]:
        hopper = identity["architecture"] == ARCHITECTURE_HOPPER
        other_s = _HOPPER_WINDOW_S if hopper else 0.0
        window_s = next((w for part, w in _INSTANT_WINDOW_S if part in identity["name"]), other_s)
        counter_s = max(COUNTER_PERIOD_S, self.period_s)
        slow_s = max(SLOW_PERIOD_S, self.period_s)

        def channel(
            what: str, unit: str, kind: str, period_s: float, means: str, **more: Any
        ) -> Channel:
            facts = {**identity, "means": means}
            return Channel(
                name=gpu.channel(what),
                unit=unit,
                kind=kind,
                device=gpu.uuid,
                slot=gpu.index,
                period_s=period_s,
                identity=facts,
                **more,
            )

        sensor = {"accuracy_reading": POWER_ACCURACY, "quantum": 0.001}
        found = []
        if FIELD_POWER_INSTANT in gpu.fields:
            means = "field 186: board power, mean of the sensor's last window"
            more = {"averaging_s": window_s, **sensor}
            found.append(channel("power_instant", "W", "power", self.period_s, means, **more))
        if FIELD_POWER_AVERAGE in gpu.fields:
            means = "field 185: board power, mean of about the last second"
            more = {"averaging_s": 1.0, **sensor}
            found.append(channel("power_average", "W", "power", self.period_s, means, **more))
        if gpu.counter:
            means = "total energy of the board since the driver was loaded"
            found.append(channel("energy", "J", "energy", counter_s, means, **sensor))
        busy = "share of the driver's last sampling period with a kernel running"
        moving = "share of the driver's last sampling period with memory traffic"
        return [
            *found,
            channel("utilisation", "%", "utilisation", self.period_s, busy),
            channel("memory_utilisation", "%", "utilisation", self.period_s, moving),
            channel("memory_used", "bytes", "memory", slow_s, "allocated device memory"),
            channel("clock_sm", "Hz", "clock", slow_s, "current clock of the multiprocessors"),
            channel("temperature", "C", "temperature", slow_s, "of the die"),
        ]

    # ---------------------------------------------------------------- reading

    def _read_fields(self, gpu: _Gpu) -> list[Reading]:
        """Read the power fields in one call; each has a return code and a type of its own."""
        if not gpu.fields:
            return []
        names = [gpu.channel(_FIELD_CHANNELS[field]) for field in gpu.fields]
        start = time.monotonic_ns()
        try:
            values = self._nvml.nvmlDeviceGetFieldValues(gpu.handle, list(gpu.fields))
        except self._nvml.NVMLError as error:
            end = time.monotonic_ns()
            status = status_of(error.value)
            return [Reading(n, None, status, start_ns=start, end_ns=end) for n in names]
        end = time.monotonic_ns()
        return [
            _field_reading(name, value, start, end)
            for name, value in zip(names, values, strict=True)
        ]

    def _read_utilisation(self, gpu: _Gpu) -> list[Reading]:
        return self._timed(gpu, ("utilisation", "memory_utilisation"), self._utilisation)

    def _timed(
        self, gpu: _Gpu, channels: Sequence[str], call: Callable[[Any], tuple[float, ...]]
    ) -> list[Reading]:
        """Make a call that yields one value per channel, with stamps of its own."""
        names = [gpu.channel(channel) for channel in channels]
        start = time.monotonic_ns()
        try:
            values: tuple[float | None, ...] = call(gpu.handle)
            status = Status.OK
        except self._nvml.NVMLError as error:
            values = (None,) * len(names)
            status = status_of(error.value)
        end = time.monotonic_ns()
        return [
            Reading(name, value, status, start_ns=start, end_ns=end)
            for name, value in zip(names, values, strict=True)
        ]

    def _energy(self, handle: Any) -> tuple[float, ...]:
        return (mj_to_j(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle)),)

    def _utilisation(self, handle: Any) -> tuple[float, ...]:
        rates = self._nvml.nvmlDeviceGetUtilizationRates(handle)
        return (float(rates.gpu), float(rates.memory))

    def _memory(self, handle: Any) -> tuple[float, ...]:
        return (float(self._nvml.nvmlDeviceGetMemoryInfo(handle).used),)

    def _clock(self, handle: Any) -> tuple[float, ...]:
        return (self._nvml.nvmlDeviceGetClockInfo(handle, CLOCK_SM) * 1e6,)

    def _temperature(self, handle: Any) -> tuple[float, ...]:
        return (float(self._nvml.nvmlDeviceGetTemperature(handle, TEMPERATURE_GPU)),)


def _field_reading(name: str, field: Any, start_ns: int, end_ns: int) -> Reading:
    # The stamp is microseconds since the epoch; 0 or less means that the driver gave none.
    stamp = int(field.timestamp)
    device_ns = stamp * 1000 if stamp > 0 else None
    value: float | None = None
    if field.nvmlReturn != 0:
        status = status_of(field.nvmlReturn)
    elif not 0 <= field.valueType < len(_UNION):
        status = Status.GARBLED
    else:
        value = mw_to_w(getattr(field.value, _UNION[field.valueType]))
        status = Status.OK
        if not value > 0.0:
            # No board draws nothing: drivers answer 0 when asked too often (measurement.md 2.2).
            value, status = None, Status.MISSING
    return Reading(name, value, status, device_ns, start_ns, end_ns)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def build(settings: Mapping[str, Any], endpoints: Endpoints) -> NvmlSource:
    """Make the source from a campaign's settings.

    Raises:
        WattproofError: If the NVML module is not installed.
    """
    if endpoints.nvml is None:
        raise WattproofError(
            "NVML's Python module is not installed: pip install nvidia-ml-py, or remove 'nvml' "
            "from 'sources'."
        )
    return NvmlSource(endpoints.nvml, settings.get("period_s", 0.05), endpoints.simulated)
