"""Recording a command: instruments first, then the command, then the tables.

Nothing here may end, slow or change the command. What was sampled is on disk at once, so whatever
happens to this process, `seal` makes the tables afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import wattproof
from wattproof import archive
from wattproof.doctor import ENERGY_SOURCES, Grade, Settings, diagnose, machine
from wattproof.errors import WattproofError
from wattproof.measure import command as commands
from wattproof.measure import inside
from wattproof.measure.folder import Folder, cannot_write, create, write_json
from wattproof.measure.signals import Signals
from wattproof.recorder import Recorder
from wattproof.training.marks import MarkWriter

FAILED = 125
"""Exit code if we fail before the command was started, as `timeout` and `env` have it."""
SETTLE_S = 1.0
"""After the command, until its power has gone from the averages, before idle is measured."""
PATIENCE_S = 4.0
PAD_S = 0.3
PAD_AFTER_S = 0.6
PAD_PERIODS = 2.5
PAD_MOST_S = 5.0
"""Samples from before and after the command say where its edges lie between two of them."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What to record, and how.

    Attributes:
        command: Command and arguments.
        settings: Sources and settings of analysis.
        out: Folder of the record; None: by name or time in ``wattproof-records``.
        name: Its name; None: the folder's, or the time.
        idle_s: Seconds of idle to record before and after.
        require: Sources without which the command is not started.
    """

    command: Sequence[str]
    settings: Settings
    out: Path | None = None
    name: str | None = None
    idle_s: float = 0.0
    require: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of it.

    Attributes:
        folder: The record.
        exit_code: To end with: the command's, or 128 + signal if it was never started.
    """

    folder: Folder
    exit_code: int


def record(options: Options, say: Say) -> Recorded:
    """Run a command while the instruments sample; raw data only, tables are made by `seal`.

    Args:
        options: What to record.
        say: Called with one line for people now and then.

    Raises:
        CommandError: If the command cannot be started.
        WattproofError: If a source that is required does not start, or nothing can be written.
    """
    commands.check(options.command)
    for name in options.require:
        if name not in options.settings.sources:
            raise WattproofError(
                f"--require names '{name}', which is not among the sources of this record: "
                f"{', '.join(options.settings.sources)}."
            )
    folder, name = create(options.out, options.name, datetime.now())
    signals = Signals()
    try:
        with folder.locked(), signals.caught():
            about = _about(options, folder, name)
            write_json(folder.about, about)
            code = _run(options, folder, about, signals, say)
    except OSError as error:
        raise cannot_write(folder.path, error) from error
    except WattproofError:
        _remove(folder, options)
        raise
    return Recorded(folder, code)


def _run(
    options: Options, folder: Folder, about: dict[str, Any], signals: Signals, say: Say
) -> int:
    settings = options.settings
    live, archived = archive.split(settings.sources)
    if archived is not None and (settings.on_missing == "stop" or "meter" in options.require):
        archive.check(archived)
    recorder = Recorder(folder.raw, live, {"kind": "real", "dir": None}, settings.on_missing)
    marks = MarkWriter(folder.marks)
    ended: commands.Ended | None = None
    with contextlib.closing(marks):
        with _patience(say):
            recorder.start()
        care = _Care(recorder.check, say)
        try:
            started = started_sources(folder.raw)
            required = [name for name in options.require if name in live]
            _check_required(required, settings, started)
            _announce(started, options, say)
            before_s, after_s = _pads(started, settings.sources)
            cpu_s = _cpu_s()  # what was imported until here is start-up
            cut = bool(signals.ending)
            cut = cut or _idle(options.idle_s, marks, signals, care, say, "before")
            cut = cut or signals.sleep(before_s, care)
            if not cut:
                ended = _command(options, folder, about, marks, signals, care)
                # One more Ctrl-C ends what follows at once.
                cut = options.idle_s > 0 and signals.sleep(SETTLE_S, care)
                cut = cut or _idle(options.idle_s, marks, signals, care, say, "after")
                cut = cut or signals.sleep(after_s, care)
        finally:
            care.of(recorder.stop)
    about["ended"] = {"own_cpu_s": _cpu_s() - cpu_s}
    if ended is None:
        write_json(folder.about, about)
        say(f"stopped by {signals.ending[0].name} before the command was started")
        return 128 + int(signals.ending[0])
    about["ended"] |= {
        "exit_code": ended.exit_code,
        "signal": ended.signal,
        "cpu_s": ended.cpu_s,
    }
    care.of(lambda: write_json(folder.about, about))
    return ended.exit_code


@contextlib.contextmanager
def _patience(say: Say) -> Iterator[None]:
    """Say so if the instruments take long to start: a driver may hang."""
    text = "an instrument takes long to start; the command waits for it, but not for ever"
    timer = threading.Timer(PATIENCE_S, say, (text,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


class _Care:
    """Does what must not disturb the command, whatever goes wrong: the first trouble is told."""

    def __init__(self, tick: Callable[[], None], say: Say) -> None:
        self._tick = tick
        self._say = say
        self._told = False

    def __call__(self) -> None:
        self.of(self._tick)

    def of(self, action: Callable[[], Any]) -> None:
        """Do something; trouble is told once and does not spread."""
        try:
            action()
        except Exception as error:  # noqa: BLE001 - the command runs on, whatever it is
            if not self._told:
                self._told = True
                kind = "" if isinstance(error, WattproofError) else f"{type(error).__name__}: "
                self._say(f"measuring is disturbed, the command is not: {kind}{error}")


def _command(
    options: Options,
    folder: Folder,
    about: Mapping[str, Any],
    marks: MarkWriter,
    signals: Signals,
    care: _Care,
) -> commands.Ended:
    name = about["name"]
    environment = {
        **os.environ,
        inside.MARKS: str(folder.command_marks.absolute()),
        inside.RUN_ID: name,
    }
    marks.mark("run_begin", name)
    process = commands.start(options.command, environment)
    ended = commands.wait(process, signals, care)
    care.of(lambda: marks.mark("run_end", name))
    return ended


def _idle(
    seconds: float, marks: MarkWriter, signals: Signals, care: _Care, say: Say, when: str
) -> bool:
    """Record idle; returns whether it was cut short."""
    if seconds <= 0:
        return False
    say(f"measuring idle {when} the command for {seconds:g} s")
    care.of(lambda: marks.mark("load_begin", None, "idle"))
    cut = signals.sleep(seconds, care)
    care.of(lambda: marks.mark("load_end", None, "idle"))
    return cut


def _about(options: Options, folder: Folder, name: str) -> dict[str, Any]:
    settings = options.settings
    return {
        "schema": 1,
        "wattproof": wattproof.__version__,
        "name": name,
        "command": list(options.command),
        "directory": os.getcwd(),
        "path": str(folder.path),
        "host": socket.gethostname(),
        "kernel": platform.release(),
        "boot_id": machine.text("/proc/sys/kernel/random/boot_id"),
        "cpus_allowed": machine.cpus_allowed(),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "mono_ns": time.monotonic_ns(),
        "wall_ns": time.time_ns(),
        "sources": settings.sources,
        "on_missing": settings.on_missing,
        "analysis": settings.analysis,
        "config": settings.file,
        "idle_s": options.idle_s,
    }


def _cpu_s() -> float:
    """CPU seconds of this process alone."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def _pads(started: Sequence[str], sources: Mapping[str, Mapping[str, Any]]) -> tuple[float, float]:
    """Return how long to sample before and after; nothing if no source of energy is there."""
    if not set(started) & set(ENERGY_SOURCES):
        return 0.0, 0.0
    keys = ("period_s", "counter_period_s", "cycle_s")
    periods = [float(sources[name].get(key, 0.0)) for name in started for key in keys]
    pad_s = min(PAD_PERIODS * max(periods, default=0.0), PAD_MOST_S)
    return max(PAD_S, pad_s), max(PAD_AFTER_S, pad_s)


def started_sources(raw: Path) -> list[str]:
    """Return the sources of which at least one process came up, by their health records."""
    found: dict[str, None] = {}
    streams = raw / "streams"
    for path in sorted(streams.glob("*.arrows")) if streams.is_dir() else ():
        info = path.with_suffix(".json")
        outcome = "running"
        if info.exists():
            content = json.loads(info.read_text(encoding="utf-8"))
            outcome = str(content.get("health", {}).get("outcome", outcome))
        if not outcome.startswith(("failed", "not offered", "hung")):
            found[path.name.split(".")[0].partition("@")[0]] = None
    return list(found)


def _check_required(require: Sequence[str], settings: Settings, started: Sequence[str]) -> None:
    for name in require:
        if name in started:
            continue
        found = diagnose([name], settings).get(name, [])
        bad = [finding for finding in found if finding.grade is Grade.MISSING]
        why = f"{bad[0].sentence} {bad[0].remedy}" if bad else "it gave no reason."
        raise WattproofError(
            f"Source '{name}' is required and did not start, so the command was not: {why.strip()}"
        )


def _announce(started: Sequence[str], options: Options, say: Say) -> None:
    here = [name for name in options.settings.sources if name in started]
    words = ", ".join(here) or "nothing"
    if not set(started) & set(ENERGY_SOURCES):
        words += " (no source of energy works here; the end says why)"
    say(f"measuring {options.command[0]} with {words}")


def _remove(folder: Folder, options: Options) -> None:
    """Take back a record in which nothing was measured: it was never begun."""
    shutil.rmtree(folder.raw, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.path.rmdir()
    if options.out is None:
        with contextlib.suppress(OSError):
            folder.path.parent.rmdir()  # only if no other record is there
