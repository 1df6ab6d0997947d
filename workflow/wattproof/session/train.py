"""Training what is left of a recording on the slots of its node, several runs at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from wattproof.errors import WattproofError
from wattproof.plan import PlanRow
from wattproof.session import run as runs
from wattproof.session.dispatch import Queue
from wattproof.session.node import Node
from wattproof.session.paths import Paths
from wattproof.session.progress import Reporter
from wattproof.session.run import Run
from wattproof.session.stopping import InterruptedRecordingError

POLL_S = 0.2
"""How often the recording looks after its runs and its sources."""


def train(
    rows: Sequence[PlanRow],
    node: Node,
    paths: Paths,
    session: Path,
    look: Callable[[], None],
    reporter: Reporter,
) -> None:
    """Train rows in processes of their own and see to it that each leaves a result.

    A run that fails or dies leaves the others alone.

    Args:
        rows: Left to do, in order.
        node: With its slots.
        paths: Of the recording.
        session: Folder of the session.
        look: Called a few times a second; looks after the instruments, and raises when the
            recording is to stop: all runs are then ended, and those that ended well are kept.
        reporter: Told of everything.

    Raises:
        InterruptedRecordingError: The recording or one of its runs was told to stop.
        WattproofError: A run could not begin for a reason that it is not to blame for.
    """
    queue = Queue(rows, len(node.slots))
    working: list[Run] = []
    stopped: list[Run] = []

    def conclude(run: Run) -> None:
        for event in run.events():
            reporter.event(run, event)
        outcome = run.conclude()
        if outcome is None:
            stopped.append(run)
        reporter.end(run, outcome)
        queue.release(run.row, [slot.number for slot in run.slots])

    try:
        while queue or working:
            while (found := queue.next()) is not None:
                row, taken = found
                run = Run(row, [node.slots[k] for k in taken], paths, session, node)
                working.append(run)
                reporter.begin(run)
            time.sleep(POLL_S)
            look()
            for run in list(working):
                for event in run.events():
                    reporter.event(run, event)
                if run.ended():
                    working.remove(run)
                    conclude(run)
                    _tell_of_mistake(run)
            reporter.tick(queue.waiting())
        look()
        _tell_of(stopped)
    except BaseException as error:
        runs.stop(working)
        for run in working:
            conclude(run)
        interrupted = isinstance(error, InterruptedRecordingError | KeyboardInterrupt)
        how = "interrupted" if interrupted else "failed"
        reporter.close(queue.waiting(), how, str(error))
        raise
    reporter.close((), "complete")


def _tell_of_mistake(run: Run) -> None:
    """A damaged data set or a wrong spec is no failure of one run: the others would meet it too."""
    if run.mistake:
        raise WattproofError(
            f"Run {run.row.run_id} could not begin and is still to be done: {run.mistake}"
        )


def _tell_of(stopped: Sequence[Run]) -> None:
    """A signal to a run alone is no failure of it, and no success of the recording."""
    if stopped:
        raise InterruptedRecordingError(
            f"Run {stopped[0].row.run_id} was told to stop"
            + (f" (and {len(stopped) - 1} more)" if len(stopped) > 1 else "")
            + "; run the workflow again to train it."
        )
