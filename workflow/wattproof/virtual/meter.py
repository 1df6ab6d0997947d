"""The wall meter of a virtual node: a ZES ZIMMER LMG450, SIMULATED (measurement.md 13.1).

`MeterModel` is its physics (own clock, cycles, errors) as functions of arrays, `Dialect` its
command language; `port` puts both behind a pseudo-terminal.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wattproof import units
from wattproof.virtual import formula
from wattproof.virtual.model import PowerTrace
from wattproof.virtual.node import COUNT_MODULUS, SCTC_HZ, SCTC_MODULUS, NodeSpec

CHANNEL = "node.ac"

INFINITE = "9.9E+37"
"""What the meter says instead of a power that it cannot measure."""

OVERLOAD = 1.25
"""Power above this share of the range overloads it."""

DEFAULT_CYCLE_S = 0.5
CYCLE_LIMITS_S = (0.05, 60.0)

ERRORS_KEPT = 20
UNDEFINED_HEADER = '-113,"Undefined header"'
BAD_PARAMETER = '-224,"Illegal parameter value"'
NO_ERROR = '0,"No error"'


class MeterModel:
    """Clock, cycles and errors of the meter. Counts are never wrapped in here.

    Args:
        spec: The node.
    """

    def __init__(self, spec: NodeSpec) -> None:
        self._state = spec.meter
        self._parameters = spec.parameters.meter
        self._t0_ns = spec.t0_ns
        self._rate_hz = SCTC_HZ * (1.0 + self._state.rate_ppm * 1e-6)

    def mono_ns(self, counts: ArrayLike) -> Any:
        """Monotonic instants at which the sample counter reached these counts."""
        since = np.asarray(counts, np.int64) - self._state.sctc_start
        return self._t0_ns + np.rint(since / self._rate_hz * units.NS_PER_S).astype(np.int64)

    def counts(self, mono_ns: int) -> int:
        """Sample counter at an instant."""
        elapsed_s = (mono_ns - self._t0_ns) * 1e-9
        return self._state.sctc_start + int(elapsed_s * self._rate_hz)

    def cycle_counts(self, cycle_s: float) -> int:
        """Length of a cycle in counts: whole periods of the true mains."""
        periods = max(1, round(cycle_s * self._parameters.mains_hz))
        return round(periods / self._state.mains_hz * SCTC_HZ)

    def shown_w(
        self, trace: PowerTrace, end_counts: ArrayLike, length: int, range_w: float
    ) -> NDArray[np.float64]:
        """Mean power over cycles that end at these counts, with the meter's errors."""
        end = np.asarray(end_counts, np.int64)
        true_w = trace.mean_w(CHANNEL, self.mono_ns(end - length), self.mono_ns(end))
        state = self._state
        return np.asarray(true_w * (1.0 + state.gain_error) + state.range_error * range_w)

    def sent(self, cycle: ArrayLike) -> NDArray[np.bool_]:
        """Whether a cycle is sent at all."""
        return np.asarray(self._draws(0, cycle) >= self._parameters.dropout_probability)

    def delivery_ns(self, cycle: ArrayLike, end_ns: ArrayLike) -> NDArray[np.int64]:
        """Monotonic instants at which the answers of cycles leave the meter."""
        shortest_s, longest_s = self._parameters.latency_s
        latency_s = shortest_s + (longest_s - shortest_s) * self._draws(1, cycle)
        return np.asarray(end_ns, np.int64) + np.rint(latency_s * units.NS_PER_S).astype(np.int64)

    def _draws(self, stream: int, cycle: ArrayLike) -> Any:
        # At least one dimension: arithmetic of arrays wraps silently, that of scalars warns.
        indices = np.atleast_1d(np.asarray(cycle, np.uint64))
        return formula.uniform(self._state.seed + stream, indices).reshape(np.shape(cycle))


class Dialect:
    """The meter's command language and state, without any port.

    Args:
        spec: The node.
        trace: Its true power; must know all events up to the instants handed to `due`.
        now_ns: Monotonic instant at which the meter is switched on.
    """

    ITEMS = ("COUNT?", "SCTC?", "CYCR?", "P1?", "P?", "FREQ?")

    def __init__(self, spec: NodeSpec, trace: PowerTrace, now_ns: int) -> None:
        self.model = MeterModel(spec)
        self._trace = trace
        self._spec = spec
        self._errors: deque[str] = deque(maxlen=ERRORS_KEPT)
        self._input = b""
        self._cycle = 0
        self._short = False
        self._due: tuple[int, int] | None = None
        self._reset(now_ns)

    def _reset(self, now_ns: int) -> None:
        self._continuous = False
        self._items: tuple[str, ...] = ()
        self._amperes: float | None = None
        self._volts: float | None = None
        self._set_cycle(DEFAULT_CYCLE_S, now_ns)

    @property
    def range_w(self) -> float:
        """Present power range."""
        if self._amperes is None or self._volts is None:
            return self._spec.parameters.meter.range_w
        return self._amperes * self._volts

    # ------------------------------------------------------------------------------- commands

    def feed(self, data: bytes, now_ns: int) -> bytes:
        """Take bytes from the host; returns the answer to whatever they ask.

        An unknown command is ignored; ``syst:err:all?`` tells of it.
        """
        self._input += data
        *lines, self._input = self._input.replace(b"\r", b"\n").split(b"\n")
        answers = []
        for line in lines:
            text = line.decode("ascii", "replace").strip()
            if text:
                answer = self._command(text, now_ns)
                if answer is not None:
                    answers.append(answer.encode("ascii") + b"\r\n")
        return b"".join(answers)

    def _command(self, text: str, now_ns: int) -> str | None:
        word, _, argument = text.partition(" ")
        word, argument = word.lower(), argument.strip()
        if word == "*idn?":
            serial = self._spec.meter.serial
            return f"ZES ZIMMER Electronic Systems GmbH, LMG450 SIMULATED, {serial}, 3.112"
        if word in ("syst:err:all?", ":syst:err:all?", ":system:error:all?"):
            errors = ",".join(self._errors) or NO_ERROR
            self._errors.clear()
            return errors
        if word == "*cls":
            self._errors.clear()
        elif word == "*rst":
            self._reset(now_ns)
        elif word in (":system:language", "system:language", ":syst:lang", "syst:lang", "lang"):
            self._language(argument)
        elif self._short and word in ("cycl?", "urng?", "irng?"):
            kept = {"cycl?": self._cycle_s, "urng?": self._volts, "irng?": self._amperes}[word]
            return f"{kept or 0.0:.5E}"
        elif self._short or word.startswith("cont"):
            # CONT OFF must work in any state: it is how a stuck stream is stopped.
            self._short_command(word.partition(";")[0], text, argument, now_ns)
        else:
            self._errors.append(UNDEFINED_HEADER)
        return None

    def _language(self, argument: str) -> None:
        if argument.lower() in ("short", "scpi"):
            self._short = argument.lower() == "short"
        else:
            self._errors.append(BAD_PARAMETER)

    def _short_command(self, word: str, text: str, argument: str, now_ns: int) -> None:
        choice = argument.upper()
        if word == "actn":
            items = tuple(item.strip().upper() for item in text.split(";")[1:])
            if items and all(item in self.ITEMS for item in items):
                self._items = items
            else:
                self._errors.append(UNDEFINED_HEADER)
        elif word == "cont" and choice in ("ON", "OFF"):
            if choice == "ON" and not self._continuous:
                # The stream begins with the first cycle that ends from now on.
                self._skip_to(now_ns)
            self._continuous = choice == "ON"
        elif word == "gtl":
            self._continuous = False
        elif word in ("iam", "uam") and choice in ("MANUAL", "AUTO"):
            if choice == "AUTO":
                self._amperes = self._volts = None
        elif word == "frmt" and choice == "ASCII":
            pass  # the only format that is simulated
        elif word in ("irng", "urng", "cycl"):
            self._number(word, argument, now_ns)
        else:
            known = word in ("cont", "iam", "uam", "frmt")
            self._errors.append(BAD_PARAMETER if known else UNDEFINED_HEADER)

    def _number(self, word: str, argument: str, now_ns: int) -> None:
        try:
            number = float(argument)
        except ValueError:
            self._errors.append(BAD_PARAMETER)
            return
        low, high = CYCLE_LIMITS_S if word == "cycl" else (1e-6, 1e6)
        if not low <= number <= high:
            self._errors.append(BAD_PARAMETER)
        elif word == "irng":
            self._amperes = number
        elif word == "urng":
            self._volts = number
        else:
            self._set_cycle(number, now_ns)

    # --------------------------------------------------------------------------------- cycles

    def _set_cycle(self, cycle_s: float, now_ns: int) -> None:
        self._cycle_s = cycle_s
        self._length = self.model.cycle_counts(cycle_s)
        self._end = self.model.counts(now_ns) + self._length
        self._cycle += 1

    def _skip_to(self, now_ns: int) -> None:
        missed = max(0, -((self._end - self.model.counts(now_ns)) // self._length))
        self._end += missed * self._length
        self._cycle += missed

    @property
    def present(self) -> tuple[int, int, int]:
        """The cycle that is running: its number, its end and its length in counts."""
        return self._cycle, self._end, self._length

    def next_ns(self) -> int | None:
        """Instant at which the next answer is due; None while the meter is silent."""
        if not (self._continuous and self._items):
            return None
        # Asked for at each turn of the daemon, but changes only with the cycle.
        if self._due is None or self._due[0] != self._cycle:
            end_ns = self.model.mono_ns(self._end)
            self._due = (self._cycle, int(self.model.delivery_ns(self._cycle, end_ns)))
        return self._due[1]

    def due(self, now_ns: int) -> bytes:
        """Answers of all cycles whose delivery is due, in order."""
        lines = []
        while (at_ns := self.next_ns()) is not None and at_ns <= now_ns:
            if self.model.sent(self._cycle):
                lines.append(self._line())
            self._end += self._length
            self._cycle += 1
        return b"".join(lines)

    def _line(self) -> bytes:
        shown_w = float(self.model.shown_w(self._trace, self._end, self._length, self.range_w))
        power = f"{shown_w:.5E}" if shown_w <= OVERLOAD * self.range_w else INFINITE
        fields = {
            "COUNT?": str((self._spec.meter.count_start + self._cycle) % COUNT_MODULUS),
            "SCTC?": str(self._end % SCTC_MODULUS),
            "CYCR?": f"{self._length / SCTC_HZ:.7f}",
            "P1?": power,
            "P?": power,
            "FREQ?": f"{self._spec.meter.mains_hz:.3f}",
        }
        return (";".join(fields[item] for item in self._items) + "\r\n").encode("ascii")
