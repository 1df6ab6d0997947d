"""How a source is driven: by absolute deadlines, by pauses, or by its own stream."""

from __future__ import annotations

import mmap
import os
import select
import struct
import time
from collections.abc import Callable, Sequence

from wattproof.recorder.streams import Row
from wattproof.sources.base import Pacing, Patient, Reading, Source, wall_offset_ns
from wattproof.units import s_to_ns

Sink = Callable[[list[Row]], None]


NAP_NS = 50_000_000
"""Longest single sleep. A process that is stopped in the middle of one (SIGSTOP, a frozen
container) goes on to sleep what was left of it when it is continued, whatever time has passed."""


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
            if select.select([self._read], [], [], min(left_ns, NAP_NS) / 1e9)[0]:
                return True
        return True


LATE_SHARE = 0.5
"""A read that begins more than this share of a period after its deadline is late."""
HUNG_S = 5.0
HUNG_PERIODS = 20
HUNG_MOST_S = 30.0
HUNG_STREAM_S = 10.0
"""A stream whose device was pulled may try to connect anew inside a read."""


def hung_limit_s(source: Source) -> float:
    """Return how long after its deadline a read must be over.

    20 periods, but 5 s at least (10 s for streams) and 30 s at most; a source whose reads may take
    longer by themselves says so (`wattproof.sources.base.Patient`).
    """
    own = source.read_limit_s if isinstance(source, Patient) else 0.0
    least = HUNG_STREAM_S if source.pacing is Pacing.STREAM else HUNG_S
    return max(least, min(HUNG_PERIODS * source.period_s, HUNG_MOST_S), own + HUNG_S)


class Beat:
    """A promise that another process can read: all is well until an instant (monotonic).

    It lies in shared memory, so that the watchdog learns of a process that is stopped, or that
    hangs inside a driver's call with the interpreter's lock held.

    Args:
        handle: Descriptor of at least eight bytes of memory; None for nobody to read it.
    """

    def __init__(self, handle: int | None) -> None:
        self._memory = mmap.mmap(-1 if handle is None else handle, SIZE)

    def promise(self, until_ns: int) -> None:
        """Promise to be heard of again before `until_ns`."""
        _WORD.pack_into(self._memory, 0, until_ns)


_WORD = struct.Struct("q")
SIZE = _WORD.size


class Counts:
    """What the loop counts: reads that took place, with a failure, late; missed deadlines."""

    def __init__(self) -> None:
        self.taken = 0
        self.failed = 0
        self.late = 0
        self.missed = 0


def next_tick(tick: int, first_ns: int, period_ns: int, now_ns: int) -> int:
    """Return the tick to read after `tick`: the one whose period is running, never an older one.

    A tick is missed when its whole period passed without a read; it is skipped, not caught up. A
    tick whose deadline has just passed is still read, late, once.
    """
    return max(tick + 1, (now_ns - first_ns) // period_ns)


def run(
    source: Source, stop: StopSignal, sink: Sink, counts: Counts, beat: Beat | None = None
) -> None:
    """Drive an opened source until `stop` is set.

    Raises:
        WattproofError: If the device is gone for good, or `sink` cannot store any more.
    """
    loops = {Pacing.DEADLINE: _deadline, Pacing.PAUSE: _pause, Pacing.STREAM: _stream}
    loops[source.pacing](_Reader(source, sink, counts), stop, beat or Beat(None))


def _deadline(reader: _Reader, stop: StopSignal, beat: Beat) -> None:
    period_ns = s_to_ns(reader.source.period_s)
    limit_ns = s_to_ns(hung_limit_s(reader.source))
    # The first read comes a period after opening: rates since the last call have a meaning then.
    first_ns = time.monotonic_ns() + period_ns
    tick = 0
    while True:
        scheduled_ns = first_ns + tick * period_ns
        beat.promise(scheduled_ns + limit_ns)
        if stop.wait_until(scheduled_ns):
            return
        reader.read(scheduled_ns)
        following = next_tick(tick, first_ns, period_ns, time.monotonic_ns())
        reader.counts.missed += following - tick - 1
        tick = following


def _pause(reader: _Reader, stop: StopSignal, beat: Beat) -> None:
    period_ns = s_to_ns(reader.source.period_s)
    limit_ns = s_to_ns(hung_limit_s(reader.source))
    while True:
        scheduled_ns = time.monotonic_ns() + period_ns
        beat.promise(scheduled_ns + limit_ns)
        if stop.wait_until(scheduled_ns):
            return
        reader.read(scheduled_ns)


def _stream(reader: _Reader, stop: StopSignal, beat: Beat) -> None:
    limit_ns = s_to_ns(hung_limit_s(reader.source))
    while not stop.is_set:
        beat.promise(time.monotonic_ns() + limit_ns)
        reader.read(None)


class _Reader:
    """One read of a source, with its stamps, into the sink."""

    def __init__(self, source: Source, sink: Sink, counts: Counts) -> None:
        self.source = source
        self.counts = counts
        self._sink = sink
        self._late_ns = s_to_ns(source.period_s * LATE_SHARE)

    def read(self, scheduled_ns: int | None) -> None:
        start_ns = time.monotonic_ns()
        readings = self.source.read()
        end_ns = time.monotonic_ns()
        wall_ns = end_ns + wall_offset_ns()
        if not readings:  # a stream with nothing new, or a read that was interrupted by the stop
            return
        counts = self.counts
        counts.taken += 1
        if scheduled_ns is not None and start_ns - scheduled_ns > self._late_ns:
            counts.late += 1
        for reading in readings:
            if reading.value is None:
                counts.failed += 1
                break
        self._sink(rows(readings, scheduled_ns, start_ns, end_ns, wall_ns))


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
