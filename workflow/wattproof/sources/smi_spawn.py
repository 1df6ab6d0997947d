"""nvidia-smi, a process per sample, as EA-HAS-Bench does it.

Kept faithful (sleep, spawn ``nvidia-smi -q -x``, parse) so that its fault can be shown:
ea_has_bench.md section 4. What is better here: every sample has stamps and a status.
"""

from __future__ import annotations

from collections.abc import Sequence

from wattproof.errors import WattproofError
from wattproof.sources import smi_tool, smi_xml
from wattproof.sources.base import Pacing, Reading, Status


class SmiSpawnSource(smi_tool.Smi):
    """One process per sample.

    Args:
        command: Command line of nvidia-smi.
        period_s: Pause before each call, and nominal period of the channels, in seconds.
        simulated: True if a virtual node stands behind it.
    """

    mode = "spawn"
    pacing = Pacing.PAUSE
    read_limit_s = smi_tool.CALL_LIMIT_S

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
            return self._everywhere(self._no_report(output))
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
            for quantity, (value, outcome) in zip(smi_tool.QUANTITIES, values, strict=True):
                readings.append(Reading(f"gpu{slot}.{quantity}", value, outcome))
        return readings
