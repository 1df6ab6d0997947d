"""A ZES ZIMMER LMG as a state machine, SIMULATED: language, cycles, counters, faults. No I/O.

It keeps a record of every cycle and of every fault: the oracle of the tests. Instants are seconds
of `time.monotonic`.
"""

from __future__ import annotations

import calendar
import datetime
import random
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

SCTC_HZ = 99_338
UNDEFINED = '-113,"Undefined header"'
ILLEGAL = '-224,"Illegal parameter value"'
EPOCH_S = calendar.timegm((2015, 1, 21, 17, 20, 55)) + 0.437817


@dataclass
class Cycle:
    """What became of a cycle.

    Attributes:
        fate: good, overrange, nan; damaged (sent, but hurt); lost (not sent); off (the device was
            off or had just begun anew: nobody can count it).
    """

    index: int
    stamp: int
    """SCTC, unwrapped, or nanoseconds since the epoch."""
    watts: float
    fate: str


@dataclass
class Fault:
    kind: str
    at_s: float
    cycle: int
    size: float = 0.0


@dataclass
class Device:
    """See the module. `emit(bytes, at_s)` is called for what is sent.

    Args:
        model: LMG95, LMG450, LMG500, LMG670.
        cycle_stretch: True cycles are longer than asked for by this share (mains periods).
    """

    model: str = "LMG450"
    serial: str = "SIM-42"
    channels: int = 4
    ranges_v: tuple[float, ...] = (6, 12.5, 25, 60, 130, 250, 400, 600)
    ranges_a: tuple[float, ...] = (0.6, 1.2, 2.5, 5, 10, 16)
    cycles_s: tuple[float, float] = (0.05, 60.0)
    echo: bool = False
    mute: bool = False
    scrambled: bool = False
    """Wrong baud rate: everything is garbage in both directions."""
    knows_queries: bool = True
    deaf_until_break: bool = False
    hz: float = SCTC_HZ
    count: int = 65_000
    stamp0: int = 2**31 - 40 * SCTC_HZ
    cycle_stretch: float = 2e-4
    now_s: float = field(default_factory=time.monotonic)
    seed: int = 1

    commands: list[str] = field(default_factory=list)
    cycles: list[Cycle] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    planned: deque[tuple[str, float]] = field(default_factory=deque)
    unexpected: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self._input = b""
        self._late: list[bytes] = []
        self._late_n = 0
        self._pause = 0
        self._index = 0
        self._on_since = self.now_s
        self._skipped = 0
        self._scpi = True
        self._anew = False
        self._deaf_until = 0.0
        self._trouble = False
        self._power_on(self.now_s)

    @property
    def family600(self) -> bool:
        return self.model.startswith("LMG6")

    def _power_on(self, now: float) -> None:
        self._scpi = True
        self._errors: list[str] = []
        self._reset(now)

    def _reset(self, now: float) -> None:
        self.continuous = False
        self._items: list[str] = []
        self.volts: float | None = None
        self.amperes: float | None = None
        self._cycle_s = 0.5
        self._next = now + self.true_cycle_s

    @property
    def true_cycle_s(self) -> float:
        return self._cycle_s * (1 + self.cycle_stretch)

    # ------------------------------------------------------------------ commands

    def send_break(self, now: float) -> None:
        self.commands.append("<BREAK>")
        self._input = b""
        self._deaf_until = 0.0
        self.deaf_until_break = False
        self._stop()
        self._scpi = True

    def _stop(self) -> None:
        if self.continuous and not self._trouble:
            self.unexpected.append("stopped without need")
        self.continuous = False

    def feed(self, data: bytes, now: float) -> bytes:
        if self.mute or now < self._deaf_until or self.deaf_until_break:
            return b""
        if self.scrambled:
            return bytes(self.chance.randrange(128, 256) for _ in data)
        self._input += data
        *lines, self._input = self._input.replace(b"\r", b"\n").split(b"\n")
        out = b""
        for raw in lines:
            text = raw.decode("latin-1").strip()
            if not text:
                continue
            self.commands.append(text)
            if self.echo:
                out += raw + self.eol
            whole = text.lower().startswith("actn")
            for part in [text] if whole else text.split(";"):
                answer = self._command(part.strip(), now)
                if answer is not None:
                    out += answer.encode() + self.eol
        return out

    @property
    def eol(self) -> bytes:
        return b"\n" if self.family600 else b"\r\n"

    def _command(self, text: str, now: float) -> str | None:
        word, _, argument = text.partition(" ")
        word, argument = word.lower().partition(";")[0], argument.strip()
        languages = ("*zlang",) if self.family600 else (":system:language", "syst:lang", "lang")
        if word == "*idn?":
            return f"ZES ZIMMER Electronic Systems GmbH, {self.model} SIMULATED, {self.serial}, 3.1"
        if word == "*cls":
            self._errors.clear()
        elif word == "*rst":
            self._stop()
            self._reset(now)
        elif word in languages:
            self._scpi = argument.lower() == "scpi"
        elif word == "syst:err:all?" and self._scpi:
            errors, self._errors = self._errors, []
            return ",".join(errors) or '0,"No error"'
        elif word == "cont" and argument.upper() == "OFF":
            self._stop()
        elif word == "gtl":
            if self.commands[-2:-1] == ["CONT OFF"] and self.unexpected:
                self.unexpected.pop()  # the host said goodbye
            self.continuous = False
        elif self._scpi:
            self._errors.append(UNDEFINED)
        else:
            return self._short(word, argument, text, now)
        return None

    def _short(self, word: str, argument: str, text: str, now: float) -> str | None:
        n = "".join(c for c in word if c.isdigit()) if self.family600 else ""
        bare = word.replace(n, "", 1) if n else word
        if n and not 1 <= int(n) <= self.channels:
            self._errors.append(ILLEGAL)
        elif bare in ("cycl?", "urng?", "irng?") and self.knows_queries:
            value = {"cycl?": self._cycle_s, "urng?": self.volts, "irng?": self.amperes}[bare]
            return f"{value or 0.0:.6E}"
        elif bare in ("iam", "uam", "iauto", "uauto", "frmt"):
            pass
        elif bare == "urng":
            self.volts = self._choose(argument, self.ranges_v, self.volts)
        elif bare == "irng":
            self.amperes = self._choose(argument, self.ranges_a, self.amperes)
        elif bare == "cycl":
            if self.cycles_s[0] <= float(argument) <= self.cycles_s[1]:
                self._cycle_s = float(argument)
                self._next = now + self.true_cycle_s
            else:
                self._errors.append(ILLEGAL)
        elif bare == "actn":
            self._items = self._wanted(text)
        elif bare == "cont":
            self.continuous = True
            self._anew = False
            self._trouble = False
        else:
            self._errors.append(UNDEFINED)
        return None

    def _choose(self, argument: str, offered: tuple[float, ...], old: float | None) -> float | None:
        if float(argument) in offered:
            return float(argument)
        self._errors.append(ILLEGAL)
        return old

    def _wanted(self, text: str) -> list[str]:
        items = [item.strip().upper() for item in text.split(";")[1:]]
        powers = [f"P{i + 1}?" for i in range(self.channels)]
        if self.model == "LMG95":
            powers = ["P?"]
        known = [*powers, *(("TSNORM?", "DURNORM?") if self.family600 else ())]
        if not self.family600:
            known += ["COUNT?", "SCTC?", "CYCR?"]
        if all(item in known for item in items):
            return items
        self._errors.append(UNDEFINED)
        return []

    # ------------------------------------------------------------------ cycles and faults

    def plan(self, kind: str, size: float = 0.0) -> None:
        """Let a fault happen at the next cycle that is sent."""
        self.planned.append((kind, size))

    def lose(self, kind: str, now: float, size: float = 0.0) -> None:
        """The line is cut: what is measured from now on is lost until the host begins anew."""
        self.faults.append(Fault(kind, now, self._index, size))
        self._trouble = True

    def next_s(self) -> float:
        return self._next

    def due(self, now: float) -> list[bytes]:
        """Pieces to send for the cycles that have ended; a piece starting with ``~`` trickles."""
        pieces: list[bytes] = []
        while self._next <= now:
            end = self._next
            self._next += self.true_cycle_s
            self.count = (self.count + 1) % 2**16
            self._index += 1
            pieces += self._one(end)
        return pieces

    def _stamp(self, end: float) -> int:
        if self.family600:
            return round((EPOCH_S + end - self._on_since) * 1e6) * 1000
        return self.stamp0 + round((end - self._on_since) * self.hz) + self._skipped

    def _one(self, end: float) -> list[bytes]:
        watts = 100.0 + self._index * 1e-3
        cycle = Cycle(self._index, self._stamp(end), watts, "lost")
        self.cycles.append(cycle)
        if self._anew:
            cycle.fate = "off"
        streaming = self.continuous and self._items and not self._trouble
        if self._late and streaming:
            cycle.fate = "good"
            self._late.append(self._line(cycle))
            if len(self._late) > self._late_n:
                pieces, self._late = self._late, []
                return pieces
            return []
        if self._pause:
            self._pause -= 1
            return []
        if not streaming:
            return []
        cycle.fate = "good"
        kind, size = self.planned.popleft() if self.planned else ("", 0.0)
        if not kind:
            return [self._line(cycle)]
        self.faults.append(Fault(kind, end, cycle.index, size))
        return self._faulty(kind, size, cycle, end)

    def _faulty(self, kind: str, size: float, cycle: Cycle, end: float) -> list[bytes]:
        line = self._line(cycle)
        noise = bytes(self.chance.choice([*range(1, 10), *range(128, 256)]) for _ in range(12))
        n = int(size)
        if kind == "garbage line":
            return [noise + b"\r\n", line]
        if kind == "duplicate":
            return [line, line]
        if kind == "trickle":
            return [b"~" + line]
        if kind == "late":
            self._late, self._late_n = [line], n
            return []
        if kind == "overrange":
            cycle.fate = "overrange"
            return [self._line(cycle, "9.9E+37")]
        if kind == "nan":
            cycle.fate = "nan"
            return [self._line(cycle, "9.91E+37")]
        if kind == "count glitch":
            self.count = (self.count + n) % 2**16
            return [self._line(cycle)]
        if kind == "counters jump":  # both, in no time: no cycle can have been lost
            self.count = (self.count + n) % 2**16
            self._skipped += round(n * self.true_cycle_s * self.hz)
            cycle.stamp = self._stamp(end)
            return [self._line(cycle)]
        cycle.fate = "lost" if kind in ("pause", "stuck", "deaf") else "damaged"
        if kind == "pause":
            self._pause = n - 1
            return []
        if kind in ("stuck", "deaf"):
            self._trouble = True
            self._deaf_until = end + size if kind == "deaf" else 0.0
            return []
        if kind == "restart":
            cycle.fate = "off"
            self._trouble = True
            self._deaf_until = end + size
            self._anew = True
            self._power_on(end)
            self.count, self.stamp0, self._on_since, self._skipped = 0, 4_711, end, 0
            return []
        if kind == "garbage in line":
            at = len(line) // 2
            return [line[:at] + noise[:3] + line[at + 3 :]]
        if kind == "flood":
            return [bytes(self.chance.randrange(128, 256) for _ in range(9000)) + line]
        if kind == "truncated":
            return [line[: len(line) // 2] + b"\r\n"]
        if kind == "bit flip":
            at = line.index(b"E+02") - 2
            return [line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :]]
        raise AssertionError(kind)

    def _line(self, cycle: Cycle, power: str | None = None) -> bytes:
        fields: dict[str, Any] = {
            "COUNT?": str(self.count),
            "SCTC?": str(cycle.stamp % 2**31),
            "CYCR?": f"{self.true_cycle_s:.7f}",
            "DURNORM?": f"{self.true_cycle_s:.9f}",
        }
        if self.family600:
            moment = datetime.datetime.fromtimestamp(cycle.stamp // 10**9, datetime.UTC)
            ns = cycle.stamp % 10**9
            fields["TSNORM?"] = f"{moment:%Y:%m:%dD%H:%M:%S}.{ns:09d}+0000"
        # All channels but the first measure nothing, so the sum is the first one's.
        asked = [item for item in self._items if item.startswith("P")]
        first = asked[0] if asked else ""
        values = [
            fields.get(item) or ((power or f"{cycle.watts:.6E}") if item == first else f"{0.0:.6E}")
            for item in self._items
        ]
        return ";".join(values).encode() + self.eol
