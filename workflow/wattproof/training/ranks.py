"""The other processes of a run over several slots: started, watched, ended by the first one.

The first process meets the others at a port of its own and tells them by their command line.
Imports torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Self

from torch import distributed as dist

from wattproof.training.team import START_TIMEOUT_S

HOST = "127.0.0.1"
POLL_S = 0.1
SETTLE_S = 1.0
"""After one process ended badly, so long is waited for others: the first to be noticed need not
be the one that was the cause."""

GRACE_S = 5.0
"""After a process of the run is gone, the first one has so long to notice it by itself."""

STOP_S = 2.0
EXIT_FAILED = 3
"""Exit status of a process that says on its standard output why the run failed."""

CONSEQUENCE = "PyTorch:"
"""Begins reasons that are mostly no cause: the connection to a process that died broke."""


def meeting_point(world: int) -> dist.TCPStore:
    """Open a place where all processes of a run meet; the first one calls this."""
    wait = timedelta(seconds=START_TIMEOUT_S)
    return dist.TCPStore(HOST, 0, world, is_master=True, timeout=wait, wait_for_workers=False)


def find_meeting_point(port: int, world: int) -> dist.TCPStore:
    """Return the place that the first process of a run has opened."""
    wait = timedelta(seconds=START_TIMEOUT_S)
    return dist.TCPStore(HOST, port, world, is_master=False, timeout=wait)


def say_reason(reason: str) -> None:
    """Tell the first process why this one cannot go on."""
    sys.stdout.write(json.dumps({"reason": reason}) + "\n")
    sys.stdout.flush()


class Ranks:
    """Processes 1, 2, … of a run; a context that ends them.

    Args:
        spec: Path of the run's spec, which all of them read.
        slots: Of the run, by process.
        port: Where they meet.
        stuck: Called from a thread with the reason if a process is gone and this one has not
            ended by itself `GRACE_S` later: it waits for what never comes.
    """

    def __init__(
        self, spec: str, slots: tuple[int, ...], port: int, stuck: Callable[[str], None]
    ) -> None:
        self._slots = slots
        self._stuck = stuck
        self._over = threading.Event()
        self._known = threading.Event()
        self._reason = ""
        self._processes = [
            subprocess.Popen(
                [*command(spec), "--rank", str(rank), "--port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
            )
            for rank in range(1, len(slots))
        ]
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self.end()
        self._watcher.join(2 * SETTLE_S)

    def cause(self, own: str) -> str:
        """Return why the run failed, given what this process says of it."""
        if own.startswith(CONSEQUENCE) and self._known.wait(2 * SETTLE_S):
            return self._reason
        return own

    def end(self) -> None:
        """End the processes, by force if they do not end soon."""
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in self._processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _watch(self) -> None:
        while not any(process.poll() for process in self._processes):
            if self._over.wait(POLL_S):
                return
        self._over.wait(SETTLE_S)
        reasons = [
            self._explain(rank, process)
            for rank, process in enumerate(self._processes, start=1)
            if process.poll()
        ]
        # A process that was killed is a cause, one that lost its connection mostly is none.
        self._reason = min(reasons)[1]
        self._known.set()
        if not self._over.wait(GRACE_S):
            self._stuck(self._reason)

    def _explain(self, rank: int, process: subprocess.Popen[bytes]) -> tuple[int, str]:
        """Say why a process ended, and how likely it is a mere consequence: 0 not, 2 mostly."""
        who = f"process {rank} (slot {self._slots[rank]})"
        if process.returncode < 0:
            return 0, f"{who} ended with signal {-process.returncode}"
        assert process.stdout is not None
        lines = process.stdout.read().decode(errors="replace").splitlines()
        if process.returncode == EXIT_FAILED and lines:
            reason = str(json.loads(lines[-1])["reason"])
            return (2 if reason.startswith(CONSEQUENCE) else 0), f"{who}: {reason}"
        return 1, f"{who} ended with exit status {process.returncode}"


def command(spec: str) -> list[str]:
    """Return the command of a training process."""
    return [sys.executable, "-m", "wattproof.training", os.path.abspath(spec)]
