"""A PTDaemon: its keys, and the greeting: who it is, what is behind it, which ranges it sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wattproof.errors import WattproofError
from wattproof.sources.meters.lines import Lines, run
from wattproof.sources.meters.ptd_lines import Identity, parse_identity, parse_ranges

ANSWER_S = 3.0

SETTINGS: dict[str, Any] = {
    "required": ["port"],
    "properties": {
        "port": {
            "type": "string",
            "minLength": 1,
            "description": "machine on which the daemon runs: HOST, or tcp://HOST:PORT (8888)",
        },
        "channels": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": 12},
            "minItems": 1,
            "uniqueItems": True,
            "description": "channels of the analyser that are summed; left out: the daemon's sum",
        },
        "cycle_s": {
            "type": "number",
            "minimum": 0.05,
            "maximum": 60,
            "default": 1.0,
            "description": "time between two samples",
        },
        "range_v": {"type": "number", "exclusiveMinimum": 0, "description": "voltage range"},
        "range_a": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "current range; without ranges those stay that are set",
        },
        "mark": {
            "type": "string",
            "pattern": "^[A-Za-z0-9_.-]{1,60}$",
            "default": "wattproof",
            "description": "word in the daemon's own log beside our samples",
        },
    },
}


class Greeting:
    """The first words with a daemon; each raises `WattproofError` or `LinkLostError`.

    Args:
        lines: Conversation with it.
        where: Where it is, for messages.
    """

    def __init__(self, lines: Lines, where: str) -> None:
        self._lines = lines
        self._where = where
        self.restore: list[str] = []
        """Commands that set back what `set_ranges` changed."""

    def introduce(
        self, channels: Sequence[int] | None, cycle_s: float
    ) -> tuple[Identity, dict[str, Any]]:
        """Find out who is there, and whether it can do what is wanted.

        Args:
            channels: Channels that shall be summed; None: the daemon's sum.
            cycle_s: Time between two samples.
        """
        lines = self._lines
        hello = run(lines.ask("Hello", ANSWER_S))
        if hello is None or not hello.startswith("Hello, PTDaemon"):
            raise WattproofError(
                f"What listens at {self._where} is no PTDaemon (it answers '{hello}'); check key "
                "'sources.meter.port'."
            )
        answer = run(lines.ask("Identify", ANSWER_S)) or ""
        about = parse_identity(answer)
        if about is None or about.mode != "power":
            what = "cannot be read" if about is None else f"is for {about.mode}"
            raise WattproofError(
                f"The PTDaemon at {self._where} {what} ('{answer}'); key 'sources.meter.port' must "
                "name one that was started for a power analyser."
            )
        absent = [channel for channel in channels or () if channel > about.channels]
        if absent:
            raise WattproofError(
                f"Key 'sources.meter.channels' names channel {absent[0]}, but the PTDaemon at "
                f"{self._where} has {about.channels}; for several start it with a multichannel "
                "device type."
            )
        if cycle_s < about.interval_s:
            raise WattproofError(
                f"Key 'sources.meter.cycle_s' is {cycle_s:g}, but the analyser at "
                f"{self._where} gives a sample each {about.interval_s:g} s."
            )
        words = [word.strip() for word in about.analyser.split(";")]
        maker, model, serial, firmware = (*words, "", "", "", "")[:4]
        return about, {
            "daemon": about.version,
            "driver": about.driver,
            "maker": maker,
            "model": model or about.driver,
            "serial": serial,
            "firmware": firmware,
            "port": self._where,
            "channels": "the daemon's sum" if channels is None else list(channels),
        }

    def set_ranges(self, ranges: Mapping[str, float], about: Identity) -> dict[str, Any]:
        """Set ranges, ``{"V": volts, "A": amps}``; return those that are then in use."""
        lines = self._lines
        before = parse_ranges(run(lines.ask("RR", ANSWER_S)) or "") or {}
        for kind, value in ranges.items():
            key = f"sources.meter.range_{kind.lower()}"
            answer = run(lines.ask(f"SR,{kind},{value:g}", ANSWER_S))
            if answer is None or not answer.startswith(f"Range {kind} changed"):
                why = "" if about.sets_ranges else ", it says that it cannot set ranges"
                raise WattproofError(
                    f"The PTDaemon at {self._where} does not set the range of key '{key}' to "
                    f"{value:g} ({answer}{why}); give one of the analyser's, or leave the key out."
                )
            old = before.get(f"range_{kind.lower()}")
            self.restore.append(f"SR,{kind},{'Auto' if old is None else f'{old:g}'}")
        after = parse_ranges(run(lines.ask("RR", ANSWER_S)) or "")
        return after or {"range_a": None, "range_v": None}
