"""When a sensor updates: a comb of instants fitted to the changes between polled values.

A change lies between the start of the last read of the old value and the end of the first read of
the new one. Not every update changes the value (steady power), so the spacing of changes is some
multiple of the update period; the period is the longest one that all changes agree on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattproof.characterise.wave import F64Array

MAX_PERIOD_S = 1.5
READS_PER_UPDATE = 2.5
"""Fewer reads in an update period leave its updates in the dark."""
MAX_CHANGING = 0.5
"""A larger share of reads with a new value means that updates were missed."""
MIN_CHANGES = 24
BIN_S = 0.0005
COHERENCE = 0.6
"""Least length of the mean phasor of the changes on the comb (1 = all on one phase)."""
NEAR = 0.8
"""Harmonics of the true rate cohere as well, but not better: the lowest rate whose coherence
comes so near to the best one is the true one."""
FITTING = 0.9
"""Least share of the changes that must have a tooth of the comb in their interval."""


class Refusal(Exception):  # noqa: N818  (not an error: the data cannot tell, and this says why)
    """Why something cannot be told from the data, in a sentence."""


@dataclass(frozen=True, slots=True)
class Polls:
    """Good reads of one channel, increasing in time.

    Attributes:
        start_s: Before each read.
        end_s: After it.
        value: What was read.
    """

    start_s: F64Array
    end_s: F64Array
    value: F64Array

    @property
    def spacing_s(self) -> float:
        """Usual time between two reads."""
        return float(np.median(np.diff(self.start_s))) if len(self.start_s) > 1 else np.inf


@dataclass(frozen=True, slots=True)
class Updates:
    """The updates of a sensor.

    Attributes:
        t_s: When each value became readable (or its own stamp), increasing.
        value: Its value.
        period_s: Time between two updates.
        period_u_s: Standard uncertainty of that.
        phase_u_s: Standard uncertainty common to all `t_s`.
        index: Whole number of each update on the comb: a difference of 1 is a neighbour.
    """

    t_s: F64Array
    value: F64Array
    period_s: float
    period_u_s: float
    phase_u_s: float
    index: F64Array


def _changes(polls: Polls) -> tuple[F64Array, F64Array]:
    """Intervals in which the value changed; long ones (reads were late) are left out."""
    k = np.flatnonzero(np.diff(polls.value) != 0) + 1
    low, high = polls.start_s[k - 1], polls.end_s[k]
    sharp = high - low <= 2.0 * polls.spacing_s + np.median(polls.end_s - polls.start_s)
    return low[sharp], high[sharp]


def _without_glitches(polls: Polls) -> Polls:
    """Leave out single reads between two equal ones: garbled, since an update lasts for more."""
    value = polls.value
    lone = np.zeros(len(value), dtype=bool)
    lone[1:-1] = (value[1:-1] != value[:-2]) & (value[:-2] == value[2:])
    return Polls(polls.start_s[~lone], polls.end_s[~lone], value[~lone])


def _coherence(t_s: F64Array) -> tuple[F64Array, F64Array]:
    """Frequencies, and the length of the mean phasor of these instants at each."""
    bins = np.floor((t_s - t_s[0]) / BIN_S).astype(np.int64)
    # Four times the span: a peak is not lost between two frequencies.
    size = 1 << int(np.ceil(np.log2(4 * (bins[-1] + 1))))
    train = np.bincount(bins, minlength=size)
    length = np.abs(np.fft.rfft(train)) / len(t_s)
    return np.asarray(np.fft.rfftfreq(size, BIN_S), dtype=np.float64), length


def _rough_period_s(t_s: F64Array, shortest_s: float) -> float:
    frequency, length = _coherence(t_s)
    inside = (frequency >= 1 / MAX_PERIOD_S) & (frequency <= 1 / shortest_s)
    frequency, length = frequency[inside], length[inside]
    best = float(length.max(initial=0.0))
    # Chance makes peaks, too: the best of so many frequencies must be beyond it.
    if best < COHERENCE or best**2 * len(t_s) < np.log(len(frequency)) + 7:
        raise Refusal(
            f"the {len(t_s)} changes of the value follow no common period "
            f"(coherence {best:.2f}, {COHERENCE:g} is needed)"
        )
    first = int(np.flatnonzero(length >= NEAR * best)[0])
    # Climb from the flank of the first high peak to its top.
    while first + 1 < len(length) and length[first + 1] > length[first]:
        first += 1
    return float(1 / frequency[first])


def _fit_comb(t_s: F64Array, period_s: float, width_s: F64Array) -> tuple[float, float, float]:
    """Period, phase and standard uncertainty of the period by least squares."""
    origin = t_s[0]
    phase = float(np.angle(np.exp(2j * np.pi * (t_s - origin) / period_s).mean()))
    phase_s = origin + phase / (2 * np.pi) * period_s
    for _ in range(8):
        tooth = np.round((t_s - phase_s) / period_s)
        residual = t_s - phase_s - tooth * period_s
        keep = np.abs(residual) <= np.maximum(width_s, 0.1 * period_s)
        n, x = tooth[keep], t_s[keep]
        centred = n - n.mean()
        period_s = float(centred @ x / (centred @ centred))
        phase_s = float(x.mean() - n.mean() * period_s)
    residual = x - phase_s - n * period_s
    # An interval says no more than its width: its scatter, not less, even if all mid-points agree.
    scatter = max(float(residual.std()), float(np.median(width_s)) / np.sqrt(12))
    independent = scatter / float(np.sqrt(centred @ centred))
    # Where in its interval the change lies may drift from one end to the other, when reads and
    # updates are almost in a simple ratio.
    common = float(np.median(width_s)) / np.sqrt(12) / float(np.ptp(n))
    return period_s, phase_s, float(np.hypot(independent, common))


def from_polls(polls: Polls) -> Updates:
    """Find the updates behind polled values.

    Raises:
        Refusal: If the data cannot tell.
    """
    if len(polls.value) < 10:
        raise Refusal(f"there are only {len(polls.value)} good reads")
    spacing = polls.spacing_s
    changing = float(np.mean(np.diff(polls.value) != 0))
    if changing == 0:
        raise Refusal("the value never changed")
    if changing > MAX_CHANGING:
        raise Refusal(
            f"{changing:.0%} of the reads, {spacing * 1e3:.1f} ms apart, bring a new value: the "
            "sensor updates faster than it was read"
        )
    polls = _without_glitches(polls)
    low, high = _changes(polls)
    if len(low) < MIN_CHANGES:
        raise Refusal(f"the value changed only {len(low)} times, {MIN_CHANGES} are needed")
    middle, width = (low + high) / 2, high - low
    rough = _rough_period_s(middle, READS_PER_UPDATE * spacing)
    period_s, phase_s, u_s = _fit_comb(middle, rough, width)
    nearest = phase_s + np.round((middle - phase_s) / period_s) * period_s
    slack = 0.25 * spacing
    fitting = float(np.mean((nearest >= low - slack) & (nearest <= high + slack)))
    if fitting < FITTING:
        raise Refusal(
            f"only {fitting:.0%} of the changes lie on a grid of {period_s * 1e3:.1f} ms: the "
            "sensor has no steady period"
        )
    if period_s < READS_PER_UPDATE * spacing:
        raise Refusal(
            f"reads are {spacing * 1e3:.1f} ms apart, too far for updates each "
            f"{period_s * 1e3:.1f} ms"
        )
    # One value for each tooth: that of the read nearest to the middle between two teeth.
    reading = (polls.start_s + polls.end_s) / 2
    tooth = np.floor((reading - phase_s) / period_s)
    teeth = np.arange(tooth[0] + 1, tooth[-1])
    centre = phase_s + (teeth + 0.5) * period_s
    after = np.clip(np.searchsorted(reading, centre), 1, len(reading) - 1)
    near = after - (centre - reading[after - 1] < reading[after] - centre)
    safe = np.abs(reading[near] - centre) <= period_s / 2 - 0.5 * spacing
    teeth, near = teeth[safe], near[safe]
    cost = float(np.median(polls.end_s - polls.start_s))
    phase_u_s = float(np.hypot(spacing, cost) / np.sqrt(12))
    return Updates(phase_s + teeth * period_s, polls.value[near], period_s, u_s, phase_u_s, teeth)


def from_stamps(t_s: F64Array, value: F64Array) -> Updates:
    """Take the driver's own stamps for the instants of the updates.

    Raises:
        Refusal: If there are too few, or they have no steady spacing.
    """
    if len(t_s) < MIN_CHANGES:
        raise Refusal(f"there are only {len(t_s)} samples of the driver")
    gap = np.diff(t_s)
    rough = float(np.median(gap))
    if rough <= 0:
        raise Refusal("the stamps of the driver do not increase")
    steps = np.round(gap / rough)
    steady = float(np.mean(np.abs(gap / rough - steps) < 0.25))
    if steady < FITTING:
        raise Refusal(f"only {steady:.0%} of the driver's stamps keep a spacing")
    index = np.concatenate(([0.0], np.cumsum(steps)))
    centred = index - index.mean()
    period_s = float(centred @ t_s / (centred @ centred))
    residual = t_s - t_s.mean() - centred * period_s
    u_s = max(float(residual.std()), 1e-6) / float(np.sqrt(centred @ centred))
    return Updates(t_s, value, period_s, u_s, 1e-6, index)


def increments(updates: Updates) -> Updates:
    """Turn updates of an energy counter (J) into mean powers (W) of single update periods."""
    neighbour = np.diff(updates.index) == 1
    power = np.diff(updates.value)[neighbour] / updates.period_s
    later = np.flatnonzero(neighbour) + 1
    return Updates(
        updates.t_s[later],
        power,
        updates.period_s,
        updates.period_u_s,
        updates.phase_u_s,
        updates.index[later],
    )
