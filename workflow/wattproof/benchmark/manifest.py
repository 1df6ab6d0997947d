"""The manifest of a benchmark folder: what is in it, and that nothing in it was changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from wattproof.errors import WattproofError

SCHEMA_VERSION = 1
"""Raised when a file of the benchmark changes its meaning."""

FILE = "manifest.json"
KIND = "wattproof-benchmark"

REQUIRED = (
    "CARD.md",
    "configspace.json",
    "curves.parquet",
    "dataset.parquet",
    "encoding.json",
    "intervals.json",
    "scores.parquet",
    "surrogate.json",
)
"""Files that every benchmark has; ``models/*.onnx`` come with them."""

AGAIN = "fetch or publish the benchmark again"


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256 digest."""
    return hashlib.sha256(content).hexdigest()


def render(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of a manifest, with the digest of its own content in it."""
    body = {key: value for key, value in content.items() if key != "digest"}
    digest = sha256(json.dumps(body, sort_keys=True).encode())
    text = json.dumps({**body, "digest": digest}, indent=1, sort_keys=True, ensure_ascii=False)
    return (text + "\n").encode()


def read(folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read a benchmark folder and verify every byte of what its manifest lists.

    Returns:
        The manifest, and the contents of all files by name.

    Raises:
        WattproofError: One sentence that names the file at fault.
    """
    manifest = _manifest(folder)
    files: dict[str, bytes] = {}
    for name, digest in manifest["files"].items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise WattproofError(
                f"{folder / FILE} lists '{name}', which lies outside the benchmark; do not use it."
            )
        try:
            files[name] = (folder / name).read_bytes()
        except OSError as error:
            raise WattproofError(
                f"{folder / name} is missing or cannot be read, but the manifest lists it; {AGAIN}."
            ) from error
        if sha256(files[name]) != digest:
            raise WattproofError(
                f"{folder / name} was changed after it was published: its checksum does not fit "
                f"the manifest; {AGAIN}."
            )
    return manifest, files


def _manifest(folder: Path) -> dict[str, Any]:
    not_one = (
        f"{folder} is not a wattproof benchmark; give the folder that holds its {FILE}, e.g. "
        "results/demo/benchmark."
    )
    try:
        raw = (folder / FILE).read_bytes()
    except OSError as error:
        if not folder.exists():
            raise WattproofError(f"{folder} does not exist; give a benchmark's folder.") from error
        raise WattproofError(not_one) from error
    changed = f"{folder / FILE} was changed after it was published; {AGAIN}."
    try:
        manifest = json.loads(raw)
    except ValueError as error:  # neither UTF-8 nor JSON
        raise WattproofError(changed) from error
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        raise WattproofError(not_one if b'"digest"' not in raw else changed)
    version = manifest.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise WattproofError(
            f"{folder} has benchmark schema version {version}, newer than the {SCHEMA_VERSION} "
            "that this wattproof reads: update wattproof."
        )
    if render(manifest) != raw:
        raise WattproofError(changed)
    missing = [name for name in REQUIRED if name not in manifest["files"]]
    if missing:
        raise WattproofError(f"{folder / FILE} does not list {', '.join(missing)}; {AGAIN}.")
    return manifest
