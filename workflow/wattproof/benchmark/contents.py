"""The files of a benchmark, wherever they lie: in a folder, or in an archive that stays closed.

Nothing is ever unpacked to disk, and no name can reach outside of the benchmark.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from io import BytesIO
from pathlib import Path, PurePosixPath

from wattproof.benchmark import archive
from wattproof.errors import WattproofError

AGAIN = "fetch or publish the benchmark again"

DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,  # encrypted; NotImplementedError: an unknown way to compress
    ValueError,
    OverflowError,
)
"""What `zipfile` raises for an archive of which bytes were lost or changed."""


class Contents(ABC):
    """Names and bytes of a benchmark's files.

    Attributes:
        where: Folder or archive, for messages.
    """

    where: Path

    @abstractmethod
    def names(self) -> list[str]:
        """Names of all files, sorted; hidden ones (``.DS_Store``) are not the benchmark's."""

    @abstractmethod
    def read(self, name: str, at_most: int) -> bytes | None:
        """Return the bytes of a file, at most one more than `at_most`; None if it is not there.

        Raises:
            WattproofError: It is there, but it cannot be read.
        """

    def place(self, name: str) -> str:
        """Return where a file lies, for messages."""
        return str(self.where / name)

    @abstractmethod
    def verify(self) -> None:
        """Check what no file of it shows; to be called when all files were found whole.

        Raises:
            WattproofError: Bytes between the files were changed.
        """


class _Folder(Contents):
    def __init__(self, folder: Path) -> None:
        self.where = folder

    def names(self) -> list[str]:
        found = (path.relative_to(self.where) for path in self.where.rglob("*") if path.is_file())
        return sorted(path.as_posix() for path in found if not _hidden(path.parts))

    def read(self, name: str, at_most: int) -> bytes | None:
        try:
            with (self.where / name).open("rb") as file:
                return file.read(at_most + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise WattproofError(
                f"{self.place(name)} cannot be read ({error.strerror}); {AGAIN}."
            ) from error

    def verify(self) -> None:
        pass


class _Archive(Contents):
    def __init__(self, file: Path) -> None:
        self.where = file
        damaged = f"{file} is damaged or was cut off: it is no complete zip archive; {AGAIN}."
        try:
            self._raw = file.read_bytes()
            self._zip = zipfile.ZipFile(BytesIO(self._raw))
            every = self._zip.infolist()
            listed = [info for info in every if not (info.is_dir() or _macos(info.filename))]
        except DAMAGE as error:
            raise WattproofError(damaged) from error
        names = [info.filename for info in listed]
        for name in names:
            _check_name(name, str(file))
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise WattproofError(f"{file} holds '{twice}' twice, which no benchmark does; {AGAIN}.")
        # Whoever zips a folder by hand gets an archive with that one folder in it.
        top = {name.split("/")[0] for name in names}
        self._prefix = f"{top.pop()}/" if len(top) == 1 and all("/" in n for n in names) else ""
        self._listed = {info.filename.removeprefix(self._prefix): info for info in listed}

    def names(self) -> list[str]:
        return sorted(name for name in self._listed if not _hidden(name.split("/")))

    def place(self, name: str) -> str:
        return f"{self.where}, file {name},"

    def read(self, name: str, at_most: int) -> bytes | None:
        if name not in self._listed:
            return None
        try:
            with self._zip.open(self._listed[name]) as file:
                return file.read(at_most + 1)
        except DAMAGE as error:
            raise WattproofError(
                f"{self.place(name)} was changed after it was published: it cannot be read from "
                f"the archive; {AGAIN}."
            ) from error

    def verify(self) -> None:
        if not archive.seal_holds(self._raw, self._zip.comment):
            raise WattproofError(
                f"{self.where} was changed after it was published: the checksum of the archive "
                f"does not fit; {AGAIN}."
            )


def find(path: Path, is_one: str) -> Contents | None:
    """Open a folder or an archive.

    Args:
        path: Of the benchmark.
        is_one: File that a folder must hold to be one.

    Returns:
        Its contents; None if it is neither.

    Raises:
        WattproofError: It is an archive that is damaged or holds what none may hold.
    """
    if path.is_dir():
        return _Folder(path) if (path / is_one).is_file() else None
    if not path.is_file():
        return None
    with path.open("rb") as file:
        begins_like_zip = file.read(2) == b"PK"
    return _Archive(path) if begins_like_zip or path.suffix == ".zip" else None


def is_safe(name: str) -> bool:
    """Whether a name means a file inside the benchmark on every system."""
    path = PurePosixPath(name)
    odd = "\\" in name or ":" in name or "\0" in name or name != path.as_posix()
    return bool(name) and not odd and not path.is_absolute() and ".." not in path.parts


def _check_name(name: str, where: str) -> None:
    if not is_safe(name):
        raise WattproofError(
            f"{where} lists '{name}', which lies outside the benchmark; do not use it."
        )


def _macos(name: str) -> bool:
    """Whether it is what the Finder of macOS adds to every archive that it makes."""
    return name.startswith("__MACOSX/")


def _hidden(parts: tuple[str, ...] | list[str]) -> bool:
    return any(part.startswith(".") for part in parts)
