"""Lines and questions over a `Link`, in steps that a streaming read can take one at a time."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TypeVar

from wattproof.sources.meters.link import Link

LONGEST_LINE = 4096
"""More bytes than this without a line end are not a line."""
STEP_S = 0.05
"""Longest wait between two turns of a conversation."""

T = TypeVar("T")
Talk = Generator[None, None, T]
"""A conversation that yields while it waits, so that a streaming `read` can go on with it for a
quarter of a second at a time; `run` finishes one at once."""


class Lines:
    """Whole lines from a link, and questions to it.

    Args:
        link: The link.
        line_end: What the host sends after a command; answers may end with LF or CR LF.
    """

    def __init__(self, link: Link, line_end: bytes = b"\n") -> None:
        self.link = link
        self._line_end = line_end
        self._rest = b""

    def read(self, timeout_s: float) -> list[bytes]:
        """Return the lines that have become whole, less their ends; empty after `timeout_s`.

        A piece longer than `LONGEST_LINE` without a line end is returned as if it were a line.

        Raises:
            LinkLostError: If the link is gone.
        """
        data = self.link.read(timeout_s)
        if not data:
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], b""
        return [line.rstrip(b"\r") for line in lines]

    def send(self, command: str) -> None:
        """Send a command.

        Raises:
            LinkLostError: If the link is gone.
        """
        self.link.write(command.encode("ascii") + self._line_end)

    def ask(self, command: str, timeout_s: float) -> Talk[str | None]:
        """Send a question and wait for a line that is not empty.

        Returns:
            Its text (bytes that are not ASCII as ``�``), or None if none came in time; what came
            without a line end is then lost.
        """
        self.send(command)
        end = time.monotonic() + timeout_s
        while (left_s := end - time.monotonic()) > 0:
            for line in self.read(min(STEP_S, left_s)):
                if text := line.decode("ascii", "replace").strip(" \r\0"):
                    return text
            yield
        return None

    def drain(self, quiet_s: float, limit_s: float) -> Talk[bytes]:
        """Throw away what arrives until nothing came for `quiet_s`, for `limit_s` at most.

        Returns:
            The last bytes that were thrown away, for a message.
        """
        thrown = self._rest
        self._rest = b""
        now = time.monotonic()
        end, quiet = now + limit_s, now + quiet_s
        while (now := time.monotonic()) < min(end, quiet):
            data = self.link.read(min(STEP_S, quiet - now))
            if data:
                thrown = (thrown + data)[-LONGEST_LINE:]
                quiet = time.monotonic() + quiet_s
            yield
        return thrown


def pause(seconds: float) -> Talk[None]:
    """Wait, in steps."""
    end = time.monotonic() + seconds
    while (left_s := end - time.monotonic()) > 0:
        time.sleep(min(STEP_S, left_s))
        yield


def run(talk: Talk[T]) -> T:
    """Bring a conversation to its end, however long it takes."""
    while True:
        try:
            next(talk)
        except StopIteration as stop:
            result: T = stop.value
            return result


def go_on(talk: Talk[None], seconds: float) -> bool:
    """Go on with a conversation for a while; return whether it has come to its end."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            next(talk)
        except StopIteration:
            return True
    return False
