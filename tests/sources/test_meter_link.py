"""Byte links and lines: what every meter on a serial port or a socket stands on."""

import os
import socket
import time
import tty
from collections.abc import Callable, Iterator

import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st

from wattproof.errors import WattproofError
from wattproof.sources.meters.lines import LONGEST_LINE, Lines, run
from wattproof.sources.meters.link import Link, LinkLostError, TcpLink, open_link, parse_tcp
from wattproof.sources.meters.telnet import Telnet


class Wire:
    """A link whose other end the test holds."""

    def __init__(self, kind: str) -> None:
        self._serial = kind == "serial"
        if self._serial:
            self._master, self._slave = os.openpty()
            tty.setraw(self._slave)
            self.link: Link = open_link(os.ttyname(self._slave), 57_600, rtscts=True)
        else:
            with socket.create_server(("127.0.0.1", 0)) as server:
                host, port = server.getsockname()
                telnet = kind == "box"
                self.link = open_link(f"tcp://{host}:{port}", 1) if telnet else TcpLink(host, port)
                self._peer, _ = server.accept()

    def give(self, data: bytes) -> None:
        if self._serial:
            os.write(self._master, data)
        else:
            self._peer.sendall(data)

    def take(self) -> bytes:
        return os.read(self._master, 4096) if self._serial else self._peer.recv(4096)

    def cut(self) -> None:
        if self._serial:
            os.close(self._master)
            os.close(self._slave)
        else:
            self._peer.close()


@pytest.fixture(params=["serial", "box", "plain"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    made = Wire(request.param)
    yield made
    made.link.close()
    made.link.close()


def test_lines_questions_and_a_cut(wire: Wire) -> None:
    lines = Lines(wire.link, b"\r\n")
    wire.give(b"one\r\ntwo\nthr")
    found: list[bytes] = []
    while len(found) < 2:
        found += lines.read(1.0)
    wire.give(b"ee\n")
    assert [*found, *lines.read(1.0)] == [b"one", b"two", b"three"]
    begin = time.monotonic()
    assert lines.read(0.1) == []
    assert 0.09 < time.monotonic() - begin < 0.5

    wire.give(b"answer\r\n")
    assert run(lines.ask("question?", 1.0)) == "answer"
    assert wire.take() == b"question?\r\n"
    assert run(lines.ask("nothing?", 0.1)) is None

    wire.give(b"rest of an old stream\r\nand a torn li")
    thrown = b""
    while not thrown.endswith(b"li"):
        thrown += run(lines.drain(0.1, 1.0))
    assert lines.read(0.05) == []

    wire.cut()
    with pytest.raises(LinkLostError):
        lines.read(0.1)
    with pytest.raises(LinkLostError):
        call_three_times(lambda: lines.send("anybody there?"))  # a socket notices late


def call_three_times(act: Callable[[], None]) -> None:
    for _ in range(3):
        act()
        time.sleep(0.05)


def test_noise_without_line_ends_is_not_kept_for_ever() -> None:
    wire = Wire("plain")
    lines = Lines(wire.link)
    wire.give(b"x" * (LONGEST_LINE + 1000) + b"\nnext\n")
    found: list[bytes] = []
    while not found or found[-1] != b"next":
        found += lines.read(1.0)
    assert sum(map(len, found[:-1])) == LONGEST_LINE + 1000
    wire.link.close()


def test_break_reaches_a_box_and_no_plain_meter() -> None:
    box, plain = Wire("box"), Wire("plain")
    for wire in (box, plain):
        wire.link.send_break()
        wire.link.write(b"end")
    assert box.take() in (b"\xff\xf3", b"\xff\xf3end")
    assert plain.take() == b"end"
    box.link.close()
    plain.link.close()


@given(st.lists(st.binary(max_size=8), max_size=8), st.lists(st.integers(1, 5), max_size=40))
def test_telnet_payload_survives_any_cut(parts: list[bytes], cuts: list[int]) -> None:
    orders = [b"\xff\xfd\x01", b"\xff\xfb\x03", b"\xff\xfa\x18\x01\xff\xf0", b"\xff\xf1"]
    sent = b"".join(
        part.replace(b"\xff", b"\xff\xff") + orders[i % len(orders)] for i, part in enumerate(parts)
    )
    telnet, payload, answers = Telnet(), b"", b""
    at = 0
    for step in [*cuts, len(sent) + 1]:
        got, answer = telnet.feed(sent[at : at + step])
        payload, answers, at = payload + got, answers + answer, at + step
    assert payload == b"".join(parts)
    asked = [i % len(orders) for i in range(len(parts))]
    refused = {0: b"\xff\xfc\x01", 1: b"\xff\xfe\x03"}
    assert answers == b"".join(refused.get(i, b"") for i in asked)


@pytest.mark.parametrize(
    ("port", "default", "expected"),
    [
        ("tcp://10.0.0.7:2101", None, ("10.0.0.7", 2101)),
        ("meter", 5025, ("meter", 5025)),
        ("tcp://meter", 5025, ("meter", 5025)),
        ("meter:5026", 5025, ("meter", 5026)),
        ("tcp://[fe80::1]:80", None, ("fe80::1", 80)),
    ],
)
def test_addresses(port: str, default: int | None, expected: tuple[str, int]) -> None:
    assert parse_tcp(port, default) == expected


@pytest.mark.parametrize("port", ["tcp://", "tcp://meter", "tcp://meter:", "tcp://m:0", "m:70000"])
def test_addresses_that_are_none(port: str) -> None:
    with pytest.raises(WattproofError, match=r"'sources\.meter\.port' is .*tcp://HOST:PORT"):
        parse_tcp(port, None)


def test_forbidden_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may open everything, so the refusal is the operating system's only in name."""

    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(13, "could not open port: [Errno 13] Permission denied")

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(WattproofError, match=r"may not open.*usermod -aG dialout"):
        open_link("/dev/ttyUSB0", 57_600)
