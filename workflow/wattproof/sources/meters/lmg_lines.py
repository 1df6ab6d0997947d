"""Decoding the stream of an LMG: values, device clock, lost cycles, garbage. No I/O here.

Nothing that a line says is believed because it parses: each one must follow from its predecessor
by the device's own counters. What does not follow is held back (`lmg_doubt`), and becomes damage
when the next line follows from the old one, or the new truth when several follow from each other.
"""

from __future__ import annotations

import math
from collections import deque

from wattproof.sources.base import Reading, Status
from wattproof.sources.meters.lmg_counters import (
    Clock,
    Line,
    Parser,
    cycles_between,
    ticks_between,
)
from wattproof.sources.meters.lmg_doubt import Doubt, Held

NAN_CODE = 9.91e37
LARGEST = 9.8e37
"""±infinity is sent as ±9.9E+37, "not a number" as 9.91E+37."""

EARLY_S = 0.25
LATE_S = 10.0
LATE_CYCLES = 20
"""No line arrives before its cycle has ended: less than the usual delay (less `EARLY_S` for its
jitter) means that the device's clock was set. Late it may be, by what a buffer on the way holds."""
DRIFT = 500e-6
"""No quartz is worse: so much may the delay change on the way."""
DELAYS_KEPT = 64


def total(powers_w: tuple[float, ...]) -> tuple[float | None, Status]:
    """Sum the channels; a code for "no number" in one of them is the outcome of the sum."""
    if any(math.isclose(power, NAN_CODE, rel_tol=5e-4) for power in powers_w):
        return None, Status.NOT_A_NUMBER
    if any(abs(power) >= LARGEST for power in powers_w):
        return None, Status.OVERRANGE
    return math.fsum(powers_w), Status.OK


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
        self._doubt = Doubt(clock)
        self._delays: deque[int] = deque(maxlen=DELAYS_KEPT)  # arrival less stamp

    def decode(self, text: bytes, now_ns: int) -> list[Reading]:
        """Decode one line that arrived at `now_ns` (monotonic).

        Returns:
            Readings in the order of arrival; a line in doubt comes with a later one.
        """
        if not text.strip(b" \r\n\0"):
            return []
        line = self._parse(text)
        self.understood += line is not None
        last = self._last
        if line is None:
            # Nothing is in doubt: it is damage, and need not wait.
            return self._hold(Held(now_ns, None)) if self._doubt else [self._damage(now_ns)]
        if last is None:
            return [self._accept(line, line.ticks, now_ns)]
        if (line.ticks, line.count) == (last.ticks, last.count):
            again = Held(now_ns, None, stands=False)
            return self._hold(again) if self._doubt else [self._damage(now_ns, stands=False)]
        cycles = self._cycles(line, now_ns)
        explained = 1 + self._damaged + self._doubt.cycles
        numbered = line.count is not None and self._timely(line, now_ns)
        if cycles is not None and (cycles in (1, explained) or numbered):
            return self._resume(line, now_ns)
        return self._hold(Held(now_ns, line))

    def flush(self) -> list[Reading]:
        """Give up on the lines in doubt: they were damaged."""
        return [self._damage(held.at_ns, held.stands) for held in self._doubt.give_up()]

    # ---------------------------------------------------------------- lines in doubt

    def _cycles(self, line: Line, now_ns: int) -> int | None:
        """Cycles from the last good line to this one."""
        assert self._last is not None
        return cycles_between(self._last, line, self._clock, (now_ns - self._last_ns) / 1e9)

    def _resume(self, line: Line, now_ns: int) -> list[Reading]:
        """Accept a line that follows from the last good one; judge those in doubt by both."""
        rows: list[Reading] = []
        for held in self._doubt.give_up():
            before = after = None
            if held.line is not None:
                before = self._cycles(held.line, held.at_ns)
                elapsed_s = (now_ns - held.at_ns) / 1e9
                after = cycles_between(held.line, line, self._clock, elapsed_s)
            if held.line is None or before is None or after is None:
                rows.append(self._damage(held.at_ns, held.stands))
            elif before + after == self._cycles(line, now_ns):
                rows += self._follow(held.line, before, held.at_ns)
            else:
                rows.append(self._damage(held.at_ns))
        return rows + self._follow(line, self._cycles(line, now_ns) or 1, now_ns)

    def _hold(self, new: Held) -> list[Reading]:
        rows: list[Reading] = []
        begun = False
        for held in self._doubt.add(new):
            if held.line is None or not held.believed:
                rows.append(self._damage(held.at_ns, held.stands))
            elif begun:
                cycles = self._cycles(held.line, held.at_ns) or 1
                rows += self._follow(held.line, cycles, held.at_ns)
            else:
                rows += self._begin_anew(held.line, held.at_ns)
                begun = True
        return rows

    def _begin_anew(self, line: Line, now_ns: int) -> list[Reading]:
        """Believe a line that does not follow from the last good one."""
        assert self._last is not None
        if self._timely(line, now_ns):
            # The clock ran on: it alone tells how many cycles were lost.
            elapsed_s = (now_ns - self._last_ns) / 1e9
            ticks = ticks_between(self._last, line, self._clock, elapsed_s)
            cycles = max(1, round(ticks / (line.cycle_s * self._clock.hz)))
            untold = cycles == 1 and not self._damaged
            rows = self._follow(line, cycles, now_ns)
            # No cycle is lost, but the counter jumped: that must not pass unseen.
            return [self._row(Status.GARBLED, now_ns), *rows] if untold else rows
        usual_ns = sorted(self._delays)[len(self._delays) // 2]
        at_ns = max(self._device_ns + 1, now_ns - usual_ns)
        self._base_ns = at_ns - self._ns(line.ticks)
        self._delays.clear()
        return [self._row(Status.DEVICE_LOST, now_ns), self._accept(line, line.ticks, now_ns)]

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

    def _damage(self, now_ns: int, stands: bool = True) -> Reading:
        self._damaged += stands
        return self._row(Status.GARBLED, now_ns)

    def _row(self, status: Status, now_ns: int) -> Reading:
        return Reading(self._name, None, status, None, now_ns, now_ns)
