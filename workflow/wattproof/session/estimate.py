"""How long a recording will still take, from the runs that have ended and the epochs since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wattproof.plan import PlanRow
from wattproof.session.dispatch import PACKED
from wattproof.training.schedule import kept_epochs

START_S = 2.0
"""Start of a load's process; those of trainings are in their pace."""


@dataclass(frozen=True, slots=True)
class Working:
    """A run at work.

    Attributes:
        row: Of the plan.
        slots: Numbers of its slots.
        elapsed_s: Since its process was started.
        epochs: Epochs that it has finished.
    """

    row: PlanRow
    slots: Sequence[int]
    elapsed_s: float
    epochs: int


def planned_epochs(row: PlanRow) -> int:
    """Return how many epochs a training of the plan does; 0 for a load."""
    if row.spec["kind"] != "train":
        return 0
    shorten = int(row.spec["training"].get("shorten", 1))
    return len(kept_epochs(int(row.config["epochs"]), shorten))


def pace_s(ended: Iterable[tuple[float, int]], working: Iterable[Working]) -> float | None:
    """Return seconds an epoch, over all trainings that finished any; None if none did.

    Args:
        ended: Seconds and epochs of trainings that have ended.
        working: Runs at work.
    """
    found = [(seconds, epochs) for seconds, epochs in ended if epochs]
    found += [(run.elapsed_s, run.epochs) for run in working if run.epochs]
    epochs = sum(count for _, count in found)
    return sum(seconds for seconds, _ in found) / epochs if epochs else None


def left_s(
    waiting: Sequence[PlanRow], working: Sequence[Working], pace: float | None, slots: int
) -> float | None:
    """Return seconds until all is done; None as long as no epoch has told how long they take.

    Args:
        waiting: Rows that have not started, in order.
        working: Runs at work.
        pace: See `pace_s`.
        slots: Of the recording.
    """
    free = [0.0] * slots
    for run in working:
        whole_s = _whole_s(run.row, run.elapsed_s / run.epochs if run.epochs else pace)
        if whole_s is None:
            return None
        for slot in run.slots:
            free[slot] = max(0.0, whole_s - run.elapsed_s)
    for row in waiting:
        seconds = _whole_s(row, pace)
        if seconds is None:
            return None
        if row.setting == PACKED:
            slot = free.index(min(free))
            free[slot] += seconds
        else:
            free = [max(free) + seconds] * slots
    return max(free)


def _whole_s(row: PlanRow, pace: float | None) -> float | None:
    if row.spec["kind"] == "load":
        return float(row.spec["seconds"]) + START_S
    if pace is None:
        return None
    limit_s = float(row.spec["training"]["time_limit_s"])
    return min(pace * planned_epochs(row), limit_s)
