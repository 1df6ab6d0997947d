"""Starting, watching and stopping the processes of all sources of a session."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from wattproof.errors import WattproofError
from wattproof.recorder.child import Child, Health
from wattproof.sources import lanes, names

READY_S = 20.0
"""A source that is not ready after this long has failed to start."""
STOP_S = 5.0
"""Time to flush and let go of the device; then the process is terminated, then killed."""


def _lanes(name: str, settings: Mapping[str, Any], made: bool) -> dict[str, dict[str, Any]]:
    if made and name not in names():
        return {"": dict(settings)}
    return lanes(name, settings)


class Recorder:
    """All sources of one session, each lane of each in a process of its own.

    Args:
        session_dir: Folder of the session; streams go to ``streams/`` in it.
        sources: Settings by name of the source.
        node: ``{"kind": "virtual" | "real", "dir": folder of the virtual node or None}``.
        on_missing: What to do if a source does not start: ``stop`` or ``continue`` without it.
        factories: ``module:function`` by source, in place of the registry (for tests).
        rotate: Fields of a `rotation.Rotation`: streams go to files by time, for an archive.

    Raises:
        WattproofError: If there is no such source.

    Example:
        >>> with Recorder(session, {"host": {}}, {"kind": "real", "dir": None}) as recorder:
        ...     recorder.check()  # now and then, while the workload runs
    """

    def __init__(
        self,
        session_dir: str | os.PathLike[str],
        sources: Mapping[str, Mapping[str, Any]],
        node: Mapping[str, Any],
        on_missing: Literal["stop", "continue"] | str = "stop",
        factories: Mapping[str, str] | None = None,
        rotate: Mapping[str, Any] | None = None,
    ) -> None:
        self._streams = Path(session_dir) / "streams"
        self._on_missing = on_missing
        given = factories or {}
        self._children = [
            Child(name, lane, own, node, self._streams, given.get(name), rotate)
            for name, settings in sources.items()
            for lane, own in _lanes(name, settings, name in given).items()
        ]

    def start(self) -> None:
        """Start all sources side by side and wait until each is ready.

        Raises:
            WattproofError: If one does not start and `on_missing` is ``stop``; all are stopped.
        """
        self._streams.mkdir(parents=True, exist_ok=True)
        for child in self._children:
            child.start()
        try:
            self._wait_ready()
        except BaseException:
            self.stop()
            raise

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        waiting = list(self._children)
        with selectors.DefaultSelector() as selector:
            for child in waiting:
                assert child.process is not None
                assert child.process.stdout is not None
                selector.register(child.process.stdout, selectors.EVENT_READ, child)
            while waiting and time.monotonic() < deadline:
                for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                    child = key.data
                    child.listen()
                    if child.ready or child.reason or self._hung_up(child):
                        selector.unregister(key.fileobj)
                        waiting.remove(child)
                        if not child.ready:
                            self._missing(child)
        for child in waiting:
            child.reason = f"it was not ready after {READY_S:g} s"
            self._missing(child)
        for name in dict.fromkeys(child.source for child in self._children):
            mine = [child for child in self._children if child.source == name]
            if not any(child.ready for child in mine) and self._on_missing == "stop":
                raise WattproofError(f"Source '{name}' did not start: {mine[0].reason}")

    @staticmethod
    def _hung_up(child: Child) -> bool:
        """Whether the process ended without a word (its output is readable, but empty)."""
        assert child.process is not None
        try:
            child.process.wait(0.05)
        except subprocess.TimeoutExpired:
            return False
        child.listen()
        return True

    def _missing(self, child: Child) -> None:
        child.release()
        child.join(time.monotonic() + STOP_S)
        child.given_up = True
        reason = child.why()
        child.note_failure(reason)
        # What a device does not offer is noted, and another of its lanes goes on.
        if self._on_missing == "stop" and child.offered:
            raise WattproofError(f"Source '{child.name}' did not start: {reason}")

    def check(self) -> None:
        """Start sources again that have died or hang. Never waits; call it a few times a second."""
        for child in self._children:
            child.listen()
            if child.given_up:
                continue
            if not child.ended() and not child.watch(READY_S):
                continue
            if child.restart_at <= child.started:  # its end is news
                child.schedule_restart()
            if time.monotonic() >= child.restart_at:
                child.release()
                child.join(time.monotonic())
                child.note_failure(child.why())
                child.restarts += 1
                child.start()

    def stop(self) -> list[Health]:
        """Stop all sources; safe to call twice.

        Returns:
            What each source said of itself, in the order of the sources.
        """
        deadline = time.monotonic() + STOP_S
        for child in self._children:
            child.release()
        for child in self._children:
            if child.process is not None:
                child.join(deadline)
                child.given_up = True
        return [child.health() for child in self._children]

    def __enter__(self) -> Recorder:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
