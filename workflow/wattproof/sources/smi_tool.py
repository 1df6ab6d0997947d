"""What both ways of nvidia-smi share: identity, channels, and ending the running process."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence

from wattproof.errors import WattproofError
from wattproof.sources import smi_xml
from wattproof.sources.base import Channel, Description, Pacing, Reading, Status
from wattproof.sources.gpus import Place, place
from wattproof.sources.nvml.meaning import AVERAGE_S

CALL_LIMIT_S = 10.0
"""A call that takes longer is ended and counts as timed out."""
POLL_S = 0.25
QUERY = ("uuid", "power.draw", "utilization.gpu")
POWER_ACCURACY = 0.05
"""±5 %, as for NVML: the sensor is the same (arXiv 2312.02741)."""

QUANTITIES = ("power", "utilisation")
_EXIT = {4: Status.NO_PERMISSION, 15: Status.DEVICE_LOST}
"""Exit codes of nvidia-smi are NVML's return codes."""
_LOST = (b"GPU is lost", b"No devices were found", b"fallen off the bus")


class Smi:
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
        gpus = report.gpus
        places = place([gpu.uuid for gpu in gpus])
        # In the order of slots, which are the same as NVML's.
        order = sorted(zip(places, gpus, strict=True), key=lambda pair: pair[0].slot)
        self._tags = {gpu.uuid: gpu.power_tag() for _, gpu in order}
        if not any(self._tags.values()):
            raise WattproofError(
                f"nvidia-smi (driver {report.driver}) tells the power of no GPU under a tag that "
                "wattproof knows; remove 'smi' from 'sources', and please report the driver."
            )
        channels = [
            channel for where, gpu in order for channel in self._channels(where, gpu, report.driver)
        ]
        identity = {"driver": report.driver, "command": self._command, "mode": self.mode}
        return Description(identity, tuple(channels), self._simulated)

    def _tag(self, gpu: smi_xml.GpuReport) -> str | None:
        """What the power is read from: a tag of the report, or a field of the loop's query."""
        return self._tags[gpu.uuid]

    def _channels(
        self, where: Place, gpu: smi_xml.GpuReport, driver: str
    ) -> tuple[Channel, Channel]:
        slot, tag, sensor = where.slot, self._tag(gpu), gpu.meaning()
        identity = {
            "name": gpu.name,
            "driver": driver,
            "generation": sensor.generation,
            "limit_w": gpu.limit_w(),
            "mode": self.mode,
            "tag": tag,
            "index": where.index,
            "visible": where.visible,
        }
        window_s: float | None = AVERAGE_S
        if tag is not None and "instant" in tag:
            window_s = sensor.window_s
        elif tag is not None and "average" not in tag and sensor.usage_averaged is not None:
            window_s = sensor.usage_window_s
        # EA-HAS-Bench's arithmetic (fault E10): mean of the samples times the duration.
        rule = {"energy_rule": "mean"} if self.mode == "spawn" else {}
        power = Channel(
            name=f"gpu{slot}.power",
            unit="W",
            kind="power",
            device=gpu.uuid,
            slot=slot,
            period_s=self.period_s,
            averaging_s=window_s or 0.0,
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
        if process.returncode != 0:
            return None, _EXIT.get(process.returncode, Status.ERROR)
        return output, Status.OK

    @staticmethod
    def _no_report(output: bytes) -> Status:
        """What it means that something else was printed than what was asked for."""
        return Status.DEVICE_LOST if any(words in output for words in _LOST) else Status.GARBLED

    def _everywhere(self, status: Status) -> list[Reading]:
        return [
            Reading(f"gpu{slot}.{quantity}", None, status)
            for slot in range(len(self._tags))
            for quantity in QUANTITIES
        ]
