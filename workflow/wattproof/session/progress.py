"""What a recording tells while it goes on: lines for people, and a log for machines.

The log ``raw/{recording}/progress.jsonl`` has one JSON object a line; docs/recordings.md has its
fields. It is of no consequence for any result: what is done is decided by the result files.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from wattproof.plan import PlanRow
from wattproof.session import estimate
from wattproof.session.paths import Paths, is_sync
from wattproof.session.run import Run
from wattproof.session.slots import Slot
from wattproof.session.watts import Gauge, Watts
from wattproof.units import j_to_wh

FILE = "progress.jsonl"
STATUS_S = 10.0
"""How often the log tells how things stand."""
TELL_S = 60.0
"""… and how often people are told, if nothing else happens."""

Progress = Callable[[str], None]


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read a progress log; half a line of a killed writer is left out, no file is an empty log."""
    found: list[dict[str, Any]] = []
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    found.append(event)
    return found


class Log:
    """Appends events; a disk that is full costs the log, not the recording.

    Args:
        path: The log.
        common: Fields of every event.
    """

    def __init__(self, path: Path, **common: Any) -> None:
        self._path = path
        self._common = common

    def write(self, event: str, **more: Any) -> None:
        """Append one event, stamped now."""
        content = {
            "event": event,
            "wall_ns": time.time_ns(),
            "mono_ns": time.monotonic_ns(),
            **self._common,
            **more,
        }
        line = json.dumps(content, allow_nan=False).encode() + b"\n"
        with contextlib.suppress(OSError):
            handle = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                size = os.fstat(handle).st_size
                if size and os.pread(handle, 1, size - 1) != b"\n":
                    line = b"\n" + line  # a killed writer left half a line
                os.write(handle, line)
            finally:
                os.close(handle)


@dataclass(frozen=True, slots=True)
class Counts:
    """Runs of a recording, calibration loads included, clock patterns not."""

    done: int
    failed: int
    running: int
    left: int


class Reporter:
    """Follows a session and tells of it.

    Args:
        recording: Its name.
        campaign: Its campaign.
        rows: All rows of the recording.
        paths: Of the recording.
        session: Folder of the session.
        slots: That runs occupy.
        simulated: Whether the node is virtual.
        say: Called with each line for people.
    """

    def __init__(
        self,
        recording: str,
        campaign: str,
        rows: Sequence[PlanRow],
        paths: Paths,
        session: Path,
        slots: Sequence[Slot],
        simulated: bool,
        say: Progress,
    ) -> None:
        self._rows = [row for row in rows if not is_sync(row)]
        self._slots = slots
        self._say = say
        self._simulated = simulated
        self._gauge = Gauge(session)
        self._before = _energy_before(read_log(paths.raw / FILE))
        self._running: dict[str, Run] = {}
        self._epochs: dict[str, int] = {}
        self._ended: list[tuple[float, int]] = []
        self._status: dict[str, str] = {}
        for row in self._rows:
            path = paths.result(row.run_id)
            if path.exists():
                self._note(row, json.loads(path.read_text(encoding="utf-8")))
        self._log = Log(
            paths.raw / FILE,
            recording=recording,
            session=int(session.name.removeprefix("session-")),
            simulated=simulated,
        )
        self._logged = self._told = time.monotonic()
        self._log.write(
            "session_begin",
            campaign=campaign,
            host=socket.gethostname(),
            pid=os.getpid(),
            job=os.environ.get("SLURM_JOB_ID"),
            slots=[slot.as_json() for slot in slots],
            **asdict(self.counts()),
        )

    def _note(self, row: PlanRow, outcome: dict[str, Any]) -> None:
        self._status[row.run_id] = outcome["status"]
        if row.spec["kind"] == "train" and outcome.get("duration_s"):
            self._ended.append((float(outcome["duration_s"]), int(outcome.get("epochs") or 0)))

    def counts(self) -> Counts:
        """Return how many runs are in which state."""
        failed = sum(status != "ok" for status in self._status.values())
        running = sum(not is_sync(run.row) for run in self._running.values())
        ended = len(self._status)
        return Counts(ended - failed, failed, running, len(self._rows) - ended - running)

    def begin(self, run: Run) -> None:
        """Tell that a run was started."""
        self._running[run.row.run_id] = run
        self._log.write(
            "run_begin",
            run_id=run.row.run_id,
            setting=run.row.setting,
            load=run.row.spec.get("load"),
            network_key=run.row.network_key,
            slots=[slot.as_json() for slot in run.slots],
            pid=run.pid,
            epochs=estimate.planned_epochs(run.row) or None,
            seconds=run.row.spec.get("seconds"),
        )
        if run.row.spec["kind"] == "load":
            self._say(f"{self._head(run)} ({run.row.spec['seconds']:g} s)")

    def _head(self, run: Run) -> str:
        what = run.row.spec.get("load") or run.row.network_key
        several = "" if len(self._slots) == 1 else f" on slot {_numbers(run.slots)}"
        if is_sync(run.row):
            return f"{what}{several}"
        number = 1 + next(i for i, row in enumerate(self._rows) if row.run_id == run.row.run_id)
        return f"run {number}/{len(self._rows)} {what}{several}"

    def event(self, run: Run, event: dict[str, Any]) -> None:
        """Tell what a training said of itself."""
        if event.get("event") != "epoch":
            return
        self._epochs[run.row.run_id] = int(event["epoch"]) + 1
        self._log.write(
            "epoch",
            run_id=run.row.run_id,
            epoch=event["epoch"],
            of=event["of"],
            val_accuracy=_finite(event["val_accuracy"]),
        )
        self._say(
            f"{self._head(run)}: epoch {event['epoch'] + 1}/{event['of']}, "
            f"validation accuracy {event['val_accuracy']:.3f}"
        )

    def end(self, run: Run, outcome: dict[str, Any] | None) -> None:
        """Tell how a run ended; None: it was told to stop and is still to be done."""
        self._running.pop(run.row.run_id, None)
        if outcome is None:
            status, reason = "stopped", "it was told to stop"
        else:
            status, reason = outcome["status"], outcome["reason"]
            if not is_sync(run.row):
                self._note(run.row, outcome)
        known = outcome or {}
        self._log.write(
            "run_failed" if status == "failed" else "run_end",
            run_id=run.row.run_id,
            status=status,
            reason=reason,
            slots=[slot.as_json() for slot in run.slots],
            wall_s=time.monotonic() - run.began,
            epochs=known.get("epochs"),
            duration_s=known.get("duration_s"),
            **asdict(self.counts()),
        )
        if status == "failed":
            self._say(f"{self._head(run)} failed: {reason}")

    def tick(self, waiting: Sequence[PlanRow]) -> None:
        """Tell how things stand, if it is time to."""
        now = time.monotonic()
        if now - self._logged >= STATUS_S:
            self._logged = now
            state = self._state(waiting)
            self._log.write("status", **state)
            if now - self._told >= TELL_S:
                self._told = now
                self._say(sentence(state))

    def close(self, waiting: Sequence[PlanRow], how: str, reason: str = "") -> None:
        """Tell that the session ended: how is complete, interrupted or failed."""
        state = self._state(waiting)
        self._log.write("session_end", how=how, reason=reason, **state)
        self._say(sentence(state))

    def _state(self, waiting: Sequence[PlanRow]) -> dict[str, Any]:
        now = time.monotonic()
        working = [
            estimate.Working(
                run.row,
                [slot.number for slot in run.slots],
                now - run.began,
                self._epochs.get(run.row.run_id, 0),
            )
            for run in self._running.values()
        ]
        pace = estimate.pace_s(self._ended, working)
        watts = self._gauge.read()
        energies = {
            name: _sum(getattr(watts, name), getattr(self._before, name))
            for name in ("node_j", "gpus_j")
        }
        return {
            **asdict(self.counts()),
            "simulated": self._simulated,
            "node_w": watts.node_w,
            "gpus_w": watts.gpus_w,
            **energies,
            "left_s": estimate.left_s(waiting, working, pace, len(self._slots)),
        }


def _numbers(slots: Sequence[Slot]) -> str:
    return "+".join(str(slot.number) for slot in slots)


def _finite(value: float | None) -> float | None:
    """Unknown is null: what diverged is no number, and JSON has none for it."""
    return value if value is not None and math.isfinite(value) else None


def _sum(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _energy_before(events: Sequence[dict[str, Any]]) -> Watts:
    """Return the energy of earlier sessions, as far as the log knows."""
    for event in reversed(events):
        if event.get("event") in ("status", "session_end"):
            names = {field.name for field in fields(Watts)} & {"node_j", "gpus_j"}
            return Watts(**{name: event.get(name) for name in names})
    return Watts()


def sentence(state: dict[str, Any]) -> str:
    """Say how things stand, for people."""
    parts = [f"{state['done']} done, {state['failed']} failed, {state['running']} running, "]
    parts[0] += f"{state['left']} left"
    by = "node" if state["node_w"] is not None or state["node_j"] is not None else "gpus"
    watts, joules = state[f"{by}_w"], state[f"{by}_j"]
    whose = {"node": "node", "gpus": "GPUs"}[by]
    if watts is not None:
        parts.append(f"{whose} {watts:.0f} W now")
    if joules is not None:
        parts.append(f"{whose} {energy_text(joules)} so far")
    if state["left_s"]:
        parts.append(f"about {time_text(state['left_s'])} left")
    return "; ".join(parts) + (" (simulated power)" if state["simulated"] else "")


def energy_text(joules: float) -> str:
    """Write an energy for people."""
    wh = j_to_wh(joules)
    return f"{wh / 1000:.2f} kWh" if wh >= 1000 else f"{wh:.1f} Wh"


def time_text(seconds: float) -> str:
    """Write a duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 90:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h" if minutes < 48 * 60 else f"{minutes / 1440:.1f} d"
