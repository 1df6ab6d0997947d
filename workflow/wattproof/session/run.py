"""One run of a recording: a process of its own, watched until it leaves a result."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from wattproof.errors import WattproofError
from wattproof.plan import PlanRow
from wattproof.recorder import Recorder
from wattproof.session.paths import Paths, atomic_json

POLL_S = 0.2
"""How often the recording looks after its training and its sources."""


class InterruptedRecordingError(WattproofError):
    """The recording was told to stop, or the workflow that started it is gone.

    What was sampled and trained until then stays on disk; running the workflow again goes on.
    """


def train(
    row: PlanRow,
    paths: Paths,
    session: Path,
    activity: Path | None,
    recorder: Recorder,
    check: Callable[[], None],
    on_line: Callable[[dict[str, Any]], None],
) -> None:
    """Train one run in a process of its own and see to it that it leaves a result.

    Args:
        row: The run.
        paths: Of the recording.
        session: Folder of the session.
        activity: The virtual node's event log; None on a real node.
        recorder: Looked after while the training runs.
        check: Raises when the recording is to stop; the training is then ended.
        on_line: Called with each event that the training reports.
    """
    result = paths.result(row.run_id)
    spec = {
        **row.spec,
        "slot": 0,
        "marks": str(session / "marks.jsonl"),
        "result": str(result.with_suffix(".part")),
        "activity": None if activity is None else str(activity),
        "device": "cpu" if activity is not None else "auto",
    }
    work = session / "runs" / row.run_id
    work.mkdir(parents=True, exist_ok=True)
    atomic_json(work / "spec.json", spec)
    command = [sys.executable, "-m", "wattproof.training", str(work / "spec.json")]
    with (work / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
        )
    try:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        while process.poll() is None:
            time.sleep(POLL_S)
            _report(process.stdout, on_line)
            recorder.check()
            check()
        _report(process.stdout, on_line)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    if process.returncode < 0 and activity is not None:
        _load_is_gone(activity, spec["slot"])
    _conclude(row, Path(spec["result"]), result, process.returncode, work / "log", session)


def _load_is_gone(activity: Path, slot: int) -> None:
    """Say for a training that was killed what it could not say itself: the slot is idle."""
    from wattproof.virtual import ActivityWriter

    ActivityWriter(str(activity)).publish(slot, "idle")


def _report(stdout: IO[bytes], on_line: Callable[[dict[str, Any]], None]) -> None:
    for line in (stdout.read() or b"").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            on_line(json.loads(line))


def _conclude(row: PlanRow, part: Path, result: Path, code: int, log: Path, session: Path) -> None:
    """Turn the training's own result, or its death, into the result file of the run."""
    if part.exists():
        outcome = json.loads(part.read_text(encoding="utf-8"))
    elif code == -signal.SIGTERM or code == 128 + signal.SIGTERM:
        raise InterruptedRecordingError(
            f"Run {row.run_id} was told to stop; run the workflow again to train it."
        )
    else:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        reason = f"the training process ended with {how}"
        outcome = {
            "run_id": row.run_id,
            "setting": row.setting,
            "slot": 0,
            "status": "failed",
            "reason": reason + (f": {lines[-1]}" if lines else ""),
            "epochs": 0,
        }
    outcome["session"] = int(session.name.removeprefix("session-"))
    atomic_json(result, outcome)
    part.unlink(missing_ok=True)
