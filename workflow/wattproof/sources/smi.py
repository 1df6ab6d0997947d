"""nvidia-smi in two ways: a process per sample as EA-HAS-Bench does it, and its ``-lms`` loop.

The first way is kept faithful (sleep, spawn ``nvidia-smi -q -x``, parse) so that its fault can be
shown: ea_has_bench.md section 4. What is better here: every sample has stamps and a status.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

from wattproof.errors import WattproofError
from wattproof.sources import smi_xml
from wattproof.sources.base import Channel, Description, Pacing, Reading, Source, Status
from wattproof.sources.endpoints import Endpoints

CALL_LIMIT_S = 10.0
"""A call that takes longer is ended and counts as timed out."""
POLL_S = 0.25
QUERY = ("uuid", "power.draw", "utilization.gpu")
POWER_ACCURACY = 0.05
"""±5 %, as for NVML: the sensor is the same (arXiv 2312.02741)."""

_QUANTITIES = ("power", "utilisation")


class _Smi:
    """What both ways share: identity, channels, and ending the running process."""

    name = "smi"
    mode: str
    pacing: Pacing

    def __init__(self, command: Sequence[str], period_s: float, simulated: bool) -> None:
        self.period_s = period_s
        self._command = list(command)
        self._simulated = simulated
        self._process: subprocess.Popen[bytes] | None = None
        self._interrupted = False
        self._tags: dict[str, str | None] = {}
        """Power tag by UUID, in the order of slots."""

    def open(self) -> Description:
        """Run one query: which GPUs there are, and which tag carries their power."""
        output, status = self._call()
        report = None if output is None else smi_xml.parse_report(output)
        if report is None:
            why = "took too long" if status is Status.TIMEOUT else "gave no report"
            raise WattproofError(
                f"'{self._command[0]} -q -x' {why}; check that nvidia-smi works, or remove 'smi' "
                "from 'sources'."
            )
        self._tags = {gpu.uuid: gpu.power_tag() for gpu in report.gpus}
        if not any(self._tags.values()):
            raise WattproofError(
                f"nvidia-smi (driver {report.driver}) tells the power of no GPU under a tag that "
                "wattproof knows; remove 'smi' from 'sources', and please report the driver."
            )
        channels = [
            channel
            for slot, gpu in enumerate(report.gpus)
            for channel in self._channels(slot, gpu, report.driver)
        ]
        identity = {"driver": report.driver, "command": self._command, "mode": self.mode}
        return Description(identity, tuple(channels), self._simulated)

    def _channels(self, slot: int, gpu: smi_xml.GpuReport, driver: str) -> tuple[Channel, Channel]:
        identity = {
            "name": gpu.name,
            "driver": driver,
            "limit_w": gpu.limit_w(),
            "mode": self.mode,
            "tag": self._tags[gpu.uuid],
        }
        # EA-HAS-Bench's arithmetic (fault E10): mean of the samples times the duration.
        rule = {"energy_rule": "mean"} if self.mode == "spawn" else {}
        power = Channel(
            name=f"gpu{slot}.power",
            unit="W",
            kind="power",
            device=gpu.uuid,
            slot=slot,
            period_s=self.period_s,
            averaging_s=1.0,
            accuracy_reading=POWER_ACCURACY,
            quantum=0.01,
            identity={**identity, **rule, "means": "power draw as nvidia-smi prints it"},
        )
        utilisation = Channel(
            name=f"gpu{slot}.utilisation",
            unit="%",
            kind="utilisation",
            device=gpu.uuid,
            slot=slot,
            period_s=self.period_s,
            quantum=1.0,
            identity={**identity, "means": "share of time with a kernel running"},
        )
        return power, utilisation

    def interrupt(self) -> None:
        """End the running call; its outcome is dropped."""
        self._interrupted = True
        self._end()

    def close(self) -> None:
        """End the running process, if there is one."""
        self._end()
        process, self._process = self._process, None
        if process is not None:
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def _start(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise WattproofError(
                f"nvidia-smi cannot be started ({error}); install the driver's tools, or remove "
                "'smi' from 'sources'."
            ) from error

    def _end(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    def _call(self) -> tuple[bytes | None, Status]:
        """Run ``-q -x`` once; None and the reason where it gave no output."""
        with self._start(["-q", "-x"]) as process:
            self._process = process
            if self._interrupted:  # between two calls: nobody else will end this one
                process.kill()
            try:
                output, _ = process.communicate(timeout=CALL_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                return None, Status.TIMEOUT
            finally:
                self._process = None
        return (output, Status.OK) if process.returncode == 0 else (None, Status.ERROR)

    def _everywhere(self, status: Status) -> list[Reading]:
        return [
            Reading(f"gpu{slot}.{quantity}", None, status)
            for slot in range(len(self._tags))
            for quantity in _QUANTITIES
        ]


class SmiSpawnSource(_Smi):
    """One process per sample.

    Args:
        command: Command line of nvidia-smi.
        period_s: Pause before each call, and nominal period of the channels, in seconds.
        simulated: True if a virtual node stands behind it.
    """

    mode = "spawn"
    pacing = Pacing.PAUSE

    def read(self) -> Sequence[Reading]:
        """Spawn nvidia-smi and read its report."""
        try:
            output, status = self._call()
        except WattproofError:
            output, status = None, Status.ERROR
        if self._interrupted:
            return []
        if output is None:
            return self._everywhere(status)
        report = smi_xml.parse_report(output)
        if report is None:
            return self._everywhere(Status.GARBLED)
        reports = {gpu.uuid: gpu for gpu in report.gpus}
        readings: list[Reading] = []
        for slot, (uuid, tag) in enumerate(self._tags.items()):
            gpu = reports.get(uuid)
            values: tuple[smi_xml.Value, smi_xml.Value]
            if gpu is None:
                values = ((None, Status.DEVICE_LOST), (None, Status.DEVICE_LOST))
            else:
                power = (None, Status.NOT_SUPPORTED) if tag is None else gpu.power(tag)
                values = (power, gpu.utilisation())
            for quantity, (value, outcome) in zip(_QUANTITIES, values, strict=True):
                readings.append(Reading(f"gpu{slot}.{quantity}", value, outcome))
        return readings


class SmiLoopSource(_Smi):
    """One process that prints by itself (``-lms``).

    Args:
        command: Command line of nvidia-smi.
        period_s: Time between two lines of a GPU, in seconds.
        simulated: True if a virtual node stands behind it.
    """

    mode = "loop"
    pacing = Pacing.STREAM

    def __init__(self, command: Sequence[str], period_s: float, simulated: bool) -> None:
        super().__init__(command, period_s, simulated)
        self._rest = b""
        self._heard_ns = 0
        self._lost = False

    def open(self) -> Description:
        """Identify the GPUs, then start the loop."""
        description = super().open()
        milliseconds = max(1, round(self.period_s * 1000))
        self._process = self._start(
            [
                f"--query-gpu={','.join(QUERY)}",
                "--format=csv,noheader,nounits",
                "-lms",
                str(milliseconds),
            ]
        )
        self._heard_ns = time.monotonic_ns()
        return description

    def read(self) -> Sequence[Reading]:
        """Return what the loop has printed within a quarter of a second."""
        if self._lost:
            raise WattproofError("The loop of nvidia-smi has ended by itself.")
        if self._process is None or self._process.stdout is None:
            raise WattproofError("The loop of nvidia-smi was not started.")
        handle = self._process.stdout.fileno()
        ready, _, _ = select.select([handle], [], [], POLL_S)
        now = time.monotonic_ns()
        if not ready:
            if now - self._heard_ns > CALL_LIMIT_S * 1e9:
                self._heard_ns = now
                return self._everywhere(Status.TIMEOUT)
            return []
        chunk = os.read(handle, 65536)
        if not chunk:
            self._lost = True
            return [] if self._interrupted else self._everywhere(Status.DEVICE_LOST)
        self._heard_ns = now
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        readings: list[Reading] = []
        for line in lines:
            if line.strip():
                readings += self._line(line.decode("ascii", "replace"), now)
        return readings

    def _line(self, line: str, now_ns: int) -> list[Reading]:
        fields = [field.strip() for field in line.split(",")]
        slots = {uuid: slot for slot, uuid in enumerate(self._tags)}
        if len(fields) != len(QUERY) or fields[0] not in slots:
            # Which GPU the line was about is unknown: say so for all of them.
            return [
                Reading(r.channel, None, Status.GARBLED, None, now_ns, now_ns)
                for r in self._everywhere(Status.GARBLED)
            ]
        values = (smi_xml.parse_value(fields[1], "W"), smi_xml.parse_value(fields[2], "%"))
        return [
            Reading(f"gpu{slots[fields[0]]}.{quantity}", value, status, None, now_ns, now_ns)
            for quantity, (value, status) in zip(_QUANTITIES, values, strict=True)
        ]


def build(settings: Mapping[str, Any], endpoints: Endpoints) -> Source:
    """Make the source from a campaign's settings.

    Raises:
        WattproofError: If there is no nvidia-smi, or the mode is unknown.
    """
    if endpoints.smi_command is None:
        raise WattproofError(
            "There is no nvidia-smi on the PATH; install the driver's tools, or remove 'smi' from "
            "'sources'."
        )
    mode = settings.get("mode", "spawn")
    period_s = settings.get("period_s", 0.1)
    if mode == "spawn":
        return SmiSpawnSource(endpoints.smi_command, period_s, endpoints.simulated)
    if mode == "loop":
        return SmiLoopSource(endpoints.smi_command, period_s, endpoints.simulated)
    raise WattproofError(
        f"Key 'sources.smi.mode' is '{mode}'; it must be 'spawn' (a process per sample) or 'loop'."
    )
