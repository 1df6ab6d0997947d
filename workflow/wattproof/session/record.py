"""A recording: all instruments sample while the planned runs are trained, one after the other.

What is on disk decides what is left to do: a run whose result file exists is never trained again,
and every start of the recording (a *session*) adds its samples to those of earlier sessions.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

from wattproof.config import Config
from wattproof.errors import WattproofError
from wattproof.plan import PlanRow
from wattproof.recorder import Recorder
from wattproof.session.paths import Paths, atomic_json

POLL_S = 0.2
"""How often the recording looks after its training and its sources."""

Progress = Callable[[str], None]


class InterruptedRecordingError(WattproofError):
    """The recording was told to stop, or the workflow that started it is gone.

    What was sampled and trained until then stays on disk; running the workflow again goes on.
    """


def pending(rows: Sequence[PlanRow], paths: Paths) -> list[PlanRow]:
    """Return the runs that are left to do.

    The synchronisation pattern is played again in each session that trains anything: clocks are
    aligned per session.
    """
    left = [row for row in rows if not paths.result(row.run_id).exists()]
    if not left:
        return []
    ids = {row.run_id for row in left}
    return [row for row in rows if row.run_id in ids or row.spec.get("load") == "sync"]


@contextlib.contextmanager
def _exclusive(raw: Path, progress: Progress) -> Iterator[None]:
    """Hold the recording's lock: a second starter waits until the first one is gone."""
    raw.mkdir(parents=True, exist_ok=True)
    with (raw / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process records here; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _stoppable() -> Iterator[Callable[[], None]]:
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


@contextlib.contextmanager
def _virtual_node(session: Path, truth: Path, config: Config) -> Iterator[dict[str, Any]]:
    """Start the virtual node's daemon (serial meter, powercap tree); stop it at the end."""
    from wattproof import virtual

    node_dir = session / "node"
    node = config["node"]
    # The session's name is in the seed: each session is another stretch of the node's life.
    seed = [node["seed"], *session.parent.name.encode(), *session.name.encode()]
    spec = virtual.create_node(
        node_dir, truth, node["preset"], node["seed"], node["overrides"], seed
    )
    command = [sys.executable, "-m", "wattproof.virtual", str(node_dir)]
    daemon = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert daemon.stdout is not None
        if not daemon.stdout.readline():
            raise WattproofError(
                f"The virtual node did not start; run '{' '.join(command)}' to see why."
            )
        yield {"kind": "virtual", "dir": str(node_dir), "memory_gib": spec.memory_gib}
    finally:
        assert daemon.stdin is not None
        with contextlib.suppress(OSError):
            daemon.stdin.close()
        try:
            daemon.wait(timeout=5)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


@contextlib.contextmanager
def _node(session: Path, truth: Path, config: Config) -> Iterator[dict[str, Any]]:
    if config["node"]["kind"] == "virtual":
        with _virtual_node(session, truth, config) as node:
            yield node
    else:
        memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        yield {"kind": "real", "dir": None, "memory_gib": memory_gib}


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _begin_session(paths: Paths) -> Path:
    session = paths.raw / f"session-{len(paths.sessions()):03d}"
    session.mkdir(parents=True)
    paths.runs.mkdir(exist_ok=True)
    return session


def _describe_session(session: Path, recording: str, config: Config, node: dict[str, Any]) -> None:
    atomic_json(
        session / "session.json",
        {
            "recording": recording,
            "session": int(session.name.removeprefix("session-")),
            "campaign": config["campaign"],
            "host": socket.gethostname(),
            "kernel": platform.release(),
            "boot_id": _boot_id(),
            "mono_ns": time.monotonic_ns(),
            "wall_ns": time.time_ns(),
            "simulated": node["kind"] == "virtual",
            "memory_gib": node["memory_gib"],
        },
    )


def _train(
    row: PlanRow,
    paths: Paths,
    session: Path,
    activity: Path | None,
    recorder: Recorder,
    check: Callable[[], None],
    on_line: Callable[[dict[str, Any]], None],
) -> None:
    """Train one run in a process of its own and see to it that it leaves a result."""
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
    _conclude(row, Path(spec["result"]), result, process.returncode, work / "log", session)


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


def record(
    recording: str,
    rows: Sequence[PlanRow],
    config: Config,
    paths: Paths,
    progress: Progress,
) -> None:
    """Do what is left of a recording; return at once if nothing is.

    Args:
        recording: Name of the recording.
        rows: Its rows of the plan, in order.
        config: The complete campaign.
        paths: Where its raw data and (for a virtual node) the truth are kept.
        progress: Called with one line for people now and then.

    Raises:
        WattproofError: If an instrument is missing (and the campaign says to stop then).
        InterruptedRecordingError: If it was told to stop; what is on disk stays.
    """
    with _exclusive(paths.raw, progress), _stoppable() as check:
        left = pending(rows, paths)
        if not left:
            progress("all runs are on disk; sealing the tables")
            return
        done = len(rows) - len(left)
        if done:
            progress(f"{done} of {len(rows)} runs are on disk; going on with the rest")
        session = _begin_session(paths)
        truth = paths.truth / session.name
        with _node(session, truth, config) as node, contextlib.ExitStack() as stack:
            _describe_session(session, recording, config, node)
            recorder = stack.enter_context(
                Recorder(session, config["sources"], node, config["on_missing_source"])
            )
            activity = truth / "activity.bin" if node["kind"] == "virtual" else None
            for number, row in enumerate(left, start=1):
                what = row.spec.get("load") or row.network_key
                head = f"run {number}/{len(left)} {what}"
                if row.spec["kind"] == "load":
                    progress(f"{head} ({row.spec['seconds']:g} s)")

                def on_line(event: dict[str, Any], head: str = head) -> None:
                    if event.get("event") == "epoch":
                        progress(
                            f"{head}: epoch {event['epoch'] + 1}/{event['of']}, "
                            f"validation accuracy {event['val_accuracy']:.3f}"
                        )

                _train(row, paths, session, activity, recorder, check, on_line)
