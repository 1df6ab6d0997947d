"""Decoding the stream of an LMG: values, device clock, lost cycles, garbage. No I/O here.

Nothing that a line says is believed because it parses: each one must follow from its predecessor
by the device's own counters. What does not follow is held back, and becomes damage when the next
line follows from the old one, or the new truth when several lines in a row follow from each other.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from wattproof.sources.base import Reading, Status

COUNT_MODULUS = 2**16
NAN_CODE = 9.91e37
LARGEST = 9.8e37
"""±infinity is sent as ±9.9E+37, "not a number" as 9.91E+37."""

SLACK_ONE = 0.02
"""Neighbours: the clock may differ from the cycle that the device says by this share."""
SLACK_CYCLES = 0.5
SLACK_SHARE = 0.1
"""Several cycles: they are whole mains periods, so their length varies when taken together."""

RESYNC_LINES = 4
"""So many lines in a row must agree with each other, and not with the last good one, before they
are believed and it is not: the same damage may well strike two or three neighbours."""
LONGEST_HOLD = 64
"""More lines than this are not held back."""

EARLY_S = 0.25
LATE_S = 10.0
LATE_CYCLES = 20
"""No line arrives before its cycle has ended: less than the usual delay (less `EARLY_S` for its
jitter) means that the device's clock was set. Late it may be, by what a buffer on the way holds."""
DRIFT = 500e-6
"""No quartz is worse: so much may the delay change on the way."""
DELAYS_KEPT = 64


@dataclass(frozen=True, slots=True)
class Clock:
    """What the stamps of a stream count.

    Attributes:
        hz: Ticks a second, nominal; the true rate differs by some ppm, which `wattproof.clocks`
            finds as drift.
        modulus: They begin anew after so many; None: never.
    """

    hz: int
    modulus: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A line as sent.

    Attributes:
        ticks: Stamp of the cycle, in ticks of the stream's `Clock`.
        cycle_s: True length of the cycle.
        powers_w: Active powers of the channels.
        count: Number of the cycle, modulo `COUNT_MODULUS`; None if the device does not number them.
    """

    ticks: int
    cycle_s: float
    powers_w: tuple[float, ...]
    count: int | None = None


Parser = Callable[[bytes], Line | None]


def total(powers_w: tuple[float, ...]) -> tuple[float | None, Status]:
    """Sum the channels; a code for "no number" in one of them is the outcome of the sum."""
    if any(math.isclose(power, NAN_CODE, rel_tol=5e-4) for power in powers_w):
        return None, Status.NOT_A_NUMBER
    if any(abs(power) >= LARGEST for power in powers_w):
        return None, Status.OVERRANGE
    return math.fsum(powers_w), Status.OK


def ticks_between(old: Line, new: Line, clock: Clock, elapsed_s: float) -> int:
    """Ticks from one line to another; wraps in between are told by the time between arrivals."""
    ticks = new.ticks - old.ticks
    if clock.modulus is None:
        return ticks
    ticks %= clock.modulus
    return ticks + clock.modulus * max(0, round((elapsed_s * clock.hz - ticks) / clock.modulus))


def cycles_between(old: Line, new: Line, clock: Clock, elapsed_s: float) -> int | None:
    """Return how many cycles lie between two lines (1 = neighbours) by all their counters.

    None if the counters contradict each other: one of the lines is damaged in a way that still
    parses, or repeated, or the device began anew.
    """
    cycle = new.cycle_s * clock.hz
    ticks = ticks_between(old, new, clock, elapsed_s)
    if old.count is None or new.count is None:
        cycles = round(ticks / cycle)
    else:
        cycles = (new.count - old.count) % COUNT_MODULUS
        cycles += COUNT_MODULUS * max(0, round((ticks / cycle - cycles) / COUNT_MODULUS))
    several = SLACK_CYCLES * cycle + SLACK_SHARE * cycles * cycle
    slack = SLACK_ONE * cycle if cycles == 1 else several
    if cycles < 1 or abs(ticks - cycles * cycle) > slack:
        return None
    return cycles


class Decoder:
    """Turns lines into readings and keeps the device clock.

    The clock is the device's own counter, unwrapped from the first value read on (not rebased to
    0) and divided by its nominal rate. A device that was switched off, or whose clock was set,
    begins a new count: its stamps then go on from the old ones by the time of arrival.

    Args:
        channel: Name of the channel in the readings.
        parse: Turns a line's bytes into a `Line`; None if it is not a whole, sane one.
        clock: What the stamps count.
        cycle_s: Nominal cycle, in seconds.
    """

    def __init__(self, channel: str, parse: Parser, clock: Clock, cycle_s: float) -> None:
        self.understood = 0
        """Lines that could be parsed, believed or not."""
        self._name = channel
        self._parse = parse
        self._clock = clock
        self._cycle_s = cycle_s
        self._last: Line | None = None
        self._last_ns = 0  # arrival of self._last
        self._device_ns = 0  # stamp of self._last
        self._ticks = 0  # of self._last, unwrapped
        self._base_ns = 0  # device time at 0 ticks; not 0 after the device began anew
        self._damaged = 0  # damaged lines since self._last: each stands for a cycle
        self._held: list[tuple[int, Line | None]] = []  # arrival, line; None: damaged
        self._run = 0  # lines at the end of self._held that agree with each other
        self._delays: deque[int] = deque(maxlen=DELAYS_KEPT)  # arrival less stamp

    def decode(self, text: bytes, now_ns: int) -> list[Reading]:
        """Decode one line that arrived at `now_ns` (monotonic).

        Returns:
            Readings in the order of arrival; a line in doubt comes with a later one.
        """
        if not text.strip(b" \r\n\0"):
            return []
        line = self._parse(text)
        if line is None:
            if self._run and len(self._held) < LONGEST_HOLD:
                self._held.append((now_ns, None))
                return []
            return [*self.flush(), self._damage(now_ns)]
        self.understood += 1
        last = self._last
        if last is None:
            return [self._accept(line, line.ticks, now_ns)]
        cycles = cycles_between(last, line, self._clock, (now_ns - self._last_ns) / 1e9)
        explained = 1 + self._damaged + sum(not self._repeated(held) for _, held in self._held)
        numbered = line.count is not None and self._timely(line, now_ns)
        if cycles is not None and (cycles in (1, explained) or numbered):
            return [*self.flush(), *self._follow(line, cycles, now_ns)]
        return self._hold(line, now_ns)

    def flush(self) -> list[Reading]:
        """Give up on the lines in doubt: each is one that was damaged, or repeated."""
        held, self._held, self._run = self._held, [], 0
        return [self._damage(at_ns, not self._repeated(line)) for at_ns, line in held]

    def _repeated(self, line: Line | None) -> bool:
        last = self._last
        if line is None or last is None:
            return False
        return (line.ticks, line.count) == (last.ticks, last.count)

    # ---------------------------------------------------------------- lines in doubt

    def _hold(self, line: Line, now_ns: int) -> list[Reading]:
        before = next((held for held in reversed(self._held) if held[1] is not None), None)
        agrees = False
        if before is not None and before[1] is not None:
            elapsed_s = (now_ns - before[0]) / 1e9
            agrees = cycles_between(before[1], line, self._clock, elapsed_s) is not None
        rows = [] if agrees else self.flush()
        self._held.append((now_ns, line))
        self._run += 1
        if self._run >= RESYNC_LINES:
            rows += self._begin_anew()
        return rows

    def _begin_anew(self) -> list[Reading]:
        """Believe the lines that agree with each other."""
        held, self._held, self._run = self._held, [], 0
        (first_ns, first), rest = held[0], held[1:]
        assert first is not None
        assert self._last is not None
        elapsed_s = (first_ns - self._last_ns) / 1e9
        seen = self._damaged > 0
        if self._timely(first, first_ns):
            # The clock ran on: it alone tells how many cycles were lost.
            ticks = ticks_between(self._last, first, self._clock, elapsed_s)
            cycles = max(1, round(ticks / (first.cycle_s * self._clock.hz)))
            rows = self._follow(first, cycles, first_ns)
            if len(rows) == 1 and not seen:
                # No cycle is lost, but the counter jumped: that must not pass unseen.
                rows.insert(0, self._row(Status.GARBLED, first_ns))
        else:
            rows = [self._row(Status.DEVICE_LOST, first_ns)]
            usual_ns = sorted(self._delays)[len(self._delays) // 2]
            at_ns = max(self._device_ns + 1, first_ns - usual_ns)
            self._base_ns = at_ns - self._ns(first.ticks)
            self._delays.clear()
            rows.append(self._accept(first, first.ticks, first_ns))
        for arrived_ns, line in rest:
            if line is None:
                rows.append(self._damage(arrived_ns))
                continue
            elapsed_s = (arrived_ns - self._last_ns) / 1e9
            cycles = cycles_between(self._last, line, self._clock, elapsed_s) or 1
            rows += self._follow(line, cycles, arrived_ns)
        return rows

    def _timely(self, line: Line, now_ns: int) -> bool:
        """Whether the clock ran on from the last line to this one, seen from the arrivals."""
        assert self._last is not None
        elapsed_s = (now_ns - self._last_ns) / 1e9
        ticks = ticks_between(self._last, line, self._clock, elapsed_s)
        if ticks <= 0:
            return False
        later_s = (now_ns - self._device_ns - self._ns(ticks) - min(self._delays)) / 1e9
        drift_s = DRIFT * elapsed_s
        late_s = LATE_S + LATE_CYCLES * self._cycle_s
        return -EARLY_S - drift_s <= later_s <= late_s + drift_s

    # ---------------------------------------------------------------- readings

    def _follow(self, line: Line, cycles: int, now_ns: int) -> list[Reading]:
        """Accept a line so many cycles after the last one; the lost ones are rows."""
        assert self._last is not None
        # A line that came damaged has its row already.
        missing = max(0, cycles - 1 - self._damaged)
        rows = [self._row(Status.MISSING, now_ns)] * missing
        elapsed_s = (now_ns - self._last_ns) / 1e9
        ticks = self._ticks + ticks_between(self._last, line, self._clock, elapsed_s)
        return [*rows, self._accept(line, ticks, now_ns)]

    def _accept(self, line: Line, ticks: int, now_ns: int) -> Reading:
        self._last, self._last_ns, self._ticks = line, now_ns, ticks
        self._device_ns = self._base_ns + self._ns(ticks)
        self._delays.append(now_ns - self._device_ns)
        self._damaged = 0
        value, status = total(line.powers_w)
        return Reading(self._name, value, status, self._device_ns, now_ns, now_ns)

    def _ns(self, ticks: int) -> int:
        # Integers: counts reach 2^31 and more, and nanoseconds must not pass through a float.
        return ticks * 1_000_000_000 // self._clock.hz

    def _damage(self, now_ns: int, stands_for_a_cycle: bool = True) -> Reading:
        self._damaged += stands_for_a_cycle
        return self._row(Status.GARBLED, now_ns)

    def _row(self, status: Status, now_ns: int) -> Reading:
        return Reading(self._name, None, status, None, now_ns, now_ns)
