"""A PTDaemon on a loopback socket: it samples by its own clock, keeps what was not read, holds RL
back until there is a sample, serves one client at a time, and can be made to fail.

Its words are those of real sessions (MLPerf's server.json and spl.txt files, SPEC's client).
"""

from __future__ import annotations

import contextlib
import datetime
import select
import socket
import threading
import time
from collections.abc import Callable

GREETING = "Hello, PTDaemon here!"
ORIGIN = datetime.datetime(2022, 2, 14, 6, 17, 2, 371_000)


def watts(number: int) -> float:
    """Power of a sample: never twice the same."""
    return 200.0 + number * 0.5


class PtdaemonSimulator:
    """A daemon with a WT333E (three channels) or a WT310 (one).

    Args:
        channels: Channels of the analyser.
        interval_s: Shortest time between two samples.
        line: Changes a sample line: (number of the sample, line) -> line; None sends nothing.
        header: Changes the first line of an answer.
        value: Text in place of a sample's watts.
        clock: Seconds that its clock is ahead, by the number of the sample.
        holds: Hold RL back until there is a sample, as the real one.
        most: Samples of a measurement.
        words: Answers in place of its own, by command.
        port: TCP port; 0: any.
    """

    def __init__(
        self,
        channels: int = 3,
        interval_s: float = 0.1,
        line: Callable[[int, str], str | None] = lambda _, text: text,
        header: Callable[[int, str], str] = lambda _, text: text,
        value: Callable[[int], str | None] = lambda _: None,
        clock: Callable[[int], float] = lambda _: 0.0,
        holds: bool = True,
        most: int = 500_000,
        words: dict[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.commands: list[str] = []
        self.words = words or {}
        self.silent = False
        self.ranges = {"A": (0, 5.0), "V": (0, 300.0)}
        self._channels, self._interval_s = channels, interval_s
        self._line, self._header, self._value, self._clock = line, header, value, clock
        self._holds, self._most = holds, most
        self._began_s = time.monotonic()
        self._go: tuple[float, float] | None = None  # start, interval
        self._next = 0  # number of the sample after the last that was read
        self._first = 0  # number of the measurement's first sample
        self._server = socket.create_server(("127.0.0.1", port))
        self._server.settimeout(0.02)
        self.tcp_port = self._server.getsockname()[1]
        self.port = f"tcp://127.0.0.1:{self.tcp_port}"
        self._hang_up = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def hang_up(self) -> None:
        """Close the connection; the measurement ends."""
        self._hang_up.set()

    def close(self) -> None:
        """End the daemon."""
        self._stop.set()
        self._thread.join()
        self._server.close()

    # ---------------------------------------------------------------- samples

    def _available(self) -> int:
        """Number of the sample after the latest one."""
        if self._go is None:
            return self._next
        start, interval = self._go
        count = int((time.monotonic() - start) / interval)
        return self._first + min(count, self._most)

    def _sample(self, number: int) -> str:
        assert self._go is not None
        start, interval = self._go
        at = start + (number - self._first + 1) * interval - self._began_s + self._clock(number)
        stamp = (ORIGIN + datetime.timedelta(seconds=at)).strftime("%m-%d-%Y %H:%M:%S.%f")[:-3]
        power = self._value(number) or f"{watts(number):f}"
        whole = f"Time,{stamp},Watts,{power},Volts,-1.000000,Amps,-1.000000,PF,-1.000000"
        if self._channels == 1:
            return whole.replace("-1.000000", "0.9") + ","
        parts = [
            f"Watts,{watts(number) / 4:f}",
            f"Watts,{watts(number) * 3 / 4:f}",
            "Watts,0.000000",
        ]
        rest = ",Volts,205.780000,Amps,1.475800,PF,0.687300"
        return ",".join([whole, *(part + rest for part in parts)])

    # ---------------------------------------------------------------- line

    def _serve(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                client = self._server.accept()[0]
                with client, contextlib.suppress(OSError):
                    self._talk(client)
                self._go = None

    def _talk(self, client: socket.socket) -> None:
        self._hang_up.clear()
        rest = b""
        while not self._stop.is_set() and not self._hang_up.is_set():
            if not select.select([client], [], [], 0.01)[0]:
                continue
            data = client.recv(4096)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                command = line.decode().strip()
                self.commands.append(command)
                text = self._answer(command)
                if not self.silent and text:
                    client.sendall(text.encode("latin-1"))

    def _answer(self, command: str) -> str:
        word = command.split(",")[0]
        if word in self.words:
            return self.words[word] + "\r\n"
        if command == "Hello":
            return GREETING + "\r\n"
        if command == "Identify":
            return self._identify() + "\r\n"
        if command == "RR":
            (a_auto, amps), (v_auto, volts) = self.ranges["A"], self.ranges["V"]
            return f"Ranges,{a_auto},{amps:f},{v_auto},{volts:f}\r\n"
        if word == "SR":
            _, kind, value = command.split(",")
            self.ranges[kind] = (1, -1.0) if value == "Auto" else (0, float(value))
            return f"Range {kind} changed\r\n"
        if word == "Go":
            self._first = self._next = self._available()
            self._go = (time.monotonic(), int(command.split(",")[1]) / 1000)
            ms = command.split(",")[1]
            text = f"maximum {self._most} samples at {ms}ms with 0 rampup samples"
            return f"Starting untimed measurement, {text}\r\n"
        if command == "Stop":
            running, self._go = self._go is not None, None
            return (
                "Stopping untimed measurement" if running else "Error: no measurement to stop"
            ) + "\r\n"
        if command == "Watts":
            return "Watts,200.0,199.0,201.0,10,0,10,0\r\n"
        if command == "Uncertainty":
            return "Uncertainty,0.13,0.12,0.14,10,0,10,0\r\n"
        if command in ("RL", "RL,*,*", "DC-RL"):
            return self._unread(command)
        return "Unknown command\r\n"

    def _identify(self) -> str:
        many = self._channels > 1
        driver = "YokogawaWT330_multichannel" if many else "YokogawaWT310"
        model = "WT333E" if many else "WT310E"
        return (
            f"{driver},{self._interval_s * 1000:.0f},1,1,1,1,0,0,1,version=1.9.2-3976349f-20201208,"
            f"OS=Windows 8 / Server 2012,mode=power,1,1,{self._channels},0,0,no_cal_date,"
            f"YOKOGAWA;{model};C2WC23035V;F1.04"
        )

    def _unread(self, command: str) -> str:
        if command == "RL,*,*" and self._channels == 1:
            return "Invalid number of parameters\r\n"
        if self._go is None:
            return "No unread samples\r\n"
        end = time.monotonic() + (self._go[1] if self._holds else 0.0)
        while self._available() == self._next and time.monotonic() < end:
            if self._hang_up.wait(0.002) or self._stop.is_set():
                return ""
        first, self._next = self._next, self._available()
        if first == self._next:
            return "Insufficient unread samples\r\n"
        lines = [self._line(n, self._sample(n) + "\r\n") for n in range(first, self._next)]
        plural = "" if self._next - first == 1 else "s"
        header = self._header(first, f"Last {self._next - first} sample{plural}\r\n")
        return header + "".join(line for line in lines if line is not None)
