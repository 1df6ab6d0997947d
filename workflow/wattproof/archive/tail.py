"""Following a stream that grows, and adding up what is in it.

The file is opened anew for each look: on a network file system that is what makes new bytes
visible. Only whole batches are taken; half a batch waits for its other half.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from wattproof.archive.index import ENDED, Entry
from wattproof.errors import WattproofError
from wattproof.recorder.streams import END, META_KEY
from wattproof.sources.base import Status
from wattproof.units import NS_PER_S

GAP_PERIODS = 3.0
"""No good value for longer than this many periods is a gap."""

COLUMNS = ("channel", "scheduled_ns", "start_ns", "end_ns", "wall_ns", "device_ns", "value")


class Tail:
    """A stream from where one has read so far.

    Args:
        path: A file of the archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.description: dict[str, Any] = {}
        self.ended = False
        self._offset = 0
        self._schema: pa.Schema | None = None
        self._statuses: list[str] = []

    def read(self) -> pa.Table | None:
        """Return the rows that are new, in the recorder's columns; None if there are none.

        Raises:
            WattproofError: If it is not a stream of the recorder.
            FileNotFoundError: If it is gone.
        """
        if self.ended:
            return None
        with self.path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        batches: list[pa.RecordBatch] = []
        reader = pa.BufferReader(data)
        done = 0
        while done < len(data):
            if data[done : done + len(END)] == END:
                self.ended = True
                break
            try:
                reader.seek(done)
                message = pa.ipc.read_message(reader)
            except (pa.ArrowInvalid, OSError, EOFError):
                break
            if self._schema is None:
                self._open(pa.ipc.read_schema(message))
            else:
                batches.append(pa.ipc.read_record_batch(message, self._schema))
            done = reader.tell()
        self._offset += done
        return self._decode(batches) if batches else None

    def _open(self, schema: pa.Schema) -> None:
        about = (schema.metadata or {}).get(META_KEY)
        if about is None:
            raise WattproofError(
                f"{self.path} is not a stream that wattproof wrote; move it out of the archive."
            )
        self._schema = schema
        told = json.loads(about)
        self._statuses = told["statuses"]
        self.description = {key: told[key] for key in ("identity", "channels", "simulated")}

    def _decode(self, batches: list[pa.RecordBatch]) -> pa.Table:
        table = pa.Table.from_batches(batches)
        names = pa.array([channel["name"] for channel in self.description["channels"]])
        columns = {name: table.column(name) for name in COLUMNS}
        columns["channel"] = names.take(table.column("channel").combine_chunks())
        columns["status"] = pa.array(self._statuses).take(table.column("status").combine_chunks())
        return pa.table(columns)


class Account:
    """A file of the archive and its line of the index, brought up to date by `look`."""

    def __init__(self, path: Path) -> None:
        self.entry = Entry(path.name)
        self.waits_since: float | None = None
        """Since when it should have been closed (monotonic seconds); for the keeper."""
        self._tail = Tail(path)
        self._last_good_ns: int | None = None

    def look(self) -> None:
        """Take in what is new in the file.

        Raises:
            WattproofError: If it is not a stream of the recorder.
        """
        fresh = not self._tail.description
        rows = self._tail.read()
        if fresh and self._tail.description:
            self._describe()
        if rows is not None:
            self._add(rows)
        if self._tail.ended:
            self.entry.state = ENDED

    def _describe(self) -> None:
        identity = self._tail.description["identity"]
        about = identity.get("archive", {})
        words = (identity.get(key) for key in ("maker", "model", "serial"))
        self.entry.meter = " ".join(str(word) for word in words if word)
        self.entry.host = about.get("host", "")
        self.entry.boot_id = about.get("boot_id", "")
        channel = self._first()
        period_s = channel["period_s"] or about.get("period_s") or 1.0
        self.entry.gap_s = GAP_PERIODS * float(period_s)

    def _first(self) -> dict[str, Any]:
        channels: list[dict[str, Any]] = self._tail.description["channels"]
        return next((c for c in channels if c["kind"] == "power"), channels[0])

    def _add(self, rows: pa.Table) -> None:
        entry = self.entry
        wall = rows["wall_ns"].to_numpy()
        channel, status = (np.asarray(rows[n].to_pylist()) for n in ("channel", "status"))
        entry.rows += rows.num_rows
        entry.first_wall_ns = _least(entry.first_wall_ns, int(wall.min()))
        entry.last_wall_ns = max(entry.last_wall_ns or 0, int(wall.max()))
        mine, ok = channel == self._first()["name"], status == Status.OK.value
        good = np.flatnonzero(mine & ok)
        entry.good += len(good)
        for word, count in zip(*np.unique(status[mine & ~ok], return_counts=True), strict=True):
            entry.failed[str(word)] = entry.failed.get(str(word), 0) + int(count)
        if len(good):
            self._add_gaps(rows["end_ns"].to_numpy()[good])
            entry.first_good_wall_ns = _least(entry.first_good_wall_ns, int(wall[good].min()))
            entry.last_good_wall_ns = max(entry.last_good_wall_ns or 0, int(wall[good].max()))
        for item in self._tail.description["channels"]:
            found = np.flatnonzero((channel == item["name"]) & ok)
            if len(found):
                value = rows["value"][int(found[-1])].as_py()
                entry.last[item["name"]] = [value, item["unit"]]

    def _add_gaps(self, end_ns: np.ndarray) -> None:
        before = [] if self._last_good_ns is None else [self._last_good_ns]
        steps_s = np.diff(np.concatenate([np.asarray(before, np.int64), end_ns])) / NS_PER_S
        self._last_good_ns = int(end_ns[-1])
        if len(steps_s):
            self.entry.gaps += int(np.count_nonzero(steps_s > self.entry.gap_s))
            self.entry.longest_gap_s = max(self.entry.longest_gap_s, float(steps_s.max()))


def _least(old: int | None, new: int) -> int:
    return new if old is None else min(old, new)
