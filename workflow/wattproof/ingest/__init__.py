"""Recordings that others made: one file per foreign format, and the manifest that names them.

A new reader is one file with ``SETTINGS``, ``read(log)``, ``sniff(path, head)`` and
``draft(path)``, and one line in `_READERS`; see docs/ingest.md.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pyarrow as pa

from wattproof import tables
from wattproof.errors import WattproofError, did_you_mean
from wattproof.ingest import load, manifest, published
from wattproof.ingest.base import NAMES, Ingested, Log
from wattproof.ingest.manifest import Manifest

__all__ = [
    "NAMES",
    "Ingested",
    "Log",
    "Manifest",
    "load_set",
    "names",
    "published_table",
    "reader",
    "sniff",
]

_READERS: dict[str, str] = {
    "nvidia_smi": "nvidia_smi",
    "delimited": "delimited",
    "ptdaemon": "ptdaemon_log",
    "mlperf_inference": "mlperf_inference",
    "mlperf_training": "mlperf_training",
    "energyrunner": "energyrunner",
    "codecarbon": "codecarbon_csv",
    "perf_rapl": "perf_rapl",
    "dcgm": "dcgm",
    "pmt_text": "pmt_text",
}
"""Name of a format in manifests → its file."""


def names() -> list[str]:
    """Names of all foreign formats that can be read."""
    return sorted(_READERS)


def reader(name: str, where: str = "") -> ModuleType:
    """Return the reader of a format.

    Raises:
        WattproofError: There is none.
    """
    if name not in _READERS:
        place = f"{where}: there" if where else "There"
        raise WattproofError(
            f"{place} is no reader for the format '{name}'.{did_you_mean(name, _READERS)} "
            "Correct 'format', or describe the file with format: delimited."
        )
    return import_module(f"wattproof.ingest.{_READERS[name]}")


def load_set(chosen: Manifest, name: str) -> Ingested:
    """Read all logs of one set of a manifest.

    Args:
        chosen: From `wattproof.ingest.manifest.read`.
        name: One of its sets.

    Raises:
        WattproofError: A log cannot be read, or there is no such set; one sentence.
    """
    if name not in chosen.sets:
        raise WattproofError(f"{chosen.path} has no set '{name}'.{did_you_mean(name, chosen.sets)}")
    found = chosen.sets[name]
    readers = {form: reader(form, f"{chosen.path}, set '{name}'") for form, _ in found.logs}
    data = load.load(chosen, found, readers)
    figures = found.published
    if not figures:
        return data
    log = replace(found.logs[0][1], shown=str(chosen.path))
    rows = published.check(data, figures, name, str(chosen.path))
    more = [
        tables.conform(
            published.findings(log, pd.DataFrame([row]), figure["tolerance"]), "findings"
        )
        for row, figure in zip(rows, figures, strict=True)
    ]
    return replace(data, findings=pa.concat_tables([data.findings, *more]))


def published_table(chosen: Manifest, name: str, data: Ingested) -> pa.Table:
    """Table ``published`` of one set: figures of its logs' own files, and of the manifest.

    Args:
        chosen: The manifest.
        name: One of its sets.
        data: The set's tables, from `load_set`.

    Raises:
        WattproofError: A figure cannot be compared; one sentence.
    """
    found = chosen.sets[name]
    rows: list[dict[str, Any]] = []
    for form, log in found.logs:
        module = reader(form)
        if hasattr(module, "published_rows"):
            rows += module.published_rows(load.checked(chosen, name, module, log))
    rows += published.check(data, found.published, name, str(chosen.path))
    return tables.conform(rows, "published")


def sniff(path: Path) -> list[tuple[str, float]]:
    """Formats that a file or folder may have, surest first, each with its score from 0 to 1."""
    from wattproof.ingest import text

    head = text.head(path)
    scores = [(name, float(reader(name).sniff(path, head))) for name in _READERS]
    return sorted((s for s in scores if s[1] > 0), key=lambda s: -s[1])


def read_manifest(path: str | Path) -> Manifest:
    """Read and check a manifest (`wattproof.ingest.manifest.read`)."""
    return manifest.read(path)
