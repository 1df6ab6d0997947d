"""Samples one channel at a time, so that a recording of any length fits into memory."""

from __future__ import annotations

import os
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from wattproof.tables.bychannel import KEY, WORDS, by_channel, stretches
from wattproof.tables.files import SAMPLES, check_file, to_frame
from wattproof.tables.schemas import schema

Key = tuple[str, int, str, str]
"""Recording, session, source and channel."""

EXACT_LENGTH = 64
"""Statistics of longer texts may be cut off, so they prove nothing."""


def _key(values: Any) -> Key:
    recording, session, source, channel = values
    return str(recording), int(session), str(source), str(channel)


class SampleStore:
    """Samples by channel, from a file or from a frame.

    Files that `wattproof.tables.write` made hold a row group for each channel; of these only what
    is asked for is read. Files of other writers, in whatever order their rows are, are read once
    and kept.

    Example:
        >>> store = SampleStore.open("samples.parquet")
        >>> for key in store.keys():
        ...     readings = store.frame(key, ["end_ns", "value"])
    """

    def __init__(self) -> None:
        """Make an empty store; use `open` or `of`."""
        self._file: pq.ParquetFile | None = None
        self._groups: dict[Key, list[int]] = {}
        self._tables: dict[Key, pa.Table] = {}
        self._frame: pd.DataFrame | None = None
        self._rows: dict[Key, Any] = {}

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> SampleStore:
        """Open a file of table ``samples``.

        Raises:
            WattproofError: If it is not there, not readable, or another table.
        """
        check_file(path, SAMPLES)
        store = cls()
        file = pq.ParquetFile(path)
        for index in range(file.num_row_groups):
            if not file.metadata.row_group(index).num_rows:
                continue
            values = [_constant(file.metadata, index, name) for name in KEY]
            if any(value is None for value in values):
                # Rows of several channels in one group: it was not written by channel.
                store._groups = {}
                return store._hold(pq.read_table(path))
            store._groups.setdefault(_key(values), []).append(index)
        store._file = file
        return store

    @classmethod
    def of(cls, samples: SampleStore | pd.DataFrame | pa.Table) -> SampleStore:
        """Return a store of rows that are in memory already; a store is returned as it is."""
        if isinstance(samples, SampleStore):
            return samples
        store = cls()
        if isinstance(samples, pa.Table):
            return store._hold(samples)
        store._frame = samples
        if len(samples):
            found = samples.groupby(list(KEY), sort=False, observed=True).indices
            store._rows = {_key(key): rows for key, rows in found.items()}
        return store

    def _hold(self, table: pa.Table) -> SampleStore:
        for part in stretches(by_channel(table)):
            self._tables[_key(part.column(name)[0].as_py() for name in KEY)] = part
        return self

    def keys(self) -> list[Key]:
        """Return the channels, in the order of the file."""
        return [*self._groups, *self._tables, *self._rows]

    def __contains__(self, key: Key) -> bool:
        """Tell whether there is any reading of a channel."""
        return key in self._groups or key in self._tables or key in self._rows

    def count(self, key: Key) -> int:
        """Return the number of readings of a channel, good or failed; 0 if it is not there."""
        if self._file is not None:
            groups = self._groups.get(key, [])
            return sum(self._file.metadata.row_group(index).num_rows for index in groups)
        return len(self._tables[key] if key in self._tables else self._rows.get(key, ()))

    def constant(self, key: Key, column: str) -> Any | None:
        """Return the one value that a column has in all rows of a channel.

        None if it has several or nulls, and also where only reading the rows could tell.
        """
        if self._file is None:
            return None
        found = {_constant(self._file.metadata, i, column) for i in self._groups.get(key, [])}
        return found.pop() if len(found) == 1 else None

    def nulls(self, key: Key, column: str) -> int | None:
        """Return how many rows of a channel have no value; None if only reading could tell."""
        if self._file is None:
            return None
        total = 0
        for index in self._groups.get(key, []):
            statistics = _statistics(self._file.metadata, index, column)
            if statistics is None or not statistics.has_null_count:
                return None
            total += statistics.null_count
        return total

    def frame(self, key: Key, columns: list[str] | None = None) -> pd.DataFrame:
        """Return the readings of a channel in their order; columns as in table ``samples``.

        Args:
            key: One of `keys`; the frame of another one is empty.
            columns: Those wanted; None for all.
        """
        if self._frame is not None:
            rows = self._rows.get(key, [])
            part = self._frame if columns is None else self._frame[columns]
            return part.iloc[rows]
        if self._file is not None:
            table = self._file.read_row_groups(self._groups.get(key, []), columns=columns)
        elif key in self._tables:
            table = self._tables[key] if columns is None else self._tables[key].select(columns)
        else:
            table = schema(SAMPLES).arrow().empty_table()
            table = table if columns is None else table.select(columns)
        return to_frame(table, SAMPLES)


def _statistics(metadata: pq.FileMetaData, group: int, column: str) -> Any | None:
    index = metadata.schema.names.index(column)
    chunk = metadata.row_group(group).column(index)
    return chunk.statistics if chunk.is_stats_set else None


def _constant(metadata: pq.FileMetaData, group: int, column: str) -> Any | None:
    statistics = _statistics(metadata, group, column)
    if statistics is None or not statistics.has_min_max or statistics.null_count != 0:
        return None
    low, high = statistics.min, statistics.max
    if low != high or (column in WORDS and len(low) >= EXACT_LENGTH):
        return None
    return low
