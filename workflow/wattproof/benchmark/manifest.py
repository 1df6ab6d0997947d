"""The manifest of a benchmark: what is in it, and that nothing in it was changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from wattproof.benchmark import contents
from wattproof.benchmark.contents import AGAIN, Contents
from wattproof.errors import WattproofError

SCHEMA_VERSION = 2
"""Raised when a file of the benchmark changes its meaning.

1: folders without machine-readable card and campaign; they are not read any more.
"""

FILE = "manifest.json"
KIND = "wattproof-benchmark"

REQUIRED = (
    "CARD.md",
    "card.json",
    "campaign.json",
    "configspace.json",
    "curves.parquet",
    "dataset.parquet",
    "scores.parquet",
    *("encoding.json", "intervals.json", "noise.json", "novelty.json", "surrogate.json"),
    "models/surrogate.onnx",
)
"""Files that every benchmark has; tables ``coverage`` and ``growth`` come with them if they are."""

FORMATS = (".json", ".md", ".onnx", ".parquet")
"""Formats that carry data and no programme. A pickle runs code when it is read."""

KEYS = ("name", "space", "input", "simulated", "created_by", "licence", "targets", "files")
MANIFEST_AT_MOST = 16 * 2**20
"""Bytes of a manifest; a larger one is none of ours."""

PICKLE = b"\x80"
"""First byte of a pickle; no text and none of `FORMATS` begins with it."""


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256 digest."""
    return hashlib.sha256(content).hexdigest()


def entry(content: bytes) -> dict[str, Any]:
    """Return what a manifest says of a file."""
    return {"sha256": sha256(content), "bytes": len(content)}


def render(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of a manifest, with the digest of its own content in it."""
    body = {key: value for key, value in content.items() if key != "digest"}
    digest = sha256(json.dumps(body, sort_keys=True).encode())
    text = json.dumps({**body, "digest": digest}, indent=1, sort_keys=True, ensure_ascii=False)
    return (text + "\n").encode()


def read(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read a benchmark and verify every byte of it.

    Args:
        path: Folder or archive.

    Returns:
        The manifest, and the contents of all files by name.

    Raises:
        WattproofError: One sentence that names the file at fault.
    """
    not_one = (
        f"{path} is not a wattproof benchmark; give its archive (.wattproof.zip) or the folder "
        f"that holds its {FILE}, e.g. results/demo/benchmark."
    )
    if not path.exists():
        raise WattproofError(f"{path} does not exist; give a benchmark's folder or archive.")
    found = contents.find(path, FILE)
    if found is None:
        raise WattproofError(not_one)
    manifest = _manifest(found, not_one)
    listed = manifest["files"]
    files = {name: _file(found, name, listed[name]) for name in listed}
    for name in found.names():
        if name != FILE and name not in listed:
            raise WattproofError(
                f"{found.place(name)} is not listed in the manifest, so nobody vouches for it; "
                f"remove it, or {AGAIN}."
            )
    found.verify()
    return manifest, files


def _file(found: Contents, name: str, about: Mapping[str, Any]) -> bytes:
    place = found.place(name)
    if not contents.is_safe(name):
        raise WattproofError(
            f"{found.place(FILE)} lists '{name}', which lies outside the benchmark; do not use it."
        )
    if PurePosixPath(name).suffix not in FORMATS:
        raise WattproofError(
            f"{place} is of a format that no benchmark holds, and reading it may run a programme; "
            "do not use this benchmark."
        )
    content = found.read(name, about["bytes"])
    if content is None:
        raise WattproofError(f"{place} is missing, but the manifest lists it; {AGAIN}.")
    if len(content) != about["bytes"] or sha256(content) != about["sha256"]:
        raise WattproofError(
            f"{place} was changed after it was published: its checksum does not fit the manifest; "
            f"{AGAIN}."
        )
    if content.startswith(PICKLE):
        raise WattproofError(
            f"{place} is a pickle, and reading it may run a programme; do not use this benchmark."
        )
    return content


def _manifest(found: Contents, not_one: str) -> dict[str, Any]:
    raw = found.read(FILE, MANIFEST_AT_MOST)
    if raw is None:
        raise WattproofError(not_one)
    place = found.place(FILE)
    changed = f"{place} was changed after it was published; {AGAIN}."
    try:
        manifest = json.loads(raw)
    except (ValueError, RecursionError) as error:  # neither UTF-8 nor JSON, or nested without end
        raise WattproofError(changed) from error
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        raise WattproofError(not_one if b'"digest"' not in raw else changed)
    _check_version(manifest.get("schema_version"), found.where)
    if render(manifest) != raw:
        raise WattproofError(changed)
    lacking = [key for key in KEYS if key not in manifest]
    if lacking:
        raise WattproofError(f"{place} does not say '{lacking[0]}'; {AGAIN}.")
    listed = manifest["files"]
    if not isinstance(listed, dict) or not all(map(_is_entry, listed.values())):
        raise WattproofError(f"{place} does not say size and checksum of each file; {AGAIN}.")
    missing = [name for name in REQUIRED if name not in listed]
    if missing:
        raise WattproofError(f"{place} does not list {', '.join(missing)}; {AGAIN}.")
    return manifest


def _is_entry(about: Any) -> bool:
    return (
        isinstance(about, dict)
        and isinstance(about.get("sha256"), str)
        and isinstance(about.get("bytes"), int)
        and about["bytes"] >= 0
    )


def _check_version(version: Any, where: Path) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise WattproofError(
            f"{where} has the unknown benchmark schema version {version!r}; {AGAIN}."
        )
    if version > SCHEMA_VERSION:
        raise WattproofError(
            f"{where} has benchmark schema version {version}, newer than the {SCHEMA_VERSION} "
            "that this wattproof reads: update wattproof."
        )
    if version < SCHEMA_VERSION:
        raise WattproofError(
            f"{where} has benchmark schema version {version}, older than the {SCHEMA_VERSION} that "
            "this wattproof reads: publish it again with `snakemake --forcerun benchmark`."
        )
