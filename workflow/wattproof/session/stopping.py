"""How a recording learns that it is to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

from wattproof.errors import WattproofError

Check = Callable[[], None]
"""Raises `InterruptedRecordingError` when the recording is to stop."""


class InterruptedRecordingError(WattproofError):
    """The recording was told to stop, or the workflow that started it is gone.

    What was sampled and trained until then stays on disk; running the workflow again goes on.
    """


@contextlib.contextmanager
def stoppable() -> Iterator[Check]:
    """Turn SIGTERM, Ctrl-C and the death of the starter into an exception at the next check."""
    starter = os.getppid()
    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    previous = {n: signal.signal(n, ask) for n in (signal.SIGTERM, signal.SIGINT)}

    def check() -> None:
        if asked:
            raise InterruptedRecordingError(
                f"The recording was stopped by {signal.Signals(asked[0]).name}; run the workflow "
                "again to go on where it stopped."
            )
        if os.getppid() != starter:
            raise InterruptedRecordingError(
                "The workflow that started this recording is gone; run it again to go on."
            )

    try:
        yield check
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def pause(seconds: float, check: Check, step_s: float = 0.2) -> None:
    """Wait, but no longer than until the recording is to stop."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check()
        time.sleep(min(left, step_s))
