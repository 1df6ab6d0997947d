"""Yokogawa WT300 family (WT310, WT330, WT310E, WT332E, WT333E) over serial, TCP or VISA.

Commands: measurement.md 13.2. The device latches the end of each update (``:STATUS:FILTER1
FALL``); a question that begins with ``:COMMUNICATE:WAIT 1`` is answered at that moment, so each
update is read once. It gives no time stamp: the host's, taken when the answer comes, counts.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from wattproof.errors import WattproofError
from wattproof.sources.base import Channel, Description, Pacing, Reading, Status
from wattproof.sources.endpoints import Endpoints
from wattproof.sources.meters.lines import Lines, Talk, go_on, run
from wattproof.sources.meters.link import Link, LinkLostError, open_link
from wattproof.sources.meters.visa import VisaLink, is_visa
from wattproof.sources.meters.yokogawa_setup import CLEAR, RATES, SETTINGS, SetUp, Wanted, same
from wattproof.sources.meters.yokogawa_values import Update, Updates, parse

__all__ = ["SETTINGS", "YokogawaSource", "build"]

POWER, ENERGY = "node.ac", "node.ac_energy"
QUESTION = ":COMMUNICATE:WAIT 1;:STATUS:EESR?;:NUMERIC:NORMAL:VALUE?;:STATUS:CONDITION?"
NO_WAIT = QUESTION.partition(";")[2]

POLL_S = 0.2
ANSWER_S = 2.0
SILENT_CYCLES = 3
AWAY_NS = 5_000_000
CAME_NS = 1_000_000
"""An answer was seen to come if the host looked for it all the time, or had to wait for it."""
REST_S = 0.03
"""What belongs to a damaged answer has come after so much silence."""
QUIET_S = 0.15
TRIES = 3
BITS_A_BYTE = 10
BUSY_LINE = 0.9
"""A serial line that is busy for a larger share of the time cannot keep up."""


class YokogawaSource:
    """The wall meter: sum of the active power of some elements.

    Args:
        port: Serial port, ``tcp://HOST:PORT`` or VISA address.
        wanted: What is set on the device.
        baud: Speed of the serial line.
        rtscts: Hardware handshake of the serial line.
        visa: VISA library.
        simulated: True if a virtual node stands behind it.
    """

    name = "meter"
    pacing = Pacing.STREAM

    def __init__(
        self,
        port: str,
        wanted: Wanted,
        baud: int = 9600,
        rtscts: bool = False,
        visa: str = "@py",
        simulated: bool = False,
    ) -> None:
        self.period_s = wanted.cycle_s
        self._port = port
        self._wanted = wanted
        self._baud = baud
        self._rtscts = rtscts
        self._visa = visa
        self._simulated = simulated
        self._link: Link | None = None
        self._lines: Lines | None = None
        self._asked_ns: int | None = None
        self._looked_ns = 0  # when somebody last looked for an answer
        self._repair: Talk[None] | None = None
        self._rate = RATES[0]
        self._updates = Updates(wanted.cycle_s, 0.0)

    def open(self) -> Description:
        """Identify the device, set it up, and ask for the first update."""
        self._check_speed()
        try:
            self._link = self._connect()
            line_end = b"\n" if is_visa(self._port) else b"\r\n"
            lines = self._lines = Lines(self._link, line_end)
            set_up = SetUp(lines, self._wanted, self._link.where)
            identity = set_up.carry_out()
            self._rate = set_up.rate
            self._updates = Updates(self.period_s, self._time_line(lines))
            self._ask(lines)
        except LinkLostError as error:
            self.close()
            raise WattproofError(
                f"The meter at {self._port} broke off while it was set up ({error}); check the "
                "cable and key 'sources.meter.port'."
            ) from error
        except WattproofError:
            self.close()
            raise
        return Description(identity, self._channels(identity), self._simulated)

    def read(self) -> Sequence[Reading]:
        """Return the update that came within a fifth of a second; nothing if none did."""
        lines = self._lines
        if lines is None:
            raise WattproofError(f"The meter at {self._port} is gone: it does not answer.")
        try:
            if self._repair is not None:
                return self._mend()
            if self._asked_ns is None:
                self._ask(lines)
            return self._take(lines)
        except LinkLostError:
            self._lines = None
            return self._rows(Status.DEVICE_LOST)

    def close(self) -> None:
        """Give the front panel back to people; a running integration goes on."""
        link, self._link, self._lines = self._link, None, None
        if link is None:
            return
        with contextlib.suppress(LinkLostError):
            Lines(link).send(":COMMUNICATE:REMOTE OFF")
        link.close()

    # ---------------------------------------------------------------- reading

    def _ask(self, lines: Lines) -> None:
        lines.send(QUESTION)
        self._asked_ns = self._looked_ns = time.monotonic_ns()

    def _take(self, lines: Lines) -> list[Reading]:
        begin_ns = time.monotonic_ns()
        found = [line for line in lines.read(POLL_S) if line.strip()]
        now_ns = time.monotonic_ns()
        seen = begin_ns - self._looked_ns < AWAY_NS or now_ns - begin_ns > CAME_NS
        self._looked_ns = now_ns
        assert self._asked_ns is not None
        if not found:
            if now_ns - self._asked_ns <= (SILENT_CYCLES * self.period_s + ANSWER_S) * 1e9:
                return []
            return self._fail(Status.TIMEOUT, self._fall_into_step(lines))
        text = found[0].decode("ascii", "replace")
        update = parse(text, self._wanted.elements, self._wanted.integrate)
        if update is None or len(found) > 1:
            return self._fail(Status.GARBLED, self._let_pass(lines))
        missing, at_ns = self._updates.answered(self._asked_ns, now_ns, seen)
        self._ask(lines)
        rows = [row for _ in range(missing) for row in self._rows(Status.MISSING)]
        return rows + self._rows(Status.OK, update, at_ns)

    def _rows(
        self, status: Status, update: Update | None = None, now_ns: int | None = None
    ) -> list[Reading]:
        now = time.monotonic_ns() if now_ns is None else now_ns
        if update is None:
            update = Update(None, status, None, status)
        power, energy = update.power_w, update.energy_j
        rows = [Reading(POWER, power, update.power_status, None, now, now)]
        if self._wanted.integrate:
            rows.append(Reading(ENERGY, energy, update.energy_status, None, now, now))
        return rows

    # ---------------------------------------------------------------- repair

    def _fail(self, status: Status, repair: Talk[None]) -> list[Reading]:
        self._updates.failed()
        self._asked_ns = None
        self._repair = repair
        return self._rows(status)

    def _mend(self) -> list[Reading]:
        """Go on with the repair for the time that a read may take."""
        assert self._repair is not None
        if go_on(self._repair, POLL_S):
            self._repair = None
        return []

    def _let_pass(self, lines: Lines) -> Talk[None]:
        """Throw away the rest of a damaged answer: else it would be taken for the next one."""
        yield from lines.drain(REST_S, ANSWER_S)

    def _fall_into_step(self, lines: Lines) -> Talk[None]:
        """After a silence, make sure that answers belong to their questions again."""
        for _ in range(TRIES):
            lines.send(CLEAR)
            yield from lines.drain(QUIET_S, ANSWER_S)
            answer = yield from lines.ask(self._rate + "?", ANSWER_S)
            if same(answer, self.period_s):
                return
        raise LinkLostError("it does not answer")

    # ---------------------------------------------------------------- opening

    def _connect(self) -> Link:
        if is_visa(self._port):
            longest_s = (SILENT_CYCLES + 1) * self.period_s + ANSWER_S
            return VisaLink(self._port, longest_s, self._visa)
        return open_link(self._port, self._baud, self._rtscts)

    def _check_speed(self) -> None:
        if is_visa(self._port) or self._port.startswith("tcp://"):
            return
        answer = 8 + 12 * len(self._wanted.elements) * (1 + self._wanted.integrate)
        busy_s = (len(QUESTION) + 2 + answer) * BITS_A_BYTE / self._baud
        if busy_s > BUSY_LINE * self.period_s:
            raise WattproofError(
                f"Key 'sources.meter.baud': at {self._baud} baud an update needs {busy_s:.2f} s on "
                f"the line, which key 'sources.meter.cycle_s' ({self.period_s:g}) does not leave; "
                "set a higher speed on the device and here, or a longer cycle."
            )

    def _time_line(self, lines: Lines) -> float:
        """Return how long question and answer are on their way when nothing is waited for."""
        taken = []
        for _ in range(TRIES):
            begin = time.monotonic()
            answer = run(lines.ask(NO_WAIT, ANSWER_S))
            taken.append(time.monotonic() - begin)
            if (
                answer is None
                or parse(answer, self._wanted.elements, self._wanted.integrate) is None
            ):
                raise WattproofError(
                    f"The meter at {self._port} answers '{answer}' instead of its values; its "
                    "firmware does not know the commands of the WT300 family."
                )
        return min(taken)

    def _channels(self, identity: dict[str, Any]) -> tuple[Channel, ...]:
        device = f"{identity['model']} {identity['serial']}"
        volts, amps = identity["range_v"], identity["range_a"]
        fixed = volts is not None and amps is not None
        range_w = volts * amps * len(self._wanted.elements) if fixed else None
        power = Channel(
            POWER,
            "W",
            "power",
            device,
            period_s=self.period_s,
            averaging_s=self.period_s,
            accuracy_reading=identity["accuracy_reading"],
            accuracy_range_w=None if range_w is None else identity["accuracy_range"] * range_w,
            identity={
                **identity,
                "means": "mean over a data update interval, summed over the elements",
                "stamp": "host, when the answer to the update came (if the host was late, when it "
                "would have come, by the rhythm of the others); the device has no clock",
            },
        )
        if not self._wanted.integrate:
            return (power,)
        energy = Channel(
            ENERGY,
            "J",
            "energy",
            device,
            period_s=self.period_s,
            accuracy_reading=identity["accuracy_reading"],
            identity={
                **identity,
                "means": "the device's integrated energy (WH), without gaps, six digits",
                "update_s": self.period_s,
            },
        )
        return power, energy


def build(settings: Mapping[str, Any], endpoints: Endpoints) -> YokogawaSource:
    """Make the source from a campaign's settings."""
    wanted = Wanted(
        elements=tuple(settings.get("channels", (1,))),
        cycle_s=settings.get("cycle_s", 0.1),
        range_v=settings.get("range_v"),
        range_a=settings.get("range_a"),
        integrate=settings.get("integrate", False),
    )
    return YokogawaSource(
        settings["port"],
        wanted,
        baud=settings.get("baud", 9600),
        rtscts=settings.get("rtscts", False),
        visa=settings.get("visa", "@py"),
        simulated=endpoints.simulated,
    )
