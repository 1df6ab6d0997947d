"""NVML of a virtual node: an object with the functions of module `pynvml` that sources use.

Same names, units, structs, constants and errors as `pynvml` (imported lazily, for these only), so
that a source runs the same code here and on hardware. Constants, error classes and structs are
taken from `pynvml`; functions of it that are not simulated report "not supported".
"""
# ruff: noqa: N802, N803, N815
# (The names are NVIDIA's.)

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattproof.sources.base import wall_offset_ns
from wattproof.virtual.activity import ActivityReader
from wattproof.virtual.model import PowerTrace
from wattproof.virtual.node import NodeSpec
from wattproof.virtual.sensors import GIB, GpuSensor

DRIVER_VERSION = "SIMULATED"


@functools.cache
def _pynvml() -> Any:
    import pynvml

    return pynvml


@dataclass(frozen=True, slots=True)
class Handle:
    """Stands for NVML's opaque device handle."""

    index: int


class VirtualNvml:
    """Stands for module `pynvml`.

    Args:
        node: Folder of the virtual node, or the node itself.
        clock: Monotonic clock in nanoseconds (tests hand in another one).
        trace: Its complete true power; None: it grows with the node's event log.
    """

    def __init__(
        self,
        node: Path | str | NodeSpec,
        clock: Callable[[], int] = time.monotonic_ns,
        trace: PowerTrace | None = None,
    ) -> None:
        self._spec = node if isinstance(node, NodeSpec) else NodeSpec.load(node)
        self._clock = clock
        self._complete = trace
        self._sensors = [GpuSensor(self._spec, slot) for slot in range(self._spec.slots)]
        self._reader: ActivityReader | None = None
        self._trace: PowerTrace | None = None
        self._users = 0
        self._wall_offset_ns = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(_pynvml(), name)
        if name.startswith("nvml") and callable(value) and not isinstance(value, type):
            return self._not_supported
        return value

    def _not_supported(self, *_: Any, **__: Any) -> Any:
        raise self._error("NVML_ERROR_NOT_SUPPORTED")

    def _error(self, code: str) -> Exception:
        nvml = _pynvml()
        error: Exception = nvml.NVMLError(getattr(nvml, code))
        return error

    def nvmlInit(self) -> None:
        """Begin; each call needs its own `nvmlShutdown`."""
        if self._users == 0:
            self._trace = self._complete
            if self._trace is None:
                self._reader = ActivityReader(self._spec.activity_path)
                self._trace = PowerTrace(self._spec.parameters, self._spec.t0_ns)
            # Fixed for a session: the same sample must have the same stamp whenever it is asked.
            self._wall_offset_ns = wall_offset_ns()
        self._users += 1

    def nvmlShutdown(self) -> None:
        """End."""
        self._now()
        self._users -= 1
        if self._users == 0:
            if self._reader is not None:
                self._reader.close()
            self._reader = self._trace = None

    def _now(self) -> tuple[PowerTrace, int]:
        """Bring the trace up to date; returns it and the present instant."""
        if self._trace is None:
            raise self._error("NVML_ERROR_UNINITIALIZED")
        now_ns = self._clock()
        if self._reader is not None:
            self._trace.extend(self._reader.poll())
        return self._trace, now_ns

    def _sensor(self, handle: Handle) -> GpuSensor:
        if not isinstance(handle, Handle):
            raise self._error("NVML_ERROR_INVALID_ARGUMENT")
        return self._sensors[handle.index]

    def _stamp_us(self, mono_ns: int) -> int:
        return (int(mono_ns) + self._wall_offset_ns) // 1000

    # ------------------------------------------------------------------------------- identity

    def nvmlSystemGetDriverVersion(self) -> str:
        """Version of the driver: says that it is simulated."""
        self._now()
        return DRIVER_VERSION

    def nvmlDeviceGetCount(self) -> int:
        """Number of GPUs."""
        self._now()
        return self._spec.slots

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Handle:
        """Handle of a GPU by its index."""
        self._now()
        if not 0 <= index < self._spec.slots:
            raise self._error("NVML_ERROR_INVALID_ARGUMENT")
        return Handle(index)

    def nvmlDeviceGetHandleByUUID(self, uuid: str | bytes) -> Handle:
        """Handle of a GPU by its UUID."""
        self._now()
        text = uuid.decode() if isinstance(uuid, bytes) else uuid
        if text not in self._spec.gpu_uuids:
            raise self._error("NVML_ERROR_NOT_FOUND")
        return Handle(self._spec.gpu_uuids.index(text))

    def nvmlDeviceGetIndex(self, handle: Handle) -> int:
        """Index of a GPU."""
        self._sensor(handle)
        return handle.index

    def nvmlDeviceGetUUID(self, handle: Handle) -> str:
        """UUID of a GPU."""
        return self._sensor(handle).board.uuid

    def nvmlDeviceGetSerial(self, handle: Handle) -> str:
        """Serial number of a board."""
        return self._sensor(handle).board.serial

    def nvmlDeviceGetName(self, handle: Handle) -> str:
        """Name of a GPU: says that it is simulated."""
        self._sensor(handle)
        return f"SIMULATED {self._spec.preset} GPU"

    def nvmlDeviceGetArchitecture(self, handle: Handle) -> int:
        """Hopper: its sensors are the ones that are simulated."""
        self._sensor(handle)
        return int(_pynvml().NVML_DEVICE_ARCH_HOPPER)

    def nvmlDeviceGetPersistenceMode(self, handle: Handle) -> int:
        """Persistence mode is on."""
        self._sensor(handle)
        return 1

    # ---------------------------------------------------------------------------------- power

    def nvmlDeviceGetPowerUsage(self, handle: Handle) -> int:
        """Average power of one second in mW; a new value each 100 ms."""
        trace, now_ns = self._now()
        return int(self._sensor(handle).average_mw(trace, now_ns))

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Handle) -> int:
        """Energy counter in mJ; steps each 100 ms."""
        trace, now_ns = self._now()
        return int(self._sensor(handle).counter_mj(trace, now_ns))

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Handle) -> int:
        """Power limit in mW."""
        self._sensor(handle)
        return round(self._spec.parameters.gpu.limit_w * 1e3)

    nvmlDeviceGetPowerManagementLimit = nvmlDeviceGetEnforcedPowerLimit
    nvmlDeviceGetPowerManagementDefaultLimit = nvmlDeviceGetEnforcedPowerLimit

    def nvmlDeviceGetFieldValues(
        self, handle: Handle, fieldIds: Iterable[int | tuple[int, int]]
    ) -> Any:
        """Structs of several fields; each has its own ``nvmlReturn``."""
        nvml = _pynvml()
        trace, now_ns = self._now()
        asked = list(fieldIds)
        values = (nvml.c_nvmlFieldValue_t * len(asked))()
        for value, field in zip(values, asked, strict=True):
            number, scope = field if isinstance(field, tuple) else (field, 0)
            value.fieldId, value.scopeId = number, scope
            value.timestamp = self._stamp_us(now_ns)
            self._fill(value, self._sensor(handle), trace, now_ns)
        return values

    def _fill(self, value: Any, sensor: GpuSensor, trace: PowerTrace, now_ns: int) -> None:
        nvml = _pynvml()
        began_ns = time.perf_counter_ns()
        value.valueType = nvml.NVML_VALUE_TYPE_UNSIGNED_INT
        value.nvmlReturn = nvml.NVML_SUCCESS
        number = value.fieldId
        limits = (
            nvml.NVML_FI_DEV_POWER_CURRENT_LIMIT,
            nvml.NVML_FI_DEV_POWER_DEFAULT_LIMIT,
            nvml.NVML_FI_DEV_POWER_MAX_LIMIT,
            nvml.NVML_FI_DEV_POWER_REQUESTED_LIMIT,
        )
        if value.scopeId != nvml.NVML_POWER_SCOPE_GPU:
            value.nvmlReturn = nvml.NVML_ERROR_NOT_SUPPORTED
        elif number == nvml.NVML_FI_DEV_POWER_AVERAGE:
            value.value.uiVal = int(sensor.average_mw(trace, now_ns))
        elif number == nvml.NVML_FI_DEV_POWER_INSTANT:
            value.value.uiVal = int(sensor.instant_mw(trace, now_ns))
        elif number == nvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION:
            value.valueType = nvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
            value.value.ullVal = int(sensor.counter_mj(trace, now_ns))
        elif number in limits:
            value.value.uiVal = round(self._spec.parameters.gpu.limit_w * 1e3)
        else:
            value.nvmlReturn = nvml.NVML_ERROR_NOT_SUPPORTED
        value.latencyUsec = (time.perf_counter_ns() - began_ns) // 1000

    def nvmlDeviceGetSamples(
        self, device: Handle, sampling_type: int, timeStamp: int
    ) -> tuple[int, list[Any]]:
        """The driver's own power samples (20 ms apart) later than a stamp in µs of wall time."""
        nvml = _pynvml()
        trace, now_ns = self._now()
        if sampling_type != nvml.NVML_TOTAL_POWER_SAMPLES:
            raise self._error("NVML_ERROR_NOT_SUPPORTED")
        stamps, power_mw = self._sensor(device).ring(trace, now_ns)
        samples = []
        for stamp, value in zip(stamps.tolist(), power_mw.tolist(), strict=True):
            if self._stamp_us(stamp) > timeStamp:
                sample = nvml.c_nvmlSample_t()
                sample.timeStamp = self._stamp_us(stamp)
                sample.sampleValue.uiVal = value
                samples.append(sample)
        if not samples:
            raise self._error("NVML_ERROR_NOT_FOUND")
        return int(nvml.NVML_VALUE_TYPE_UNSIGNED_INT), samples

    # ---------------------------------------------------------------------------------- state

    def nvmlDeviceGetUtilizationRates(self, handle: Handle) -> Any:
        """Struct with ``gpu`` and ``memory`` utilisation in percent."""
        trace, now_ns = self._now()
        sensor = self._sensor(handle)
        rates = _pynvml().c_nvmlUtilization_t()
        rates.gpu = int(sensor.utilisation_percent(trace, now_ns))
        rates.memory = int(sensor.utilisation_percent(trace, now_ns, memory=True))
        return rates

    def nvmlDeviceGetMemoryInfo(self, handle: Handle, version: int | None = None) -> Any:
        """Struct with ``total``, ``free`` and ``used`` bytes."""
        trace, now_ns = self._now()
        nvml = _pynvml()
        info = nvml.c_nvmlMemory_v2_t() if version else nvml.c_nvmlMemory_t()
        info.total = round(self._spec.parameters.gpu.memory_gib * GIB)
        info.used = int(self._sensor(handle).memory_used_bytes(trace, now_ns))
        info.free = info.total - info.used
        return info

    def nvmlDeviceGetClockInfo(self, handle: Handle, type: int) -> int:
        """Clock in MHz: SM and graphics clock rise under load, the memory clock is constant."""
        trace, now_ns = self._now()
        nvml = _pynvml()
        if type == nvml.NVML_CLOCK_MEM:
            return self._spec.parameters.gpu.memory_clock_mhz
        if type in (nvml.NVML_CLOCK_SM, nvml.NVML_CLOCK_GRAPHICS):
            return int(self._sensor(handle).clock_sm_mhz(trace, now_ns))
        raise self._error("NVML_ERROR_NOT_SUPPORTED")

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: Handle) -> int:
        """Bits: idle, or nothing that holds the clocks down (power capping is not simulated)."""
        trace, now_ns = self._now()
        nvml = _pynvml()
        if self._sensor(handle).busy(trace, now_ns):
            return int(nvml.nvmlClocksEventReasonNone)
        return int(nvml.nvmlClocksEventReasonGpuIdle)

    def nvmlDeviceGetTemperature(self, handle: Handle, sensor: int) -> int:
        """Temperature in °C: follows average power."""
        trace, now_ns = self._now()
        return int(self._sensor(handle).temperature_c(trace, now_ns))
