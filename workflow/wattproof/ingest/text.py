"""Reading the text of foreign logs, with one clear sentence for each way that can fail."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from wattproof.errors import WattproofError

HEAD_BYTES = 65_536
"""Enough to see what a file is."""


def _open_bytes(path: Path, size: int = -1) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as packed:
                return packed.read(size)
        with path.open("rb") as plain:
            return plain.read(size)
    except FileNotFoundError as error:
        raise WattproofError(f"{path} does not exist; correct its path.") from error
    except IsADirectoryError as error:
        raise WattproofError(f"{path} is a folder; give a file of it.") from error
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise WattproofError(f"{path} cannot be read ({why}); restore the file.") from error


def head(path: Path) -> bytes:
    """First bytes of a file, unpacked, UTF-16 as UTF-8; empty for a folder."""
    if path.is_dir():
        return b""
    data = _open_bytes(path, HEAD_BYTES)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        # PowerShell's ">" writes UTF-16.
        return data.decode("utf-16", errors="ignore").encode()
    return data


def is_binary(data: bytes) -> bool:
    """Whether bytes are no text: text of power logs has no zero bytes (UTF-16 has a mark)."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return False
    return b"\x00" in data


def read_text(path: Path, encoding: str | None = None) -> str:
    """Return the text of a log.

    Args:
        path: The file; ``.gz`` is unpacked.
        encoding: As the manifest says; None: UTF-16 by its mark, else UTF-8, else Latin-1 (which
            reads any byte; power logs are ASCII but for names of tasks).

    Raises:
        WattproofError: The file is missing, empty, binary or unreadable; one sentence names it.
    """
    data = _open_bytes(path)
    if not data.strip():
        raise WattproofError(f"{path} is empty; restore the file or take it out of the manifest.")
    if encoding is None and is_binary(data[:HEAD_BYTES]):
        raise WattproofError(
            f"{path} is a binary file, no text; give the right file, or its format's name."
        )
    if encoding is None:
        wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        for candidate in ("utf-16",) if wide else ("utf-8-sig", "latin-1"):
            try:
                return data.decode(candidate)
            except UnicodeDecodeError:
                continue
    try:
        return data.decode(encoding or "utf-8")
    except (UnicodeDecodeError, LookupError) as error:
        raise WattproofError(
            f"{path} is no text in {encoding}; correct its encoding in the manifest."
        ) from error
