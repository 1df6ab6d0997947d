"""The folder of a record: raw streams first, tables and summary beside them afterwards.

```
DIR/
  raw/            about.json, streams/, marks.jsonl, command-marks.jsonl, lock
  *.parquet       samples channels health marks clocks windows energy
  summary.json    what is printed at the end
```
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from wattproof.errors import WattproofError

PARENT = Path("wattproof-records")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Folder:
    """Paths of a record."""

    path: Path

    @property
    def raw(self) -> Path:
        """Folder of what was written while the command ran."""
        return self.path / "raw"

    @property
    def about(self) -> Path:
        """What was measured: command, host, settings."""
        return self.raw / "about.json"

    @property
    def marks(self) -> Path:
        """Our marks."""
        return self.raw / "marks.jsonl"

    @property
    def command_marks(self) -> Path:
        """Marks that the command writes itself."""
        return self.raw / "command-marks.jsonl"

    @property
    def summary(self) -> Path:
        """The summary as JSON."""
        return self.path / "summary.json"

    def table(self, name: str) -> Path:
        """Return the file of a table."""
        return self.path / f"{name}.parquet"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the record, so that nobody seals it meanwhile.

        Raises:
            WattproofError: If somebody else holds it.
        """
        try:
            handle = (self.raw / "lock").open("w")
        except OSError as error:
            raise cannot_write(self.raw, error) from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise WattproofError(
                    f"{self.path} is being recorded; wait until its command has ended."
                ) from error
            yield


def cannot_write(path: Path, error: OSError) -> WattproofError:
    """Return the error of a folder that cannot be written."""
    reason = error.strerror or str(error)
    return WattproofError(
        f"Nothing can be written to {path} ({reason}); choose another folder with --out."
    )


def create(out: Path | None, name: str | None, now: datetime) -> tuple[Folder, str]:
    """Make the folder of a new record; a record that is there is never touched.

    Args:
        out: The folder; None for one in `PARENT`.
        name: Name of the record; None for the time.
        now: Local time.

    Returns:
        The folder and the record's name.

    Raises:
        WattproofError: If it cannot be made, or holds something already.
    """
    if name is not None and not _NAME.fullmatch(name):
        raise WattproofError(
            f"--name is '{name}'; use only letters, digits, '_', '.' and '-', beginning with a "
            "letter or digit."
        )
    stamp = now.strftime("%Y%m%d-%H%M%S")
    if out is None and name is None:
        path, name = _free(stamp)
    else:
        path = out if out is not None else PARENT / str(name)
        _make(path)
        if any(path.iterdir()):
            raise WattproofError(
                f"{path} holds something already, and a record is never overwritten; choose "
                "another --name or --out."
            )
        name = name or (path.name if _NAME.fullmatch(path.name) else stamp)
    folder = Folder(path)
    try:
        folder.raw.mkdir()
    except OSError as error:
        raise cannot_write(path, error) from error
    return folder, name


def _free(stamp: str) -> tuple[Path, str]:
    """Make a folder that nobody has: two records may begin in the same second."""
    _make(PARENT)
    for number in range(1, 1000):
        name = stamp if number == 1 else f"{stamp}-{number}"
        try:
            (PARENT / name).mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise cannot_write(PARENT, error) from error
        return PARENT / name, name
    raise WattproofError(f"{PARENT} holds a thousand records of this second; use --name.")


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise WattproofError(f"{path} is a file, not a folder; choose another --out.") from error
    except OSError as error:
        raise cannot_write(path, error) from error


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file so that it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def read_about(folder: Folder) -> dict[str, Any]:
    """Read what a record is about.

    Raises:
        WattproofError: If there is no record in the folder.
    """
    try:
        content: dict[str, Any] = json.loads(folder.about.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WattproofError(
            f"{folder.path} is no record of 'wattproof record': {folder.about} is not there or "
            "not readable."
        ) from error
    return content
