"""nvidia-smi's own loop (``-lms``): one process that prints a line a GPU each period."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Sequence
from dataclasses import replace

from wattproof.errors import WattproofError
from wattproof.sources import smi_tool, smi_xml
from wattproof.sources.base import Description, Pacing, Reading, Status


class SmiLoopSource(smi_tool.Smi):
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

    def _tag(self, gpu: smi_xml.GpuReport) -> str | None:
        return smi_tool.QUERY[1] if super()._tag(gpu) is not None else None

    def open(self) -> Description:
        """Identify the GPUs, then start the loop."""
        description = super().open()
        milliseconds = max(1, round(self.period_s * 1000))
        self._process = self._start(
            [
                f"--query-gpu={','.join(smi_tool.QUERY)}",
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
        ready, _, _ = select.select([handle], [], [], smi_tool.POLL_S)
        now = time.monotonic_ns()
        if not ready:
            if now - self._heard_ns > smi_tool.CALL_LIMIT_S * 1e9:
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
        if len(fields) != len(smi_tool.QUERY) or fields[0] not in slots:
            # Which GPU the line was about is unknown: say so for all of them.
            status = self._no_report(line.encode())
            return [
                replace(reading, start_ns=now_ns, end_ns=now_ns)
                for reading in self._everywhere(status)
            ]
        values = (smi_xml.watts(fields[1]), smi_xml.parse_value(fields[2], "%"))
        return [
            Reading(f"gpu{slots[fields[0]]}.{quantity}", value, status, None, now_ns, now_ns)
            for quantity, (value, status) in zip(smi_tool.QUANTITIES, values, strict=True)
        ]
