"""The node's GPUs: which are there, which are recorded, who they are."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from wattproof.errors import WattproofError, did_you_mean
from wattproof.sources.base import Channel, Reading, Status
from wattproof.sources.gpus import place
from wattproof.sources.nvml.calls import optional, text
from wattproof.sources.nvml.meaning import Meaning, meaning
from wattproof.units import mw_to_w

PROBES = 3
PROBE_PAUSE_S = 0.12
"""Drivers report "not supported" spuriously now and then (measurement.md 2.2): ask again."""

POWER_ACCURACY = 0.05
"""Limit of the steady, proportional error of the boards' sensors: ±5 % (arXiv 2312.02741)."""


class NoGpuError(WattproofError):
    """NVML does not work here, or sees no GPU."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that is recorded.

    Attributes:
        slot: Its number in channels.
        handle: NVML's handle.
        uuid: GPU UUID.
        identity: What travels with each of its channels.
        meaning: What its power values mean.
    """

    slot: int
    handle: Any
    uuid: str
    identity: dict[str, Any]
    meaning: Meaning

    def channel(self, what: str) -> str:
        """Return the full name of a channel."""
        return f"gpu{self.slot}.{what}"

    def describe(
        self, what: str, unit: str, kind: str, period_s: float | None, means: str, **more: Any
    ) -> Channel:
        """Return the description of a channel; `means` and ``facts`` go into its identity."""
        identity = {**self.identity, "means": means, **more.pop("facts", {})}
        return Channel(
            name=self.channel(what),
            unit=unit,
            kind=kind,
            device=self.uuid,
            slot=self.slot,
            period_s=period_s,
            identity=identity,
            **more,
        )


class Driver:
    """NVML, opened once: identities of GPUs, and what lanes share.

    Args:
        nvml: Module ``pynvml``, or what stands in its place.
        wanted: ``all``, ``visible``, or UUIDs (or unique beginnings of them).
    """

    def __init__(self, nvml: Any, wanted: str | Sequence[str] = "all") -> None:
        self.nvml = nvml
        self._wanted = wanted
        self._open = False
        self.version = ""
        self.lost: list[int] = []

    def open(self) -> list[Gpu]:
        """Initialise NVML and identify the GPUs that are to be recorded, in the order of slots.

        Raises:
            WattproofError: If NVML does not work, or there is no such GPU.
        """
        try:
            self.nvml.nvmlInit()
            self._open = True
            self.version = text(self.nvml.nvmlSystemGetDriverVersion())
            gpus = self._gpus(self.nvml.nvmlDeviceGetCount())
        except self.nvml.NVMLError as error:
            raise NoGpuError(
                f"NVML does not work here ({error}); check that 'nvidia-smi' works, or remove "
                "'nvml' from 'sources'."
            ) from error
        return self._choose(gpus)

    def close(self) -> None:
        """Shut NVML down; safe to call twice."""
        if self._open:
            self._open = False
            with contextlib.suppress(self.nvml.NVMLError):
                self.nvml.nvmlShutdown()

    def _gpus(self, count: int) -> list[Gpu]:
        handles: dict[int, tuple[Any, str]] = {}
        for index in range(count):
            try:
                handle = self.nvml.nvmlDeviceGetHandleByIndex(index)
                handles[index] = (handle, text(self.nvml.nvmlDeviceGetUUID(handle)))
            except self.nvml.NVMLError:
                self.lost.append(index)  # fallen off the bus: the others go on
        if count and not handles:
            raise NoGpuError(
                f"NVML reaches none of the {count} GPUs; restart the driver, or the machine."
            )
        # A lost GPU keeps its place, so that the others keep their numbers.
        uuids = [handles[i][1] if i in handles else f"lost {i}" for i in range(count)]
        places = place(uuids, self.mig_parent)
        found = []
        for index, (handle, uuid) in handles.items():
            where = places[index]
            name = text(self.nvml.nvmlDeviceGetName(handle))
            sensor = meaning(optional(self.nvml, "nvmlDeviceGetArchitecture", handle), name)
            identity = self._identity(handle, name, sensor)
            identity |= {"index": index, "visible": where.visible}
            found.append(Gpu(where.slot, handle, uuid, identity, sensor))
        return sorted(found, key=lambda gpu: gpu.slot)

    def mig_parent(self, mig_uuid: str) -> str | None:
        """Return the UUID of the board that a MIG device is a part of; None if unknown."""
        device = optional(self.nvml, "nvmlDeviceGetHandleByUUID", mig_uuid)
        if device is None:
            return None
        board = optional(self.nvml, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", device)
        uuid = None if board is None else optional(self.nvml, "nvmlDeviceGetUUID", board)
        return None if uuid is None else text(uuid)

    def _identity(self, handle: Any, name: str, sensor: Meaning) -> dict[str, Any]:
        limit_mw = optional(self.nvml, "nvmlDeviceGetEnforcedPowerLimit", handle)
        if limit_mw is None:
            limit_mw = optional(self.nvml, "nvmlDeviceGetPowerManagementLimit", handle)
        persistence = optional(self.nvml, "nvmlDeviceGetPersistenceMode", handle)
        mig = optional(self.nvml, "nvmlDeviceGetMigMode", handle)
        identity = {
            "name": name,
            "driver": self.version,
            "architecture": optional(self.nvml, "nvmlDeviceGetArchitecture", handle),
            "generation": sensor.generation,
            "limit_w": None if limit_mw is None else mw_to_w(limit_mw),
            "persistence_mode": None if persistence is None else bool(persistence),
            "mig": bool(mig[0]) if mig is not None else False,
        }
        if identity["mig"]:
            identity["mig_means"] = (
                "MIG is on: power and energy are those of the whole board, which its instances "
                "share; utilisation of the board is not offered"
            )
        return identity

    def _choose(self, gpus: list[Gpu]) -> list[Gpu]:
        if not gpus:
            raise NoGpuError("NVML sees no GPU; remove 'nvml' from 'sources' or check the driver.")
        if self._wanted == "all":
            return gpus
        if self._wanted == "visible":
            chosen = [gpu for gpu in gpus if gpu.identity["visible"]]
            if not chosen:
                raise WattproofError(
                    "CUDA_VISIBLE_DEVICES names none of this node's GPUs; set key "
                    "'sources.nvml.gpus' to 'all', or ask for a GPU."
                )
            return chosen
        words = [self._wanted] if isinstance(self._wanted, str) else list(self._wanted)
        picked = []
        for word in words:
            hits = [gpu for gpu in gpus if gpu.uuid.lower().startswith(str(word).lower())]
            if len(hits) != 1:
                many = f"is the beginning of {len(hits)} UUIDs" if hits else "is no GPU of the node"
                raise WattproofError(
                    f"Key 'sources.nvml.gpus' names '{word}', which {many}."
                    f"{did_you_mean(str(word), [gpu.uuid for gpu in gpus])}"
                )
            picked.append(hits[0].uuid)
        return [gpu for gpu in gpus if gpu.uuid in picked]


def probe(read: Callable[[], Sequence[Reading]]) -> set[str]:
    """Read some channels and return those that are not supported, asking again to be sure."""
    lacking: set[str] = set()
    for attempt in range(PROBES):
        if attempt:
            time.sleep(PROBE_PAUSE_S)
        lacking = {r.channel for r in read() if r.status is Status.NOT_SUPPORTED}
        if not lacking:
            break
    return lacking


class Losses:
    """Ends a lane when all its GPUs are gone, so that the recorder opens the driver anew."""

    def __init__(self) -> None:
        self._all_gone = False

    def check(self) -> None:
        """Raise if the latest read found no GPU any more.

        Raises:
            WattproofError: They were all lost; their readings have said so once.
        """
        if self._all_gone:
            raise WattproofError("All GPUs were lost (NVML); the driver is opened again.")

    def note(self, readings: Sequence[Reading]) -> None:
        """Take in a read's outcome."""
        self._all_gone = bool(readings) and all(
            reading.status is Status.DEVICE_LOST for reading in readings
        )
