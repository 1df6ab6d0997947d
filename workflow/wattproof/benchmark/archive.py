"""A benchmark as one file: a zip archive, the same bytes for the same contents.

Its comment holds the SHA-256 of everything before the comment, so that also a changed byte between
the files is noticed. Files are stored as they are: Parquet is compressed already, and what deflate
makes of the rest depends on the version of zlib.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from io import BytesIO

SUFFIX = ".wattproof.zip"

LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The first day of zip: when something was packed is no property of a benchmark."""

MODE = 0o100644
SEAL = b"wattproof sha256 "


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return the archive of files, by name."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as packed:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, LONG_AGO)
            info.create_system = 3  # Unix, wherever it is packed
            info.external_attr = MODE << 16
            packed.writestr(info, files[name])
        # As long as the seal will be: the end of the archive says how long its comment is.
        packed.comment = SEAL + b"0" * 64
    raw = buffer.getvalue()
    body = raw[: len(raw) - len(SEAL) - 64]
    return body + _seal(body)


def seal_holds(raw: bytes, comment: bytes) -> bool:
    """Whether an archive is as it was packed; one without comment (zipped by hand) has no seal."""
    if not comment:
        return True
    return comment == _seal(raw[: len(raw) - len(comment)])


def _seal(body: bytes) -> bytes:
    return SEAL + hashlib.sha256(body).hexdigest().encode()
