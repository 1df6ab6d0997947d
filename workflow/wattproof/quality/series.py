"""Checks on one channel of one session: what its stamps and values give away by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof.quality.finding import Finding, finding
from wattproof.units import NS_PER_S

F64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

MIN_N = 20
"""Fewer readings show nothing about a series."""

FAILED_SHARE = 0.05
ZERO_LEVEL_W = 1.0
"""Where the rest of a power series is above this, 0 W is no measurement."""

GLITCH_TIMES = 3.0
"""A reading so many times above the highest ordinary one (99.5 % quantile) is a glitch …"""
GLITCH_LIMIT = 1.5
"""… or so many times above the board's power limit."""
ORDINARY = 0.995
RARE = 0.005
GLITCH_S = 0.5
"""A level that is held for longer is a load, however rare."""

DOUBLED_SHARE = 0.01
QUANTUM_SHARE = 0.2
"""Steps of more than this share of the spread (5 to 95 %) cannot show its distribution."""

CLIPPED_SHARE, CLIPPED_RUN = 0.01, 5
"""The highest value comes in at least this share of readings, and in a row of so many."""
FRESH_N, FRESH_MIN, FRESH_SHARE = 1000, 100, 0.8
"""Of so many changes, at least so many, this share brings a value that was not there before."""
CLOSE_SHARE, CLOSE_N = 0.15, 30
"""Readings within 2 % below the highest value: this share of those at it, and so many."""

CUMULATIVE_N = 60
CUMULATIVE_TIMES, CUMULATIVE_ODD = 8.0, 0.02
"""What a cumulative mean is the mean of stays below so many times its highest value, nearly always.
"""


@dataclass(frozen=True, eq=False)
class Channel:
    """Readings of one channel in one session, by time.

    Attributes:
        recording: Recording.
        source: Instrument.
        name: Channel.
        kind: power, energy …
        t_ns: Instants on the recording's clock, shape (n,).
        stamp_ns: The stamps themselves (the device's where it has a clock), shape (n,).
        value: NaN where a reading failed, shape (n,).
        status: Shape (n,).
        about: Row of table ``channels``.
        limit_w: Power limit of the device; None if unknown.
    """

    recording: str
    source: str
    name: str
    kind: str
    t_ns: Int64Array
    stamp_ns: Int64Array
    value: F64Array
    status: NDArray[Any]
    about: dict[str, Any]
    limit_w: float | None = None

    def light(self) -> Channel:
        """The same without its readings: what comparisons of levels need."""
        none = np.zeros(0, dtype=np.int64)
        return replace(self, t_ns=none, stamp_ns=none, value=np.zeros(0), status=np.zeros(0, "U2"))

    def found(self, flag: str, evidence: str, where: Any = None, **more: Any) -> Finding:
        """A finding about this channel; `where` are the indices of the readings it is about."""
        if where is not None and len(where):
            t = self.t_ns[where]
            more = {"start_ns": int(t.min()), "end_ns": int(t.max()), **more}
        return finding(
            self.recording, flag, evidence, source=self.source, channel=self.name, **more
        )


Check = Callable[[Channel], Iterator[Finding]]


def failed(channel: Channel) -> Iterator[Finding]:
    """More than 5 % of the readings failed."""
    n = len(channel.value)
    bad = np.flatnonzero(channel.status != "ok")
    if n < MIN_N or len(bad) < FAILED_SHARE * n:
        return
    words, counts = np.unique(channel.status[bad].astype(str), return_counts=True)
    most = words[int(np.argmax(counts))]
    share = len(bad) / n
    if most == "overrange":
        yield channel.found(
            "clipped_values",
            f"{len(bad)} of {n} readings ({share:.0%}) were out of the instrument's range.",
            bad,
            affected=len(bad),
            of=n,
            value=100 * share,
            unit="%",
        )
        return
    yield channel.found(
        "failed_readings",
        f"{len(bad)} of {n} readings ({share:.0%}) failed, most of them as '{most}'.",
        bad,
        severity="error" if share > 0.5 else "warning",
        affected=len(bad),
        of=n,
        value=100 * share,
        unit="%",
    )


def zeros(channel: Channel) -> Iterator[Finding]:
    """Exact zeros in a power series whose other values are well above."""
    if channel.kind != "power":
        return
    good = channel.value[np.isfinite(channel.value)]
    zero = np.flatnonzero(channel.value == 0.0)
    rest = good[good != 0.0]
    if len(good) < MIN_N or not len(zero) or len(rest) < MIN_N // 2:
        return
    if float(np.quantile(np.abs(rest), 0.01)) > ZERO_LEVEL_W:
        yield channel.found(
            "zero_means_missing",
            f"{len(zero)} of {len(good)} readings are exactly 0 W, while the others are "
            f"{float(np.min(np.abs(rest))):.1f} W and more.",
            zero,
            affected=len(zero),
            of=len(good),
        )


def negative(channel: Channel) -> Iterator[Finding]:
    """Power below zero."""
    if channel.kind != "power":
        return
    below = np.flatnonzero(channel.value < 0)
    if len(below):
        yield channel.found(
            "negative_power",
            f"{len(below)} of {len(channel.value)} readings are negative, down to "
            f"{float(np.nanmin(channel.value)):.1f} W.",
            below,
            affected=len(below),
            of=len(channel.value),
        )


def _brief(where: Int64Array, t_ns: Int64Array) -> Int64Array:
    """Those of the readings that do not stand in a row for long."""
    if not len(where):
        return where
    rows = np.split(where, np.flatnonzero(np.diff(where) > 1) + 1)
    limit = round(GLITCH_S * NS_PER_S)
    brief = [row for row in rows if t_ns[row[-1]] - t_ns[row[0]] <= limit]
    return np.concatenate(brief) if brief else where[:0]


def glitches(channel: Channel) -> Iterator[Finding]:
    """Rare values that the device cannot have."""
    value = channel.value
    good = np.isfinite(value)
    if channel.kind != "power" or good.sum() < MIN_N:
        return
    ordinary = float(np.quantile(value[good], ORDINARY))
    highest = GLITCH_TIMES * ordinary
    if channel.limit_w is not None:
        highest = min(highest, GLITCH_LIMIT * channel.limit_w)
    odd = _brief(np.flatnonzero(good & (value > highest)), channel.t_ns)
    if len(odd) and len(odd) <= max(RARE * good.sum(), 1):
        limit = "" if channel.limit_w is None else f" and the limit of {channel.limit_w:.0f} W"
        yield channel.found(
            "glitch_values",
            f"{len(odd)} readings reach {float(value[odd].max()):.0f} W, beside an ordinary "
            f"maximum of {ordinary:.0f} W{limit}.",
            odd,
            affected=len(odd),
            of=int(good.sum()),
            value=float(value[odd].max()),
            unit="W",
        )


def stamps(channel: Channel) -> Iterator[Finding]:
    """Doubled stamps, and stamps of whole seconds."""
    n = len(channel.stamp_ns)
    if n < MIN_N:
        return
    same = np.flatnonzero(np.diff(channel.stamp_ns) == 0) + 1
    if len(same) > DOUBLED_SHARE * n:
        yield channel.found(
            "doubled_stamps",
            f"{len(same)} of {n} readings have the same stamp as the one before.",
            same,
            affected=len(same),
            of=n,
            value=100 * len(same) / n,
            unit="%",
        )
    if (channel.stamp_ns % NS_PER_S == 0).all():
        yield channel.found(
            "whole_second_stamps",
            f"All {n} stamps are whole seconds.",
            affected=n,
            of=n,
            value=1.0,
            unit="s",
        )


def quantisation(channel: Channel) -> Iterator[Finding]:
    """Steps that are large against the spread of the series."""
    good = channel.value[np.isfinite(channel.value)]
    if channel.kind != "power" or len(good) < MIN_N:
        return
    distinct = np.sort(pd.unique(good))
    low, high = np.quantile(good, (0.05, 0.95))
    if len(distinct) < 3 or high <= low:
        return
    step = float(np.min(np.diff(distinct)))
    # A sensor of a load with few levels also has few values: a resolution shows as multiples.
    multiples = (distinct - distinct[0]) / step
    regular = np.abs(multiples - np.rint(multiples)).max() < 0.05
    if regular and step > QUANTUM_SHARE * (high - low):
        yield channel.found(
            "coarse_quantisation",
            f"The values come in steps of {step:g} W, while 90 % of them lie within "
            f"{high - low:.1f} W.",
            value=step,
            unit="W",
        )


def _never_repeats(value: F64Array) -> bool:
    """Whether a series has noise of its own, so that one value again and again is odd.

    A sensor without visible noise shows one highest value throughout each steady load.
    """
    changed = value[1:][np.diff(value) != 0][:FRESH_N]
    return len(changed) >= FRESH_MIN and len(np.unique(changed)) > FRESH_SHARE * len(changed)


def clipped(channel: Channel) -> Iterator[Finding]:
    """One highest value again and again, and in rows of several, beside values that vary."""
    value = channel.value
    good = np.isfinite(value)
    if channel.kind != "power" or good.sum() < 5 * MIN_N:
        return
    top = float(value[good].max())
    at = value == top
    share = float(at.sum() / good.sum())
    if share < CLIPPED_SHARE or len(np.unique(value[good])) < 50:
        return
    edges = np.flatnonzero(np.diff(np.concatenate(([0], at.astype(np.int8), [0]))))
    runs = edges[1::2] - edges[::2]
    # Sensors hold their value between updates: other values come in rows of so many as well.
    below = value[good & ~at]
    others = np.diff(np.flatnonzero(np.diff(below) != 0))
    usual = float(np.quantile(others, 0.99)) if len(others) else 1.0
    near = int((good & (value < top) & (value > top - 0.02 * abs(top))).sum())
    reached = near >= max(CLOSE_N, CLOSE_SHARE * at.sum())
    if (
        runs.max() >= max(CLIPPED_RUN, 3 * usual)
        and near < at.sum()
        and (reached or _never_repeats(below))
    ):
        yield channel.found(
            "clipped_values",
            f"{int(at.sum())} of {int(good.sum())} readings ({share:.0%}) are exactly {top:g} W, "
            f"up to {int(runs.max())} in a row, and none is above.",
            np.flatnonzero(at),
            affected=int(at.sum()),
            of=int(good.sum()),
            value=top,
            unit="W",
        )


def cumulative_mean(value: F64Array) -> bool:
    """Whether a series is the mean of all values so far: its steps shrink like 1/t throughout.

    A device that settles moves less at its end, but not by that law over the whole series.
    """
    n = len(value)
    if n < CUMULATIVE_N:
        return False
    # The first tenth is left out: a mean of few values may do anything.
    edges = np.linspace(0, n - 1, 11).astype(np.int64)[1:]
    size = np.array([float(np.abs(np.diff(value[a : b + 1])).mean()) for a, b in pairwise(edges)])
    if (size <= 0).any():
        return False
    x, y = np.log((edges[:-1] + edges[1:]) / 2 + 2), np.log(size)
    slope = float(np.polyfit(x, y, 1)[0])
    if not -1.6 < slope < -0.5:
        return False
    # What it would be the mean of: t·v(t) − (t−1)·v(t−1), physical only if it is one.
    every = np.arange(1, n + 1)
    raw = np.diff(every * value)
    most = float(value.max())
    physical = (raw > -0.1 * most) & (raw < CUMULATIVE_TIMES * most)
    return float(physical.mean()) > 1 - CUMULATIVE_ODD


def averages(channel: Channel) -> Iterator[Finding]:
    """Values that are the mean of all values so far."""
    good = channel.value[np.isfinite(channel.value)]
    if channel.kind == "power" and cumulative_mean(good):
        yield channel.found(
            "running_average",
            f"The steps between values shrink as 1/t over {len(good)} readings, as those of a mean "
            "of all values so far do.",
            affected=len(good),
            of=len(good),
        )


CHECKS: tuple[Check, ...] = (
    failed,
    zeros,
    negative,
    glitches,
    stamps,
    quantisation,
    clipped,
    averages,
)
"""All checks of single channels."""
