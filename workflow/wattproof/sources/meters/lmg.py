"""What all ZES ZIMMER LMG meters share: a stream of lines, one a cycle, and how to keep it alive.

A wall meter outlives cables, power glitches and people at its front panel. So the source mends the
link itself and keeps its decoder: what was lost meanwhile is counted by the meter's own counters.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Sequence

from wattproof.errors import WattproofError
from wattproof.sources.base import Channel, Description, Pacing, Reading, Status
from wattproof.sources.meters import lmg_setup
from wattproof.sources.meters.lines import STEP_S, Lines, Talk, pause, run
from wattproof.sources.meters.link import CONNECT_S, LinkLostError
from wattproof.sources.meters.lmg_counters import Clock, Line
from wattproof.sources.meters.lmg_lines import Decoder
from wattproof.sources.meters.lmg_settings import Settings
from wattproof.sources.meters.lmg_setup import Dialect, SetUp

CHANNEL = "node.ac"

POLL_S = 0.25
SILENT_S, SILENT_CYCLES = 0.5, 2.5
"""Silence this long (the longer of the two) is a row."""
STUCK_S, STUCK_CYCLES = 3.0, 4.0
"""No line that can be read for this long: the stream is stuck, and is set up anew."""
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Pause after the first, second … attempt to mend that failed."""
RECONNECT_S = 1.0
FIRST_LINES = 3
LONG_CYCLE_S = 1.0
"""At opening so many lines are waited for, unless the cycle is longer than this."""
MOST_ROWS = 5000
"""A day's outage is nearly a million lost cycles: they are handed over in portions."""
RATE_TOLERANCE = 0.005
"""A sample counter further from its nominal rate is that of another model."""


class LmgSource:
    """The wall meter: sum of the active power of some channels.

    Args:
        dialect: The model.
        settings: Settings.
        simulated: True if a virtual node stands behind it.
    """

    name = "meter"
    pacing = Pacing.STREAM

    def __init__(self, dialect: Dialect, settings: Settings, simulated: bool = False) -> None:
        self.period_s = settings.cycle_s
        self.read_limit_s = dialect.connect_limit_s
        """For the recorder's watchdog: mending connects anew."""
        self._dialect = dialect
        self._settings = settings
        self._simulated = simulated
        self._lines: Lines | None = None
        self._decoder: Decoder | None = None
        self._mending: Talk[None] | None = None
        self._rows: list[Reading] = []
        self._device = ""
        self._heard_ns = 0  # last line that could be read
        self._told_ns = 0  # last row of any kind

    # ---------------------------------------------------------------- the interface of a source

    def open(self) -> Description:
        """Stop an old stream, reset, identify, set up, and start streaming."""
        try:
            lines = self._lines = self._dialect.connect(CONNECT_S)
            reset = self._settings.reset
            setup = run(lmg_setup.set_up(self._dialect, self._settings, lines, reset))
            first = run(self._first_lines(lines))
        except LinkLostError as error:
            self.close()
            raise WattproofError(
                f"The meter at {self._dialect.where} hung up while it was set up ({error}); check "
                f"the cable and {self._dialect.hint}."
            ) from error
        except BaseException:
            self.close()
            raise
        self._device = _device(setup)
        clock = self._clock_of([line for _, text in first if (line := self._dialect.parse(text))])
        self._decoder = Decoder(CHANNEL, self._dialect.parse, clock, self.period_s)
        self._heard_ns = self._told_ns = time.monotonic_ns()
        for arrived_ns, text in first:
            self._rows += self._decoder.decode(text, arrived_ns)
        return Description(setup.identity, (self.channel(setup, clock),), self._simulated)

    def read(self) -> Sequence[Reading]:
        """Return what arrived within a quarter of a second, decoded; mend the stream if it broke.

        Raises:
            WattproofError: If another device answers now; the source must be opened anew.
        """
        if self._decoder is None:
            raise WattproofError(f"The meter at {self._dialect.where} is not open.")
        if len(self._rows) >= MOST_ROWS:
            pass
        elif self._mending is not None:
            self._go_on_mending()
        elif self._lines is not None:
            try:
                self._take(self._lines)
                self._watch()
            except LinkLostError:
                self._break_off(Status.DEVICE_LOST)
        rows, self._rows = self._rows[:MOST_ROWS], self._rows[MOST_ROWS:]
        if rows:
            self._told_ns = time.monotonic_ns()
        return rows

    def close(self) -> None:
        """Stop the stream and give the front panel back to people."""
        self._mending = None
        self._decoder = None
        lines, self._lines = self._lines, None
        if lines is None:
            return
        with contextlib.suppress(LinkLostError):
            lines.send("CONT OFF")
            lines.send("GTL")
        lines.link.close()

    # ---------------------------------------------------------------- the stream

    def _take(self, lines: Lines, timeout_s: float = POLL_S) -> bool:
        """Decode what comes; returns whether any of it could be read."""
        assert self._decoder is not None
        texts = lines.read(timeout_s)
        now_ns = time.monotonic_ns()
        before = self._decoder.understood
        for text in texts:
            self._rows += self._decoder.decode(text, now_ns)
        heard = self._decoder.understood > before
        if heard:
            self._heard_ns = now_ns
        return heard

    def _watch(self) -> None:
        now_ns = time.monotonic_ns()
        silent_s = max(SILENT_S, SILENT_CYCLES * self.period_s)
        if now_ns - max(self._heard_ns, self._told_ns) > silent_s * 1e9:
            self._tell(Status.TIMEOUT)
        if now_ns - self._heard_ns > max(STUCK_S, STUCK_CYCLES * self.period_s) * 1e9:
            self._mending = self._mend()

    def _tell(self, status: Status) -> None:
        """Give up on lines in doubt, and say what is wrong."""
        assert self._decoder is not None
        now_ns = time.monotonic_ns()
        self._rows += self._decoder.flush()
        self._rows.append(Reading(CHANNEL, None, status, None, now_ns, now_ns))

    def _break_off(self, status: Status) -> None:
        self._tell(status)
        self._hang_up()
        self._mending = self._mend()

    def _hang_up(self) -> None:
        lines, self._lines = self._lines, None
        if lines is not None:
            lines.link.close()

    # ---------------------------------------------------------------- mending

    def _go_on_mending(self) -> None:
        assert self._mending is not None
        end = time.monotonic() + POLL_S
        for _ in self._mending:
            if self._rows or time.monotonic() >= end:
                return
        self._mending = None

    def _mend(self) -> Talk[None]:
        """Bring the stream back, however long it takes; each failed attempt is a row."""
        for attempt in itertools.count():
            status = Status.TIMEOUT
            setup: SetUp | None = None
            try:
                if self._lines is None:
                    status = Status.DEVICE_LOST
                    self._lines = self._dialect.connect(RECONNECT_S)
                    status = Status.TIMEOUT
                lines = self._lines
                setup = yield from lmg_setup.set_up(
                    self._dialect, self._settings, lines, reset=False
                )
            except (WattproofError, LinkLostError):
                setup = None
            if setup is not None:
                if _device(setup) != self._device:
                    raise WattproofError(
                        f"Another meter answers at {self._dialect.where} now "
                        f"({_device(setup)} in place of {self._device})."
                    )
                if (yield from self._revived(lines)):
                    return
            self._hang_up()
            self._tell(status)
            yield from pause(RETRY_S[min(attempt, len(RETRY_S) - 1)])

    def _revived(self, lines: Lines) -> Talk[bool]:
        end = time.monotonic() + max(STUCK_S, STUCK_CYCLES * self.period_s)
        try:
            while time.monotonic() < end:
                if self._take(lines, STEP_S):
                    return True
                yield
        except LinkLostError:
            pass
        return False

    # ---------------------------------------------------------------- opening

    def _first_lines(self, lines: Lines) -> Talk[list[tuple[int, bytes]]]:
        """Wait for proof that the set-up works: lines that can be read."""
        found: list[tuple[int, bytes]] = []
        if self.period_s > LONG_CYCLE_S:
            return found
        good = 0
        end = time.monotonic() + STUCK_S + (FIRST_LINES + 1) * self.period_s
        while good < FIRST_LINES and time.monotonic() < end:
            for text in lines.read(STEP_S):
                found.append((time.monotonic_ns(), text))
                good += self._dialect.parse(text) is not None
            yield
        if good:
            return found
        if found:
            raise WattproofError(
                f"The lines of the meter at {self._dialect.where} cannot be read, e.g. "
                f"{found[-1][1][:60]!r}; check {self._dialect.hint}, and that no other program "
                "talks to it."
            )
        lines.send("CONT OFF")
        errors = yield from self._dialect.errors(lines)
        raise WattproofError(
            f"The meter at {self._dialect.where} took its set-up but sends nothing "
            f"({errors or 'it names no error'}); check that it has the channels "
            f"{list(self._settings.channels)} of key 'sources.meter.channels'."
        )

    def _clock_of(self, lines: Sequence[Line]) -> Clock:
        """The nominal clock, or the measured one of a model whose counter has another rate."""
        nominal = self._dialect.clock
        rates = []
        for old, new in itertools.pairwise(lines):
            if old.count is None or new.count is None or nominal.modulus is None:
                return nominal
            if new.count == old.count + 1:
                rates.append((new.ticks - old.ticks) % nominal.modulus / new.cycle_s)
        if not rates or any(abs(rate / nominal.hz - 1) < RATE_TOLERANCE for rate in rates):
            return nominal
        return Clock(round(statistics.median(rates)), nominal.modulus)

    def channel(self, setup: SetUp, clock: Clock) -> Channel:
        """Return the channel of a meter that is set up, whose stamps count so."""
        of_range, range_w = self._settings.accuracy_range, setup.range_w
        return Channel(
            name=CHANNEL,
            unit="W",
            kind="power",
            device=setup.identity["serial"] or self._dialect.where,
            period_s=self.period_s,
            averaging_s=self.period_s,
            clock="device",
            accuracy_reading=self._settings.accuracy_reading,
            accuracy_range_w=None if of_range is None or range_w is None else of_range * range_w,
            identity={
                **setup.identity,
                "clock_hz": clock.hz,
                "means": "active power at the wall, sum of the channels, mean of the cycle before "
                "its stamp",
            },
        )


def _device(setup: SetUp) -> str:
    return f"{setup.identity['model']} {setup.identity['serial']}".strip()
