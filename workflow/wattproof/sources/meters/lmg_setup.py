"""Setting an LMG up: stop what runs, identify, fix ranges and cycle, start the stream.

Everything is a conversation (`lines.Talk`), because it happens at opening and again, in steps,
whenever a stream has to be mended.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from wattproof.errors import WattproofError
from wattproof.sources.meters.lines import Lines, Talk
from wattproof.sources.meters.lmg_counters import Clock, Line
from wattproof.sources.meters.lmg_settings import Settings

ANSWER_S = 3.0
QUERY_S = 1.0
"""For questions that not every firmware knows."""
QUIET_S = 0.3
SETTLE_S = 0.2
"""After BREAK and reset the device needs a moment before it listens."""
CYCLE_TOLERANCE = 0.01
DRIVERS = ("lmg95", "lmg450", "lmg500", "lmg670")
_MODEL = re.compile(r"LMG\s*(\d+)", re.IGNORECASE)


class Dialect(Protocol):
    """What the models differ in."""

    models: tuple[str, ...]
    """What the device may call itself, e.g. ``LMG450``."""
    where: str
    hint: str
    """What to check when the meter does not answer."""
    clock: Clock
    connect_limit_s: float
    """Longest that `connect` may block when all goes wrong: a network name is looked up."""

    def connect(self, connect_s: float) -> Lines:
        """Open the link."""
        ...

    def begin(self, lines: Lines, reset: bool) -> Talk[bytes]:
        """Stop an old stream, choose the short commands; returns what was thrown away."""
        ...

    def errors(self, lines: Lines) -> Talk[str | None]:
        """Read and clear the device's list of errors, and come back to the short commands."""
        ...

    def voltage_range(self, volts: float, channels: Sequence[int]) -> list[str]:
        """Commands that fix the voltage range."""
        ...

    def current_range(self, amperes: float, channels: Sequence[int]) -> list[str]:
        """Commands that fix the current range."""
        ...

    def range_questions(self, channels: Sequence[int]) -> tuple[str, str]:
        """Questions for the voltage and the current range of the first channel."""
        ...

    def action(self, channels: Sequence[int]) -> str:
        """The command that says what is sent at the end of each cycle."""
        ...

    def parse(self, text: bytes) -> Line | None:
        """Parse one line of the stream; None if it is not a whole, sane line."""
        ...


@dataclass(frozen=True, slots=True)
class SetUp:
    """What came of setting up.

    Attributes:
        identity: Maker, model, serial number, firmware, ranges, cycle.
        cycle_s: Nominal cycle.
        range_w: Power range of all channels together; None with automatic ranges.
    """

    identity: dict[str, Any]
    cycle_s: float
    range_w: float | None


def set_up(dialect: Dialect, settings: Settings, lines: Lines, reset: bool) -> Talk[SetUp]:
    """Make the device stream.

    Args:
        dialect: The model.
        settings: Settings.
        lines: Open link.
        reset: Reset the device first. Not when a stream is mended: counters shall go on.

    Raises:
        WattproofError: If it does not answer, is another model, or refuses a setting.
        LinkLostError: If the link breaks.
    """
    thrown = yield from dialect.begin(lines, reset)
    words = yield from _identify(dialect, lines, thrown)
    maker, model, serial_number, version = (*words, "", "", "", "")[:4]
    volts, amperes = settings.range_v, settings.range_a
    if volts is not None:
        commands = dialect.voltage_range(volts, settings.channels)
        yield from _command(dialect, lines, commands, f"the voltage range {volts:g} V", "range_v")
    if amperes is not None:
        commands = dialect.current_range(amperes, settings.channels)
        yield from _command(dialect, lines, commands, f"the current range {amperes:g} A", "range_a")
    cycle = [f"CYCL {settings.cycle_s:g}"]
    yield from _command(dialect, lines, cycle, f"a cycle of {settings.cycle_s:g} s", "cycle_s")
    lines.send("FRMT ASCII")
    cycle_s = yield from _number(lines, "CYCL?")
    if cycle_s is not None and abs(cycle_s / settings.cycle_s - 1.0) > CYCLE_TOLERANCE:
        raise WattproofError(
            f"The meter at {dialect.where} keeps a cycle of {cycle_s:g} s instead of the "
            f"{settings.cycle_s:g} s of key 'sources.meter.cycle_s'; take one that it offers."
        )
    ask_volts, ask_amperes = dialect.range_questions(settings.channels)
    kept_v = None if volts is None else (yield from _number(lines, ask_volts))
    kept_a = None if amperes is None else (yield from _number(lines, ask_amperes))
    lines.send("*cls")  # firmware that does not know a question has noted an error
    lines.send(dialect.action(settings.channels))
    lines.send("CONT ON")
    range_v, range_a = kept_v or volts, kept_a or amperes
    range_w = None
    if range_v is not None and range_a is not None:
        range_w = range_v * range_a * len(settings.channels)
    return SetUp(
        {
            "maker": maker,
            "model": model,
            "serial": serial_number,
            "version": version,
            "port": dialect.where,
            "channels": list(settings.channels),
            "range_v": range_v,
            "range_a": range_a,
            "cycle_s": cycle_s if cycle_s is not None else settings.cycle_s,
        },
        settings.cycle_s,
        range_w,
    )


def _identify(dialect: Dialect, lines: Lines, thrown: bytes) -> Talk[list[str]]:
    answer = yield from lines.ask("*idn?", ANSWER_S)
    if answer is None or _MODEL.search(answer) is None:  # the rest of an old stream, or a glitch
        yield from lines.drain(QUIET_S, ANSWER_S)
        again = yield from lines.ask("*idn?", ANSWER_S)
        answer = again or answer
    if answer is None and _readable(thrown):
        raise WattproofError(
            f"The meter at {dialect.where} does not answer '*idn?'; check that it is on, "
            f"{dialect.hint}, and key 'sources.meter.port'."
        )
    if answer is None or not _readable(answer.encode("utf-8")):
        raise WattproofError(
            f"What the meter at {dialect.where} sends cannot be read; set key 'sources.meter.baud' "
            "to the baud rate in the meter's interface menu (and 8 data bits, no parity, 1 stop "
            "bit there)."
        )
    if answer.lower().startswith("*idn?"):
        raise WattproofError(
            f"The meter at {dialect.where} repeats every command; switch echo off in its "
            "interface menu."
        )
    found = _MODEL.search(answer)
    if found is None:
        raise WattproofError(
            f"What answers at {dialect.where} is no LMG ('{answer[:60]}'); check keys "
            "'sources.meter.port' and 'sources.meter.driver'."
        )
    model = f"LMG{found[1]}"
    if model not in dialect.models:
        driver = "lmg670" if model.startswith("LMG6") else model.lower()
        remedy = f"set key 'sources.meter.driver' to {driver}"
        if driver not in DRIVERS:
            remedy = f"wattproof has no driver for it (it has {', '.join(DRIVERS)})"
        raise WattproofError(
            f"The meter at {dialect.where} is an {model}, not an {dialect.models[0]}; {remedy}."
        )
    return [word.strip() for word in answer.split(",")]


def _readable(data: bytes) -> bool:
    """Whether bytes are text: hardly any outside printable ASCII."""
    strange = sum(not (32 <= byte < 127 or byte in b"\r\n\t\0") for byte in data)
    return strange * 10 <= len(data)


def _command(
    dialect: Dialect, lines: Lines, commands: Sequence[str], what: str, key: str
) -> Talk[None]:
    """Send commands of one setting and make sure that the device took them."""
    for command in commands:
        lines.send(command)
    errors = yield from dialect.errors(lines)
    if errors is not None and not errors.startswith(("0", "+0")):
        raise WattproofError(
            f"The meter at {dialect.where} refuses {what} ({errors[:80]}); set key "
            f"'sources.meter.{key}' to one that its data sheet names."
        )


def _number(lines: Lines, question: str) -> Talk[float | None]:
    """Ask for a setting; None if the firmware does not know the question."""
    answer = yield from lines.ask(question, QUERY_S)
    try:
        return float(answer) if answer is not None else None
    except ValueError:
        return None
