"""Finding a process that hangs: it promises when it will be heard of again, in shared memory.

So it does not matter whether a driver's call does not return, holds the interpreter's lock, or the
whole process is stopped: who cannot make a promise is found.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from wattproof.recorder import loops

CONFIRM_S = 1.0
"""A broken promise must be seen twice, so far apart, before the process is ended."""
KILLED_S = 5.0
"""A process that is still there so long after it was killed hangs inside the kernel."""


class Watchdog:
    """Watches one process at a time.

    Attributes:
        hangs: Processes that were found hanging so far.
        verdict: What was found of the present one; empty if nothing.
    """

    def __init__(self) -> None:
        self.hangs = 0
        self.verdict = ""
        self._handle = -1
        self._armed_s = 0.0
        self._silent_since_s: float | None = None

    def arm(self) -> int:
        """Begin with a new process; returns the descriptor of memory that it is to inherit."""
        self.disarm()
        self._handle = os.memfd_create("wattproof-beat")
        os.truncate(self._handle, loops.SIZE)
        self._armed_s = time.monotonic()
        self.verdict, self._silent_since_s = "", None
        return self._handle

    def disarm(self) -> None:
        """Let go of the memory; safe to call twice."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def look(self, process: subprocess.Popen[bytes], ready: bool, ready_s: float) -> None:
        """Kill a process that is not heard of any more, whatever it is doing.

        After a pause of the whole machine each promise is broken: the process gets `CONFIRM_S` to
        go on.

        Args:
            process: The process.
            ready: It is ready, and so makes promises.
            ready_s: Longest time that it may take to become so.
        """
        if self.verdict or self._handle < 0:
            return
        now_s = time.monotonic()
        if ready:
            promise = int.from_bytes(os.pread(self._handle, loops.SIZE, 0), sys.byteorder)
            silent = now_s * 1e9 > promise
        else:
            silent = now_s > self._armed_s + ready_s
        if not silent:
            self._silent_since_s = None
        elif self._silent_since_s is None:
            self._silent_since_s = now_s
        elif now_s - self._silent_since_s >= CONFIRM_S:
            doing = "a read did not end" if ready else f"it was not ready after {ready_s:g} s"
            self.verdict = f"hung: {doing}; ended by the watchdog"
            self.hangs += 1
            process.kill()

    def in_vain(self) -> bool:
        """Whether the kill has no effect: the process hangs inside the kernel.

        It cannot be waited for; it is left behind, so that a successor can start.
        """
        if not self.verdict or self._silent_since_s is None:
            return False
        return time.monotonic() - self._silent_since_s > CONFIRM_S + KILLED_S
