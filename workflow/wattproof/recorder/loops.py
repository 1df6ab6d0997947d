"""How a source is driven: by absolute deadlines, by pauses, or by its own stream."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Sequence

from wattproof.recorder.streams import Row
from wattproof.sources.base import Pacing, Reading, Source
from wattproof.units import s_to_ns

Sink = Callable[[list[Row]], None]


class StopSignal:
    """Something that can be waited for, and set from a thread or a signal handler."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self.is_set = False

    def set(self) -> None:
        """Wake the waiter, now and for good."""
        if not self.is_set:
            self.is_set = True
            os.write(self._write, b"x")

    def wait_until(self, deadline_ns: int) -> bool:
        """Sleep until `deadline_ns` (monotonic) or until it is set; return whether it is set.

        ``select`` keeps deadlines as well as ``time.sleep`` does and can be woken.
        """
        while not self.is_set:
            left_ns = deadline_ns - time.monotonic_ns()
            if left_ns <= 0:
                return self.is_set
            if select.select([self._read], [], [], left_ns / 1e9)[0]:
                return True
        return True


class Counts:
    """What the loop counts: reads that took place, reads with a failure, missed deadlines."""

    def __init__(self) -> None:
        self.taken = 0
        self.failed = 0
        self.missed = 0


def next_tick(tick: int, first_ns: int, period_ns: int, now_ns: int) -> int:
    """Return the tick to read after `tick`: the one whose period is running, never an older one.

    A tick is missed when its whole period passed without a read; it is skipped, not caught up. A
    tick whose deadline has just passed is still read, late, once.
    """
    return max(tick + 1, (now_ns - first_ns) // period_ns)


def run(source: Source, stop: StopSignal, sink: Sink, counts: Counts) -> None:
    """Drive an opened source until `stop` is set.

    Raises:
        WattproofError: If the device is gone for good, or `sink` cannot store any more.
    """
    loops = {Pacing.DEADLINE: _deadline, Pacing.PAUSE: _pause, Pacing.STREAM: _stream}
    loops[source.pacing](source, stop, sink, counts)


def _deadline(source: Source, stop: StopSignal, sink: Sink, counts: Counts) -> None:
    period_ns = s_to_ns(source.period_s)
    # The first read comes a period after opening: rates since the last call have a meaning then.
    first_ns = time.monotonic_ns() + period_ns
    tick = 0
    while not stop.wait_until(first_ns + tick * period_ns):
        _read(source, first_ns + tick * period_ns, stop, sink, counts)
        following = next_tick(tick, first_ns, period_ns, time.monotonic_ns())
        counts.missed += following - tick - 1
        tick = following


def _pause(source: Source, stop: StopSignal, sink: Sink, counts: Counts) -> None:
    period_ns = s_to_ns(source.period_s)
    while True:
        scheduled_ns = time.monotonic_ns() + period_ns
        if stop.wait_until(scheduled_ns):
            return
        _read(source, scheduled_ns, stop, sink, counts)


def _stream(source: Source, stop: StopSignal, sink: Sink, counts: Counts) -> None:
    while not stop.is_set:
        _read(source, None, stop, sink, counts)


def _read(
    source: Source, scheduled_ns: int | None, stop: StopSignal, sink: Sink, counts: Counts
) -> None:
    start_ns = time.monotonic_ns()
    readings = source.read()
    end_ns = time.monotonic_ns()
    wall_ns = time.time_ns()
    if not readings:  # a stream with nothing new, or a read that was interrupted by the stop
        return
    counts.taken += 1
    counts.failed += any(reading.value is None for reading in readings)
    sink(rows(readings, scheduled_ns, start_ns, end_ns, wall_ns))


def rows(
    readings: Sequence[Reading], scheduled_ns: int | None, start_ns: int, end_ns: int, wall_ns: int
) -> list[Row]:
    """Give each reading its stamps: its own where it has them, else those of the whole read.

    The wall clock was taken at `end_ns`; it is moved to the end of the single reading.
    """
    result: list[Row] = []
    for r in readings:
        start = start_ns if r.start_ns is None else r.start_ns
        end = end_ns if r.end_ns is None else r.end_ns
        wall = wall_ns - (end_ns - end)
        result.append((r.channel, scheduled_ns, start, end, wall, r.device_ns, r.value, r.status))
    return result
