"""The driver's own ring of power samples: drained so that each of them is had exactly once.

The driver samples every 20 ms and keeps about 2.4 s (measurement.md 3); `lastSeen` gives what is
new. Stamps are of this host's wall clock, which may be set while we measure: a step back would
hide new samples behind `lastSeen`, and any step would move older samples. So the distance of wall
and monotonic clock is watched, and after a step the whole ring is asked for and put in order.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from wattproof.sources.base import (
    Description,
    NotOfferedError,
    Pacing,
    Reading,
    Status,
    wall_offset_ns,
)
from wattproof.sources.nvml.calls import INSUFFICIENT_SIZE, NOT_FOUND, status_of, watts
from wattproof.sources.nvml.devices import (
    POWER_ACCURACY,
    PROBE_PAUSE_S,
    PROBES,
    Driver,
    Gpu,
    Losses,
)

POWER_SAMPLES = 0
"""NVML_TOTAL_POWER_SAMPLES."""
DRAIN_S = 0.25
"""Time between two drains: a tenth of the ring, so stalls of up to 2.1 s lose nothing."""
RING_PERIOD_S = 0.02
STEP_NS = 5_000_000
"""The wall clock was set if it moved by more than this between two drains. Less is slewing, and
less than the distance of two samples: it hides none."""
LATE = 1.5
"""A distance of more than so many periods between two samples means that some are missing."""

MIXED_NS = 10 * 10**9
"""So long after a step, no ring holds samples from before it."""
SILENCE_NS = 10**9
"""A ring that gives nothing new for longer than this has failed."""

_US = 1000


@dataclass
class _Ring:
    """What is known of the ring of one GPU."""

    gpu: Gpu
    name: str
    period_us: int
    last_us: int = 0
    """The driver's stamp of the newest sample that was taken."""
    drained_ns: int = 0
    """Monotonic instant of the latest drain that worked."""
    offset_ns: int = 0
    """Wall clock less monotonic clock by which the driver stamped that sample."""
    mixed_until_ns: int = 0
    """Until then, the ring holds samples from before and after a step of the wall clock."""

    def step_us(self, offset_ns: int) -> int:
        """Return by how much the wall clock was set since the latest sample; 0 if it was not."""
        step_ns = offset_ns - self.offset_ns if self.drained_ns else 0
        return step_ns // _US if abs(step_ns) > STEP_NS else 0


class RingSource:
    """The sample ring of every GPU.

    Args:
        nvml: Module ``pynvml``, or what stands in its place.
        simulated: True if a virtual node stands behind it.
        gpus: ``all``, ``visible``, or UUIDs.
        drain_s: Time between two drains, in seconds.
    """

    name = "nvml"
    pacing = Pacing.DEADLINE

    def __init__(
        self,
        nvml: Any,
        simulated: bool = False,
        gpus: str | Sequence[str] = "all",
        drain_s: float = DRAIN_S,
    ) -> None:
        self._nvml = nvml
        self._driver = Driver(nvml, gpus)
        self._losses = Losses()
        self._simulated = simulated
        self.period_s = drain_s
        self._rings: list[_Ring] = []

    def open(self) -> Description:
        """Find the GPUs whose driver keeps samples, and how far apart they are."""
        channels = []
        for gpu in self._driver.open():
            stamps = self._first(gpu)
            if stamps is None:
                continue
            steps = sorted(b - a for a, b in pairwise(stamps) if b > a)
            period_us = steps[len(steps) // 2] if steps else round(RING_PERIOD_S * 1e6)
            self._rings.append(_Ring(gpu, gpu.channel("power_samples"), period_us))
            facts = {"ring_samples": len(stamps)}
            channels.append(
                gpu.describe(
                    *("power_samples", "W", "power", period_us / 1e6),
                    "the driver's own power samples; what they are the mean of is not documented",
                    clock="wall",
                    averaging_s=0.0,
                    accuracy_reading=POWER_ACCURACY,
                    quantum=0.001,
                    facts=facts,
                )
            )
        if not self._rings:
            raise NotOfferedError("The driver keeps no power samples of any GPU here.")
        span_s = (
            min(
                ring.period_us * c.identity["ring_samples"]
                for ring, c in zip(self._rings, channels, strict=True)
            )
            / 1e6
        )
        # A short ring must be drained more often; one that has only begun to fill says nothing.
        if span_s > 4 * RING_PERIOD_S:
            self.period_s = min(self.period_s, max(span_s / 8, 4 * RING_PERIOD_S))
        uuids = [ring.gpu.uuid for ring in self._rings]
        identity = {"driver": self._driver.version, "uuids": uuids}
        return Description(identity, tuple(channels), self._simulated)

    def read(self) -> Sequence[Reading]:
        """Return the samples that are new, oldest first, GPU by GPU."""
        self._losses.check()
        readings: list[Reading] = []
        for ring in self._rings:
            readings += self._drain(ring)
        self._losses.note(readings)
        return readings

    def close(self) -> None:
        """Shut NVML down."""
        self._driver.close()

    def _first(self, gpu: Gpu) -> list[int] | None:
        """Return the stamps that are in the ring; None if this GPU has none."""
        for attempt in range(PROBES):
            if attempt:
                time.sleep(PROBE_PAUSE_S)
            try:
                _, samples = self._nvml.nvmlDeviceGetSamples(gpu.handle, POWER_SAMPLES, 0)
                return [int(sample.timeStamp) for sample in samples]
            except self._nvml.NVMLError as error:
                if error.value == NOT_FOUND:
                    return []  # nothing yet
            except AttributeError:
                return None
        return None

    # ---------------------------------------------------------------- draining

    def _drain(self, ring: _Ring) -> list[Reading]:
        start = time.monotonic_ns()
        offset_ns = wall_offset_ns()
        step_us = ring.step_us(offset_ns)
        if step_us or not ring.drained_ns:  # at the start, the clock may have just been set
            ring.mixed_until_ns = start + MIXED_NS
        mixed = start < ring.mixed_until_ns
        try:
            value_type, samples = self._ask(ring, 0 if mixed else ring.last_us)
        except self._nvml.NVMLError as error:
            if error.value == NOT_FOUND:
                return self._nothing(ring, start)
            status = status_of(error.value)
            return [Reading(ring.name, None, status, None, start, time.monotonic_ns())]
        end = time.monotonic_ns()
        stamps = [int(sample.timeStamp) for sample in samples]
        fresh = _fresh(stamps, ring.last_us, mixed, crossing=bool(step_us))
        if not fresh:
            return self._nothing(ring, start)
        values = [watts(samples[i].sampleValue, value_type) for i in fresh]
        raw_us = [stamps[i] for i in fresh]
        shown_us = _on_present_clock(raw_us, ring, step_us)
        readings: list[Reading] = []
        before = ring.last_us + step_us if ring.last_us else shown_us[0]
        patience = (end - ring.drained_ns) // _US // ring.period_us + 1
        for stamp, (value, status) in zip(shown_us, values, strict=True):
            lost = _lost(before, stamp, ring.period_us, patience)
            for i in range(1, lost + 1):
                device_ns = (before + (stamp - before) * i // (lost + 1)) * _US
                readings.append(Reading(ring.name, None, Status.MISSING, device_ns, start, end))
            readings.append(Reading(ring.name, value, status, stamp * _US, start, end))
            before = stamp
        ring.last_us, ring.drained_ns = raw_us[-1], end
        if shown_us[-1] == raw_us[-1]:
            # Else the newest sample is from before the step: the step is still to be crossed.
            ring.offset_ns = offset_ns
        return readings

    @staticmethod
    def _nothing(ring: _Ring, start_ns: int) -> list[Reading]:
        """Return nothing new, or that nothing came for too long."""
        if start_ns - ring.drained_ns < SILENCE_NS:
            return []
        return [Reading(ring.name, None, Status.MISSING, None, start_ns, time.monotonic_ns())]

    def _ask(self, ring: _Ring, last_us: int) -> tuple[int, list[Any]]:
        get = self._nvml.nvmlDeviceGetSamples
        try:
            found: tuple[int, list[Any]] = get(ring.gpu.handle, POWER_SAMPLES, last_us)
        except self._nvml.NVMLError as error:
            if error.value != INSUFFICIENT_SIZE:
                raise
            # A sample came between the driver's two answers, size and data: ask once more.
            found = get(ring.gpu.handle, POWER_SAMPLES, last_us)
        return found


def _fresh(stamps: Sequence[int], last_us: int, mixed: bool, crossing: bool) -> range:
    """Return the positions of new samples: those behind the last one that was taken.

    Args:
        stamps: As the driver gave them, in the order of its ring.
        last_us: Stamp of the last sample that was taken.
        mixed: The ring holds samples from before and after a step of the wall clock: stamps are
            not in order, and may come again, but positions are.
        crossing: The last sample that was taken is from before the step.
    """
    if not mixed:
        at = max((i for i, stamp in enumerate(stamps) if stamp <= last_us), default=-1)
    else:
        same = [i for i, stamp in enumerate(stamps) if stamp == last_us]
        at = -1 if not same else same[0 if crossing else -1]
    return range(at + 1, len(stamps))


def _on_present_clock(raw_us: list[int], ring: _Ring, step_us: int) -> list[int]:
    """Move the stamps from before a step of the wall clock onto the clock as it is now.

    The step lies where it explains a distance best; before the first new sample if none needs it.
    """
    if not step_us:
        return raw_us
    stamps = [ring.last_us, *raw_us]
    distances = [b - a - step_us for a, b in pairwise(stamps)]
    # A distance across the step, less the step, is that of two neighbours: a period or a few.
    misses = [abs(d - ring.period_us) for d in distances]
    at = misses.index(min(misses))
    unmoved = abs(stamps[at + 1] - stamps[at] - ring.period_us)
    if unmoved <= misses[at]:
        at = len(raw_us)  # the step came after the newest sample
    return [stamp + step_us if i < at else stamp for i, stamp in enumerate(raw_us)]


def _lost(before_us: int, stamp_us: int, period_us: int, patience: int) -> int:
    """Return how many samples are missing between two that are there.

    Never more than fit into the time that passed since the latest drain.
    """
    distance = stamp_us - before_us
    if distance <= LATE * period_us:
        return 0
    return max(0, min(round(distance / period_us) - 1, patience))
