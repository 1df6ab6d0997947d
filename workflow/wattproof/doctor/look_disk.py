"""The disk that recordings go to: may we write there, how much room, how fast."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wattproof.doctor import machine
from wattproof.doctor.findings import Finding, limited, missing, ok

BLOCK_BYTES = 1 << 20
BLOCKS = 8
LEAST_FREE_BYTES = 1 << 30
LEAST_BYTES_PER_S = 2e6
"""A recording of everything writes well below a tenth of this."""
SLOW_SYNC_S = 0.5
_NETWORK = ("nfs", "nfs4", "lustre", "beegfs", "gpfs", "cifs", "smb3", "ceph", "fuse.sshfs")


def look(request: Mapping[str, Any]) -> list[Finding]:
    """Write a little where a recording would write."""
    folder = Path(request.get("folder") or ".").absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    kind = filesystem(folder)
    facts: dict[str, Any] = {"folder": str(folder), "free_bytes": free, "filesystem": kind}
    block = os.urandom(BLOCK_BYTES)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".wattproof-doctor.") as file:
            begun = time.monotonic()
            for _ in range(BLOCKS):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            elapsed_s = time.monotonic() - begun
    except OSError as error:
        return [
            missing(
                "disk",
                "folder",
                f"Nothing can be written to {folder} ({error.strerror}).",
                "Choose another folder with --out.",
                facts=facts,
            )
        ]
    speed = BLOCKS * BLOCK_BYTES / max(elapsed_s, 1e-9)
    facts |= {"bytes_per_s": speed, "write_s": elapsed_s}
    text = f"{folder}: {free / 2**30:.1f} GiB free, {speed / 1e6:.0f} MB/s"
    if kind:
        text += f" ({kind})"
    if free < LEAST_FREE_BYTES:
        return [limited("disk", "folder", f"{text}: nearly full.", "Free some space.", facts=facts)]
    if speed < LEAST_BYTES_PER_S:
        return [
            limited(
                "disk",
                "folder",
                f"{text}: slow.",
                "Record to a local disk with --out.",
                facts=facts,
            )
        ]
    if kind in _NETWORK:
        return [
            limited(
                "disk",
                "folder",
                f"{text}: a network file system; if it stalls, samples wait in memory.",
                "Record to a local disk with --out and copy afterwards.",
                facts=facts,
            )
        ]
    return [ok("disk", "folder", f"{text}.", facts=facts)]


def filesystem(folder: Path) -> str:
    """Return the kind of file system of a folder; empty if it cannot be told."""
    best, kind = "", ""
    where = str(folder.resolve())
    for line in machine.text("/proc/self/mounts").splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        mount = fields[1].replace("\\040", " ")
        inside = where == mount or where.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, fields[2]
    return kind
