"""ZES ZIMMER LMG450 (and LMG95, LMG500) on a serial port, streaming one line a cycle.

Commands: measurement.md 13.1 (short command set, ``ACTN`` at each cycle end, ``CONT ON``). The
stream carries no clock, so its sample counter ``SCTC?`` is the device clock and its cycle counter
``COUNT?`` finds the lines that were lost.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import serial

from wattproof.errors import WattproofError
from wattproof.sources.base import Channel, Description, Pacing, Reading, Status
from wattproof.sources.endpoints import Endpoints
from wattproof.sources.meters.lmg_lines import Decoder

CHANNEL = "node.ac"
ACCURACY_READING = 0.0007
ACCURACY_RANGE = 0.0004
"""Limits of error of active power: 0.07 % of the reading + 0.04 % of the range."""

SETTINGS: dict[str, Any] = {
    "properties": {
        "port": {
            "type": "string",
            "default": "auto",
            "description": "serial port, e.g. /dev/ttyUSB0; auto: the virtual node's",
        },
        "baud": {"type": "integer", "minimum": 1200, "default": 57600},
        "channels": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": 8},
            "minItems": 1,
            "uniqueItems": True,
            "default": [1],
            "description": "channels that are summed, one for each power supply",
        },
        "cycle_s": {"type": "number", "minimum": 0.05, "maximum": 60, "default": 0.1},
        "range_v": {"type": "number", "exclusiveMinimum": 0},
        "range_a": {"type": "number", "exclusiveMinimum": 0},
    },
}

POLL_S = 0.25
ANSWER_S = 3.0
QUIET_S = 0.3
SETTLE_S = 0.2
"""After BREAK and reset the device needs a moment before it listens."""
SILENT_CYCLES = 5
LONGEST_LINE = 4096


class Lmg450Source:
    """The wall meter: sum of the active power of some channels.

    Args:
        port: Serial port.
        baud: 57 600 or 115 200, as set on the device.
        channels: Channels that are summed, e.g. one for each power supply.
        cycle_s: Cycle asked for; the device rounds it to whole mains periods.
        range_v: Voltage range; with `range_a`, fixed instead of automatic.
        range_a: Current range.
        simulated: True if a virtual node stands behind it.
    """

    name = "meter"
    pacing = Pacing.STREAM

    def __init__(
        self,
        port: str,
        baud: int = 57_600,
        channels: Sequence[int] = (1,),
        cycle_s: float = 0.1,
        range_v: float | None = None,
        range_a: float | None = None,
        simulated: bool = False,
    ) -> None:
        self.period_s = cycle_s
        self._port = port
        self._baud = baud
        self._channels = tuple(channels)
        self._range_v = range_v
        self._range_a = range_a
        self._simulated = simulated
        self._serial: serial.Serial | None = None
        self._rest = b""
        self._decoder = Decoder(CHANNEL, len(self._channels), cycle_s)
        self._heard_ns = 0
        self._lost = False

    def open(self) -> Description:
        """Stop an old stream, reset, identify, set up, and start streaming."""
        try:
            self._serial = serial.Serial(
                self._port,
                self._baud,
                rtscts=True,
                timeout=POLL_S,
                write_timeout=ANSWER_S,
                exclusive=True,
            )
            identity = self._set_up()
        except (serial.SerialException, OSError) as error:
            self.close()
            raise WattproofError(
                f"The meter's serial port {self._port} does not work ({error}); check key "
                "'sources.meter.port', the cable, and that you may open the port."
            ) from error
        except WattproofError:
            self.close()
            raise
        self._heard_ns = time.monotonic_ns()
        return Description(identity, (self._channel(identity),), self._simulated)

    def read(self) -> Sequence[Reading]:
        """Return the lines that arrived within a quarter of a second, decoded."""
        port = self._serial
        if port is None or self._lost:
            raise WattproofError(f"The meter at {self._port} is gone: the port does not answer.")
        try:
            self._rest += port.read(port.in_waiting or 1)
        except (serial.SerialException, OSError):
            self._lost = True
            return [self._row(Status.DEVICE_LOST)]
        now = time.monotonic_ns()
        *lines, self._rest = self._rest.split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            lines, self._rest = [self._rest], b""
        readings: list[Reading] = []
        for line in lines:
            readings += self._decoder.decode(line, now)
        if readings:
            self._heard_ns = now
        elif now - self._heard_ns > SILENT_CYCLES * self.period_s * 1e9:
            self._heard_ns = now
            readings.append(self._row(Status.TIMEOUT))
        return readings

    def close(self) -> None:
        """Stop the stream and give the front panel back to people."""
        port, self._serial = self._serial, None
        if port is None:
            return
        with contextlib.suppress(serial.SerialException, OSError):
            port.write(b"CONT OFF\r\nGTL\r\n")
            port.flush()
        with contextlib.suppress(serial.SerialException, OSError):
            port.close()

    def _row(self, status: Status) -> Reading:
        now = time.monotonic_ns()
        return Reading(CHANNEL, None, status, None, now, now)

    # ---------------------------------------------------------------- set-up

    def _set_up(self) -> dict[str, Any]:
        assert self._serial is not None
        # BREAK ends a stream that a killed predecessor left running, whatever its format.
        self._serial.send_break(0.25)
        time.sleep(SETTLE_S)
        self._send("CONT OFF")
        self._drain()
        self._send("*cls")
        self._send("*rst")
        time.sleep(SETTLE_S)
        self._send(":SYSTem:LANGuage SHORT")
        self._drain()
        words = [word.strip() for word in self._ask("*idn?").split(",")]
        maker, model, serial_number, version = (*words, "", "", "", "")[:4]
        if self._range_v is not None:
            self._send("uam manual")
            self._send(f"urng {self._range_v:g}")
        if self._range_a is not None:
            self._send("iam manual")
            self._send(f"irng {self._range_a:g}")
        self._send(f"CYCL {self.period_s:g}")
        self._send("FRMT ASCII")
        powers = "".join(f";P{channel}?" for channel in self._channels)
        self._send(f"ACTN;COUNT?;SCTC?;CYCR?{powers}")
        self._send("CONT ON")
        return {
            "maker": maker,
            "model": model,
            "serial": serial_number,
            "version": version,
            "port": self._port,
            "channels": list(self._channels),
            "range_v": self._range_v,
            "range_a": self._range_a,
        }

    def _send(self, command: str) -> None:
        assert self._serial is not None
        self._serial.write(command.encode("ascii") + b"\r\n")

    def _drain(self) -> None:
        """Throw away what still arrives, until the line is quiet."""
        assert self._serial is not None
        end = time.monotonic() + ANSWER_S
        quiet = time.monotonic() + QUIET_S
        while (now := time.monotonic()) < min(end, quiet):
            if self._serial.in_waiting:
                self._serial.reset_input_buffer()
                quiet = now + QUIET_S
            time.sleep(0.01)

    def _ask(self, command: str) -> str:
        assert self._serial is not None
        self._send(command)
        end = time.monotonic() + ANSWER_S
        answer = b""
        while time.monotonic() < end and not answer.endswith(b"\n"):
            answer += self._serial.read(self._serial.in_waiting or 1)
        text = answer.decode("ascii", "replace").strip()
        if not text:
            raise WattproofError(
                f"The meter at {self._port} does not answer '{command}'; check that it is on, "
                f"{self._baud} baud, RTS/CTS, echo off, and key 'sources.meter.port'."
            )
        return text

    def _channel(self, identity: dict[str, Any]) -> Channel:
        known = self._range_v is not None and self._range_a is not None
        range_w = (self._range_v or 0.0) * (self._range_a or 0.0) * len(self._channels)
        return Channel(
            name=CHANNEL,
            unit="W",
            kind="power",
            device=identity["serial"] or self._port,
            period_s=self.period_s,
            averaging_s=self.period_s,
            clock="device",
            accuracy_reading=ACCURACY_READING,
            accuracy_range_w=ACCURACY_RANGE * range_w if known else None,
            identity={
                **identity,
                "means": "active power at the wall, sum of the channels, mean of the cycle before "
                "its stamp",
            },
        )


def build(settings: Mapping[str, Any], endpoints: Endpoints) -> Lmg450Source:
    """Make the source from a campaign's settings.

    Raises:
        WattproofError: If the port is to be found by itself and there is none.
    """
    port = settings.get("port", "auto")
    if port == "auto":
        if endpoints.meter_port is None:
            raise WattproofError(
                "Key 'sources.meter.port' is 'auto', which only the virtual node can answer; give "
                "the serial port of your meter, e.g. /dev/ttyUSB0."
            )
        port = endpoints.meter_port
    return Lmg450Source(
        port,
        baud=settings.get("baud", 57_600),
        channels=settings.get("channels", (1,)),
        cycle_s=settings.get("cycle_s", 0.1),
        range_v=settings.get("range_v"),
        range_a=settings.get("range_a"),
        simulated=endpoints.simulated,
    )
