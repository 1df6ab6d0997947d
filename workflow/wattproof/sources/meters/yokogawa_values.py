"""What a Yokogawa WT answers, decoded; and which of its updates nobody read. No I/O here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wattproof.sources.base import Status
from wattproof.units import wh_to_j

NAN_CODE = 9.91e37
LARGEST = 9.8e37
"""In words ``NAN`` and ``INF``, as numbers 9.91E+37 and ±9.9E+37."""

ITG_BIT = 1
"""Bit of the condition register: an integration is running."""
OVER_BITS = {1: (6, 7, 8), 2: (9, 10, 11), 3: (12, 13, 14)}
"""Bits of the condition register by element: value over its range, peak of the voltage, peak of the
current. A clipped peak leaves a number that looks good and is wrong."""

WAITED_SHARE = 0.1
"""An answer that took so much of an update longer than the line needs had really to be waited for:
its arrival tells the moment of the update."""


@dataclass(frozen=True, slots=True)
class Update:
    """One update of the device.

    Attributes:
        power_w: Sum over the elements; None unless its status is OK.
        power_status: Outcome.
        energy_j: Integrated energy, summed likewise.
        energy_status: Outcome.
    """

    power_w: float | None
    power_status: Status
    energy_j: float | None = None
    energy_status: Status = Status.OK


def number(text: str) -> float | None:
    """Return a number of an answer: inf for over-range, nan for no data; None if it is none."""
    try:
        value = float(text.strip())
    except ValueError:
        return None
    if math.isclose(value, NAN_CODE, rel_tol=5e-4):
        return math.nan
    return math.inf if abs(value) >= LARGEST else value


def _total(values: Sequence[float], clipped: bool) -> tuple[float | None, Status]:
    if any(math.isnan(value) for value in values):
        return None, Status.NOT_A_NUMBER
    if clipped or any(math.isinf(value) for value in values):
        return None, Status.OVERRANGE
    return math.fsum(values), Status.OK


def parse(text: str, elements: Sequence[int], integrating: bool) -> Update | None:
    """Decode ``EESR;P,P…[,WH,WH…];CONDITION``; None if it is not a whole answer of this form."""
    parts = text.split(";")
    if len(parts) != 3 or not parts[0].strip().isdigit() or not parts[2].strip().isdigit():
        return None
    values = [number(word) for word in parts[1].split(",")]
    numbers = [value for value in values if value is not None]
    n = len(elements)
    if len(numbers) != len(values) or len(numbers) != n * (1 + integrating):
        return None
    condition = int(parts[2])
    clipped = any(condition >> bit & 1 for element in elements for bit in OVER_BITS[element])
    power, status = _total(numbers[:n], clipped)
    if not integrating:
        return Update(power, status)
    wh, energy_status = _total(numbers[n:], clipped)
    if wh is not None and not condition >> ITG_BIT & 1:
        # The counter stands still: what it shows is not the energy until now.
        wh, energy_status = None, Status.ERROR
    return Update(power, status, None if wh is None else wh_to_j(wh), energy_status)


class Updates:
    """Numbers the updates by their times, so that those which nobody read are counted.

    The device latches that an update took place: an answer comes at the update if the question was
    there before it, and at once if the host was late. Only the former tell when the update was,
    and only if the host was there to see the answer come; the others are placed by the rhythm.

    Args:
        period_s: Time between two updates.
        line_s: Time that question and answer need on the line.
    """

    def __init__(self, period_s: float, line_s: float) -> None:
        self._period_ns = round(period_s * 1e9)
        self._waited_ns = round((line_s + WAITED_SHARE * period_s) * 1e9)
        self._anchor: tuple[int, int] | None = None  # time and number of an update waited for
        self._last = -1

    def failed(self) -> None:
        """Note an answer that was lost or damaged: its row stands for one update."""
        if self._anchor is not None:
            self._last += 1

    def answered(self, asked_ns: int, now_ns: int, seen: bool) -> tuple[int, int]:
        """Note an answer.

        Args:
            asked_ns: When the question was sent.
            now_ns: When the answer was read.
            seen: Whether the host was there when it came.

        Returns:
            How many updates before it were not read, and when it came, or would have come to a
            host that was there.
        """
        if self._anchor is None:
            self._anchor, self._last = (now_ns, 0), 0
            return 0, now_ns
        anchor_ns, anchored = self._anchor
        if seen and now_ns - asked_ns > self._waited_ns:
            number = anchored + round((now_ns - anchor_ns) / self._period_ns)
            self._anchor = (now_ns, number)
            at_ns = now_ns
        else:
            # The latest before the question, if it was not read yet; else the first after it.
            # Rather one too few: the next answer that was seen to come sets it right.
            number = anchored + (asked_ns - anchor_ns) // self._period_ns
            number = max(number, self._last + 1)
            at_ns = min(now_ns, anchor_ns + (number - anchored) * self._period_ns)
        missing = max(0, number - self._last - 1)
        self._last = number
        return missing, at_ns
