"""NVML's cheap calls: power by field id, utilisation, memory, clock, temperature, throttling.

Average and instant power are kept apart by field id, because ``nvmlDeviceGetPowerUsage`` means one
or the other by generation; it is read only where the fields are not supported, under its own name.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from wattproof.errors import WattproofError
from wattproof.sources.base import Channel, Description, Every, Pacing, Reading, Status
from wattproof.sources.nvml.calls import optional, status_of, timed, watts
from wattproof.sources.nvml.devices import POWER_ACCURACY, Driver, Gpu, Losses, probe
from wattproof.sources.nvml.meaning import AVERAGE_S
from wattproof.units import mw_to_w

FIELD_POWER_AVERAGE = 185
FIELD_POWER_INSTANT = 186
SCOPE_MODULE = 1
SCOPE_MEMORY = 2
CLOCK_SM = 1
TEMPERATURE_GPU = 0

UTILISATION_PERIOD_S = 0.1
"""The driver's own period is a sixth of a second at best."""
STATE_PERIOD_S = 0.25
"""Throttle reasons come and go within less than a second."""
SLOW_PERIOD_S = 1.0
"""Memory, clock and temperature: context, not energy."""

Field = tuple[int, int]
"""Field id and power scope."""

INSTANT: Field = (FIELD_POWER_INSTANT, 0)
AVERAGE: Field = (FIELD_POWER_AVERAGE, 0)
FIELDS: dict[Field, str] = {
    INSTANT: "power_instant",
    AVERAGE: "power_average",
    (FIELD_POWER_INSTANT, SCOPE_MODULE): "power_module",
    (FIELD_POWER_INSTANT, SCOPE_MEMORY): "power_memory",
}
"""Channels by field. The scopes beside the board are parts or wholes of it: never add them."""
_SCOPES = {
    "power_module": "field 186, scope module: GPU and CPU of one module (Grace Hopper)",
    "power_memory": "field 186, scope memory: the memory's share of the board's power",
}


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is read of a GPU, with the names made once."""

    gpu: Gpu
    fields: tuple[Field, ...]
    names: tuple[str, ...]
    usage: bool
    reasons: str | None
    """NVML's function for throttle reasons, which has two names."""


class NvmlSource:
    """The main lane.

    Args:
        nvml: Module ``pynvml``, or what stands in its place.
        period_s: Time between two reads of power, in seconds.
        simulated: True if a virtual node stands behind it.
        gpus: ``all``, ``visible``, or UUIDs.
    """

    name = "nvml"
    pacing = Pacing.DEADLINE

    def __init__(
        self,
        nvml: Any,
        period_s: float = 0.05,
        simulated: bool = False,
        gpus: str | Sequence[str] = "all",
    ) -> None:
        self._nvml = nvml
        self._driver = Driver(nvml, gpus)
        self._losses = Losses()
        self.period_s = period_s
        self._simulated = simulated
        self._plans: list[_Plan] = []
        self._utilisation_due = Every(UTILISATION_PERIOD_S, period_s / 2)
        self._state_due = Every(STATE_PERIOD_S, period_s / 2)
        self._slow_due = Every(SLOW_PERIOD_S, period_s / 2)

    def open(self) -> Description:
        """Find the GPUs and what each of them supports."""
        channels: list[Channel] = []
        energy = False
        for gpu in self._driver.open():
            plan, unsupported = self._plan(gpu)
            self._plans.append(plan)
            counter = optional(self._nvml, "nvmlDeviceGetTotalEnergyConsumption", gpu.handle)
            energy = energy or counter is not None
            gpu.identity["unsupported"] = unsupported
            channels += self._channels(plan)
        if not energy and not any(plan.fields or plan.usage for plan in self._plans):
            raise WattproofError(
                "NVML gives neither power nor energy of any GPU; update the driver, or remove "
                "'nvml' from 'sources'."
            )
        identity = {
            "driver": self._driver.version,
            "uuids": [plan.gpu.uuid for plan in self._plans],
            "lost": self._driver.lost,
        }
        return Description(identity, tuple(channels), self._simulated)

    def read(self) -> Sequence[Reading]:
        """Read the power of every GPU, then what else is due."""
        self._losses.check()
        readings: list[Reading] = []
        for plan in self._plans:
            if plan.fields:
                readings += self._read_fields(plan)
            elif plan.usage:
                readings += self._read_usage(plan)
        now = time.monotonic_ns()
        if self._utilisation_due.due(now):
            both = ("utilisation", "memory_utilisation")
            for plan in self._plans:
                readings += self._timed(plan, both, self._utilisation)
        if self._state_due.due(now):
            for plan in self._plans:
                if plan.reasons is not None:
                    call = getattr(self._nvml, plan.reasons)
                    readings += self._timed(
                        plan, ("throttle_reasons",), lambda handle, f=call: (float(f(handle)),)
                    )
        if self._slow_due.due(now):
            for plan in self._plans:
                readings += self._timed(plan, ("memory_used",), self._memory)
                readings += self._timed(plan, ("clock_sm",), self._clock)
                readings += self._timed(plan, ("temperature",), self._temperature)
        self._losses.note(readings)
        return readings

    def close(self) -> None:
        """Shut NVML down."""
        self._driver.close()

    # ---------------------------------------------------------------- what a GPU offers

    def _plan(self, gpu: Gpu) -> tuple[_Plan, list[str]]:
        """Find out what a GPU offers; returns also the power series that it lacks."""
        whole = _Plan(gpu, (INSTANT, AVERAGE), _names(gpu, (INSTANT, AVERAGE)), False, None)
        lacking = probe(lambda: self._read_fields(whole))
        both = zip(whole.fields, whole.names, strict=True)
        fields = [field for field, name in both if name not in lacking]
        usage = False
        if not fields:
            name = gpu.channel("power_usage")
            usage = name not in probe(lambda: self._read_usage(whole))
        else:
            fields += self._scopes(gpu)
        return (
            _Plan(gpu, tuple(fields), _names(gpu, fields), usage, self._reasons(gpu)),
            sorted(name.partition(".")[2] for name in lacking),
        )

    def _scopes(self, gpu: Gpu) -> list[Field]:
        """Return the scopes beside the board that give a value of their own.

        A driver that does not know scopes answers each with the board's power.
        """
        asked = tuple(FIELDS)
        plan = _Plan(gpu, asked, _names(gpu, asked), False, None)
        values = {reading.channel: reading for reading in self._read_fields(plan)}
        board = values[gpu.channel(FIELDS[INSTANT])].value
        others = [field for field in asked if field[1] != 0]
        found = [(field, values[gpu.channel(FIELDS[field])]) for field in others]
        return [f for f, r in found if r.status is Status.OK and r.value != board]

    def _reasons(self, gpu: Gpu) -> str | None:
        for name in (
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetCurrentClocksThrottleReasons",  # its name until driver 535
        ):
            if optional(self._nvml, name, gpu.handle) is not None:
                return name
        return None

    def _channels(self, plan: _Plan) -> list[Channel]:
        gpu, sensor = plan.gpu, plan.gpu.meaning
        more: dict[str, Any] = {"accuracy_reading": POWER_ACCURACY, "quantum": 0.001}
        facts = {"update_s": sensor.update_s, "window_s": sensor.window_s}
        found = []
        for field in plan.fields:
            what = FIELDS[field]
            window_s, own = sensor.window_s, facts
            if field == INSTANT:
                means = "field 186: board power, mean of the sensor's last window"
            elif field == AVERAGE:
                means = "field 185: board power, mean of about the last second"
                window_s, own = AVERAGE_S, {**facts, "window_s": AVERAGE_S}
            else:
                means = _SCOPES[what]
            if window_s is None:
                means += "; nobody measured that window on this generation"
            found.append(
                gpu.describe(
                    *(what, "W", "power", self.period_s, means),
                    averaging_s=window_s or 0.0,
                    facts=own,
                    **more,
                )
            )
        if plan.usage:
            found.append(self._usage_channel(gpu, more))
        utilisation_s = max(UTILISATION_PERIOD_S, self.period_s)
        slow_s = max(SLOW_PERIOD_S, self.period_s)
        busy = "share of the driver's last sampling period with a kernel running"
        moving = "share of the driver's last sampling period with memory traffic"
        found += [
            gpu.describe("utilisation", "%", "utilisation", utilisation_s, busy),
            gpu.describe("memory_utilisation", "%", "utilisation", utilisation_s, moving),
            gpu.describe("memory_used", "bytes", "memory", slow_s, "allocated device memory"),
            gpu.describe("clock_sm", "Hz", "clock", slow_s, "clock of the multiprocessors"),
            gpu.describe("temperature", "C", "temperature", slow_s, "of the die"),
        ]
        if plan.reasons is not None:
            period_s = max(STATE_PERIOD_S, self.period_s)
            means = (
                "bits of NVML_CLOCKS_EVENT_REASON_*: 1 idle, 4 power cap, 8 hardware slowdown, "
                "32 software thermal, 64 hardware thermal, 128 power brake"
            )
            found.append(
                gpu.describe(
                    "throttle_reasons",
                    "bits",
                    "state",
                    period_s,
                    means,
                    facts={"function": plan.reasons},
                )
            )
        return found

    def _usage_channel(self, gpu: Gpu, more: dict[str, Any]) -> Channel:
        sensor = gpu.meaning
        if sensor.usage_averaged is None:
            means = "nvmlDeviceGetPowerUsage: board power; whether averaged is not known here"
        elif sensor.usage_averaged:
            means = "nvmlDeviceGetPowerUsage: board power, mean of the last second"
        else:
            means = "nvmlDeviceGetPowerUsage: board power, instantaneous on this generation"
        return gpu.describe(
            *("power_usage", "W", "power", self.period_s, means),
            averaging_s=sensor.usage_window_s or 0.0,
            facts={"update_s": sensor.update_s, "window_s": sensor.usage_window_s},
            **more,
        )

    # ---------------------------------------------------------------- reading

    def _read_fields(self, plan: _Plan) -> list[Reading]:
        """Read the power fields in one call; each has a return code and a type of its own."""
        start = time.monotonic_ns()
        try:
            values = self._nvml.nvmlDeviceGetFieldValues(plan.gpu.handle, list(plan.fields))
        except self._nvml.NVMLError as error:
            end = time.monotonic_ns()
            status = status_of(error.value)
            return [Reading(name, None, status, start_ns=start, end_ns=end) for name in plan.names]
        end = time.monotonic_ns()
        return [
            _field_reading(name, value, start, end)
            for name, value in zip(plan.names, values, strict=True)
        ]

    def _read_usage(self, plan: _Plan) -> list[Reading]:
        (reading,) = self._timed(plan, ("power_usage",), self._usage)
        if reading.status is Status.OK and not reading.value:
            reading = replace(reading, value=None, status=Status.MISSING)
        return [reading]

    def _timed(self, plan: _Plan, what: Sequence[str], call: Any) -> list[Reading]:
        return timed(self._nvml, [plan.gpu.channel(w) for w in what], call, plan.gpu.handle)

    def _usage(self, handle: Any) -> tuple[float, ...]:
        return (mw_to_w(self._nvml.nvmlDeviceGetPowerUsage(handle)),)

    def _utilisation(self, handle: Any) -> tuple[float, ...]:
        rates = self._nvml.nvmlDeviceGetUtilizationRates(handle)
        return (float(rates.gpu), float(rates.memory))

    def _memory(self, handle: Any) -> tuple[float, ...]:
        return (float(self._nvml.nvmlDeviceGetMemoryInfo(handle).used),)

    def _clock(self, handle: Any) -> tuple[float, ...]:
        return (self._nvml.nvmlDeviceGetClockInfo(handle, CLOCK_SM) * 1e6,)

    def _temperature(self, handle: Any) -> tuple[float, ...]:
        return (float(self._nvml.nvmlDeviceGetTemperature(handle, TEMPERATURE_GPU)),)


def _names(gpu: Gpu, fields: Sequence[Field]) -> tuple[str, ...]:
    return tuple(gpu.channel(FIELDS[field]) for field in fields)


def _field_reading(name: str, field: Any, start_ns: int, end_ns: int) -> Reading:
    # The stamp is microseconds since the epoch; 0 or less means that the driver gave none.
    stamp = int(field.timestamp)
    device_ns = stamp * 1000 if stamp > 0 else None
    if field.nvmlReturn != 0:
        return Reading(name, None, status_of(field.nvmlReturn), device_ns, start_ns, end_ns)
    value, status = watts(field.value, field.valueType)
    return Reading(name, value, status, device_ns, start_ns, end_ns)
