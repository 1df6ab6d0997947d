"""What every instrument offers to the recorder, and nothing about how it is scheduled.

A new instrument is one file in this folder (meters: in ``meters/``) with a class that has the
methods of `Source`, plus one line in the registry of ``sources/__init__.py``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from wattproof.errors import WattproofError


class Status(StrEnum):
    """Outcome of one read. Anything but OK has no value: never 0, never a repeated value."""

    OK = "ok"
    NOT_SUPPORTED = "not_supported"
    NO_PERMISSION = "no_permission"
    DEVICE_LOST = "device_lost"
    TIMEOUT = "timeout"
    GARBLED = "garbled"
    OVERRANGE = "overrange"
    NOT_A_NUMBER = "not_a_number"
    MISSING = "missing"
    ERROR = "error"


class NotOfferedError(WattproofError):
    """The device is there and works, but does not offer what this lane would read.

    Raised by `Source.open`. The recorder notes it in the health of that lane and goes on, whatever
    ``on_missing_source`` says, as long as another lane of the instrument works.
    """


class Pacing(StrEnum):
    """How the recorder drives a source."""

    DEADLINE = "deadline"
    """Absolute deadlines, one read each `Source.period_s`."""
    PAUSE = "pause"
    """Sleep `Source.period_s`, then read (EA-HAS-Bench's way; drifts by design)."""
    STREAM = "stream"
    """The device sends by itself; `Source.read` blocks until data or its own time-out."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One series of a source; the fields are those of table ``channels``.

    Attributes:
        name: Unique inside the source, e.g. ``gpu0.power_instant``, ``node.ac``.
        unit: W, J, %, bytes, Hz, C, bits.
        kind: power, energy (cumulative), utilisation, memory, clock, temperature, load, limit,
            state.
        device: GPU UUID, meter serial, package name.
        slot: Index of the slot for channels of a GPU.
        period_s: Expected time between *new* values; None if unknown.
        averaging_s: The value is the mean of this many seconds before its stamp; 0 = instant.
        clock: "host": the recorder's stamps count; "wall": samples carry stamps by this host's wall
            clock (NVML's ring), brought to the monotonic clock by each row's own pair of stamps;
            "device": stamps by the device's own clock, which must be aligned.
        accuracy_reading: Limit of error as a share of the reading (0.0007 = 0.07 %).
        accuracy_range_w: Limit of error from the range, in watts.
        quantum: Smallest step of the value, in `unit`.
        wrap: A counter returns to 0 at this value, in `unit`.
        identity: What a reader must know: what the call means on this generation, field ids …
    """

    name: str
    unit: str
    kind: str
    device: str
    slot: int | None = None
    period_s: float | None = None
    averaging_s: float = 0.0
    clock: str = "host"
    accuracy_reading: float | None = None
    accuracy_range_w: float | None = None
    quantum: float | None = None
    wrap: float | None = None
    identity: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Description:
    """Identity of an opened source: model, serial, driver … and its channels."""

    identity: dict[str, Any]
    channels: tuple[Channel, ...]
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of one channel.

    Attributes:
        channel: Name of the channel.
        value: In the channel's unit; None unless the status is OK.
        status: Outcome.
        device_ns: The device's own stamp of the value, if it gives one.
        start_ns: Monotonic, before this very value was asked for; None if the source did not time
            its parts, then the recorder's stamps around the whole `Source.read` hold.
        end_ns: Monotonic, after it came; a streamed value has ``start_ns == end_ns``: its arrival.
    """

    channel: str
    value: float | None
    status: Status = Status.OK
    device_ns: int | None = None
    start_ns: int | None = None
    end_ns: int | None = None


@runtime_checkable
class Source(Protocol):
    """An instrument.

    `open` raises `WattproofError` with one clear sentence when the instrument is absent or not
    permitted. `read` never raises for a failed measurement: it returns a `Reading` with a status.
    A device that is gone for good delivers one ``DEVICE_LOST`` and then raises `WattproofError`:
    the process ends, and the recorder opens the source anew. A streaming `read` returns after a
    quarter of a second at the latest, with nothing if nothing came.
    """

    name: str
    pacing: Pacing
    period_s: float

    def open(self) -> Description:
        """Connect, identify the device, and say which channels will be read."""
        ...

    def read(self) -> Sequence[Reading]:
        """Take one reading of every channel that is due (or what the stream has delivered)."""
        ...

    def close(self) -> None:
        """Let go of the device. Must be safe to call twice and after a failed `open`."""
        ...


@runtime_checkable
class Interruptible(Protocol):
    """A source whose `read` can block for longer than a second."""

    def interrupt(self) -> None:
        """Make a running `read` return soon; called from another thread or a signal handler."""
        ...


@runtime_checkable
class Patient(Protocol):
    """A source whose `read` may take several seconds by itself, having a time-out of its own.

    The recorder's watchdog ends a process whose read takes longer than 20 periods (5 s at least;
    10 s for streams), or than `read_limit_s` and 5 s more.
    """

    read_limit_s: float


class Every:
    """Says when something slow is due again: at most once per `interval_s`, on a steady grid.

    Args:
        interval_s: Shortest time between two turns, in seconds.
        slack_s: A turn may come so much early: reads on a grid of their own jitter around it.
    """

    def __init__(self, interval_s: float, slack_s: float = 0.0) -> None:
        self._interval_ns = round(interval_s * 1e9)
        self._slack_ns = round(min(slack_s, interval_s / 2) * 1e9)
        self._next_ns: int | None = None

    def due(self, now_ns: int) -> bool:
        """Return whether it is due at `now_ns` (monotonic), and if so plan the next turn."""
        if self._next_ns is None or now_ns >= self._next_ns + self._interval_ns:
            self._next_ns = now_ns + self._interval_ns
            return True
        if now_ns < self._next_ns - self._slack_ns:
            return False
        self._next_ns += self._interval_ns
        return True


def wall_offset_ns() -> int:
    """Return wall clock less monotonic clock, from a pair of readings that nothing came between."""
    best: int | None = None
    offset = 0
    for _ in range(3):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        if best is None or after - before < best:
            best, offset = after - before, wall - (before + after) // 2
        if best < TIGHT_NS:
            break
    return offset


TIGHT_NS = 20_000
"""Two clocks read within this are read together; else the process was interrupted: read again."""
