"""One run of a recording: a process of its own that leaves a result, or whose end is told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wattproof.plan import PlanRow
from wattproof.session.dispatch import DDP
from wattproof.session.node import Node
from wattproof.session.paths import Paths, atomic_json
from wattproof.session.slots import Slot, environment
from wattproof.training.lifetime import EXIT_MISTAKE
from wattproof.training.marks import MarkWriter

STOP_S = 5.0
"""Time to end by itself after SIGTERM; then a run is killed."""

TOLD_TO_STOP = (-signal.SIGTERM, 128 + signal.SIGTERM)


def training_command(spec: Path) -> list[str]:
    """Return the command of a run's process."""
    return [sys.executable, "-m", "wattproof.training", str(spec)]


class Run:
    """A run at work.

    Args:
        row: Of the plan.
        slots: That it occupies.
        paths: Of the recording.
        session: Folder of the session.
        node: Where it takes place.
    """

    def __init__(
        self, row: PlanRow, slots: Sequence[Slot], paths: Paths, session: Path, node: Node
    ) -> None:
        self.row = row
        self.slots = slots
        self._activity = node.activity
        self._session = session
        self._result = paths.result(row.run_id)
        self._part = self._result.with_suffix(".part")
        work = session / "runs" / row.run_id
        work.mkdir(parents=True, exist_ok=True)
        self._log = work / "log"
        spec = {
            **row.spec,
            "slot": self.slot,
            "slots": [slot.number for slot in slots],
            "marks": str(session / "marks.jsonl"),
            "result": str(self._part),
            "activity": None if node.activity is None else str(node.activity),
            "device": "cpu" if node.activity is not None else "auto",
        }
        atomic_json(work / "spec.json", spec)
        self._part.unlink(missing_ok=True)
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                training_command(work / "spec.json"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(slots),
            )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._heard = b""
        self.mistake = ""
        """What the user must mend before it can be trained; known when it was concluded."""
        self.began = time.monotonic()

    @property
    def slot(self) -> int | None:
        """Slot in marks and results: None for a run on all slots."""
        return None if self.row.setting == DDP else self.slots[0].number

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def ended(self) -> bool:
        """Whether its process is gone."""
        return self._process.poll() is not None

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield what it said since the last call."""
        assert self._process.stdout is not None
        self._heard += self._process.stdout.read() or b""
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            with contextlib.suppress(json.JSONDecodeError):
                event = json.loads(line)
                if isinstance(event, dict):
                    yield event

    def terminate(self) -> None:
        """Tell it to stop."""
        if not self.ended():
            self._process.terminate()

    def join(self, deadline: float) -> None:
        """Wait for its end; kill it at the deadline (monotonic seconds)."""
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def conclude(self) -> dict[str, Any] | None:
        """Turn its own result, or its death, into the result file of the run.

        Returns:
            The result; None if it was told to stop, or found a `mistake` that it is not to blame
            for: the run is still to be done.
        """
        code = self._process.returncode
        assert self._process.stdout is not None
        self._process.stdout.close()
        if code < 0 and self._activity is not None:
            self._load_is_gone(self._activity)
        if not self._part.exists() and self.row.spec["kind"] == "train":
            self._mark_end()
        if self._part.exists():
            outcome = json.loads(self._part.read_text(encoding="utf-8"))
        elif code in TOLD_TO_STOP:
            return None
        elif code == EXIT_MISTAKE:
            self.mistake = self._last_line() or "its process did not say why."
            return None
        else:
            outcome = self._failure(code)
        outcome["session"] = int(self._session.name.removeprefix("session-"))
        atomic_json(self._result, outcome)
        self._part.unlink(missing_ok=True)
        return dict(outcome)

    def _failure(self, code: int) -> dict[str, Any]:
        line = self._last_line()
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        reason = f"the training process ended with {how}"
        return {
            "run_id": self.row.run_id,
            "setting": self.row.setting,
            "slot": self.slot,
            "status": "failed",
            "reason": reason + (f": {line}" if line else ""),
            "epochs": 0,
        }

    def _mark_end(self) -> None:
        """Say for a training that could not: until now it was at work beside the others."""
        marks = MarkWriter(self._session / "marks.jsonl")
        marks.mark("run_end", self.row.run_id, slot=self.slot)
        marks.close()

    def _last_line(self) -> str:
        """Return the last line that it wrote to standard error."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def _load_is_gone(self, activity: Path) -> None:
        """Say for a run that was killed what it could not say itself: its slots are idle."""
        from wattproof.virtual import ActivityWriter

        with ActivityWriter(str(activity)) as writer:
            for slot in self.slots:
                writer.publish(slot.number, "idle")


def stop(runs: Sequence[Run]) -> None:
    """End all runs at once."""
    for run in runs:
        run.terminate()
    deadline = time.monotonic() + STOP_S
    for run in runs:
        run.join(deadline)
