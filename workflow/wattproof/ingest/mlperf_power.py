"""Power logs of MLPerf Training: readings, also failed ones, and what the log says of itself."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wattproof.errors import WattproofError
from wattproof.ingest import mllog
from wattproof.sources.base import Status


@dataclass(frozen=True, slots=True)
class PowerReading:
    """One reading of a power log, good or failed; time in nanoseconds since the epoch."""

    time_ns: int
    value_w: float | None
    status: Status


@dataclass(frozen=True)
class PowerLog:
    """Power log of one node, one run and one register.

    Attributes:
        path: The file.
        readings: Sorted by time (stable).
        start_ns: Instant of ``power_measurement_start``; None if the log has no such mark.
        conversion_efficiency: Factor that the log states; 1.0 if it states none.
    """

    path: Path
    readings: tuple[PowerReading, ...]
    start_ns: int | None
    conversion_efficiency: float

    def good(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Times (int64 ns) and values (W) of the good readings, each of shape (n,)."""
        good = [(r.time_ns, r.value_w) for r in self.readings if r.value_w is not None]
        return (
            np.array([time for time, _ in good], dtype=np.int64),
            np.array([value for _, value in good], dtype=np.float64),
        )


def _reading(event: mllog.Event) -> PowerReading:
    if event.value is None or event.value == "null":
        return PowerReading(event.time_ns, None, Status.MISSING)
    if isinstance(event.value, int | float) and not isinstance(event.value, bool):
        try:
            value = float(event.value)
        except OverflowError:
            value = math.inf
        if math.isfinite(value):
            return PowerReading(event.time_ns, value, Status.OK)
    return PowerReading(event.time_ns, None, Status.NOT_A_NUMBER)


def read_power_log(path: Path) -> tuple[PowerLog, list[str]]:
    """Read a power log.

    A malformed line whose time can still be read, and which is or may be a reading, becomes a
    failed reading; other malformed lines are counted in the notes.

    Returns:
        The log, and a sentence for everything odd in it.

    Raises:
        WattproofError: The file is missing, no MLPerf log, or has no power reading at all.
    """
    log = mllog.read(path)
    notes: list[str] = []
    readings = [_reading(event) for event in log.events if event.key == "power_reading"]
    lost = 0
    for line in log.malformed:
        if line.time_ns is not None and line.key in (None, "power_reading"):
            readings.append(PowerReading(line.time_ns, None, Status.GARBLED))
        else:
            lost += 1
    if not readings:
        raise WattproofError(
            f"{path} holds no power reading; restore the file or take its run out of runs.csv."
        )
    if lost:
        notes.append(f"{path}: {lost} malformed line(s) without a usable time were left out.")
    failed = sum(reading.status is not Status.OK for reading in readings)
    if failed:
        notes.append(f"{path}: {failed} of {len(readings)} readings failed.")
    times = [event.time_ns for event in log.events if event.key == "power_reading"]
    backward = sum(b < a for a, b in itertools.pairwise(times))
    if backward:
        notes.append(f"{path}: {backward} reading(s) out of order were sorted by time.")
    starts = log.times_ns("power_measurement_start")
    if len(starts) != 1:
        notes.append(
            f"{path}: {len(starts)} marks power_measurement_start; the log begins at "
            f"{'the last of them' if starts else 'its first reading'}."
        )
    factors = [event.value for event in log.events if event.key == "conversion_eff"]
    factor = factors[-1] if factors else 1.0
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor < math.inf:
        raise WattproofError(f"{path}: conversion_eff is {factor!r}, not a positive number.")
    readings.sort(key=lambda reading: reading.time_ns)
    return PowerLog(path, tuple(readings), starts[-1] if starts else None, float(factor)), notes
