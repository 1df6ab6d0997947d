"""A small LMG450 on a real pseudo-terminal; what it sends is scripted, not modelled."""

from __future__ import annotations

import os
import select
import threading
import time
import tty


class LmgSimulator:
    """Answers ``*idn?``; after ``CONT ON`` sends the scripted pieces, one each `pace_s`.

    Args:
        pieces: Bytes to send, in order; None is a silence of one pace.
        stale: Sent at once and again and again until ``CONT OFF``: an old stream.
        mute: Never answers.
    """

    def __init__(
        self,
        pieces: list[bytes | None],
        pace_s: float = 0.005,
        stale: bytes = b"",
        mute: bool = False,
    ) -> None:
        self.commands: list[str] = []
        self._pieces = list(pieces)
        self._pace_s = pace_s
        self._stale = stale
        self._mute = mute
        self._sending = False
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        rest = b""
        next_s = time.monotonic()
        while not self._stop.is_set():
            if select.select([self._master], [], [], 0.002)[0]:
                rest += os.read(self._master, 4096)
                *lines, rest = rest.split(b"\r\n")
                for line in lines:
                    self._command(line.decode())
            if time.monotonic() < next_s:
                continue
            next_s = time.monotonic() + self._pace_s
            if self._stale:
                os.write(self._master, self._stale)
            elif self._sending and self._pieces:
                piece = self._pieces.pop(0)
                if piece:
                    os.write(self._master, piece)

    def _command(self, command: str) -> None:
        self.commands.append(command)
        if command == "CONT OFF":
            self._stale = b""
            self._sending = False
        elif command == "CONT ON":
            self._sending = True
        elif command == "*idn?" and not self._mute:
            os.write(self._master, b"ZES ZIMMER,LMG450 SIMULATED,SIM-42,3.112\r\n")

    def unplug(self) -> None:
        self._stop.set()
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)
