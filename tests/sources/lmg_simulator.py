"""An LMG on a real pseudo-terminal or a loopback socket: a `Device` and the line to it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
import termios
import threading
import time
import tty
from pathlib import Path

from lmg_device import Device


class _Pty:
    """The device's end of a serial line whose name stays when the cable is plugged in again."""

    def __init__(self, link: Path) -> None:
        self.name = str(link)
        self._link = link
        self._slave = -1
        self.fd = -1
        self.plug_in()

    def plug_in(self) -> None:
        self.fd, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.fd, False)
        part = self._link.with_name(f".{self._link.name}")
        part.symlink_to(os.ttyname(self._slave))
        os.replace(part, self._link)

    def wait(self, timeout_s: float) -> bytes:
        if self.fd < 0:
            time.sleep(timeout_s)
            return b""
        if not select.select([self.fd], [], [], timeout_s)[0]:
            return b""
        return os.read(self.fd, 4096)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        end = time.monotonic() + 1.0
        while view and self.fd >= 0 and time.monotonic() < end:
            try:
                view = view[os.write(self.fd, view) :]
            except BlockingIOError:
                time.sleep(0.002)

    def unread(self) -> int:
        return int(struct.unpack("i", fcntl.ioctl(self._slave, termios.FIONREAD, b"\0" * 4))[0])

    def unplug(self) -> None:
        """Pull the cable, once all that was sent has been read."""
        end = time.monotonic() + 2.0
        time.sleep(0.02)  # what was written last is on its way through the kernel
        while self.unread() and time.monotonic() < end:
            time.sleep(0.002)
        self.close()

    def close(self) -> None:
        if self.fd >= 0:
            self._link.unlink()
            os.close(self.fd)
            os.close(self._slave)
            self.fd = -1


class _Tcp:
    """A listening socket: the meter itself (no telnet), or a box in front of its serial port."""

    def __init__(self, device: Device, telnet: bool) -> None:
        self._device = device
        self._telnet = telnet
        self._server: socket.socket | None = None
        self._listen(0)
        self._client: socket.socket | None = None
        self._break: socket.socket | None = None
        if not telnet:
            self._pair()

    def _listen(self, port: int) -> None:
        self._server = socket.create_server(("127.0.0.1", port))
        self.port = self._server.getsockname()[1]
        self.name = f"tcp://127.0.0.1:{self.port}"

    def _pair(self) -> None:
        """Find two neighbouring ports: ``break`` is listened for on the second."""
        while self._break is None:
            try:
                self._break = socket.create_server(("127.0.0.1", self.port + 1))
            except OSError:
                assert self._server is not None
                self._server.close()
                self._listen(0)

    def wait(self, timeout_s: float) -> bytes:
        watched = [s for s in (self._server, self._client, self._break) if s is not None]
        if not watched:
            time.sleep(timeout_s)
        ready = select.select(watched, [], [], timeout_s)[0]
        if self._break in ready and self._break is not None:
            caller, _ = self._break.accept()
            with caller:
                caller.settimeout(1.0)
                if caller.recv(64) == b"break\n":
                    self._device.send_break(time.monotonic())
                    caller.sendall(b"0 ok\n")
        if self._server in ready and self._server is not None:
            fresh, _ = self._server.accept()
            if self._client is not None:
                self._client.close()
            self._client = fresh
            if self._telnet:
                fresh.sendall(b"\xff\xfd\x03\xff\xfb\x01")  # options that must be refused
            return b""
        if self._client not in ready or self._client is None:
            return b""
        try:
            data = self._client.recv(4096)
        except OSError:
            data = b""
        if not data:
            self._client.close()
            self._client = None
        if self._telnet:
            for option in (b"\xff\xfc\x03", b"\xff\xfe\x01"):
                data = data.replace(option, b"")
            if b"\xff\xf3" in data:
                self._device.send_break(time.monotonic())
                data = data.replace(b"\xff\xf3", b"")
        return data

    def write(self, data: bytes) -> None:
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.sendall(data)

    def unplug(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._server is not None:
            self._server.close()
            self._server = None

    def plug_in(self) -> None:
        self._listen(self.port)

    def close(self) -> None:
        for s in (self._client, self._server, self._break):
            if s is not None:
                s.close()


class LmgSimulator:
    """Runs a device in a thread, on a line.

    Args:
        device: The device.
        link: Name of the serial port to make; None: a socket.
        telnet: The socket is that of a box which puts a serial port on the network.

    Example:
        >>> with LmgSimulator(Device(), tmp_path / "tty") as meter:
        ...     meter.device.plan("overrange")
    """

    def __init__(self, device: Device, link: Path | None = None, telnet: bool = False) -> None:
        self.device = device
        self.line: _Pty | _Tcp = _Tcp(device, telnet) if link is None else _Pty(link)
        self.port = self.line.name
        self._trickle: list[tuple[float, bytes]] = []
        self._orders: list[tuple[float, str]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> LmgSimulator:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.line.close()

    def unplug(self, seconds: float) -> None:
        """Pull the cable for so long; the device measures on."""
        self._orders.append((seconds, "unplug"))

    def wait_for(self, what: str, limit_s: float = 10.0) -> None:
        """Wait until a command has come."""
        end = time.monotonic() + limit_s
        while what not in self.device.commands:
            assert time.monotonic() < end, f"no {what} in {self.device.commands}"
            time.sleep(0.01)

    def _serve(self) -> None:
        plugged_at: float | None = None
        while not self._stop.is_set():
            now = time.monotonic()
            wake = self.device.next_s()
            if self._trickle:
                wake = min(wake, self._trickle[0][0])
            try:
                data = self.line.wait(min(0.1, max(0.0005, wake - now)))
            except OSError:
                data = b""
            now = time.monotonic()
            if plugged_at is not None and now >= plugged_at:
                self.line.plug_in()
                plugged_at = None
            if data:
                self.line.write(self.device.feed(data, now))
            while self._trickle and self._trickle[0][0] <= now:
                self.line.write(self._trickle.pop(0)[1])
            for piece in self.device.due(now):
                if piece.startswith(b"~"):
                    step = 0.8 * self.device.true_cycle_s / len(piece)
                    self._trickle += [
                        (now + i * step, piece[i : i + 1]) for i in range(1, len(piece))
                    ]
                else:
                    self.line.write(piece)
            if self._orders and not self._trickle:
                seconds, kind = self._orders.pop(0)
                self.device.lose(kind, now, seconds)
                self.line.unplug()
                plugged_at = time.monotonic() + seconds
