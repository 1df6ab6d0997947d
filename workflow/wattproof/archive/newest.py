"""How far an archive has come."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from wattproof.archive import index
from wattproof.archive.tail import Tail


class Newest:
    """The newest reading of an archive; looked at again, it reads only what is new."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._tail: Tail | None = None
        self._wall_ns: int | None = None

    def wall_ns(self) -> int | None:
        """Return the wall clock (there) of the newest reading; None without any."""
        names = index.present(self._archive)
        for name in names[-1:] if self._wall_ns is not None else reversed(names):
            if self._tail is None or self._tail.path.name != name:
                self._tail = Tail(index.parts(self._archive) / name)
            rows = read_if_there(self._tail)
            if rows is not None:
                newest = int(rows["wall_ns"].to_numpy().max())
                self._wall_ns = max(newest, self._wall_ns or newest)
                break
        return self._wall_ns


def read_if_there(tail: Tail) -> pa.Table | None:
    """Return what is new in a stream; None if nothing is, or if it was removed by age."""
    try:
        return tail.read()
    except FileNotFoundError:  # removed by age just now
        return None
