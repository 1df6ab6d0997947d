"""A training must not outlive what started it, and must say so when it is told to stop."""

from __future__ import annotations

import ctypes
import signal
import sys
from types import FrameType

PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>."""

EXIT_TERMINATED = 128 + signal.SIGTERM

EXIT_MISTAKE = 78
"""A mistake of the user, not the run's (EX_CONFIG of <sysexits.h>): it can be trained later."""


def end_with_parent() -> None:
    """Ask Linux for SIGTERM when the *thread* that started this process ends. Elsewhere: nothing.

    So the starter must start processes from a thread that lives as long as they should.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def exit_on_sigterm() -> None:
    """Turn SIGTERM into `SystemExit` with status 143, so that clean-up runs."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        # A second signal must not cut the clean-up short.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(EXIT_TERMINATED)

    signal.signal(signal.SIGTERM, leave)
