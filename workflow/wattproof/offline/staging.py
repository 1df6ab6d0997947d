"""From the rows of a plan to everything that happens in a recording, on which slot and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof.offline.base import Events, RunTimeline
from wattproof.plan import PlanRow
from wattproof.units import s_to_ns
from wattproof.virtual.activity import DTYPE
from wattproof.virtual.presets import Parameters

BEFORE_S = 3.0
"""The node idles while the instruments start."""
BETWEEN_S = 1.0
"""… and while the process of the next run starts."""
AFTER_S = 1.0
"""… and before the instruments stop."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What happens in a session: all runs' timelines, joined.

    Attributes:
        marks: In the order of time.
        results: Rows of table ``runs`` less recording and session, in the order of the plan.
        activity: The event log.
        start_ns: When the instruments begin.
        end_ns: When they end.
    """

    marks: list[dict[str, Any]]
    results: list[dict[str, Any]]
    activity: NDArray[np.void]
    start_ns: int
    end_ns: int


def stage(
    rows: Sequence[PlanRow],
    parameters: Parameters,
    start_ns: int,
    seed: Sequence[int],
    makers: Mapping[str, Events],
) -> Stage:
    """Put the runs of a recording one after the other, or side by side on the slots.

    Setting ``packed`` gives a run the slot that is free first; anything else waits until the whole
    node is free.

    Args:
        rows: Of the recording, in order.
        parameters: Of the node.
        start_ns: When the instruments begin.
        seed: Each run draws from its own random numbers, so that none depends on another.
        makers: By kind of row (``load``, ``train``), what makes its timeline.
    """
    asked = [int(row.spec["gpus"]) for row in rows if "gpus" in row.spec]
    free = [start_ns + s_to_ns(BEFORE_S)] * max(asked, default=parameters.gpu.count)
    found: list[RunTimeline] = []
    for row in rows:
        packed = row.setting == "packed"
        slot = int(np.argmin(free)) if packed else 0
        begin = free[slot] if packed else max(free)
        rng = np.random.default_rng([*seed, *row.run_id.encode()])
        timeline = moved(makers[row.spec["kind"]](row, parameters, begin, rng), slot)
        found.append(timeline)
        until = timeline.end_ns + s_to_ns(BETWEEN_S)
        free = [until if not packed or i == slot else at for i, at in enumerate(free)]
    marks = [mark for timeline in found for mark in timeline.marks]
    activity = np.concatenate([np.empty(0, DTYPE), *(timeline.activity for timeline in found)])
    return Stage(
        sorted(marks, key=lambda mark: int(mark["mono_ns"])),
        [timeline.result for timeline in found],
        activity[np.argsort(activity["mono_ns"], kind="stable")],
        start_ns,
        max([start_ns, *(timeline.end_ns for timeline in found)]) + s_to_ns(AFTER_S),
    )


def moved(timeline: RunTimeline, slot: int) -> RunTimeline:
    """Return a timeline of slot 0 on another slot."""
    if slot == 0:
        return timeline
    activity = timeline.activity.copy()
    activity["slot"][activity["slot"] == 0] = slot
    marks = [mark if mark["slot"] is None else {**mark, "slot": slot} for mark in timeline.marks]
    result = {**timeline.result, "slot": slot}
    return RunTimeline(marks, activity, timeline.end_ns, result)
