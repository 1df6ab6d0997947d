"""Setting a Yokogawa WT up: who it is, what it shall do, and whether it does it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from wattproof.errors import WattproofError
from wattproof.sources.meters.lines import Lines, run
from wattproof.sources.meters.yokogawa_values import number

CLEAR = "*CLS"
RATES = (":RATE", ":SAMPLE:RATE")
"""The update interval has either name, depending on model and firmware."""
ERROR = ":STATUS:ERROR?"
ANSWER_S = 2.0
QUIET_S = 0.15
TRIES = 3

ACCURACY_READING = 0.001
ACCURACY_RANGE, ACCURACY_RANGE_E = 0.001, 0.0005
"""Limits of error of active power at 45–66 Hz, power factor 1: 0.1 % of the reading + 0.1 % of the
range (WT310, WT330), or + 0.05 % (models with an E)."""

MODEL = re.compile(r"WT3[13]\d(E?)")
ELEMENTS = {"WT31": (1,), "WT332": (1, 3), "WT33": (1, 2, 3)}


CYCLES_S = (0.1, 0.25, 0.5, 1, 2, 5)

SETTINGS: dict[str, Any] = {
    "required": ["port"],
    "properties": {
        "port": {
            "type": "string",
            "minLength": 1,
            "description": "serial port, tcp://HOST:PORT of a serial-to-network box, or a VISA "
            "address: USB0::0x0B21::…::INSTR, TCPIP::HOST::INSTR",
        },
        "baud": {
            "type": "integer",
            "minimum": 1200,
            "default": 9600,
            "description": "speed of the serial line, as set on the device",
        },
        "rtscts": {"type": "boolean", "default": False, "description": "hardware handshake"},
        "channels": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": 3},
            "minItems": 1,
            "uniqueItems": True,
            "default": [1],
            "description": "elements that are summed, one for each power supply",
        },
        "cycle_s": {
            "enum": list(CYCLES_S),
            "default": 0.1,
            "description": "data update interval",
        },
        "range_v": {"type": "number", "exclusiveMinimum": 0, "description": "voltage range"},
        "range_a": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "current range; without ranges the device chooses, and loses data then",
        },
        "integrate": {
            "type": "boolean",
            "default": False,
            "description": "the device's own energy counter as a second channel",
        },
        "visa": {
            "type": "string",
            "default": "@py",
            "description": "VISA library: @py is pyvisa-py, an empty text the maker's",
        },
    },
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is set on the device.

    Attributes:
        elements: Elements that are summed.
        cycle_s: Data update interval.
        range_v: Voltage range; None: as the front panel says.
        range_a: Current range; None: as the front panel says.
        integrate: Whether its energy counter runs.
    """

    elements: tuple[int, ...]
    cycle_s: float
    range_v: float | None = None
    range_a: float | None = None
    integrate: bool = False


class SetUp:
    """Sets a device up, each command checked by the device's error queue.

    Args:
        lines: Conversation with the device.
        wanted: What to set.
        where: Where it is, for messages.
    """

    def __init__(self, lines: Lines, wanted: Wanted, where: str) -> None:
        self._lines = lines
        self._wanted = wanted
        self._where = where
        self.rate = RATES[0]
        """Command of the update interval on this device."""

    def carry_out(self) -> dict[str, Any]:
        """Do all of it.

        Returns:
            Identity of the device.

        Raises:
            WattproofError: If it is another device, or does not do what it is told.
            LinkLostError: If the link breaks.
        """
        identity = self._identify()
        wanted = self._wanted
        for command in (
            ":COMMUNICATE:REMOTE ON",
            ":COMMUNICATE:HEADER OFF",
            ":COMMUNICATE:VERBOSE OFF",
            ":HOLD OFF",
        ):
            self._set(command)
        self.rate = next((rate for rate in RATES if self._ask(rate + "?")), RATES[0])
        self._lines.send(CLEAR)  # a name that it does not know has left an error
        goes_on = self._integration_goes_on()
        if not goes_on:
            self._set(f"{self.rate} {wanted.cycle_s * 1000:g}MS", "sources.meter.cycle_s")
            self._set(":MEASURE:AVERAGING:STATE OFF")
            for name, value in (("VOLTAGE", wanted.range_v), ("CURRENT", wanted.range_a)):
                if value is not None:
                    key = f"sources.meter.range_{'v' if name == 'VOLTAGE' else 'a'}"
                    unit = "V" if name == "VOLTAGE" else "A"
                    self._set(f":INPUT:{name}:AUTO OFF", key)
                    self._set(f":INPUT:{name}:RANGE {value:g}{unit}", key)
        self._check(self.rate, wanted.cycle_s, "cycle_s", "update interval")
        identity["range_v"] = self._range("VOLTAGE", wanted.range_v, "range_v")
        identity["range_a"] = self._range("CURRENT", wanted.range_a, "range_a")
        self._choose_items()
        if wanted.integrate:
            identity["integration"] = "went on from an earlier start" if goes_on else "started"
            if not goes_on:
                self._set(":INTEGRATE:MODE NORMAL")
                self._set(":INTEGRATE:TIMER 0,0,0")
                self._set(":INTEGRATE:START")
        return identity

    def _identify(self) -> dict[str, Any]:
        lines = self._lines
        run(lines.drain(QUIET_S, ANSWER_S))
        # The first one may be taken for the end of what a killed predecessor sent.
        lines.send(CLEAR)
        lines.send(CLEAR)
        lines.send(":SYSTEM:COMMUNICATE:COMMAND WT300")
        run(lines.drain(QUIET_S, ANSWER_S))
        lines.send(CLEAR)  # the last command is unknown to a device without older command sets
        answer = None
        for _ in range(TRIES):
            answer = run(lines.ask("*IDN?", ANSWER_S))
            # A number is what a killed predecessor had asked for; it may come a long cycle later.
            if answer is not None and answer[0].isalpha():
                break
        run(lines.drain(QUIET_S, ANSWER_S))
        if answer is None:
            raise WattproofError(
                f"Nothing at {self._where} answers '*IDN?' like a Yokogawa meter; check keys "
                "'sources.meter.port' and 'sources.meter.baud', the cable (null-modem), and the "
                "device's communication menu (line end CR+LF)."
            )
        words = [word.strip() for word in answer.split(",")]
        maker, model, serial, firmware = (*words, "", "", "", "")[:4]
        known = MODEL.match(model.upper())
        if not maker.upper().startswith("YOKOGAWA") or known is None:
            raise WattproofError(
                f"The device at {self._where} says it is '{answer}', not a Yokogawa of the WT300 "
                "family; check keys 'sources.meter.port' and 'sources.meter.driver' (others by "
                "Yokogawa work through driver 'ptdaemon')."
            )
        present = next(e for start, e in ELEMENTS.items() if model.upper().startswith(start))
        absent = [element for element in self._wanted.elements if element not in present]
        if absent:
            raise WattproofError(
                f"Key 'sources.meter.channels' names element {absent[0]}, but the {model} at "
                f"{self._where} has {', '.join(map(str, present))}."
            )
        return {
            "maker": maker,
            "model": model,
            "serial": serial,
            "firmware": firmware,
            "port": self._where,
            "elements": list(self._wanted.elements),
            "averaging": "off",
            "accuracy_reading": ACCURACY_READING,
            "accuracy_range": ACCURACY_RANGE_E if known[1] else ACCURACY_RANGE,
        }

    def _integration_goes_on(self) -> bool:
        """Whether an integration of an earlier start can go on; one that cannot is ended.

        While the device integrates it refuses other settings. A recorder that comes back after a
        pulled cable finds the counter as it left it, and no energy is lost.
        """
        state = (self._ask(":INTEGRATE:STATE?") or "RES").upper()
        wanted = self._wanted
        if state.startswith("RES"):
            return False
        if wanted.integrate and state.startswith("STAR"):
            asked = {self.rate: wanted.cycle_s}
            asked |= {":INPUT:VOLTAGE:RANGE": wanted.range_v} if wanted.range_v else {}
            asked |= {":INPUT:CURRENT:RANGE": wanted.range_a} if wanted.range_a else {}
            if all(same(self._ask(f"{query}?"), value) for query, value in asked.items()):
                return True
        if state.startswith("STAR"):
            self._set(":INTEGRATE:STOP")
        self._set(":INTEGRATE:RESET")
        return False

    def _choose_items(self) -> None:
        functions = ["P", "WH"] if self._wanted.integrate else ["P"]
        items = [f"{f},{element}" for f in functions for element in self._wanted.elements]
        self._set(":NUMERIC:FORMAT ASCII")
        self._set(f":NUMERIC:NORMAL:NUMBER {len(items)}")
        for i, item in enumerate(items, 1):
            self._set(f":NUMERIC:NORMAL:ITEM{i} {item}", "sources.meter.channels")
        self._set(":STATUS:FILTER1 FALL")
        self._ask(":STATUS:EESR?")

    # ---------------------------------------------------------------- one command

    def _ask(self, question: str) -> str | None:
        return run(self._lines.ask(question, ANSWER_S))

    def _set(self, command: str, key: str = "sources.meter.driver") -> None:
        self._lines.send(command)
        answer = self._ask(ERROR)
        if answer is None or answer.split(",")[0].strip() != "0":
            said = "does not answer after" if answer is None else f"refuses ({answer}) the command"
            raise WattproofError(
                f"The meter at {self._where} {said} '{command}'; check key '{key}'."
            )

    def _check(self, query: str, value: float, key: str, what: str) -> None:
        answer = self._ask(query + "?")
        if not same(answer, value):
            raise WattproofError(
                f"The meter at {self._where} has the {what} {answer} instead of {value:g}; give "
                f"key 'sources.meter.{key}' a value that its front panel offers."
            )

    def _range(self, name: str, wanted: float | None, key: str) -> float | None:
        """Return the range in use; None if the device chooses by itself."""
        query = f":INPUT:{name}:RANGE"
        if wanted is not None:
            self._check(query, wanted, key, f"{name.lower()} range")
            return wanted
        if (self._ask(f":INPUT:{name}:AUTO?") or "1").strip().upper() in {"1", "ON"}:
            return None
        value = number(self._ask(query + "?") or "")
        return value if value is not None and math.isfinite(value) else None


def same(answer: str | None, value: float) -> bool:
    """Return whether an answer is this value."""
    given = number(answer or "")
    return given is not None and math.isclose(given, value, rel_tol=1e-3)
