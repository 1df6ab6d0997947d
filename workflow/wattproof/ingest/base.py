"""What every reader of a foreign format returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from wattproof import tables

NAMES = (
    "samples",
    "channels",
    "marks",
    "runs",
    "windows",
    "exchanges",
    "reported",
    "findings",
)
"""Tables of a foreign recording set."""


@dataclass(frozen=True, slots=True)
class Log:
    """One log of a manifest, as its reader gets it.

    Attributes:
        recording: Name of the set, which becomes the name of the recording (a reader of a folder
            with many recordings puts it in front of theirs).
        path: File or folder, absolute.
        shown: The path as the manifest has it, for sentences and for `findings.file`.
        settings: The log's keys beside ``format`` and ``path``, checked and completed by the
            reader's ``SETTINGS``.
        clock: Name of the clock that its stamps are from; logs of one name share it.
        main: True if that is the recording's clock: then ``channels.clock`` is ``host`` and all
            stamps are its nanoseconds since the epoch. If not, ``channels.clock`` is ``device``,
            and start_ns, end_ns, wall_ns and device_ns all hold the log's own stamps, read as UTC
            unless a time zone is known; no arrival stamps exist, which the channel's identity
            says (``"arrival": false``).
    """

    recording: str
    path: Path
    shown: str
    settings: dict[str, Any]
    clock: str
    main: bool


@dataclass(frozen=True)
class Ingested:
    """A foreign recording set in the tables of wattproof.

    Attributes:
        samples: Table ``samples``, sorted by recording, channel and time.
        channels: Table ``channels``.
        marks: Table ``marks``.
        runs: Table ``runs``.
        windows: Table ``windows``.
        exchanges: Table ``exchanges``: stamped messages between machines, evidence for clocks.
        reported: Table ``reported``: figures without the readings behind them.
        findings: Table ``findings``: what the files did not say and was inferred, and what is odd.
        host: Name of the machine where the data arose; "" if unknown or several.
        instruments: Identity of each source, as in `wattproof.tables.Meta`.
        extra: What else a reader of the tables must know; travels in their metadata.
        notes: What was odd in the files, one sentence each; travels in their metadata.
    """

    samples: pa.Table = field(default_factory=lambda: tables.conform([], "samples"))
    channels: pa.Table = field(default_factory=lambda: tables.conform([], "channels"))
    marks: pa.Table = field(default_factory=lambda: tables.conform([], "marks"))
    runs: pa.Table = field(default_factory=lambda: tables.conform([], "runs"))
    windows: pa.Table = field(default_factory=lambda: tables.conform([], "windows"))
    exchanges: pa.Table = field(default_factory=lambda: tables.conform([], "exchanges"))
    reported: pa.Table = field(default_factory=lambda: tables.conform([], "reported"))
    findings: pa.Table = field(default_factory=lambda: tables.conform([], "findings"))
    host: str = ""
    instruments: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Bring each table into its schema, or say what is wrong with it."""
        for name, table in self.tables().items():
            object.__setattr__(self, name, tables.conform(table, name))

    def tables(self) -> dict[str, pa.Table]:
        """The tables by the names of their schemas."""
        return {name: getattr(self, name) for name in NAMES}

    def about(self) -> dict[str, Any]:
        """Fields of `wattproof.tables.Meta` beside the campaign; foreign logs are measured."""
        return {
            "simulated": False,
            "host": self.host,
            "instruments": self.instruments,
            "extra": {**self.extra, "notes": list(self.notes)},
        }
