"""ZES ZIMMER LMG670 (600 series) over TCP: each line carries the device's own time.

Commands: measurement.md 13.1. A command that interrupts (``break``) goes to the next TCP port.
"""

from __future__ import annotations

import calendar
import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from wattproof.errors import WattproofError
from wattproof.sources.endpoints import Endpoints
from wattproof.sources.meters import lmg_setup
from wattproof.sources.meters.lines import Lines, Talk
from wattproof.sources.meters.link import LOOK_UP_S, LinkLostError, TcpLink, parse_tcp
from wattproof.sources.meters.lmg import LmgSource
from wattproof.sources.meters.lmg_counters import Clock, Line
from wattproof.sources.meters.lmg_settings import port_of, settings_of, settings_schema

TCP_PORT = 5025
STAMPS = Clock(hz=1_000_000_000)
LONGEST_CYCLE_S = 120.0

SETTINGS = settings_schema(
    7,
    port={
        "type": "string",
        "default": "auto",
        "description": f"host name or address of the meter, or tcp://HOST:PORT; port {TCP_PORT} "
        "if none is given",
    },
)

_STAMP = re.compile(
    r"(\d{4}):(\d\d):(\d\d)D(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:([+-])(\d\d):?(\d\d))?"
)


def parse_stamp(text: str) -> int | None:
    """Return nanoseconds since the epoch of ``2015:01:21D17:20:55.437817000+0000``."""
    found = _STAMP.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(found[i]) for i in range(1, 7))
    if not (1 <= month <= 12 and hour < 24 and minute < 60 and second <= 60):
        return None
    if not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    seconds = calendar.timegm((year, month, day, hour, minute, second))
    if found[8]:
        east = int(found[9]) * 3600 + int(found[10]) * 60
        seconds += -east if found[8] == "+" else east
    return seconds * 1_000_000_000 + int((found[7] or "0").ljust(9, "0"))


def parse(text: bytes, channels: int) -> Line | None:
    """Parse ``TSNORM;DURNORM;P…``; None if it is not a whole, sane line."""
    try:
        stamp, cycle, *powers = text.strip(b" \r\n\0").decode("ascii").split(";")
        stamp_ns = parse_stamp(stamp)
        cycle_s, *powers_w = (float(field) for field in (cycle, *powers))
    except ValueError:  # also too few fields, and UnicodeDecodeError
        return None
    if stamp_ns is None or len(powers_w) != channels or not 0.0 < cycle_s < LONGEST_CYCLE_S:
        return None
    if not all(math.isfinite(power) for power in powers_w):
        return None
    return Line(stamp_ns, cycle_s, tuple(powers_w))


class TcpDialect:
    """LMG600 series.

    Args:
        host: Name or address.
        port: TCP port; ``break`` goes to the next one.
        channels: Number of channels that are read.
    """

    models: tuple[str, ...] = ("LMG670", "LMG671", "LMG641", "LMG640", "LMG611", "LMG610")
    clock = STAMPS
    connect_limit_s = LOOK_UP_S

    def __init__(self, host: str, port: int, channels: int = 1) -> None:
        self.where = f"{host}:{port}"
        self.hint = f"network port {port}, and that no other program is connected to it"
        self._host = host
        self._port = port
        self._channels = channels

    def connect(self, connect_s: float) -> Lines:
        """See `Dialect.connect`."""
        return Lines(TcpLink(self._host, self._port, connect_s=connect_s))

    def begin(self, lines: Lines, reset: bool) -> Talk[bytes]:
        """See `Dialect.begin`."""
        # Firmware without this port is stopped by CONT OFF, unless its stream is stuck.
        with contextlib.suppress(WattproofError, LinkLostError):
            yield from self._break()
        lines.send("CONT OFF")
        thrown = yield from lines.drain(lmg_setup.QUIET_S, lmg_setup.ANSWER_S)
        lines.send("*rst;*cls" if reset else "*cls")
        lines.send("*zlang short")
        return thrown

    def _break(self) -> Talk[None]:
        link = TcpLink(self._host, self._port + 1, connect_s=1.0)
        try:
            yield from Lines(link).ask("break", lmg_setup.QUERY_S)  # "0 ok"
        finally:
            link.close()

    def errors(self, lines: Lines) -> Talk[str | None]:
        """See `Dialect.errors`; the list is known to SCPI only."""
        lines.send("*zlang scpi")
        errors = yield from lines.ask("syst:err:all?", lmg_setup.ANSWER_S)
        lines.send("*zlang short")
        return errors

    def voltage_range(self, volts: float, channels: Sequence[int]) -> list[str]:
        """See `Dialect.voltage_range`."""
        return [command for n in channels for command in (f"uauto{n} 0", f"urng{n} {volts:g}")]

    def current_range(self, amperes: float, channels: Sequence[int]) -> list[str]:
        """See `Dialect.current_range`."""
        return [command for n in channels for command in (f"iauto{n} 0", f"irng{n} {amperes:g}")]

    def range_questions(self, channels: Sequence[int]) -> tuple[str, str]:
        """See `Dialect.range_questions`."""
        return f"urng{channels[0]}?", f"irng{channels[0]}?"

    def action(self, channels: Sequence[int]) -> str:
        """See `Dialect.action`."""
        return "ACTN;TSNORM?;DURNORM?" + "".join(f";P{n}?" for n in channels)

    def parse(self, text: bytes) -> Line | None:
        """See `Dialect.parse`."""
        return parse(text, self._channels)


def build(settings: Mapping[str, Any], endpoints: Endpoints) -> LmgSource:
    """Make the source from a campaign's settings.

    Raises:
        WattproofError: If no host is given.
    """
    chosen = settings_of(settings, SETTINGS)
    host, port = parse_tcp(port_of(settings, endpoints, "192.0.2.7"), TCP_PORT)
    return LmgSource(TcpDialect(host, port, len(chosen.channels)), chosen, endpoints.simulated)
