"""One archive, one writer."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from wattproof.archive import index
from wattproof.errors import WattproofError


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold an archive, which is made if it is not there.

    Raises:
        WattproofError: If another process holds it, or the folder cannot be written.
    """
    try:
        index.parts(folder).mkdir(parents=True, exist_ok=True)
        handle = (folder / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise WattproofError(
            f"The archive {folder} cannot be written ({error.strerror}); give a folder of yours on "
            "a disk with room."
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise WattproofError(
                    f"The archive {folder} cannot be locked ({error.strerror}); give a folder on a "
                    "local disk of this machine."
                ) from error
            raise WattproofError(
                f"Another `wattproof meter` ({_holder(handle)}) writes the archive {folder}; stop "
                "it, or give another folder."
            ) from error
        with contextlib.suppress(OSError):  # a full disk; the lock holds all the same
            handle.truncate(0)
            handle.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
            handle.flush()
        yield


def _holder(handle: IO[str]) -> str:
    handle.seek(0)
    try:
        told = json.loads(handle.read())
        return f"process {told['pid']} on {told['host']}"
    except (ValueError, KeyError, TypeError):
        return "an unknown process"
