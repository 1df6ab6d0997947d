"""Crash-safe streamed columnar files: Arrow IPC streams that grow by whole batches.

Each batch is one encapsulated message and goes to the file in one ``write``: a process that is
killed leaves whole batches and at most one torn one at the end, which the reader leaves out. The
file carries its own description; any Arrow reader opens it. (A crash of the *machine* may lose
what the kernel had not written yet: there is no fsync, which would stall the sampler.)
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from wattproof.errors import WattproofError
from wattproof.sources.base import Description, Status

FLUSH_S = 0.5
"""A row waits no longer than this before it is in the file."""

META_KEY = b"wattproof.stream"
STATUSES = tuple(status.value for status in Status)
END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""End-of-stream marker of the Arrow IPC format: only a stream that was closed has it."""

_FIELDS = (
    pa.field("channel", pa.int16(), nullable=False),
    pa.field("scheduled_ns", pa.int64()),
    pa.field("start_ns", pa.int64(), nullable=False),
    pa.field("end_ns", pa.int64(), nullable=False),
    pa.field("wall_ns", pa.int64(), nullable=False),
    pa.field("device_ns", pa.int64()),
    pa.field("value", pa.float64()),
    pa.field("status", pa.int8(), nullable=False),
)

Row = tuple[str, int | None, int, int, int, int | None, float | None, Status]
"""channel, scheduled_ns, start_ns, end_ns, wall_ns, device_ns, value, status."""


def description_to_dict(description: Description) -> dict[str, Any]:
    """Return a description as JSON-ready dictionaries."""
    return {
        "identity": description.identity,
        "channels": [asdict(channel) for channel in description.channels],
        "simulated": description.simulated,
    }


class StreamWriter:
    """Writes the rows of one source. `append` is cheap; `flush` may run in another thread.

    Args:
        path: File to create; it must not exist yet.
        description: What the source said of itself when it was opened.

    Raises:
        WattproofError: If the file cannot be created or written (disk full …).
    """

    def __init__(self, path: str | os.PathLike[str], description: Description) -> None:
        self.path = Path(path)
        about = {**description_to_dict(description), "statuses": STATUSES}
        self._schema = pa.schema(_FIELDS, metadata={META_KEY: json.dumps(about).encode()})
        self._channels = {c.name: code for code, c in enumerate(description.channels)}
        self._statuses = {status: code for code, status in enumerate(Status)}
        self._rows: list[Row] = []
        self._oldest_ns = 0
        self._swap = threading.Lock()
        self._writing = threading.Lock()
        self._size = 0
        self._closed = False
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._file = os.open(self.path, flags, 0o644)
        except OSError as error:
            raise WattproofError(f"Cannot create the stream {self.path}: {error}.") from error
        self._write(self._schema.serialize())

    def append(self, rows: Iterable[Row]) -> None:
        """Add rows; they reach the file with the next flush."""
        with self._swap:
            if not self._rows:
                self._oldest_ns = time.monotonic_ns()
            self._rows.extend(rows)

    def flush(self, older_than_s: float = 0.0) -> bool:
        """Write the waiting rows as one batch.

        Args:
            older_than_s: Do nothing if the oldest of them waits for less than this.

        Returns:
            Whether anything was written.
        """
        with self._writing:
            with self._swap:
                age_ns = time.monotonic_ns() - self._oldest_ns
                if not self._rows or age_ns < older_than_s * 1e9:
                    return False
                rows, self._rows = self._rows, []
            self._write(self._batch(rows).serialize())
            return True

    def close(self) -> None:
        """Write what waits and the end marker. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        try:
            self.flush()
            with self._writing:
                self._write(END)
        finally:
            os.close(self._file)

    def _batch(self, rows: Sequence[Row]) -> pa.RecordBatch:
        channel, scheduled, start, end, wall, device, value, status = zip(*rows, strict=True)
        codes = [self._channels[name] for name in channel]
        outcomes = [self._statuses[item] for item in status]
        columns = (codes, scheduled, start, end, wall, device, value, outcomes)
        arrays = [_array(c, f.type) for c, f in zip(columns, _FIELDS, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _write(self, message: pa.Buffer | bytes) -> None:
        view = memoryview(message)
        done = 0
        try:
            while done < len(view):
                done += os.write(self._file, view[done:])
        except OSError as error:
            # Later batches behind a torn one could not be read: take it back.
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
            raise WattproofError(f"Cannot write the stream {self.path}: {error}.") from error
        self._size += done


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return numbers as an Arrow array, None as null.

    ``pa.array`` would do the same, but it loads pandas when it is first called: a fifth of a
    second, in the middle of sampling, and 40 MB in each source's process.
    """
    bitmap: pa.Buffer | None = None
    if None in values:
        bitmap = pa.py_buffer(np.packbits([v is not None for v in values], bitorder="little"))
        values = [0 if v is None else v for v in values]
    data = pa.py_buffer(np.array(values, kind.to_pandas_dtype()))
    return pa.Array.from_buffers(kind, len(values), [bitmap, data])


def read_stream(path: str | os.PathLike[str]) -> tuple[pa.Table, dict[str, Any], bool]:
    """Read a stream as far as it goes.

    Args:
        path: A file of `StreamWriter`; its process may have been killed, or may still be writing.

    Returns:
        The rows in the columns of table ``samples`` (less recording, session, source); the
        description as a dictionary (``identity``, ``channels``, ``simulated``; empty if not even
        the head survived); and whether the end is missing, so that up to `FLUSH_S` of rows may be
        lost.

    Raises:
        WattproofError: If the file is not there, or is some other file.
    """
    source = Path(path)
    if not source.exists():
        raise WattproofError(f"There is no stream {source}.")
    if source.stat().st_size == 0:  # an empty file cannot be mapped
        return _decode([], {"statuses": STATUSES, "channels": []}), {}, True
    with pa.memory_map(str(source), "r") as file:
        schema, batches, whole = _messages(file)
    if schema is None:
        return _decode([], {"statuses": STATUSES, "channels": []}), {}, True
    if META_KEY not in (schema.metadata or {}):
        raise WattproofError(f"{source} is not a stream that wattproof's recorder wrote.")
    about: dict[str, Any] = json.loads(schema.metadata[META_KEY])
    description = {key: about[key] for key in ("identity", "channels", "simulated")}
    return _decode(batches, about), description, not whole


def _messages(file: pa.NativeFile) -> tuple[pa.Schema | None, list[pa.RecordBatch], bool]:
    """Read whole messages up to the end marker or the first torn one."""
    schema: pa.Schema | None = None
    batches: list[pa.RecordBatch] = []
    size = file.size()
    try:
        while True:
            position = file.tell()
            if file.read(len(END)) == END:
                return schema, batches, position + len(END) == size
            file.seek(position)
            message = pa.ipc.read_message(file)
            if schema is None:
                schema = pa.ipc.read_schema(message)
            else:
                batches.append(pa.ipc.read_record_batch(message, schema))
    except (pa.ArrowInvalid, OSError, EOFError):
        return schema, batches, False


def _decode(batches: Sequence[pa.RecordBatch], about: dict[str, Any]) -> pa.Table:
    table = pa.Table.from_batches(batches, schema=pa.schema(_FIELDS))
    names = pa.array([channel["name"] for channel in about["channels"]], pa.string())
    words = pa.array(about["statuses"], pa.string())
    columns = {field.name: table.column(field.name) for field in _FIELDS}
    columns["channel"] = names.take(table.column("channel").combine_chunks())
    columns["status"] = words.take(table.column("status").combine_chunks())
    return pa.table(columns)


class StreamTail:
    """Follows a stream that its process is writing: each call reads only what is new.

    Args:
        path: A file of `StreamWriter`; it may not be there yet.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._offset = 0
        self._schema: pa.Schema | None = None
        self.channels: list[dict[str, Any]] = []
        """Descriptions of its channels; empty until the head is there."""

    def poll(self) -> pa.Table | None:
        """Return the rows that are new, as `read_stream` does; None if there are none."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return None
        batches: list[pa.RecordBatch] = []
        with pa.BufferReader(data) as buffer:
            done = 0
            # A batch that is being written, or the end marker, is left for a later call.
            with contextlib.suppress(pa.ArrowInvalid, OSError, EOFError):
                while done < len(data) and not data.startswith(END, done):
                    message = pa.ipc.read_message(buffer)
                    if self._schema is None:
                        self._schema = pa.ipc.read_schema(message)
                    else:
                        batches.append(pa.ipc.read_record_batch(message, self._schema))
                    done = buffer.tell()
        self._offset += done
        if self._schema is None or META_KEY not in (self._schema.metadata or {}):
            return None
        about = json.loads(self._schema.metadata[META_KEY])
        self.channels = about["channels"]
        return _decode(batches, about) if batches else None
