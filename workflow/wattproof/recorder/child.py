"""The process of one lane as its parent sees it: start, listen, watch, stop, health."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattproof.recorder.watchdog import KILLED_S, Watchdog

TERMINATE_S = 2.0
"""Time between terminating and killing a process that does not end by itself."""
BACKOFF_S = (0.0, 1.0, 2.0, 5.0, 15.0, 30.0)
"""Pause before the first, second … restart of a source: one that fails at once must not spin."""
STEADY_S = 60.0
"""A source that ran for this long begins anew with the shortest pause."""


@dataclass(frozen=True, slots=True)
class Health:
    """How a source did, as its last process said itself.

    Attributes:
        source: Name of the source, with its lane: ``nvml``, ``nvml@counter``.
        taken: Reads that took place.
        failed: Reads in which a value was missing.
        late: Reads that began more than half a period after their deadline.
        missed: Deadlines that passed without a read.
        cpu_s: CPU seconds; None if it never told.
        cpu_start_s: CPU seconds of these until it was ready; None if it never was.
        restarts: Times it was started again.
        hangs: Times it hung and was ended by the watchdog.
        outcome: ``ok``, ``killed``, ``not offered: why``, or ``failed: why``.
    """

    source: str
    taken: int
    failed: int
    late: int
    missed: int
    cpu_s: float | None
    cpu_start_s: float | None
    restarts: int
    hangs: int
    outcome: str


class Child:
    """The process of one lane of a source, and the files of its present start.

    Args:
        source: Name of the source.
        lane: Name of the lane; "" for the main one.
        settings: Settings of the lane.
        node: See `Recorder`.
        folder: Where its files go.
        factory: ``module:function`` in place of the registry (tests).
        rotate: See `Recorder`.
    """

    def __init__(
        self,
        source: str,
        lane: str,
        settings: Mapping[str, Any],
        node: Mapping[str, Any],
        folder: Path,
        factory: str | None,
        rotate: Mapping[str, Any] | None = None,
    ) -> None:
        self.source = source
        self.name = f"{source}@{lane}" if lane else source
        self.restarts = 0
        self.watchdog = Watchdog()
        self.ready = False
        self.offered = True
        self.given_up = False
        self.reason = ""
        self.started = 0.0
        self.restart_at = 0.0
        self.process: subprocess.Popen[bytes] | None = None
        self._attempt = 0  # restarts since it last ran steadily
        self._spec = {
            "name": source,
            "lane": lane,
            "settings": dict(settings),
            "node": dict(node),
        }
        if factory is not None:
            self._spec["factory"] = factory
        if rotate is not None:
            self._spec["rotate"] = dict(rotate)
        self._folder = folder
        self._heard = b""
        self._ordinary = False
        self._left_behind: list[subprocess.Popen[bytes]] = []

    @property
    def _stem(self) -> str:
        return self.name if self.restarts == 0 else f"{self.name}.{self.restarts}"

    @property
    def info(self) -> Path:
        """Health file of the present start."""
        return self._folder / f"{self._stem}.json"

    @property
    def log(self) -> Path:
        """Standard error of the present start."""
        return self._folder / f"{self._stem}.log"

    def start(self) -> None:
        """Start the process with files of its own."""
        stream = self._folder / f"{self._stem}.arrows"
        spec = self._folder / f"{self._stem}.spec"
        beat = self.watchdog.arm()
        content = {
            **self._spec,
            "stream": str(stream),
            "info": str(self.info),
            "beat": beat,
            "ordinary": self._ordinary,
        }
        spec.write_text(json.dumps(content), encoding="utf-8")
        self.ready, self.reason, self._heard = False, "", b""
        self.started = time.monotonic()
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C and the signals of a shell go to the parent alone.
            self.process = subprocess.Popen(
                [sys.executable, "-m", "wattproof.recorder", str(spec)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                pass_fds=(beat,),
            )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)

    def schedule_restart(self) -> None:
        """Set when to start again, later after each failure in a row."""
        # The kernel kills what computes too long at a high priority; it does not say so.
        killed = self.process is not None and self.process.returncode == -signal.SIGKILL
        self._ordinary = self._ordinary or killed
        if time.monotonic() - self.started > STEADY_S:
            self._attempt = 0
        pause = BACKOFF_S[min(self._attempt, len(BACKOFF_S) - 1)]
        self._attempt += 1
        self.restart_at = time.monotonic() + pause

    def listen(self) -> None:
        """Take in what the process said so far."""
        if self.process is None or self.process.stdout is None:
            return
        with contextlib.suppress(ValueError):  # closed already
            self._heard += self.process.stdout.read() or b""
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            with contextlib.suppress(json.JSONDecodeError):
                event = json.loads(line)
                self.ready = self.ready or event.get("event") == "ready"
                self.reason = event.get("reason", self.reason)
                self.offered = event.get("offered", True)

    def ended(self) -> bool:
        """Whether there is no process (any more)."""
        return self.process is None or self.process.poll() is not None

    def watch(self, ready_s: float) -> bool:
        """Look after a running process; returns whether it is past help and is left behind.

        Args:
            ready_s: Longest time that it may take to start.
        """
        assert self.process is not None
        self.watchdog.look(self.process, self.ready, ready_s)
        if not self.watchdog.in_vain():
            return False
        self._leave_behind()
        return True

    def _leave_behind(self) -> None:
        if self.process is not None and self.process not in self._left_behind:
            self._left_behind.append(self.process)

    def why(self) -> str:
        """Say why the process ended: its own sentence, or what is known from outside."""
        if self.watchdog.verdict:
            return self.watchdog.verdict
        if self.reason:
            return self.reason
        code = self.process.returncode if self.process is not None else None
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        how = f"its process was ended by signal {-code}" if code is not None and code < 0 else ""
        return ": ".join([how or f"its process ended with status {code}", *lines[-1:]])

    def release(self) -> None:
        """Let go of the leash: the process stops by itself."""
        if self.process is not None and self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()

    def join(self, deadline: float) -> None:
        """Wait for the end; terminate, then kill a process that does not come to one."""
        if self.process is None:
            return
        if self.process in self._left_behind:
            self._let_go()
            return
        for escalate in (self.process.terminate, self.process.kill):
            try:
                self.process.wait(max(0.0, deadline - time.monotonic()))
                break
            except subprocess.TimeoutExpired:
                escalate()
                deadline = time.monotonic() + TERMINATE_S
        try:
            self.process.wait(KILLED_S)
        except subprocess.TimeoutExpired:  # it hangs inside the kernel
            self._leave_behind()
        self.listen()
        self._let_go()

    def _let_go(self) -> None:
        self.watchdog.disarm()
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()

    def note_failure(self, reason: str) -> None:
        """Leave a health record if the process could not do so itself, or not the whole truth."""
        if self.info.exists():
            if not self.watchdog.verdict:
                return
            content = json.loads(self.info.read_text(encoding="utf-8"))
            content["health"]["outcome"] = self.watchdog.verdict
        else:
            outcome = self.watchdog.verdict or f"failed: {reason}"
            content = {"source": self.source, "description": None, "health": {"outcome": outcome}}
        temporary = self.info.with_name(f".{self.info.name}.parent")
        temporary.write_text(json.dumps(content), encoding="utf-8")
        os.replace(temporary, self.info)

    def health(self) -> Health:
        """What the process said of itself, as far as it could."""
        found: dict[str, Any] = {"outcome": f"failed: {self.reason or 'it never started'}"}
        if self.info.exists():
            found = json.loads(self.info.read_text(encoding="utf-8"))["health"]
        outcome = found["outcome"]
        return Health(
            source=self.name,
            taken=found.get("taken", 0),
            failed=found.get("failed", 0),
            late=found.get("late", 0),
            missed=found.get("missed", 0),
            cpu_s=found.get("cpu_s"),
            cpu_start_s=found.get("cpu_start_s"),
            restarts=self.restarts,
            hangs=self.watchdog.hangs,
            outcome="killed" if outcome == "running" else outcome,
        )
