"""FIRESTARTER as the load `stress`: others' program that keeps CPUs and memory at their limit."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from types import TracebackType
from typing import Self

from wattproof.errors import WattproofError
from wattproof.training.lifetime import end_with_parent
from wattproof.training.work import Timetable, usable_threads
from wattproof.units import ns_to_s

COMMAND = "FIRESTARTER"
REMEDY = (
    f"put the program '{COMMAND}' (tu-dresden.de/zih/firestarter) on the PATH of the node, or set "
    "calibration.stress: own"
)
WARM_S = 1.0
"""Until it has written its code and all threads are at work; outside of the window."""
SPARE_S = 30
"""It ends by itself so long after it should have been told to."""


def find() -> str:
    """Return the path of the program.

    Raises:
        WattproofError: It is not on the PATH.
    """
    path = shutil.which(COMMAND)
    if path is None:
        raise WattproofError(
            f"Key 'calibration.stress' is firestarter, which is not on this machine; {REMEDY}."
        )
    return path


class Firestarter:
    """Stands in the place of a `work.Crew`: at work when it is entered, gone when it is left.

    Args:
        seconds: Length of the load.
    """

    def __init__(self, seconds: float) -> None:
        limit_s = round(seconds + WARM_S) + SPARE_S
        self._command = [find(), "-q", "-t", str(limit_s), "-n", str(usable_threads())]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # A build with CUDA would load the GPUs as well.
        hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=hidden,
            preexec_fn=end_with_parent,
        )
        time.sleep(WARM_S)
        self._check()
        return self

    def _check(self) -> None:
        assert self._process is not None
        if self._process.poll() is not None:
            raise WattproofError(
                f"{COMMAND} ended by itself with status {self._process.returncode}; run "
                f"'{' '.join(self._command)}' to see why, or set calibration.stress: own."
            )

    def start(self, timetable: Timetable) -> None:
        """It works already."""

    def work(self, end_ns: int, level: float) -> None:
        """Wait until `end_ns`; it works at its full load."""
        del level
        time.sleep(max(0.0, ns_to_s(end_ns - time.monotonic_ns())))
        self._check()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
