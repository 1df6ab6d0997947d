"""Keeping what took long to decode, as plain arrays that many runs map into memory.

A kept data set is a folder ``{name}-{fingerprint}-{side}/`` with ``images.npy`` and ``labels.npy``,
renamed into place when it is whole. Processes that want the same one at the same time wait for the
first. Deleting the cache costs time only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wattproof.errors import WattproofError
from wattproof.training.datasets.base import Raw

_TEST_FILE = "test_images"


def folder(cache_dir: str | None) -> Path:
    """Return the cache: the user's, or ``wattproof/datasets`` where caches are kept."""
    if cache_dir is not None:
        return Path(cache_dir)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "wattproof" / "datasets"


def file_mark(*paths: Path) -> str:
    """Digest of what changes when files change: place, size and time of the last change."""
    told = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def kept(where: Path, name: str, make: Callable[[], Raw]) -> Raw:
    """Return a data set from the cache, after making and keeping it if it is not there.

    Args:
        where: The cache.
        name: Of the entry, different for different content.
        make: Reads the data set.

    Raises:
        WattproofError: The cache cannot be written, or what `make` raises.
    """
    entry = where / name
    if not entry.is_dir():
        try:
            where.mkdir(parents=True, exist_ok=True)
            with _locked(where / f"{name}.lock"):
                if not entry.is_dir():
                    _save(entry, make())
        except OSError as error:
            raise WattproofError(
                f"The cache of decoded data sets {where} cannot be written: {error.strerror}; set "
                "training.cache_dir to a folder with enough space."
            ) from error
    return _load(entry)


def _save(entry: Path, raw: Raw) -> None:
    import numpy as np

    part = entry.with_name(f".{entry.name}.{os.getpid()}")
    try:
        part.mkdir()
        np.save(part / "images.npy", raw.images, allow_pickle=False)
        np.save(part / "labels.npy", raw.labels, allow_pickle=False)
        (part / _TEST_FILE).write_text(str(raw.test), encoding="ascii")
        part.rename(entry)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _load(entry: Path) -> Raw:
    import numpy as np

    try:
        images = np.load(entry / "images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(entry / "labels.npy", allow_pickle=False)
        test = int((entry / _TEST_FILE).read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise WattproofError(
            f"{entry} is damaged ({error}); delete this folder: it is made anew from the data set."
        ) from error
    return Raw(images, labels, test)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
