"""The process of one source: open, say "ready", read until told to stop, leave a health record.

Protocol: stdin is the leash (its end, or SIGTERM, means stop; a parent that is killed lets go of
it too); stdout carries one JSON line, ``{"event": "ready", "channels": […]}`` or
``{"event": "failed", "reason": "…"}`` (``"offered": false`` if the device works but does not have
what this lane reads). SIGINT is ignored: Ctrl-C belongs to the parent.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wattproof.errors import WattproofError
from wattproof.recorder import loops, priority
from wattproof.recorder.rotation import RotatingWriter, open_writer
from wattproof.recorder.streams import FLUSH_S, StreamWriter, description_to_dict
from wattproof.sources import Endpoints, create, real_endpoints
from wattproof.sources.base import Description, Interruptible, NotOfferedError, Source

TICK_S = 0.1
"""How often the housekeeping thread looks whether rows wait or the health record is old."""
INFO_S = 2.0
NOT_OFFERED = "not offered"
"""Outcome of a lane whose device works but does not have what the lane reads."""
RUNNING = "running"
"""Outcome in a health record whose process has not said goodbye: it runs, or was killed."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What the process needs to know.

    Attributes:
        name: Name of the source.
        settings: Its settings from the campaign.
        node: ``{"kind": "virtual" | "real", "dir": folder of the virtual node or None}``.
        stream: Stream file to create.
        info: File for description and health.
        lane: Which of the source's lanes; "" for the main one.
        factory: ``module:function`` that makes the source in place of the registry (tests).
        beat: Descriptor of the memory that the watchdog reads; None if nobody watches.
        ordinary: Do not ask for a high priority: the process before this one computed too long.
        rotate: Fields of a `rotation.Rotation`, if its stream is cut into files by time.
    """

    name: str
    settings: dict[str, Any]
    node: dict[str, Any]
    stream: Path
    info: Path
    lane: str = ""
    factory: str | None = None
    beat: int | None = None
    ordinary: bool = False
    rotate: dict[str, Any] | None = None

    @classmethod
    def load(cls, path: str) -> Spec:
        """Read a specification from a JSON file."""
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        return cls(**{**data, "stream": Path(data["stream"]), "info": Path(data["info"])})


def endpoints_of(node: dict[str, Any]) -> Endpoints:
    """Return what stands where the drivers stand: this machine's drivers, or a virtual node's."""
    if node["kind"] == "virtual":
        virtual = importlib.import_module("wattproof.virtual.endpoints")
        return Endpoints(**virtual.endpoints(node["dir"]))
    return real_endpoints()


def make_source(spec: Spec) -> Source:
    """Make the source that a specification asks for; nothing is opened yet."""
    endpoints = endpoints_of(spec.node)
    if spec.factory is None:
        return create(spec.name, spec.settings, endpoints, spec.lane)
    module, _, function = spec.factory.partition(":")
    lane = (spec.lane,) if spec.lane else ()
    make = getattr(importlib.import_module(module), function)
    source: Source = make(spec.settings, endpoints, *lane)
    return source


def cpu_seconds() -> float:
    """Return CPU seconds of this process and of its ended children (nvidia-smi)."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@dataclass
class InfoFile:
    """Description and health of the source, rewritten as a whole each time."""

    spec: Spec
    source: Source | None = None
    description: Description | None = None
    counts: loops.Counts = field(default_factory=loops.Counts)
    outcome: str = RUNNING
    cpu_start_s: float | None = None
    """CPU seconds until the source was ready: imports, finding devices."""
    priority: str = priority.ORDINARY

    def calm_down(self) -> None:
        """Note that the high priority was taken back."""
        self.priority = f"{priority.ORDINARY}: it computed for over {priority.SOFT_S:g} s"

    def write(self) -> None:
        """Write the file so that it is there whole or not at all."""
        about = None if self.description is None else description_to_dict(self.description)
        content = {
            "source": self.spec.name,
            "lane": self.spec.lane,
            "pacing": None if self.source is None else self.source.pacing.value,
            "period_s": None if self.source is None else self.source.period_s,
            "description": about,
            "health": {
                "taken": self.counts.taken,
                "failed": self.counts.failed,
                "late": self.counts.late,
                "missed": self.counts.missed,
                "cpu_s": cpu_seconds(),
                "cpu_start_s": self.cpu_start_s,
                "priority": self.priority,
                "outcome": self.outcome,
                "updated_ns": time.monotonic_ns(),
            },
        }
        temporary = self.spec.info.with_name(f".{self.spec.info.name}.tmp")
        temporary.write_text(json.dumps(content), encoding="utf-8")
        os.replace(temporary, self.spec.info)


class _Housekeeper(threading.Thread):
    """Watches the leash, writes waiting rows and the health record, whatever the reader does."""

    def __init__(self, stop: loops.StopSignal, info: InfoFile) -> None:
        super().__init__(daemon=True)
        self.writer: StreamWriter | RotatingWriter | None = None
        self.trouble: WattproofError | None = None
        self._halt = stop
        self._info = info
        self._end = threading.Event()
        self._hasty = False

    def hasten(self) -> None:
        """Let the thread raise its priority: it holds the interpreter's lock now and then."""
        self._hasty = True

    def run(self) -> None:
        leash = sys.stdin.fileno()
        info_due = time.monotonic() + INFO_S
        while not self._end.is_set():
            if self._hasty:
                self._hasty = False
                priority.raise_priority()
            if self._halt.is_set:
                self._end.wait(TICK_S)
            elif select.select([leash], [], [], TICK_S)[0] and not os.read(leash, 4096):
                self.stop_source()
            try:
                if self.writer is not None:
                    self.writer.flush(older_than_s=FLUSH_S - 2 * TICK_S)
                if self.writer is not None and time.monotonic() >= info_due:
                    info_due = time.monotonic() + INFO_S
                    self._info.write()
            except WattproofError as error:
                self.trouble = error
            except OSError as error:
                self.trouble = WattproofError(f"Cannot write {self._info.spec.info}: {error}.")
            if self.trouble is not None:
                self.stop_source()
                return

    def stop_source(self) -> None:
        """Ask the loop to end, and a read that blocks to return."""
        self._halt.set()
        source: object = self._info.source
        if isinstance(source, Interruptible):
            source.interrupt()

    def end(self) -> None:
        """End the thread and wait for it."""
        self._end.set()
        self.join()


def _say(**event: Any) -> None:
    # A parent that is gone cannot listen; the leash will tell.
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


@contextlib.contextmanager
def _closing(source: Source) -> Iterator[None]:
    try:
        yield
    finally:
        source.close()


def main(path: str) -> int:
    """Run the source of a specification file until stdin ends or SIGTERM comes.

    Returns:
        Exit status: 0 after a stop that was asked for, 1 if the source failed.
    """
    stop = loops.StopSignal()
    spec = Spec.load(path)
    info = InfoFile(spec)
    keeper = _Housekeeper(stop, info)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    priority.guard(info.calm_down)
    signal.signal(signal.SIGTERM, lambda _number, _frame: keeper.stop_source())
    keeper.start()
    try:
        _record(spec, info, keeper, stop)
        info.outcome = "ok"
    except NotOfferedError as error:
        info.outcome = f"{NOT_OFFERED}: {error}"
        _say(event="failed", reason=str(error), offered=False)
    except WattproofError as error:
        info.outcome = f"failed: {error}"
        _say(event="failed", reason=str(error))
    except BaseException as error:
        info.outcome = f"failed: {type(error).__name__}: {error}"
        _say(event="failed", reason=f"{type(error).__name__}: {error}")
        raise
    finally:
        keeper.end()
        info.write()
    return 0 if info.outcome == "ok" else 1


def _record(spec: Spec, info: InfoFile, keeper: _Housekeeper, stop: loops.StopSignal) -> None:
    source = info.source = make_source(spec)
    with _closing(source):
        info.description = source.open()
        writer = open_writer(spec.stream, info.description, source, spec.rotate)
        try:
            info.write()
            keeper.writer = writer
            _say(event="ready", channels=[c.name for c in info.description.channels])
            # What is alive now stays alive: the collector need not look at it again.
            gc.freeze()
            info.cpu_start_s = cpu_seconds()
            if not spec.ordinary:
                keeper.hasten()
                info.priority = priority.raise_priority()
            loops.run(source, stop, writer.append, info.counts, loops.Beat(spec.beat))
        finally:
            writer.close()
        if keeper.trouble is not None:
            raise keeper.trouble
