"""A byte link to an instrument: a serial port or a TCP socket, and lines read from it.

What a driver needs and no more: read with a time-out, write, BREAK, split into lines, ask. Trouble
while opening is a `WattproofError` that says what to do; a link that breaks later raises
`LinkLostError`, for the driver to decide.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import termios
import time
from typing import Protocol

import serial

from wattproof.errors import WattproofError
from wattproof.sources.meters import telnet as telnet_protocol

READ_BYTES = 65_536
WRITE_S = 1.0
"""A write that is not taken for this long (no RTS/CTS, a full socket) has failed."""
CONNECT_S = 5.0
LOOK_UP_S = 15.0
"""A name that nobody on the network knows may take the system so long."""
BREAK_S = 0.25
GOODBYE_S = 0.5
"""What was written last has this long to leave before a serial port is closed."""

TROUBLE = (serial.SerialException, OSError, termios.error, ValueError, TypeError)
"""What pyserial raises when the port has gone away beneath it."""


class LinkLostError(Exception):
    """The cable was pulled, the other side hung up, or it takes no bytes any more."""


class Link(Protocol):
    """Bytes to and from an instrument."""

    where: str
    """How to name it to a person, e.g. ``/dev/ttyUSB0`` or ``192.0.2.2:5025``."""

    def read(self, timeout_s: float) -> bytes:
        """Return what has arrived, waiting for the first byte; empty after `timeout_s`.

        Raises:
            LinkLostError: If the link is gone.
        """
        ...

    def write(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            LinkLostError: If the link is gone or takes nothing.
        """
        ...

    def send_break(self) -> None:
        """Send a BREAK: a serial line's own, or the two bytes of telnet to a converter.

        Raises:
            LinkLostError: If the link is gone.
        """
        ...

    def close(self) -> None:
        """Let go of it; safe to call twice."""
        ...


class SerialLink:
    """A serial port, 8N1.

    Args:
        port: Name of the port.
        baud: Speed, as set on the device.
        rtscts: Hardware flow control.
        key: Key of the campaign to name in messages.

    Raises:
        WattproofError: If the port cannot be opened.
    """

    def __init__(
        self, port: str, baud: int, rtscts: bool = False, key: str = "sources.meter.port"
    ) -> None:
        self.where = port
        try:
            self._serial = serial.Serial(
                port, baud, rtscts=rtscts, timeout=0, write_timeout=WRITE_S, exclusive=True
            )
        except (serial.SerialException, OSError, ValueError) as error:
            raise WattproofError(_serial_trouble(port, key, error)) from error

    def read(self, timeout_s: float) -> bytes:
        """See `Link.read`."""
        try:
            if not select.select([self._serial.fileno()], [], [], timeout_s)[0]:
                return b""
            # Readable but empty means that the other end is gone; pyserial says so.
            return bytes(self._serial.read(READ_BYTES))
        except TROUBLE as error:
            raise LinkLostError(str(error)) from error

    def write(self, data: bytes) -> None:
        """See `Link.write`."""
        try:
            self._serial.write(data)
        except TROUBLE as error:
            raise LinkLostError(str(error)) from error

    def send_break(self) -> None:
        """See `Link.send_break`; takes `BREAK_S`. What a dead device never took is dropped."""
        try:
            if self._serial.out_waiting:
                self._serial.reset_output_buffer()
            self._serial.send_break(BREAK_S)
        except TROUBLE as error:
            raise LinkLostError(str(error)) from error

    def close(self) -> None:
        """See `Link.close`."""
        with contextlib.suppress(*TROUBLE):
            end = time.monotonic() + GOODBYE_S
            while self._serial.out_waiting and time.monotonic() < end:
                time.sleep(0.01)
            if self._serial.out_waiting:  # the kernel would wait half a minute for it to be taken
                self._serial.reset_output_buffer()
        with contextlib.suppress(*TROUBLE):
            self._serial.close()


class TcpLink:
    """A TCP connection to an instrument, or to a box that puts its serial port on the network.

    Args:
        host: Name or address.
        port: TCP port.
        telnet: The other side is such a box: BREAK is telnet's, and telnet's options are refused.
        key: Key of the campaign to name in messages.
        connect_s: Time for the connection to come about.

    Raises:
        WattproofError: If nobody answers there.
    """

    def __init__(
        self,
        host: str,
        port: int,
        telnet: bool = False,
        key: str = "sources.meter.port",
        connect_s: float = CONNECT_S,
    ) -> None:
        self.where = f"{host}:{port}"
        self._telnet = telnet_protocol.Telnet() if telnet else None
        try:
            self._socket = socket.create_connection((host, port), connect_s)
        except OSError as error:
            raise WattproofError(_tcp_trouble(self.where, key, error)) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A box whose power is cut never says goodbye: probe it, half a minute at most.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, name):
                self._socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._socket.settimeout(WRITE_S)

    def read(self, timeout_s: float) -> bytes:
        """See `Link.read`."""
        try:
            if not select.select([self._socket], [], [], timeout_s)[0]:
                return b""
            data = self._socket.recv(READ_BYTES)
        except (OSError, ValueError) as error:
            raise LinkLostError(str(error)) from error
        if not data:
            raise LinkLostError("the other side closed the connection")
        if self._telnet is None:
            return data
        data, answer = self._telnet.feed(data)
        if answer:
            self.write(answer)
        return data

    def write(self, data: bytes) -> None:
        """See `Link.write`."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise LinkLostError(str(error)) from error

    def send_break(self) -> None:
        """See `Link.send_break`; a plain instrument has none, so nothing is sent to it."""
        if self._telnet is not None:
            self.write(telnet_protocol.BREAK)

    def close(self) -> None:
        """See `Link.close`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def parse_tcp(
    port: str, default_port: int | None, key: str = "sources.meter.port"
) -> tuple[str, int]:
    """Return (host, TCP port) of ``tcp://HOST:PORT`` or, with a default port, of ``HOST``.

    Raises:
        WattproofError: If it is not written that way.
    """
    host, colon, number = port.removeprefix("tcp://").rstrip("/").rpartition(":")
    if not colon:
        host, number = number, "" if default_port is None else str(default_port)
    if host and number.isdigit() and 0 < int(number) < 65_536:
        return host.strip("[]"), int(number)
    raise WattproofError(
        f"Key '{key}' is '{port}'; write tcp://HOST:PORT, e.g. tcp://10.0.0.7:2101."
    )


def open_link(
    port: str,
    baud: int,
    rtscts: bool = False,
    key: str = "sources.meter.port",
    connect_s: float = CONNECT_S,
) -> Link:
    """Open a serial port, or ``tcp://HOST:PORT``: a box with a serial port on the network.

    Raises:
        WattproofError: If it cannot be opened, in one sentence with the remedy.
    """
    if port.startswith("tcp://"):
        host, number = parse_tcp(port, None, key)
        return TcpLink(host, number, telnet=True, key=key, connect_s=connect_s)
    return SerialLink(port, baud, rtscts, key)


def _serial_trouble(port: str, key: str, error: Exception) -> str:
    code = getattr(error, "errno", None)
    if isinstance(error, ValueError):
        return f"The serial port {port} cannot be set up ({error}); check key 'sources.meter.baud'."
    if code == errno.ENOENT:
        return (
            f"There is no serial port {port}; check key '{key}', that the cable is plugged in, and "
            "what `ls /dev/serial/by-id` shows."
        )
    if code in (errno.EACCES, errno.EPERM):
        return (
            f"You may not open the serial port {port}; run `sudo usermod -aG dialout $USER`, log "
            "out and in again."
        )
    if code in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
        return (
            f"The serial port {port} is in use by another program; end it (`fuser -v {port}` names "
            "it), or let that one record."
        )
    if code == errno.ENOTTY or "Inappropriate ioctl" in str(error):
        return f"{port} is not a serial port; check key '{key}'."
    reason = os.strerror(code) if code else str(error)
    return f"The serial port {port} does not work ({reason}); check key '{key}' and the cable."


def _tcp_trouble(where: str, key: str, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        what = "its name is not known on this network"
    elif isinstance(error, ConnectionRefusedError):
        what = "it refuses the connection: wrong TCP port, or somebody else is connected"
    elif isinstance(error, TimeoutError):
        what = "nothing answers in time: is it on, and on this network?"
    else:
        what = error.strerror or str(error)
    return f"The meter at {where} cannot be reached ({what}); check key '{key}' and the cable."
