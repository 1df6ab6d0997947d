"""One power channel: from its reads and the load's edges to a description, or to a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from wattproof.characterise import certainty, parttime, ramp, response, verdict
from wattproof.characterise.certainty import BlockFit
from wattproof.characterise.explained import Explained
from wattproof.characterise.response import Fit, Problem
from wattproof.characterise.updates import (
    Polls,
    Refusal,
    Updates,
    from_polls,
    from_stamps,
    increments,
)
from wattproof.characterise.wave import F64Array, Wave
from wattproof.sensing import SensorDescription

MAX_UPDATE_U = 0.025
"""Largest relative standard uncertainty of an update period that is told: half of 5 %."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the load: name and its ends, in seconds from the anchor."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Series:
    """What was read of one channel, in seconds from the wave's anchor.

    Attributes:
        device: GPU UUID.
        channel: Name without its device.
        kind: ``power`` or ``energy``.
        polls: Good reads; for a channel with stamps of the driver only their values count.
        stamp_s: The driver's stamps of values that came from its ring; None for polled channels.
        failed: Reads without a value.
        why_failed: The commonest status of those.
    """

    device: str
    channel: str
    kind: str
    polls: Polls
    stamp_s: F64Array | None = None
    failed: int = 0
    why_failed: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about a channel.

    Attributes:
        sensor: The description.
        updates: The updates that it was found from; None if there are none.
        fit: The chosen fit; None if there is none.
        wave: The load as the fit sees it.
        centre_s: Instant at which the drift of the fit counts from.
        blocks: The same by single periods of the load.
        remarks: What a reader must know beside it.
    """

    sensor: SensorDescription
    updates: Updates | None = None
    fit: Fit | None = None
    wave: Wave | None = None
    centre_s: float = 0.0
    blocks: tuple[BlockFit, ...] = ()
    remarks: tuple[str, ...] = field(default=())


def characterise_channel(
    series: Series, wave: Wave, spans: Sequence[Span], edge_u_s: float = 0.0
) -> Finding:
    """Find update period, window, delay and averaging of one channel.

    Args:
        series: What was read.
        wave: The load.
        spans: Its stretches, each with a period of its own, for the check of one against another.
        edge_u_s: Standard uncertainty of the instants of the edges, common to all.
    """
    sensor = SensorDescription(series.device, series.channel)
    try:
        updates = _updates(series)
    except Refusal as refusal:
        return Finding(replace(sensor, refused=verdict.sentence("Nothing can be told", refusal)))
    share = updates.period_u_s / updates.period_s
    if share > MAX_UPDATE_U:
        unsure = Refusal(f"the update period is uncertain by {share:.0%}")
        return Finding(replace(sensor, refused=verdict.sentence("Nothing can be told", unsure)))
    sensor = replace(
        sensor, update_s=updates.period_s, uncertainty={"update_s": updates.period_u_s}
    )
    if series.kind == "energy":
        updates = increments(updates)
    try:
        earliest_s = 0.0 if series.stamp_s is None else response.DELAY_S[0] + verdict.DELAY_EDGE_S
        return _respond(sensor, updates, wave, spans, edge_u_s, earliest_s)
    except Refusal as refusal:
        refused = verdict.sentence("Only the update period can be told", refusal)
        return Finding(replace(sensor, refused=refused), updates)


def _updates(series: Series) -> Updates:
    values = len(series.polls.value)
    if values == 0 and series.failed:
        raise Refusal(f"every read failed ({series.why_failed})")
    if series.failed > values:
        raise Refusal(f"{series.failed} of {series.failed + values} reads failed")
    if series.stamp_s is not None:
        return _ring_updates(series.stamp_s, series.polls.value)
    return from_polls(series.polls)


def _ring_updates(stamp_s: F64Array, value: F64Array) -> Updates:
    """Updates of the driver's ring: its samples, or what its samples repeat."""
    samples = from_stamps(stamp_s, value)
    try:
        # A sensor that updates less often than the ring leaves each value in several samples.
        return from_polls(Polls(stamp_s, stamp_s, value))
    except Refusal:
        return samples


def _respond(
    sensor: SensorDescription,
    updates: Updates,
    wave: Wave,
    spans: Sequence[Span],
    edge_u_s: float,
    earliest_s: float,
) -> Finding:
    if len(updates.t_s) < 3 * response.STARTS:
        raise Refusal(f"there are only {len(updates.t_s)} updates")
    best, other, use = _fitted(updates, wave)
    problem, fit = best.problem, best.fit
    blocks = _blocks(updates, use, problem, spans, fit)
    known = verdict.Known.weigh(best, other, blocks, updates, edge_u_s)
    sensor, remarks = verdict.tell(sensor, known, updates.period_s, earliest_s)
    return Finding(sensor, updates, fit, problem.wave, problem.centre_s, blocks, remarks)


def _fitted(updates: Updates, wave: Wave) -> tuple[Explained, Fit, np.ndarray]:
    """Return the best fit, the best of the other shape, and which updates counted."""
    use = np.ones(len(updates.t_s), dtype=bool)
    for attempt in range(2):
        problem = Problem(updates, wave, use)
        found: list[Explained] = []
        for shape in response.SHAPES:
            plain = response.search(problem, shape)
            better = parttime.part_time(problem, plain, updates.period_s)
            better = better or ramp.ramped(problem, plain, updates.period_s)
            found.append(better or Explained(problem, plain))
        best, other = sorted(found, key=lambda one: one.fit.misfit)
        response.check_moved(best.problem, best.fit)
        if attempt == 0:
            use = response.without_outliers(updates, best.problem, best.fit)
            lost = 1 - float(use.mean())
            if lost > response.MAX_OUTLIERS:
                raise Refusal(
                    f"{lost:.0%} of the values are far from what this load makes of the power "
                    "(somebody else on the GPU?)"
                )
            if lost == 0:
                break
    return best, other.fit, use


def _blocks(
    updates: Updates, use: np.ndarray, problem: Problem, spans: Sequence[Span], fit: Fit
) -> tuple[BlockFit, ...]:
    found = []
    for span in spans:
        inside = use & (updates.t_s >= span.start_s) & (updates.t_s < span.end_s)
        if inside.sum() < certainty.MIN_TELLING:
            continue
        part = Problem(updates, problem.wave, inside)
        one = certainty.block_fit(span.name, part, fit, problem.centre_s)
        if one is not None:
            found.append(one)
    return tuple(found)
