"""A pseudo-terminal with a stable name, in the place of a serial port."""

from __future__ import annotations

import contextlib
import os
import tty
from pathlib import Path

READ_BYTES = 4096


class PseudoPort:
    """The device's end of a serial line.

    The slave's end is kept open here too: otherwise the line would hang up whenever a host closes
    it. No echo, no translation of line ends.

    Args:
        link: Name of the port for the host: a symbolic link to the slave.
    """

    def __init__(self, link: Path) -> None:
        self._link = link
        self.fd, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.fd, False)
        part = link.with_name(f".{link.name}.part")
        part.unlink(missing_ok=True)
        part.symlink_to(os.ttyname(self._slave))
        os.replace(part, link)

    def read(self) -> bytes:
        """Return what the host has written, at once; empty if nothing."""
        try:
            return os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return b""

    def write(self, data: bytes) -> None:
        """Send to the host; what does not fit is lost, as on a line that nobody listens to."""
        if data:
            with contextlib.suppress(BlockingIOError):
                os.write(self.fd, data)

    def close(self) -> None:
        """Hang up and remove the name."""
        self._link.unlink(missing_ok=True)
        os.close(self.fd)
        os.close(self._slave)
