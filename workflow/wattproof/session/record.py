"""A recording: all instruments sample while the planned runs are trained on the node's slots.

What is on disk decides what is left to do: a run whose result file exists is never trained again,
and every start of the recording (a *session*) adds its samples to those of earlier sessions.
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from wattproof import archive
from wattproof.config import Config
from wattproof.plan import PlanRow
from wattproof.recorder import Recorder
from wattproof.session import locks
from wattproof.session import node as nodes
from wattproof.session.node import Node
from wattproof.session.paths import Paths, atomic_json, is_sync, missing
from wattproof.session.progress import Reporter
from wattproof.session.stopping import Check, InterruptedRecordingError, stoppable
from wattproof.session.train import train

Progress = Callable[[str], None]


def pending(rows: Sequence[PlanRow], paths: Paths) -> list[PlanRow]:
    """Return the runs that are left to do.

    The synchronisation pattern is played again in each session that does anything else: clocks
    are aligned per session. It is never a reason for a session of its own.
    """
    left = {row.run_id for row in missing(rows, paths)}
    return [row for row in rows if row.run_id in left or (left and is_sync(row))]


@contextlib.contextmanager
def _node(
    session: Path,
    truth: Path,
    config: Config,
    rows: Sequence[PlanRow],
) -> Iterator[Node]:
    if config["node"]["kind"] == "virtual":
        with nodes.virtual(session, truth, config, rows) as node:
            yield node
    else:
        yield nodes.real(config, rows)


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


def _describe_session(session: Path, recording: str, config: Config, node: Node) -> None:
    atomic_json(
        session / "session.json",
        {
            "recording": recording,
            "session": int(session.name.removeprefix("session-")),
            "campaign": config["campaign"],
            "host": socket.gethostname(),
            "job": os.environ.get("SLURM_JOB_ID"),
            "kernel": platform.release(),
            "boot_id": _boot_id(),
            "mono_ns": time.monotonic_ns(),
            "wall_ns": time.time_ns(),
            "simulated": node.kind == "virtual",
            "memory_gib": node.memory_gib,
            "slots": [slot.as_json() for slot in node.slots],
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
        WattproofError: If an instrument or a GPU is missing (and the campaign says to stop then).
        InterruptedRecordingError: If it was told to stop; what is on disk stays.
    """
    what = f"recording {recording} of campaign {config['campaign']}"
    with stoppable() as check, contextlib.ExitStack() as last:
        busy = "another process records here"
        last.enter_context(locks.held(paths.raw / "lock", what, busy, progress, check))
        left = pending(rows, paths)
        sources = last.enter_context(
            archive.sliced(config, paths.sessions, bool(left), progress, check)
        )
        if not left:
            progress("all runs are on disk; sealing the tables")
            return
        if len(rows) > len(left):
            progress(f"{len(rows) - len(left)} of {len(rows)} runs are on disk; going on")
        if config["node"]["kind"] == "real":
            # Before there is a session: what the node lacks is no recording.
            uuids = [slot.uuid for slot in nodes.real(config, rows).slots if slot.uuid]
            wide = set(config["sources"])
            last.enter_context(locks.node(what, wide, uuids, progress, check))
        _session(recording, rows, left, config, sources, paths, progress, check)


def _session(
    recording: str,
    rows: Sequence[PlanRow],
    left: Sequence[PlanRow],
    config: Config,
    sources: Config,
    paths: Paths,
    progress: Progress,
    check: Check,
) -> None:
    """Start the node and the instruments, and train what is left."""
    session = _begin_session(paths)
    with _node(session, paths.truth / session.name, config, rows) as node:
        _describe_session(session, recording, config, node)
        on_missing = config["on_missing_source"]
        with Recorder(session, sources, node.for_recorder(), on_missing) as recorder:
            reporter = Reporter(
                recording,
                config["campaign"],
                rows,
                paths,
                session,
                node.slots,
                node.kind == "virtual",
                progress,
            )

            def look() -> None:
                recorder.check()
                check()

            train(left, node, paths, session, look, reporter)


__all__ = ["InterruptedRecordingError", "pending", "record"]
