"""`wattproof meter`: one meter, recorded for as long as the power is on.

The recorder's own process reads the meter and cuts its stream into files; this process watches it,
starts it again when it ends, keeps the index, removes what is too old, and tells now and then how
it goes. It holds nothing in memory but a line for each file.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from wattproof.archive import index, totals
from wattproof.archive.index import KILLED, LIVE, Entry
from wattproof.archive.lock import exclusive
from wattproof.archive.tail import Account
from wattproof.errors import WattproofError
from wattproof.recorder import Recorder
from wattproof.recorder.loops import StopSignal
from wattproof.units import NS_PER_S, s_to_ns

Progress = Callable[[str], None]

TICK_S = 0.5
LOOK_S = 2.0
"""How often the files are looked at: the index knows of a new file so soon."""
CLOSING_S = 60.0
"""A file that has no end so long after its successor began was not closed any more."""
KEPT_LOGS = 5
"""Description and log of so many past starts of the meter's process stay in ``run/``."""
FORGET_S = 60.0
"""Trouble that comes back after this much time without any is told again."""
FULL = os.strerror(errno.ENOSPC)
LITTLE_BYTES = 65_536
REAL_NODE = {"kind": "real", "dir": None}


@dataclass(frozen=True, slots=True)
class Keeping:
    """How an archive is kept.

    Attributes:
        folder: Folder of the archive; made if it is not there.
        meter: Settings of the meter, ``driver`` among them.
        rotate_s: Length of a file.
        keep_s: Files whose last reading is older are removed; None keeps all.
        status_s: Time between two lines that say how it goes.
    """

    folder: Path
    meter: Mapping[str, Any]
    rotate_s: float = 3600.0
    keep_s: float | None = None
    status_s: float = 60.0


def keep(keeping: Keeping, progress: Progress) -> None:
    """Archive a meter until SIGTERM, SIGINT or SIGHUP.

    Args:
        keeping: What and where to.
        progress: Called with one line for people.

    Raises:
        WattproofError: If the meter does not start, the folder cannot be written, or another
            process writes there.
    """
    with exclusive(keeping.folder), _stoppable() as stop:
        _Keeper(keeping, progress).run(stop)


@contextlib.contextmanager
def _stoppable() -> Iterator[StopSignal]:
    stop = StopSignal()

    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup's promise is kept
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def boot_id() -> str:
    """Return what tells this boot of this machine from all others; empty if unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


class _Keeper:
    def __init__(self, keeping: Keeping, progress: Progress) -> None:
        self._keeping = keeping
        self._folder = keeping.folder
        self._say = progress
        self._entries: list[Entry] = []
        self._open: list[Account] = []
        self._changed = False
        self._told: dict[str, str] = {}  # what was said of each kind of trouble
        self._troubled = 0.0
        self._restarts = 0
        self._run = self._folder / "run"

    def run(self, stop: StopSignal) -> None:
        self._recover()
        shutil.rmtree(self._run, ignore_errors=True)
        rotate = {
            "folder": str(index.parts(self._folder).absolute()),
            "every_s": self._keeping.rotate_s,
            "about": {"host": socket.gethostname(), "boot_id": boot_id()},
        }
        meter = {"meter": dict(self._keeping.meter)}
        recorder = Recorder(self._run, meter, REAL_NODE, rotate=rotate)
        try:
            recorder.start()
        except OSError as error:
            raise WattproofError(
                f"The archive {self._folder} cannot be written ({error.strerror}); make room on "
                "that disk."
            ) from error
        try:
            self._progress(f"archiving to {self._folder}; Ctrl-C or SIGTERM ends it")
            self._watch(recorder, stop)
        finally:
            recorder.stop()
            self._look()
            for entry in self._entries:
                # The meter's process has ended: a file that still looks live lost its end.
                entry.state = KILLED if entry.state == LIVE else entry.state
            self._changed = True
            self._save()
        self._progress(f"stopped; {self._summary()}")

    def _recover(self) -> None:
        """Take over what is there, and account for files of a predecessor that was killed."""
        known = {e.file: e for e in index.load(self._folder) if e.state != LIVE}
        for name in index.present(self._folder):
            if name in known:
                self._entries.append(known[name])
                continue
            account = Account(index.parts(self._folder) / name)
            account.look()
            if account.entry.state == LIVE:
                account.entry.state = KILLED
            self._entries.append(account.entry)
        self._changed = True
        self._save()

    # ------------------------------------------------------------------ while it runs

    def _watch(self, recorder: Recorder, stop: StopSignal) -> None:
        tick_ns = look_ns = time.monotonic_ns()
        status_ns = tick_ns + s_to_ns(self._keeping.status_s)
        while not stop.wait_until(tick_ns):
            tick_ns = time.monotonic_ns() + s_to_ns(TICK_S)
            try:
                recorder.check()
            except OSError as error:
                self._tell("start", "the meter's process cannot be started again", error)
            if tick_ns >= look_ns:
                look_ns = tick_ns + s_to_ns(LOOK_S)
                self._house_keeping()
            if tick_ns >= status_ns:
                status_ns += s_to_ns(self._keeping.status_s)
                self._progress(self._summary())

    def _progress(self, line: str) -> None:
        # A terminal that is gone is no reason to stop measuring.
        with contextlib.suppress(OSError):
            self._say(line)

    def _house_keeping(self) -> None:
        try:
            self._note_restarts()
            self._look()
            self._remove_old()
        except OSError as error:
            self._tell("files", f"the files of {self._folder} cannot be looked after", error)
        self._save()

    def _tell(self, kind: str, trouble: str, error: OSError | None = None) -> None:
        """Say what is wrong, once for as long as it is the same."""
        self._troubled = time.monotonic()
        if error is not None:
            trouble = f"{trouble} ({error.strerror})"
        if FULL in trouble:  # everything fails then, in many words
            kind = trouble = (
                f"the disk of {self._folder} is full; what the meter sends is lost until there is "
                "room again"
            )
        if self._told.get(kind) != trouble:
            self._told[kind] = trouble
            self._progress(trouble)

    def _all_is_well(self) -> None:
        """Forget what was said a while ago: if it comes back, that is news."""
        if time.monotonic() - self._troubled > FORGET_S:
            self._told.clear()

    def _note_restarts(self) -> None:
        """Say why the meter's process was started again; remove the logs of old starts."""
        starts = [
            int(match[1] or 0)
            for path in (self._run / "streams").glob("meter*.spec")
            if (match := re.fullmatch(r"meter(?:\.(\d+))?\.spec", path.name))
        ]
        newest = max(starts, default=0)
        if newest > self._restarts:
            self._restarts = newest
            why = self._why(newest - 1)
            self._tell("ended", f"the meter's process ended ({why}); starting it again")
        for old in starts:
            if 0 < old <= newest - KEPT_LOGS:
                for path in (self._run / "streams").glob(f"meter.{old}.*"):
                    path.unlink(missing_ok=True)

    def _why(self, start: int) -> str:
        stem = "meter" if start == 0 else f"meter.{start}"
        try:
            told = json.loads((self._run / "streams" / f"{stem}.json").read_text(encoding="utf-8"))
            outcome = str(told["health"]["outcome"]).removeprefix("failed: ")
        except (OSError, ValueError, KeyError):
            return "see the logs in run/streams"
        # Which of its files it was does not matter, and would make each time another message.
        outcome = re.sub(r"/parts/\S+?\.arrows", "", outcome)
        if outcome != "running":
            return outcome.rstrip(".")
        # It could not write what happened, or it had no time to.
        return FULL if shutil.disk_usage(self._folder).free < LITTLE_BYTES else "it was killed"

    def _look(self) -> None:
        """Account for what has come in.

        A file's successor is created before the file is closed: for a moment both are open.
        """
        known = {entry.file for entry in self._entries}
        for name in index.present(self._folder):
            if name not in known:
                self._open.append(Account(index.parts(self._folder) / name))
                self._entries.append(self._open[-1].entry)
                self._changed = True
        for account in self._open:
            account.look()
            if account.entry.state == LIVE and account is not self._open[-1]:
                account.waits_since = account.waits_since or time.monotonic()
                if time.monotonic() - account.waits_since > CLOSING_S:
                    account.entry.state = KILLED
            self._changed |= account.entry.state != LIVE
        self._open = [account for account in self._open if account.entry.state == LIVE]

    def _remove_old(self) -> None:
        if self._keeping.keep_s is None:
            return
        limit_ns = time.time_ns() - s_to_ns(self._keeping.keep_s)
        gone = [
            entry
            for entry in self._entries
            if entry.state != LIVE and (entry.last_wall_ns or 0) < limit_ns
        ]
        if not gone:
            return
        # First out of the index, then off the disk: a reader never goes by a line without a file.
        self._entries = [entry for entry in self._entries if entry not in gone]
        self._changed = True
        self._save()
        for entry in gone:
            (index.parts(self._folder) / entry.file).unlink(missing_ok=True)

    def _save(self) -> None:
        if not self._changed:
            return
        try:
            index.save(self._folder, self._entries)
            self._changed = False
        except OSError as error:
            self._tell("index", f"the index of {self._folder} cannot be written", error)

    def _summary(self) -> str:
        total = totals.add_up(self._entries)
        last = next((e.last for e in reversed(self._entries) if e.last), {})
        age = "no value yet"
        if total.last_good_wall_ns is not None:
            age_s = (time.time_ns() - total.last_good_wall_ns) / NS_PER_S
            limit_s = max(5.0, *(e.gap_s for e in self._entries[-1:]))
            age = totals.values(last)
            if age_s > limit_s:
                age += f" (NO GOOD VALUE FOR {totals.span(age_s)})"
            else:
                self._all_is_well()
        files = len(self._entries)
        return (
            f"{totals.utc(time.time_ns())}: {age}; {total.good} samples, "
            f"{totals.failures(total.failed)}, {totals.gaps(total)}, "
            f"{files} file{'' if files == 1 else 's'}"
        )
