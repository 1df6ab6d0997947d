"""The stub driver as tests see it: GPUs, their scripts, scripted faults, and the environment."""

from __future__ import annotations

import math
import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stub_nvml.compiling import compiled
from stub_nvml.control import MAX_FAULTS, MAX_MIG, MAX_SEGMENTS, SEGMENT, ControlFile
from stub_nvml.script import S_TO_NS, PowerScript, prefix_j

FOREVER_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class StubGpu:
    """A GPU and its sensor. Times of updates are monotonic instants ``phase_s + k * update_s``.

    Attributes:
        uuid: UUID of the board.
        name: Name of the board.
        idle_w: True power when no script plays.
        limit_w: Power limit; utilisation is the share of the span from idle to it.
        update_s: Time between two updates of the power sensor.
        window_s: Each update is the mean of the last so many seconds. Shorter than `update_s`: the
            sensor works part-time, and average, counter and ring derive from what it saw.
        phase_s: Phase of the updates.
        average_s: Span of the averaged power (field 185, and nvmlDeviceGetPowerUsage).
        ring_period_s: Time between two samples of the ring.
        ring_size: Samples in the ring; 0: the driver has none.
        ring_mode: ``mean`` of the last `ring_period_s`, or ``point``: power at the stamp.
        ring_phase_s: Phase of the samples.
        ring_cost_s: Time that draining the ring takes.
        counter_update_s: Time between two steps of the energy counter.
        counter_phase_s: Phase of the steps; None: that of the sensor.
        counter_cost_s: Time that reading the counter takes (asleep, value from the middle of it).
        counter_start_j: The counter when the machine was booted.
        field_cost_s: Time that reading other fields takes.
        usage_cost_s: Time that nvmlDeviceGetPowerUsage takes.
        usage: What nvmlDeviceGetPowerUsage tells: ``average`` or ``instant`` (GA100 and older).
        delay_s: Updates, counter steps and ring samples can be read so much later.
        gain: What the sensor shows is so many times what it sees.
        architecture: NVML's number (9 Hopper, 7 Ampere).
        compute_capability: Of the architecture.
        serial: Serial number; empty: none.
        persistence: Persistence mode.
        mig: UUIDs of MIG instances; empty: MIG is off; None: the board knows no MIG.
        memory_bytes: Memory of the board.
    """

    uuid: str = "GPU-00000000-0000-0000-0000-000000000000"
    name: str = "NVIDIA H100 80GB HBM3"
    idle_w: float = 75.0
    limit_w: float = 700.0
    update_s: float = 0.1
    window_s: float = 0.1
    phase_s: float = 0.0
    average_s: float = 1.0
    ring_period_s: float = 0.02
    ring_size: int = 119
    ring_mode: str = "mean"
    ring_phase_s: float = 0.0
    ring_cost_s: float = 0.0003
    counter_update_s: float = 0.1
    counter_phase_s: float | None = None
    counter_cost_s: float = 0.003
    counter_start_j: float = 0.0
    field_cost_s: float = 5e-6
    usage_cost_s: float = 2e-6
    usage: str = "average"
    delay_s: float = 0.0
    gain: float = 1.0
    architecture: int = 9
    compute_capability: tuple[int, int] = (9, 0)
    serial: str = "1650000000000"
    persistence: bool = True
    mig: Sequence[str] | None = ()
    memory_bytes: int = 80 << 30

    def __post_init__(self) -> None:
        for name in ("update_s", "window_s", "average_s", "ring_period_s", "counter_update_s"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} of a stub GPU must be positive.")
        if self.ring_mode not in ("mean", "point") or self.usage not in ("average", "instant"):
            raise ValueError("ring_mode is 'mean' or 'point'; usage is 'average' or 'instant'.")
        if self.mig is not None and len(self.mig) > MAX_MIG - 1:
            raise ValueError(f"A stub GPU has at most {MAX_MIG - 1} MIG instances.")


class StubDriver:
    """A driver that plays scripted power to every process that runs in its environment.

    Changes act at once in running processes. Attributes are only good to read.

    Attributes:
        folder: Where the control file lies, and the folders for the two search paths.
        gpus: The GPUs, in the order of their indices.
    """

    def __init__(
        self,
        folder: Path,
        gpus: Sequence[StubGpu],
        driver_version: str = "580.159.03",
        smi_cost_s: float = 0.03,
        smi_generation: int = 0,
        cache: Path | None = None,
    ) -> None:
        self.folder = folder
        self.gpus = list(gpus)
        self._compiled = compiled(cache)
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "control"
        self._file = ControlFile(self._path, len(self.gpus))
        self._scripts: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = [
            (np.zeros(1, np.int64), np.array([gpu.idle_w])) for gpu in self.gpus
        ]
        with self._file.writing() as data:
            offset_ns = time.clock_gettime_ns(time.CLOCK_REALTIME) - time.monotonic_ns()
            data.wall_offset_ns = offset_ns // 1000 * 1000
            data.driver = driver_version.encode()
            data.cuda_version = 12080
            data.smi_cost_ns = round(smi_cost_s * S_TO_NS)
            data.smi_generation = smi_generation
            for index in range(len(self.gpus)):
                self._write_gpu(index)
                self._write_script(index)
            self._file.publish()

    @classmethod
    def build(
        cls, folder: str | os.PathLike[str], gpus: Sequence[StubGpu] | None = None, **more: Any
    ) -> StubDriver:
        """Make a driver.

        Args:
            folder: Folder of its control file; must be unlike that of any other driver.
            gpus: The GPUs; by default one H100.
            **more: ``driver_version``; ``smi_cost_s``: time that a start of nvidia-smi takes;
                ``smi_generation``: 520, 535 or 570 (tags of its XML), 0: by the version; ``cache``:
                folder for the compiled library.
        """
        return cls(Path(folder), [StubGpu()] if gpus is None else gpus, **more)

    @property
    def env(self) -> dict[str, str]:
        """Environment of a process that shall see this driver: the present one, with additions."""
        return {
            **os.environ,
            "LD_LIBRARY_PATH": _first(self._compiled / "lib", "LD_LIBRARY_PATH"),
            "PATH": _first(self._compiled / "bin", "PATH"),
            "WATTPROOF_STUB": str(self._path),
        }

    @property
    def smi(self) -> str:
        """Path of the nvidia-smi; needs `env`."""
        return str(self._compiled / "bin" / "nvidia-smi")

    def smi_wrapper(self) -> str:
        """Return an nvidia-smi that needs no environment: a shell script in `folder`."""
        path = self.folder / "nvidia-smi"
        control = shlex.quote(str(self._path))
        path.write_text(
            f'#!/bin/sh\nWATTPROOF_STUB={control} exec {shlex.quote(self.smi)} "$@"\n',
            encoding="utf-8",
        )
        path.chmod(0o755)
        return str(path)

    @property
    def wall_offset_ns(self) -> int:
        """The ring's stamps (ns since the epoch) minus the monotonic instants that they mean."""
        return int(self._file.data.wall_offset_ns)

    # ------------------------------------------------------------------------------ power

    def play(self, gpu: int = 0, script: PowerScript | None = None) -> None:
        """Let a GPU play a script from the script's start on; what it played before stays.

        Args:
            gpu: Index of the GPU.
            script: The script; None: idle from now on.
        """
        starts, watts = self._scripts[gpu]
        if script is None:
            script = PowerScript(time.monotonic_ns(), [], then=self.gpus[gpu].idle_w)
        kept = max(1, int(np.searchsorted(starts, script.start_ns, "left")))
        starts = np.concatenate([starts[:kept], script.starts_ns])
        watts = np.concatenate([watts[:kept], script.watts])
        if len(starts) > MAX_SEGMENTS:
            raise ValueError(f"A GPU plays at most {MAX_SEGMENTS} steps.")
        self._scripts[gpu] = (starts, watts)
        with self._file.writing():
            self._write_script(gpu)

    def energy_j(self, gpu: int, start_ns: int, end_ns: int) -> float:
        """True energy of a GPU in an interval, over all scripts that it played."""
        starts, watts = self._scripts[gpu]
        sums = prefix_j(starts, watts)

        def until(t_ns: int) -> float:
            at = max(0, int(np.searchsorted(starts, t_ns, "right")) - 1)
            return float(sums[at] + watts[at] * (t_ns - int(starts[at])) * 1e-9)

        return until(end_ns) - until(start_ns)

    def change(self, gpu: int = 0, **attributes: Any) -> None:
        """Change attributes of a GPU (see `StubGpu`), as if they had always been so."""
        self.gpus[gpu] = replace(self.gpus[gpu], **attributes)
        with self._file.writing():
            self._write_gpu(gpu)
            self._write_script(gpu)

    def reset_counter(self, gpu: int = 0, at_ns: int | None = None) -> None:
        """Let the energy counter begin anew at 0 (a reload of the driver); None: now."""
        at_ns = time.monotonic_ns() if at_ns is None else at_ns
        update_ns = round(self.gpus[gpu].counter_update_s * S_TO_NS)
        phase_ns = int(self._file.data.gpu[gpu].counter_phase_ns)
        with self._file.writing() as data:
            steps = (at_ns - phase_ns) // update_ns
            data.gpu[gpu].counter_reset_ns = phase_ns + steps * update_ns

    # ------------------------------------------------------------------------------ faults

    def fail(
        self,
        gpu: int | None = 0,
        call: str = "*",
        code: int = 999,
        from_ns: int | None = None,
        until_ns: int | None = None,
        **more: Any,
    ) -> None:
        """Let a call go wrong for a time; faults add up, the first that fits counts.

        Args:
            gpu: Index of the GPU; None: any.
            call: Name of the C function without ``_v2`` and the like; ``field:186`` for one field
                of nvmlDeviceGetFieldValues; ``nvidia-smi``, ``smi:power``, ``smi:line`` (see
                ``smi.c``); ``*``: all that are about a GPU.
            code: What the call returns (NVML's code; exit code of nvidia-smi); 0: it goes well.
            from_ns: Monotonic; None: from ever.
            until_ns: Monotonic, exclusive; None: for ever.
            **more: ``extra_s``: the call takes so much longer (may be ``inf``: it hangs until
                `until_ns` or `clear_faults`); ``value``: raw value (mW, mJ) in place of the real
                one; ``text``: for ``smi:…``.
        """
        extra_s, value, text = (
            more.pop("extra_s", 0.0),
            more.pop("value", None),
            more.pop("text", None),
        )
        if more:
            raise TypeError(f"fail() knows no {', '.join(more)}.")
        now_ns = time.monotonic_ns()
        until = FOREVER_NS if until_ns is None else until_ns
        if math.isinf(extra_s):
            extra_ns = min(until - now_ns, 10**15)
        else:
            extra_ns = round(extra_s * S_TO_NS)
        count = int(self._file.data.faults)
        if count >= MAX_FAULTS:
            raise ValueError(f"The stub driver holds at most {MAX_FAULTS} faults.")
        with self._file.writing() as data:
            fault = data.fault[count]
            fault.gpu = -1 if gpu is None else gpu
            fault.call = call.encode()
            fault.code = code
            fault.from_ns = 0 if from_ns is None else from_ns
            fault.until_ns = until
            fault.extra_ns = extra_ns
            fault.value = -1 if value is None else value
            fault.has_text = text is not None
            fault.text = b"" if text is None else text.encode()
            data.faults = count + 1

    def slow(
        self,
        gpu: int | None = 0,
        call: str = "*",
        extra_s: float = math.inf,
        from_ns: int | None = None,
        until_ns: int | None = None,
    ) -> None:
        """Let a call take longer, or hang, for a time; it goes well in the end."""
        self.fail(gpu, call, 0, from_ns, until_ns, extra_s=extra_s)

    def clear_faults(self) -> None:
        """Forget all faults; calls that hang return within 20 ms."""
        with self._file.writing() as data:
            data.faults = 0

    # ------------------------------------------------------------------------------ writing

    def _write_gpu(self, index: int) -> None:
        gpu, data = self.gpus[index], self._file.data.gpu[index]
        for name in (field.name for field in fields(gpu) if field.name.endswith("_s")):
            seconds = getattr(gpu, name)  # each *_s has its *_ns
            seconds = gpu.phase_s if seconds is None else seconds
            setattr(data, f"{name.removesuffix('_s')}_ns", round(seconds * S_TO_NS))
        data.uuid, data.name = gpu.uuid.encode(), gpu.name.encode()
        data.serial = gpu.serial.encode()
        data.bus_id = f"00000000:{index + 1:02X}:00.0".encode()
        data.mig_mode = -1 if gpu.mig is None else int(bool(gpu.mig))
        data.mig_count = len(gpu.mig or ())
        for instance, uuid in enumerate(gpu.mig or ()):
            data.mig_uuid[instance].value = uuid.encode()
        data.architecture = gpu.architecture
        data.compute_major, data.compute_minor = gpu.compute_capability
        data.persistence = gpu.persistence
        data.ring_size = gpu.ring_size
        data.ring_mode = int(gpu.ring_mode == "point")
        data.usage_instant = gpu.usage == "instant"
        data.counter_start_mj = round(gpu.counter_start_j * 1e3)
        data.memory_total = gpu.memory_bytes
        data.gain, data.idle_w, data.limit_w = gpu.gain, gpu.idle_w, gpu.limit_w

    def _write_script(self, index: int) -> None:
        starts, watts = self._scripts[index]
        segments = np.zeros(len(starts), SEGMENT)
        segments["start_ns"] = starts
        segments["watts"] = watts
        segments["true_j"] = prefix_j(starts, watts)
        seen_ns = np.diff(_window_time(self.gpus[index], starts))
        segments["seen_j"] = np.concatenate([[0.0], np.cumsum(watts[:-1] * seen_ns * 1e-9)])
        self._file.segments(index)[: len(segments)] = segments
        self._file.data.gpu[index].segments = len(segments)


def _first(folder: Path, variable: str) -> str:
    rest = os.environ.get(variable)
    return f"{folder}{os.pathsep}{rest}" if rest else str(folder)


def _window_time(gpu: StubGpu, t_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Time inside sensing windows from the phase to t (``window_time`` of ``model.h``)."""
    update, window, phase = (
        round(seconds * S_TO_NS) for seconds in (gpu.update_s, gpu.window_s, gpu.phase_s)
    )
    if window >= update:
        return t_ns - phase
    turns, rest = np.divmod(t_ns - phase, update)
    return turns * window + np.maximum(rest - (update - window), 0)
