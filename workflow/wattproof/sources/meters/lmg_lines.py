"""Decoding the stream of an LMG: values, device clock, lost cycles, garbage. No I/O here."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wattproof.sources.base import Reading, Status

SCTC_HZ = 99_338.0
"""Nominal rate of the ADC sample counter: 49 689 counts in 0.5002 s (measurement.md 13.1). The
true rate differs by some ppm; `wattproof.clocks` finds it as drift."""
SCTC_MODULUS = 2**31
COUNT_MODULUS = 2**16

NAN_CODE = 9.91e37
LARGEST = 9.8e37
"""±infinity is sent as ±9.9E+37, "not a number" as 9.91E+37."""

SLACK_CYCLES = 0.5
SLACK_SHARE = 0.1
"""So far may the sample counter be from what the cycle counter says: cycles are whole mains
periods, so their length varies when several are taken together."""

RESYNC_LINES = 4
"""So many lines in a row must agree with each other, and not with the last good one, before they
are believed and it is not: the same damage may well strike two or three neighbours."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line as sent: COUNT, SCTC, CYCR (s) and the channels' active powers (W)."""

    count: int
    sctc: int
    cycle_s: float
    powers_w: tuple[float, ...]


def parse(text: bytes, channels: int) -> Line | None:
    """Parse one line; None if it is not a whole, sane line."""
    fields = text.strip(b" \r\n\0").split(b";")
    if len(fields) != 3 + channels:
        return None
    try:
        count, sctc, cycle_s, *powers = (float(field.decode("ascii")) for field in fields)
    except ValueError:  # UnicodeDecodeError is one
        return None
    if not all(math.isfinite(number) for number in (count, sctc, cycle_s, *powers)):
        return None
    if count % 1 or sctc % 1 or not 0 <= count < COUNT_MODULUS or not 0 <= sctc < SCTC_MODULUS:
        return None
    if not 0.0 < cycle_s < 120.0:
        return None
    return Line(int(count), int(sctc), cycle_s, tuple(powers))


def total(powers_w: tuple[float, ...]) -> tuple[float | None, Status]:
    """Sum the channels; a code for "no number" in one of them is the outcome of the sum."""
    if any(math.isclose(power, NAN_CODE, rel_tol=5e-4) for power in powers_w):
        return None, Status.NOT_A_NUMBER
    if any(abs(power) >= LARGEST for power in powers_w):
        return None, Status.OVERRANGE
    return math.fsum(powers_w), Status.OK


def cycles_between(old: Line, new: Line) -> int | None:
    """Return how many cycles lie between two lines (1 = neighbours) by both counters.

    None if the counters contradict each other: one of the lines is damaged in a way that still
    parses, or repeated.
    """
    cycles = (new.count - old.count) % COUNT_MODULUS
    samples = (new.sctc - old.sctc) % SCTC_MODULUS
    # The sample counter wraps at every 6 h; longer silences cannot be told apart and are refused.
    cycle = new.cycle_s * SCTC_HZ
    slack = SLACK_CYCLES * cycle + SLACK_SHARE * cycles * cycle
    if cycles == 0 or abs(samples - cycles * cycle) > slack:
        return None
    return cycles


class Decoder:
    """Turns lines into readings and keeps the device clock.

    The clock is the sample counter, unwrapped from the first value read on (not rebased to 0) and
    divided by `SCTC_HZ`. A line whose counters contradict the last good line is GARBLED; if
    `RESYNC_LINES` in a row agree with each other, the stream goes on from there.

    Args:
        channel: Name of the channel in the readings.
        channels: Number of powers in a line.
        cycle_s: Nominal cycle, in seconds.
    """

    def __init__(self, channel: str, channels: int, cycle_s: float) -> None:
        self._name = channel
        self._channels = channels
        self._cycle_s = cycle_s
        self._last: Line | None = None
        self._last_ns = 0
        self._sctc = 0  # of self._last, unwrapped
        self._suspect: Line | None = None
        self._suspects = 0  # lines in a row that agree with each other but not with the last good
        self._garbled = 0  # lines since self._last

    def decode(self, text: bytes, now_ns: int) -> list[Reading]:
        """Decode one line that arrived at `now_ns` (monotonic)."""
        if not text.strip(b" \r\n\0"):
            return []
        line = parse(text, self._channels)
        if line is None:
            self._garbled += 1
            return [self._row(Status.GARBLED, now_ns)]
        if self._last is None:
            return [self._accept(line, line.sctc, now_ns)]
        cycles = cycles_between(self._last, line)
        if cycles is not None and self._believable(cycles, now_ns):
            # A line that came damaged has its row already.
            missing = max(0, cycles - 1 - self._garbled)
            rows = [self._row(Status.MISSING, now_ns) for _ in range(missing)]
            return [*rows, self._accept(line, self._unwrapped(line), now_ns)]
        agrees = self._suspect is not None and cycles_between(self._suspect, line) == 1
        self._suspect, self._suspects = line, self._suspects + 1 if agrees else 1
        if self._suspects >= RESYNC_LINES:
            return [self._accept(line, self._unwrapped(line), now_ns)]
        self._garbled += 1
        return [self._row(Status.GARBLED, now_ns)]

    def _believable(self, cycles: int, now_ns: int) -> bool:
        """Whether so many cycles fit between the arrivals, seen that lines may come in bunches."""
        elapsed_s = (now_ns - self._last_ns) / 1e9
        return cycles * self._cycle_s <= 2.0 * elapsed_s + 10.0 + 2.0 * self._cycle_s

    def _unwrapped(self, line: Line) -> int:
        """Continue the sample counter over its wrap; only forward, by less than one wrap."""
        assert self._last is not None
        ahead = (line.sctc - self._last.sctc) % SCTC_MODULUS
        if ahead >= SCTC_MODULUS // 2:  # not a wrap: the counter was set back
            return line.sctc
        return self._sctc + ahead

    def _accept(self, line: Line, sctc: int, now_ns: int) -> Reading:
        self._last, self._last_ns, self._sctc = line, now_ns, sctc
        self._suspect, self._suspects, self._garbled = None, 0, 0
        value, status = total(line.powers_w)
        # Integers: counts reach 2^31 and more, and nanoseconds must not pass through a float.
        device_ns = sctc * 1_000_000_000 // int(SCTC_HZ)
        return Reading(self._name, value, status, device_ns, now_ns, now_ns)

    def _row(self, status: Status, now_ns: int) -> Reading:
        return Reading(self._name, None, status, None, now_ns, now_ns)
