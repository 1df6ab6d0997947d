"""Power of the node and of its GPUs at rest, from the idle windows of each recording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from wattproof.dataset.lookup import (
    CLOCK_NOT_PROVEN,
    METER,
    METER_CHANNEL,
    NVML,
    SERIES,
    Row,
    gpu_number,
    own_gpus,
    records,
    total,
)

if TYPE_CHECKING:
    import pandas as pd


class Rest(NamedTuple):
    """Energies (J) and lengths (s) of the windows of one channel."""

    energy_j: float
    seconds: float


class Idle:
    """Idle power of one recording, session by session.

    Args:
        energy: Table ``energy`` of the recording.
    """

    def __init__(self, energy: pd.DataFrame) -> None:
        found = energy[(energy["level"] == "load") & (energy["kind"] == "idle")]
        self._rests: dict[tuple[int, str, str], Rest] = {}
        for row in records(found):
            if _usable(row):
                key = (row["session"], row["source"], row["channel"])
                before = self._rests.get(key, Rest(0.0, 0.0))
                self._rests[key] = Rest(
                    before.energy_j + row["energy_j"], before.seconds + row["duration_s"]
                )

    def node_w(self, session: int) -> float | None:
        """Mean power of the node by its meter, in watts."""
        return self._power_w(session, METER, [METER_CHANNEL])

    def gpus_w(self, session: int, slot: int | None) -> float | None:
        """Mean power by NVML of the GPU of a slot, or of all GPUs without one, in watts."""
        there = {
            number
            for _, source, channel in self._rests
            if source == NVML and (number := gpu_number(channel)) is not None
        }
        return total(
            self._power_w(session, NVML, [f"gpu{number}.{what}" for what in SERIES[NVML]])
            for number in own_gpus(there, slot)
        )

    def _power_w(self, session: int, source: str, channels: Sequence[str]) -> float | None:
        """Power by the first channel that was recorded; another session's if this one rested not.

        A recording that is resumed goes on within its idle time or behind it; the node is the same.
        """
        for channel in channels:
            own = self._rests.get((session, source, channel))
            some = (
                [own]
                if own
                else [rest for key, rest in self._rests.items() if key[1:] == (source, channel)]
            )
            if seconds := sum(rest.seconds for rest in some):
                return sum(rest.energy_j for rest in some) / seconds
        return None


def _usable(row: Row) -> bool:
    known = row["energy_j"] is not None and row["duration_s"]
    return bool(known) and CLOCK_NOT_PROVEN not in row["flags"]
