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

from wattproof.recorder import loops

TERMINATE_S = 2.0
"""Time between terminating and killing a process that does not end by itself."""
BACKOFF_S = (0.0, 1.0, 2.0, 5.0, 15.0, 30.0)
"""Pause before the first, second … restart of a source: one that fails at once must not spin."""
CONFIRM_S = 1.0
"""A broken promise must be seen twice, so far apart, before the process is ended."""
KILLED_S = 5.0
"""A process that is still there so long after it was killed hangs inside the kernel."""
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
        self.hangs = 0
        self.ready = False
        self.offered = True
        self.given_up = False
        self.reason = ""
        self.started = 0.0
        self.restart_at = 0.0
        self.verdict = ""
        """What the watchdog found; empty if nothing."""
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
        self._beat = -1  # memory in which the process promises to be heard of again
        self._silent_since: float | None = None
        self._abandoned: list[subprocess.Popen[bytes]] = []

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
        self._close_beat()
        self._beat = os.memfd_create("wattproof-beat")
        os.truncate(self._beat, loops.SIZE)
        content = {
            **self._spec,
            "stream": str(stream),
            "info": str(self.info),
            "beat": self._beat,
            "ordinary": self._ordinary,
        }
        spec.write_text(json.dumps(content), encoding="utf-8")
        self.ready, self.reason, self._heard = False, "", b""
        self.verdict, self._silent_since = "", None
        self.started = time.monotonic()
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C and the signals of a shell go to the parent alone.
            self.process = subprocess.Popen(
                [sys.executable, "-m", "wattproof.recorder", str(spec)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                pass_fds=(self._beat,),
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

    def watch(self, ready_s: float) -> None:
        """End a process that is not heard of any more, whatever it is doing.

        It is killed when it has kept no promise for `CONFIRM_S`, seen twice: after a pause of the
        whole machine it gets a chance to go on.

        Args:
            ready_s: Longest time that it may take to start.
        """
        if self.verdict or self.process is None:
            return
        now_ns = time.monotonic_ns()
        if self.ready:
            silent = now_ns > int.from_bytes(os.pread(self._beat, loops.SIZE, 0), sys.byteorder)
        else:
            silent = now_ns > (self.started + ready_s) * 1e9
        if not silent:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = now_ns / 1e9
        elif now_ns / 1e9 - self._silent_since >= CONFIRM_S:
            doing = "a read did not end" if self.ready else f"it was not ready after {ready_s:g} s"
            self.verdict = f"hung: {doing}; ended by the watchdog"
            self.hangs += 1
            self.process.kill()

    def stuck(self) -> bool:
        """Whether the watchdog's kill has no effect: the process hangs inside the kernel.

        It cannot be waited for; it is left behind, so that a successor can start.
        """
        if not self.verdict or self.process is None or self._silent_since is None:
            return False
        if time.monotonic() - self._silent_since < CONFIRM_S + KILLED_S:
            return False
        if self.process not in self._abandoned:
            self._abandoned.append(self.process)
        return True

    def _close_beat(self) -> None:
        if self._beat >= 0:
            os.close(self._beat)
            self._beat = -1

    def why(self) -> str:
        """Say why the process ended: its own sentence, or what is known from outside."""
        if self.verdict:
            return self.verdict
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
        if self.process in self._abandoned:
            self._let_go()
            return
        for escalate in (self.process.terminate, self.process.kill):
            try:
                self.process.wait(max(0.0, deadline - time.monotonic()))
                break
            except subprocess.TimeoutExpired:
                escalate()
                deadline = time.monotonic() + TERMINATE_S
        self.process.wait()
        self.listen()
        self._let_go()

    def _let_go(self) -> None:
        self._close_beat()
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()

    def note_failure(self, reason: str) -> None:
        """Leave a health record if the process could not do so itself, or not the whole truth."""
        if self.info.exists():
            if not self.verdict:
                return
            content = json.loads(self.info.read_text(encoding="utf-8"))
            content["health"]["outcome"] = self.verdict
        else:
            outcome = self.verdict or f"failed: {reason}"
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
            hangs=self.hangs,
            outcome="killed" if outcome == "running" else outcome,
        )
