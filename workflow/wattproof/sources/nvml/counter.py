"""NVML's energy counter: exact where it exists, but 3 to 4 ms a read, so it has its own lane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from wattproof.sources.base import Description, NotOfferedError, Pacing, Reading, Status
from wattproof.sources.nvml.calls import timed
from wattproof.sources.nvml.devices import POWER_ACCURACY, Driver, Gpu, Losses, probe
from wattproof.units import mj_to_j

COUNTER_PERIOD_S = 0.1
"""The energy counter steps every 100 ms (measurement.md 3)."""


class CounterSource:
    """The energy counter of every GPU.

    Args:
        nvml: Module ``pynvml``, or what stands in its place.
        period_s: Time between two reads, in seconds.
        simulated: True if a virtual node stands behind it.
        gpus: ``all``, ``visible``, or UUIDs.
    """

    name = "nvml"
    pacing = Pacing.DEADLINE

    def __init__(
        self,
        nvml: Any,
        period_s: float = COUNTER_PERIOD_S,
        simulated: bool = False,
        gpus: str | Sequence[str] = "all",
    ) -> None:
        self._nvml = nvml
        self._driver = Driver(nvml, gpus)
        self._losses = Losses()
        self._simulated = simulated
        self.period_s = period_s
        self._gpus: list[tuple[Gpu, str]] = []
        self._latest: dict[str, float] = {}

    def open(self) -> Description:
        """Find the GPUs that count their energy."""
        gpus = self._driver.open()
        self._gpus = [(gpu, gpu.channel("energy")) for gpu in gpus]
        lacking = probe(self._read)
        self._gpus = [(gpu, name) for gpu, name in self._gpus if name not in lacking]
        if not self._gpus:
            raise NotOfferedError(
                "No GPU here counts its energy (the counter came with Volta); energy comes from "
                "power readings."
            )
        means = "total energy of the board since the driver was loaded"
        more = {"accuracy_reading": POWER_ACCURACY, "quantum": 0.001}
        channels = tuple(
            gpu.describe("energy", "J", "energy", self.period_s, means, **more)
            for gpu, _ in self._gpus
        )
        identity = {"driver": self._driver.version, "uuids": [gpu.uuid for gpu, _ in self._gpus]}
        return Description(identity, channels, self._simulated)

    def read(self) -> Sequence[Reading]:
        """Read the counters."""
        self._losses.check()
        readings = self._read()
        self._losses.note(readings)
        return readings

    def close(self) -> None:
        """Shut NVML down."""
        self._driver.close()

    def _read(self) -> list[Reading]:
        readings: list[Reading] = []
        for gpu, name in self._gpus:
            (reading,) = timed(self._nvml, (name,), self._energy, gpu.handle)
            if reading.value == 0.0 and self._latest.get(name):
                # A counter that ran does not stand at 0; a driver that fails may say so. One that
                # was reset shows it with its next value.
                reading = replace(reading, value=None, status=Status.MISSING)
            elif reading.value is not None:
                self._latest[name] = reading.value
            readings.append(reading)
        return readings

    def _energy(self, handle: Any) -> tuple[float, ...]:
        return (mj_to_j(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle)),)
