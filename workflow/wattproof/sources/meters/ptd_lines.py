"""What SPEC's PTDaemon answers, decoded: identity, samples, their clock. No I/O here.

Sample lines come as the daemon logs them (with the mark, channels named ``Ch1`` …) and as it sends
them (without): both are read.
"""

from __future__ import annotations

import datetime
import math
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wattproof.sources.base import Status

HEADER = re.compile(r"Last (\d+) samples?\b")
STARTED = re.compile(r"Starting (?:un)?timed measurement, maximum (\d+) samples")
NO_VALUE = -1.0
"""The daemon's word for a value that it does not have."""

EARLY_S = 0.25
DELAYS_KEPT = 64


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample.

    Attributes:
        stamp_ns: The daemon's local time, counted as if it were UTC.
        watts: Sum of the channels asked for; None unless the status is OK.
        status: Outcome.
    """

    stamp_ns: int
    watts: float | None
    status: Status


@dataclass(frozen=True, slots=True)
class Identity:
    """The answer to ``Identify``.

    Attributes:
        driver: The daemon's module for the analyser.
        interval_s: Shortest time between two samples.
        version: Of the daemon.
        mode: ``power`` or ``temperature``.
        sets_ranges: Whether it can set ranges.
        channels: Number of channels.
        analyser: What the analyser says of itself.
    """

    driver: str
    interval_s: float
    version: str
    mode: str
    sets_ranges: bool
    channels: int
    analyser: str


def parse_identity(text: str) -> Identity | None:
    """Decode the answer to ``Identify``; None if it is none."""
    words = [word.strip() for word in text.split(",")]
    if len(words) < 15 or not words[9].startswith("version=") or not words[1].isdigit():
        return None
    if not words[14].isdigit():
        return None
    return Identity(
        driver=words[0],
        interval_s=int(words[1]) / 1000,
        version=words[9].removeprefix("version="),
        mode=words[11].removeprefix("mode="),
        sets_ranges=words[13] == "1",
        channels=int(words[14]),
        analyser=words[-1],
    )


def parse_sample(text: str, channels: Sequence[int] | None = None) -> Sample | None:
    """Decode a line of ``RL`` or of the log.

    Args:
        text: The line.
        channels: Channels that are summed, from 1; None: the line's first value, which is the
            daemon's sum.

    Returns:
        None if it is not a whole sample with these channels.
    """
    words = [word.strip() for word in text.split(",")]
    if words[0] != "Time" or len(words) < 4:
        return None
    stamp_ns = _stamp_ns(words[1])
    powers: list[float] = []
    rest = [word for word in words[2:] if not re.fullmatch(r"Ch\d+", word)]
    names, values = rest[::2], rest[1::2]
    for name, value, following in zip(names, values, [*names[1:], ""], strict=False):
        if name not in {"Watts", "Volts", "Amps", "PF", "Mark"}:
            return None
        if name == "Watts":
            # What follows shows that no digit of the number was cut off.
            if following != "Volts":
                return None
            try:
                powers.append(float(value))
            except ValueError:
                return None
    if stamp_ns is None or not powers:
        return None
    if channels is None:
        chosen = powers[:1]
    elif len(powers) > 1:
        if max(channels) >= len(powers):
            return None
        chosen = [powers[channel] for channel in channels]
    else:
        chosen = powers  # a single-channel analyser has no sum beside it
    return Sample(stamp_ns, *_total(chosen))


def _total(values: Sequence[float]) -> tuple[float | None, Status]:
    if any(math.isnan(value) or value == NO_VALUE for value in values):
        return None, Status.NOT_A_NUMBER
    if any(math.isinf(value) for value in values):
        return None, Status.OVERRANGE
    return math.fsum(values), Status.OK


def _stamp_ns(text: str) -> int | None:
    try:
        moment = datetime.datetime.strptime(text, "%m-%d-%Y %H:%M:%S.%f")
    except ValueError:
        return None
    since = moment - datetime.datetime(1970, 1, 1)
    return since // datetime.timedelta(microseconds=1) * 1000


def parse_ranges(text: str) -> dict[str, Any] | None:
    """Decode the answer to ``RR``: amps and volts; None where unknown or automatic."""
    words = text.split(",")
    if words[0] != "Ranges" or len(words) < 5:
        return None
    try:
        amps_auto, amps, volts_auto, volts = (float(word) for word in words[1:5])
    except ValueError:
        return None
    return {
        "range_a": amps if amps_auto == 0 and amps > 0 else None,
        "range_v": volts if volts_auto == 0 and volts > 0 else None,
    }


class SampleClock:
    """Stamps that go on when the daemon's clock is set, and the samples lost in between.

    The stamps are local time: they jump with daylight saving, and when somebody sets the clock. No
    sample arrives before it was taken, none is taken before its predecessor: by that a jump is told
    from a hole. After a jump the stamps go on from the old ones by the time of arrival. A clock set
    back inside a hole that is longer still cannot be told from a late sample, and is taken for one.

    Args:
        interval_s: Time between two samples.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_ns = round(interval_s * 1e9)
        self._early_ns = round(max(EARLY_S, interval_s / 2) * 1e9)
        self._shift_ns = 0
        self._last_ns: int | None = None
        self._delays: deque[int] = deque(maxlen=DELAYS_KEPT)
        self.jumps = 0

    def place(self, stamp_ns: int, now_ns: int) -> tuple[int, int]:
        """Return the stamp on an even clock, and how many samples before it never came.

        Args:
            stamp_ns: As sent.
            now_ns: Arrival, monotonic.
        """
        device_ns = stamp_ns + self._shift_ns
        last_ns = self._last_ns
        missing = 0
        if last_ns is not None:
            usual_ns = min(self._delays)
            back = device_ns <= last_ns
            ahead = now_ns - device_ns < usual_ns - self._early_ns
            if back or ahead:
                self.jumps += 1
                placed_ns = max(now_ns - usual_ns, last_ns + self._interval_ns)
                self._shift_ns += placed_ns - device_ns
                device_ns = placed_ns
            missing = max(0, round((device_ns - last_ns) / self._interval_ns) - 1)
        self._last_ns = device_ns
        self._delays.append(now_ns - device_ns)
        return device_ns, missing
