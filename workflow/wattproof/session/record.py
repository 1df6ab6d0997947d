"""A recording: all instruments sample while the planned runs are trained, one after the other.

What is on disk decides what is left to do: a run whose result file exists is never trained again,
and every start of the recording (a *session*) adds its samples to those of earlier sessions.
"""

from __future__ import annotations

import contextlib
import fcntl
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
from typing import Any

from wattproof import archive
from wattproof.config import Config
from wattproof.errors import WattproofError
from wattproof.plan import PlanRow
from wattproof.recorder import Recorder
from wattproof.session.paths import Paths, atomic_json, is_sync, missing
from wattproof.session.run import InterruptedRecordingError, train

Progress = Callable[[str], None]


def pending(rows: Sequence[PlanRow], paths: Paths) -> list[PlanRow]:
    """Return the runs that are left to do.

    The synchronisation pattern is played again in each session that does anything else: clocks
    are aligned per session. It is never a reason for a session of its own.
    """
    left = {row.run_id for row in missing(rows, paths)}
    return [row for row in rows if row.run_id in left or (left and is_sync(row))]


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
    with _exclusive(paths.raw, progress), _stoppable() as check, contextlib.ExitStack() as last:
        left = pending(rows, paths)
        sources = last.enter_context(
            archive.sliced(config, paths.sessions, bool(left), progress, check)
        )
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
                Recorder(session, sources, node, config["on_missing_source"])
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

                train(row, paths, session, activity, recorder, check, on_line)
