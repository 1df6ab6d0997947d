"""What every reader of a foreign format returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from wattproof import tables


@dataclass(frozen=True)
class Ingested:
    """A foreign recording set in the tables of wattproof.

    Attributes:
        samples: Table ``samples``, sorted by recording, channel and time.
        channels: Table ``channels``.
        marks: Table ``marks``.
        runs: Table ``runs``.
        windows: Table ``windows``.
        host: Name of the machine where the data arose; "" if unknown or several.
        instruments: Identity of each source, as in `wattproof.tables.Meta`.
        extra: What else a reader of the tables must know; travels in their metadata.
        notes: What was odd in the files, one sentence each; travels in their metadata.
    """

    samples: pa.Table
    channels: pa.Table
    marks: pa.Table
    runs: pa.Table
    windows: pa.Table
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
        names = ("samples", "channels", "marks", "runs", "windows")
        return {name: getattr(self, name) for name in names}

    def about(self) -> dict[str, Any]:
        """Fields of `wattproof.tables.Meta` beside the campaign; foreign logs are measured."""
        return {
            "simulated": False,
            "host": self.host,
            "instruments": self.instruments,
            "extra": {**self.extra, "notes": list(self.notes)},
        }
