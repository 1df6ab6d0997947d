"""Manifests of small logs that the tests write themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from wattproof import ingest
from wattproof.ingest import Ingested


def one_log(folder: Path, format_: str, content: str | bytes, **settings: Any) -> Ingested:
    """Write a log and its manifest, and read it back as the only log of set ``s``."""
    path = folder / "log.txt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content, encoding="utf-8")
    return load(folder, [{"format": format_, "path": "log.txt", **settings}])


def load(folder: Path, logs: list[dict[str, Any]], **more: Any) -> Ingested:
    """Read set ``s`` of these logs."""
    file = folder / "manifest.yaml"
    file.write_text(yaml.safe_dump({"audit": "t", "sets": {"s": {"logs": logs, **more}}}))
    return ingest.load_set(ingest.read_manifest(file), "s")


def flags(data: Ingested) -> set[str]:
    """Names of the findings."""
    return set(data.findings.column("flag").to_pylist())


def values(data: Ingested, channel: str) -> list[float | None]:
    """Values of a channel, by time."""
    rows = data.samples.to_pylist()
    return [row["value"] for row in rows if row["channel"] == channel]


def stamps(data: Ingested, channel: str) -> list[int]:
    """Stamps of a channel in nanoseconds since the epoch."""
    return [row["end_ns"] for row in data.samples.to_pylist() if row["channel"] == channel]
