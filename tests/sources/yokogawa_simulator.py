"""A Yokogawa WT on a pseudo-terminal or a loopback socket: its status registers are modelled, its
powers are scripted (a different one for each update), and its line can be made to fail."""

from __future__ import annotations

import contextlib
import math
import os
import re
import select
import socket
import threading
import time
import tty
from collections.abc import Callable

# Long forms as the manual prints them: the capitals are the short form.
KNOWN = (
    "*IDN", "*CLS", "COMMunicate:REMote", "COMMunicate:HEADer", "COMMunicate:VERBose",
    "COMMunicate:WAIT", "SYSTem:COMMunicate:COMMand", "HOLD", "RATE", "MEASure:AVERaging:STATe",
    "INPut:VOLTage:AUTO", "INPut:VOLTage:RANGe", "INPut:CURRent:AUTO", "INPut:CURRent:RANGe",
    "NUMeric:FORMat", "NUMeric:NORMal:NUMber", "NUMeric:NORMal:ITEM", "NUMeric:NORMal:VALue",
    "STATus:FILTer", "STATus:EESR", "STATus:CONDition", "STATus:ERRor", "INTEGrate:MODE",
    "INTEGrate:TIMer", "INTEGrate:START", "INTEGrate:STOP", "INTEGrate:RESet", "INTEGrate:STATe",
)  # fmt: skip
VOLTS = (15, 30, 60, 150, 300, 600)
AMPS = (0.5, 1, 2, 5, 10, 20)
DURING_INTEGRATION = ("RATE", "INPut:VOLTage:RANGe", "INPut:CURRent:RANGe")


def long_form(header: str) -> str | None:
    """The known command that a header is a long or a short form of."""
    for known in KNOWN:
        parts = known.split(":")
        given = re.sub(r"(?<=[A-Za-z])\d+$", "", header.lstrip(":")).split(":")
        if len(parts) == len(given) and all(
            g.upper() in (p.upper(), "".join(c for c in p if not c.islower()))
            for g, p in zip(given, parts, strict=True)
        ):
            return known
    return None


def power_w(update: int, element: int) -> float:
    """Power of an element at an update: never twice the same."""
    return 100.0 * element + update * 0.25


class YokogawaSimulator:
    """A WT310E or WT333E.

    Args:
        tcp: On a loopback socket instead of a pseudo-terminal.
        model: What ``*IDN?`` says.
        answer: Changes an answer by the number of the update: bytes to send, None for silence.
        value: Changes one value of an answer to text: (update, element) -> text or None.
        condition: Condition register by update, beside its ITG bit.
        mute: Never answers.
        refuses: Commands (long form) that it does not know.
        quiet_after: No more updates after this one.
    """

    def __init__(
        self,
        tcp: bool = False,
        model: str = "WT333E",
        answer: Callable[[int, bytes], bytes | None] = lambda _, text: text,
        value: Callable[[int, int], str | None] = lambda *_: None,
        condition: Callable[[int], int] = lambda _: 0,
        mute: bool = False,
        refuses: tuple[str, ...] = (),
        quiet_after: float = math.inf,
        maker: str = "YOKOGAWA",
    ) -> None:
        self.commands: list[str] = []
        self.rate_s = 0.5
        self.ranges = {"VOLTage": 600.0, "CURRent": 20.0}
        self.auto = {"VOLTage": True, "CURRent": True}
        self.integrating = False
        self.read: list[int] = []  # updates that were asked for, in order
        self._value, self._condition, self._answer = value, condition, answer
        self._model, self._maker, self._mute, self._refuses = model, maker, mute, refuses
        self._items: dict[int, str] = {}
        self._count = 0
        self._errors: list[str] = []
        self._eesr = 0
        self._falling = False
        self._quiet_after = quiet_after
        self._start_s = time.monotonic()
        self._energy_start: int | None = None
        self._seen = 0
        self._stop = threading.Event()
        self._server: socket.socket | None = None
        self._client: socket.socket | None = None
        if tcp:
            self._server = socket.create_server(("127.0.0.1", 0))
            self._server.settimeout(0.05)
            self.tcp_port = self._server.getsockname()[1]
            self.port = f"tcp://127.0.0.1:{self.tcp_port}"
        else:
            self._master, self._slave = os.openpty()
            tty.setraw(self._slave)
            self.port = os.ttyname(self._slave)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    # ---------------------------------------------------------------- updates

    def update(self) -> int:
        """Number of the latest update."""
        return int((time.monotonic() - self._start_s) / self.rate_s)

    def _set_rate(self, rate_s: float) -> None:
        self.rate_s, self._start_s, self._seen = rate_s, time.monotonic(), 0

    def _latch(self) -> None:
        update = self.update()
        if update > self._seen and update <= self._quiet_after:
            self._seen = update
            self._eesr |= self._falling

    def _wait(self) -> None:
        self._latch()
        while not self._eesr & 1 and not self._stop.is_set():
            time.sleep(0.001)
            self._latch()

    def energy_wh(self, update: int, element: int) -> float:
        """Energy since the start of the integration, as the sum of the updates' powers."""
        if self._energy_start is None:
            return 0.0
        powers = (power_w(u, element) for u in range(self._energy_start + 1, update + 1))
        return sum(powers) * self.rate_s / 3600

    # ---------------------------------------------------------------- line

    def _serve(self) -> None:
        rest = b""
        while not self._stop.is_set():
            data = self._receive()
            rest = b"" if data is None else rest + data
            *lines, rest = re.split(rb"\r?\n", rest)
            for line in lines:
                self._message(line.decode("ascii", "replace"))

    def _receive(self) -> bytes | None:
        if self._server is None:
            if not select.select([self._master], [], [], 0.01)[0]:
                return b""
            return os.read(self._master, 4096)
        if self._client is None:
            with contextlib.suppress(TimeoutError):
                self._client = self._server.accept()[0]
            return None
        try:
            if not select.select([self._client], [], [], 0.01)[0]:
                return b""
            data = self._client.recv(4096)
        except OSError:
            data = b""
        if not data:
            self._client.close()
            self._client = None
            return None
        return data

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        if self._server is None:
            os.write(self._master, data)
        elif self._client is not None:
            with contextlib.suppress(OSError):
                self._client.sendall(data)

    def hang_up(self) -> None:
        """Close the connection; a new one may come."""
        if self._client is not None:
            self._client.shutdown(socket.SHUT_RDWR)

    def unplug(self) -> None:
        """End it."""
        self._stop.set()
        self._thread.join()
        if self._server is not None:
            self._server.close()
            if self._client is not None:
                self._client.close()
            return
        os.close(self._master)
        os.close(self._slave)

    # ---------------------------------------------------------------- commands

    def _message(self, line: str) -> None:
        if not line.strip():
            return
        self.commands.append(line)
        answers, valued = [], None
        for unit in line.split(";"):
            header, _, argument = unit.strip().partition(" ")
            answer = self._command(header, argument.strip().upper())
            if answer is not None:
                answers.append(answer)
            if "VALUE?" in header.upper():
                valued = self.read[-1]
        if not answers or self._mute:
            return
        text: bytes | None = (";".join(answers) + "\r\n").encode()
        if valued is not None and ":COMMUNICATE:WAIT" in line.upper():
            text = self._answer(valued, text or b"")
        if text is not None:
            self.send(text)

    def _command(self, header: str, argument: str) -> str | None:
        query = header.endswith("?")
        known = long_form(header.rstrip("?"))
        if known is None or known in self._refuses:
            self._errors.append('113,"Undefined header"')
            return None
        if query:
            return self._query(known)
        if self.integrating and known in DURING_INTEGRATION:
            self._errors.append('813,"Invalid operation in integration"')
        elif known == "*CLS":
            self._errors.clear()
            self._eesr = 0
        elif known == "RATE":
            self._set_rate(float(argument.removesuffix("MS")) / 1000)
        elif known.endswith(":RANGe"):
            kind = known.split(":")[1]
            wanted, steps = float(argument.rstrip("AV")), VOLTS if kind == "VOLTage" else AMPS
            self.ranges[kind] = float(next((s for s in steps if s >= wanted), steps[-1]))
        elif known.endswith(":AUTO"):
            self.auto[known.split(":")[1]] = argument == "ON"
        elif known == "NUMeric:NORMal:NUMber":
            self._count = int(argument)
        elif known == "NUMeric:NORMal:ITEM":
            self._items[int(re.findall(r"\d+$", header)[0])] = argument
        elif known == "STATus:FILTer":
            self._falling = argument == "FALL"
        elif known == "COMMunicate:WAIT":
            self._wait()
        elif known.startswith("INTEGrate:"):
            self._integrate(known)
        return None

    def _integrate(self, known: str) -> None:
        if known.endswith("START"):
            self.integrating, self._energy_start = True, self.update()
        elif known.endswith("STOP"):
            self.integrating = False
        elif known.endswith("RESet"):
            self._energy_start = None

    def _query(self, known: str) -> str:
        self._latch()
        if known == "*IDN":
            return f"{self._maker},{self._model},C2PH13047V,F1.04"
        if known == "STATus:ERRor":
            return self._errors.pop(0) if self._errors else '0,"No error"'
        if known == "STATus:EESR":
            register, self._eesr = self._eesr, 0
            return str(register)
        if known == "STATus:CONDition":
            return str(self._condition(self.update()) | (2 if self.integrating else 0))
        if known == "RATE":
            return f"{self.rate_s * 1000:.1f}E-03"
        if known.endswith(":RANGe"):
            return f"{self.ranges[known.split(':')[1]]:.1f}E+00"
        if known.endswith(":AUTO"):
            return str(int(self.auto[known.split(":")[1]]))
        if known == "INTEGrate:STATe":
            stopped = "STOP" if self._energy_start is not None else "RES"
            return "STAR" if self.integrating else stopped
        if known == "NUMeric:NORMal:VALue":
            update = min(self.update(), self._seen)
            self.read.append(update)
            return ",".join(self._item(i, update) for i in range(1, self._count + 1))
        return "0"

    def _item(self, i: int, update: int) -> str:
        function, element = self._items[i].split(",")
        text = self._value(update, int(element)) if function == "P" else None
        if text is not None:
            return text
        power = function == "P"
        value = power_w(update, int(element)) if power else self.energy_wh(update, int(element))
        return f"{value:.3f}E+00" if power else f"{value:.6f}E+00"
