"""Two recordings must not share a folder, and none may share a node whose meter sees them all.

A lock is a file that is held by `flock`: the kernel lets go of it when its holder dies, however
that happens. Its content says who holds it, for people and for other hosts: on a network file
system that keeps locks to each host, a fresh time stamp of a holder elsewhere counts as a lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from wattproof.session.stopping import Check, pause

LOCKS_VARIABLE = "WATTPROOF_LOCKS"
"""Environment variable: folder of the node's lock files, the same for all users of the node."""

PLACES = ("/run/lock", "/var/lock", "/tmp")
"""… else the first of these that everybody may write to."""

BEAT_S = 5.0
"""A holder renews the time stamp of its lock so often."""
WATCH_S = 4 * BEAT_S
"""A holder on another host that has not renewed it for so long is gone."""
LOOK_S = 0.5

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""A file system without locks."""

NODE_WIDE = frozenset({"meter", "rapl", "host", "codecarbon"})
"""Sources that see the whole node: whatever else runs on it would be in their readings."""

Progress = Callable[[str], None]


def holder(what: str) -> dict[str, Any]:
    """Describe this process, for whoever waits for it."""
    job = os.environ.get("SLURM_JOB_ID")
    return {
        "what": what,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "job": job,
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def describe(note: dict[str, Any]) -> str:
    """Say who holds a lock, from its content."""
    if not note:
        return "it does not say who it is"
    job = f", Slurm job {note['job']}" if note.get("job") else ""
    return f"{note['what']}, process {note['pid']} on {note['host']}{job}, since {note['since']}"


def _note(handle: int) -> dict[str, Any]:
    with contextlib.suppress(ValueError, OSError):
        found = json.loads(os.pread(handle, 4096, 0) or b"{}")
        if isinstance(found, dict) and {"what", "host", "pid", "since"} <= set(found):
            return found
    return {}


class _Beat:
    """Renews the time stamp of a held lock file, in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(BEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self._path)

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


def _lives_elsewhere(path: Path, handle: int, progress: Progress, check: Check) -> bool:
    """Whether the holder that the file names is on another host and still renews it.

    Stamps are compared with each other, never with this host's clock.
    """
    note = _note(handle)
    if not note or note["host"] == socket.gethostname():
        return False
    progress(f"looking whether it still records here: {describe(note)}")
    first = path.stat().st_mtime_ns
    end = time.monotonic() + WATCH_S
    while time.monotonic() < end:
        pause(LOOK_S, check)
        # Opening a file is what makes a network file system ask its server again.
        with path.open("rb") as again:
            if os.fstat(again.fileno()).st_mtime_ns != first:
                return True
    return False


def _open(path: Path) -> int:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except PermissionError:  # another user's; it can be locked, not signed
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with contextlib.suppress(OSError):
        os.fchmod(handle, 0o666)
    return handle


@contextlib.contextmanager
def held(
    path: Path,
    what: str,
    waiting: str,
    progress: Progress,
    check: Check,
    shared: bool = False,
) -> Iterator[None]:
    """Hold a lock; wait for whoever holds it, and say who that is.

    Args:
        path: Lock file; stays behind, empty.
        what: What this process does, for others.
        waiting: Begins the line for people if it must wait.
        progress: Called with that line.
        check: Raises when the recording is to stop.
        shared: Others that hold it shared may be there as well; nobody signs.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _open(path)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    beat = None
    try:
        told = ""
        while True:
            try:
                fcntl.flock(handle, kind | fcntl.LOCK_NB)
                free = True
            except BlockingIOError:
                free = False
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                free = True  # the file's content must do
            if free:
                if not _lives_elsewhere(path, handle, progress, check):
                    break
                with contextlib.suppress(OSError):
                    fcntl.flock(handle, fcntl.LOCK_UN)
            who = describe(_note(handle))
            if who != told:
                progress(f"{waiting} ({who}); waiting for it")
                told = who
            pause(LOOK_S, check)
        if not shared:
            _sign(handle, holder(what))
            beat = _Beat(path)
        yield
    finally:
        if beat is not None:
            beat.end()
            _sign(handle, None)
        os.close(handle)


def _sign(handle: int, note: dict[str, Any] | None) -> None:
    with contextlib.suppress(OSError):  # opened for reading only
        os.ftruncate(handle, 0)
        if note is not None:
            os.pwrite(handle, json.dumps(note).encode(), 0)


def folder() -> Path:
    """Return the folder of this machine's lock files."""
    given = os.environ.get(LOCKS_VARIABLE)
    if given:
        return Path(given)
    open_to_all = stat.S_ISVTX | stat.S_IWOTH
    for place in PLACES:
        with contextlib.suppress(OSError):
            if os.stat(place).st_mode & open_to_all == open_to_all:
                return Path(place)
    return Path(PLACES[-1])


def _machine() -> str:
    """Name this machine; containers on it have the same name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


@contextlib.contextmanager
def node(
    what: str, sources: set[str], uuids: list[str], progress: Progress, check: Check
) -> Iterator[None]:
    """Hold a real node, or only the GPUs of a recording that measures nothing else.

    Args:
        what: What this process does, for others.
        sources: Names of the instruments.
        uuids: Of the GPUs that runs occupy.
        progress: Called with a line for people if it must wait.
        check: Raises when the recording is to stop.
    """
    stem = folder() / f"wattproof-{_machine()}"
    busy = "another recording is at work on this node"
    wide = bool(NODE_WIDE & sources)
    with contextlib.ExitStack() as stack:
        lock = stem.with_name(f"{stem.name}.lock")
        stack.enter_context(held(lock, what, busy, progress, check, shared=not wide))
        for uuid in sorted(uuids):
            lock = stem.with_name(f"{stem.name}-{uuid}.lock")
            busy_gpu = f"another recording is at work on GPU {uuid}"
            stack.enter_context(held(lock, what, busy_gpu, progress, check))
        yield
