"""Readers of recordings that others made: one file per foreign format.

A new reader is one file with a function ``ingest(root) -> Ingested`` and one line in `_READERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from wattproof.errors import WattproofError, did_you_mean
from wattproof.ingest import mlperf_training
from wattproof.ingest.base import Ingested

__all__ = ["Ingested", "names", "read"]

_READERS: dict[str, Callable[[Path], Ingested]] = {
    "mlperf_training": mlperf_training.ingest,
}


def names() -> list[str]:
    """Names of all foreign formats that can be read."""
    return sorted(_READERS)


def read(name: str, root: Path) -> Ingested:
    """Read a foreign recording set.

    Args:
        name: Name of the format.
        root: Folder of the set.

    Raises:
        WattproofError: There is no such reader, or the folder does not hold what it reads.
    """
    if name not in _READERS:
        raise WattproofError(
            f"There is no reader for '{name}'.{did_you_mean(name, _READERS)} "
            "Correct the key under 'ingest'."
        )
    return _READERS[name](root)
