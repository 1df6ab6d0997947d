"""ZES ZIMMER LMG450, and what LMG95 and LMG500 share with it: a serial port, one line a cycle.

Commands: measurement.md 13.1 (short command set, ``ACTN`` at each cycle end, ``CONT ON``). The
stream carries no clock, so its sample counter ``SCTC?`` is the device clock and its cycle counter
``COUNT?`` finds the lines that were lost. A serial line has no checksum: each power is asked for
twice in a line, so that a damaged digit cannot pass for a value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from wattproof.errors import WattproofError
from wattproof.sources.endpoints import Endpoints
from wattproof.sources.meters import lmg_setup
from wattproof.sources.meters.lines import Lines, Talk, pause
from wattproof.sources.meters.link import LOOK_UP_S, open_link
from wattproof.sources.meters.lmg import LmgSource
from wattproof.sources.meters.lmg_counters import COUNT_MODULUS, Clock, Line
from wattproof.sources.meters.lmg_settings import port_of, settings_of, settings_schema

SCTC = Clock(hz=99_338, modulus=2**31)
"""The ADC sample counter: 49 689 counts in 0.5002 s (measurement.md 13.1, an LMG95). A model with
another rate is noticed when it is opened."""

LONGEST_CYCLE_S = 120.0
LINE_BYTES = 40
POWER_BYTES = 14
"""A line takes about so much: counters, and each power."""

SERIAL_SETTINGS: dict[str, Any] = {
    "port": {
        "type": "string",
        "default": "auto",
        "description": "serial port, e.g. /dev/ttyUSB0, or tcp://HOST:PORT of a box with a serial "
        "port on the network; auto: the virtual node's",
    },
    "baud": {"type": "integer", "minimum": 1200, "default": 57600},
    "line_end": {
        "enum": ["crlf", "lf"],
        "default": "crlf",
        "description": "line end (EOS) as set on the device",
    },
    "repeat_power": {
        "type": "boolean",
        "default": True,
        "description": "ask for each power twice a line: a byte that the line damages cannot pass "
        "for a value then",
    },
}

SETTINGS = settings_schema(4, accuracy=(0.0007, 0.0004), **SERIAL_SETTINGS)
"""Accuracy of active power: 0.07 % of the reading + 0.04 % of the range (paper.md section 4)."""


def parse(text: bytes, channels: int, repeats: int = 1) -> Line | None:
    """Parse ``COUNT;SCTC;CYCR;P…``; None if it is not a whole, sane line.

    Args:
        text: The line.
        channels: Number of powers.
        repeats: How often the powers come; all must be the same.
    """
    fields = text.strip(b" \r\n\0").split(b";")
    if len(fields) != 3 + channels * repeats:
        return None
    powers = [fields[3 + i * channels : 3 + (i + 1) * channels] for i in range(repeats)]
    if any(again != powers[0] for again in powers):
        return None
    try:
        count, sctc, cycle_s, *powers_w = (float(f.decode("ascii")) for f in fields[: 3 + channels])
    except ValueError:  # UnicodeDecodeError is one
        return None
    if not all(math.isfinite(number) for number in (count, sctc, cycle_s, *powers_w)):
        return None
    assert SCTC.modulus is not None
    if count % 1 or sctc % 1 or not 0 <= count < COUNT_MODULUS or not 0 <= sctc < SCTC.modulus:
        return None
    if not 0.0 < cycle_s < LONGEST_CYCLE_S:
        return None
    return Line(int(sctc), cycle_s, tuple(powers_w), int(count))


class SerialDialect:
    """LMG95, LMG450, LMG500.

    Args:
        models: What the device may call itself.
        port: Serial port, or ``tcp://HOST:PORT`` of a box with a serial port on the network.
        channels: Number of channels that are read.
        baud: As set on the device.
        line_end: As set on the device.
        repeats: How often each power is asked for in a line.
        numbered: The power's name carries the channel's number (not on a one-channel model).
    """

    clock = SCTC

    def __init__(
        self,
        models: tuple[str, ...],
        port: str,
        channels: int = 1,
        baud: int = 57_600,
        line_end: bytes = b"\r\n",
        repeats: int = 2,
        numbered: bool = True,
    ) -> None:
        self.models = models
        self.where = port
        self.hint = f"{baud} baud, 8N1, RTS/CTS, echo off"
        self.connect_limit_s = LOOK_UP_S if port.startswith("tcp://") else 0.0
        self._channels = channels
        self._baud = baud
        self._line_end = line_end
        self._repeats = repeats
        self._numbered = numbered

    def connect(self, connect_s: float) -> Lines:
        """See `Dialect.connect`."""
        link = open_link(self.where, self._baud, rtscts=True, connect_s=connect_s)
        return Lines(link, self._line_end)

    def begin(self, lines: Lines, reset: bool) -> Talk[bytes]:
        """See `Dialect.begin`."""
        # BREAK ends a stream that a killed predecessor left running, whatever its format, and
        # returns to SCPI. A box that does not know it passes on two bytes: end that line.
        lines.link.send_break()
        yield from pause(lmg_setup.SETTLE_S)
        lines.send("")
        lines.send("CONT OFF")
        thrown = yield from lines.drain(lmg_setup.QUIET_S, lmg_setup.ANSWER_S)
        lines.send("*cls")
        if reset:
            lines.send("*rst")
            yield from pause(lmg_setup.SETTLE_S)
        lines.send(":SYSTem:LANGuage SHORT")
        yield from lines.drain(lmg_setup.QUIET_S, lmg_setup.ANSWER_S)
        return thrown

    def errors(self, lines: Lines) -> Talk[str | None]:
        """See `Dialect.errors`; the list is known to SCPI only."""
        lines.send("lang scpi")
        errors = yield from lines.ask("syst:err:all?", lmg_setup.ANSWER_S)
        lines.send(":SYSTem:LANGuage SHORT")
        return errors

    def voltage_range(self, volts: float, channels: Sequence[int]) -> list[str]:
        """See `Dialect.voltage_range`."""
        return ["uam manual", f"urng {volts:g}"]

    def current_range(self, amperes: float, channels: Sequence[int]) -> list[str]:
        """See `Dialect.current_range`."""
        return ["iam manual", f"irng {amperes:g}"]

    def range_questions(self, channels: Sequence[int]) -> tuple[str, str]:
        """See `Dialect.range_questions`."""
        return "urng?", "irng?"

    def action(self, channels: Sequence[int]) -> str:
        """See `Dialect.action`."""
        powers = "".join(f";P{n if self._numbered else ''}?" for n in channels)
        return "ACTN;COUNT?;SCTC?;CYCR?" + powers * self._repeats

    def parse(self, text: bytes) -> Line | None:
        """See `Dialect.parse`."""
        return parse(text, self._channels, self._repeats)


def serial_source(
    settings: Mapping[str, Any],
    endpoints: Endpoints,
    models: tuple[str, ...],
    schema: Mapping[str, Any],
    numbered: bool = True,
) -> LmgSource:
    """Make the source of a model with a serial port from a campaign's settings.

    Raises:
        WattproofError: If there is no port, or the line is too slow for what shall be sent.
    """
    chosen = settings_of(settings, schema)
    baud = settings.get("baud", 57_600)
    repeats = 2 if settings.get("repeat_power", True) else 1
    bits = 10 * (LINE_BYTES + POWER_BYTES * len(chosen.channels) * repeats)
    if bits > 0.9 * baud * chosen.cycle_s:
        raise WattproofError(
            f"{baud} baud is too slow for {bits // 10} bytes each {chosen.cycle_s:g} s; raise key "
            "'sources.meter.baud' (on the meter as well) or 'sources.meter.cycle_s'."
        )
    dialect = SerialDialect(
        models,
        port_of(settings, endpoints, "/dev/ttyUSB0"),
        len(chosen.channels),
        baud,
        b"\n" if settings.get("line_end") == "lf" else b"\r\n",
        repeats,
        numbered,
    )
    return LmgSource(dialect, chosen, endpoints.simulated)


def build(settings: Mapping[str, Any], endpoints: Endpoints) -> LmgSource:
    """Make the source from a campaign's settings.

    Raises:
        WattproofError: If there is no port, or the line is too slow for what shall be sent.
    """
    return serial_source(settings, endpoints, ("LMG450",), SETTINGS)
