"""A client of SPEC's PTDaemon, the program that drives the power analysers of SPEC and MLPerf.

Commands: measurement.md 13.3. ``RL`` hands over each unread sample once; the daemon's stamps are
the local time of its machine, so its clock is a clock of its own.
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
from wattproof.sources.meters.link import Link, LinkLostError, TcpLink, parse_tcp
from wattproof.sources.meters.ptd_lines import (
    HEADER,
    STARTED,
    Identity,
    SampleClock,
    parse_sample,
)
from wattproof.sources.meters.ptd_setup import SETTINGS, Greeting

__all__ = ["SETTINGS", "PtdaemonSource", "build"]

CHANNEL = "node.ac"
DEFAULT_PORT = 8888

POLL_S = 0.2
ANSWER_S = 3.0
SILENT_CYCLES = 3
REST_S = 1.0
"""The rest of an answer that has not come after so much silence will not come."""
ANY = 1 << 30
"""Lines that follow a damaged header: not known, so a silence ends them."""
QUIET_S = 0.1
POLLS_A_CYCLE = 4
"""The daemon holds ``RL`` back until there is a sample; else it is not asked more often."""
TRIES = 3
MULTI, SINGLE, DIRECT = "RL,*,*", "RL", "DC-RL"
NEXT = {"Invalid number of parameters": (MULTI, SINGLE), "Unknown command": (SINGLE, DIRECT)}
"""Refusals, and what to ask instead of what (older daemons, DC analysers)."""


class PtdaemonSource:
    """The analyser behind a PTDaemon.

    Args:
        host: Machine on which the daemon runs.
        tcp_port: Its port.
        channels: Channels that are summed; None: the daemon's sum.
        cycle_s: Time between two samples.
        ranges: Ranges to set, ``{"V": volts, "A": amps}``; None as a value: leave it.
        mark: Word in the daemon's log.
        simulated: True if a virtual node stands behind it.
    """

    name = "meter"
    pacing = Pacing.STREAM

    def __init__(
        self,
        host: str,
        tcp_port: int = DEFAULT_PORT,
        channels: Sequence[int] | None = None,
        cycle_s: float = 1.0,
        ranges: Mapping[str, float | None] | None = None,
        mark: str = "wattproof",
        simulated: bool = False,
    ) -> None:
        self.period_s = cycle_s
        self._host, self._tcp_port = host, tcp_port
        self._where = f"{host}:{tcp_port}"
        self._channels = None if channels is None else tuple(channels)
        self._ranges = {kind: value for kind, value in (ranges or {}).items() if value is not None}
        self._mark = mark
        self._simulated = simulated
        self._link: Link | None = None
        self._lines: Lines | None = None
        self._clock = SampleClock(cycle_s)
        self._command = SINGLE
        self._restore: list[str] = []
        self._early: list[Reading] = []  # samples of the time of opening
        self._repair: Talk[None] | None = None
        self._asked = False
        self._left: int | None = None  # lines of the present answer to come; None: not known
        self._due = 0.0
        self._heard = 0.0  # last line
        self._sampled = 0.0  # last sample
        self._damaged = 0  # since the last sample: each stands for one
        self._taken, self._most = 0, 0  # samples of this measurement

    def open(self) -> Description:
        """Greet the daemon, set ranges, start a measurement, and wait for its first sample."""
        try:
            self._link = TcpLink(self._host, self._tcp_port)
            lines = self._lines = Lines(self._link, b"\r\n")
            greeting = Greeting(lines, self._where)
            about, identity = greeting.introduce(self._channels, self.period_s)
            self._command = MULTI if about.channels > 1 else SINGLE
            run(lines.ask("Stop", ANSWER_S))  # of a predecessor; "no measurement to stop" is fine
            identity |= greeting.set_ranges(self._ranges, about)
            self._restore = greeting.restore
            run(self._start(lines))
            self._await_sample()
            for word in ("Watts", "Uncertainty"):
                identity[word.lower()] = run(lines.ask(word, ANSWER_S))
        except LinkLostError as error:
            self.close()
            raise WattproofError(
                f"The PTDaemon at {self._where} broke off ({error}); only one client at a time is "
                "served: end others, and check key 'sources.meter.port'."
            ) from error
        except WattproofError:
            self.close()
            raise
        return Description(identity, (self._channel(about, identity),), self._simulated)

    def read(self) -> Sequence[Reading]:
        """Return the samples that came within a fifth of a second, each once."""
        lines = self._lines
        if lines is None:
            raise WattproofError(f"The PTDaemon at {self._where} is gone: it does not answer.")
        if self._early:
            rows, self._early = self._early, []
            return rows
        try:
            if self._repair is not None:
                return self._mend()
            return self._take(lines)
        except LinkLostError:
            self._lines = None
            return [_row(Status.DEVICE_LOST)]

    def close(self) -> None:
        """Stop the measurement and set the ranges back that were there before."""
        link, lines, self._link, self._lines = self._link, self._lines, None, None
        if link is None:
            return
        if lines is not None:
            with contextlib.suppress(LinkLostError):
                for command in ("Stop", *self._restore):
                    run(lines.ask(command, POLL_S))
        link.close()

    # ---------------------------------------------------------------- reading

    def _take(self, lines: Lines) -> list[Reading]:
        now = time.monotonic()
        if not self._asked:
            if self._due > now:
                time.sleep(min(self._due - now, POLL_S))
                if self._due > time.monotonic():
                    return []
            lines.send(self._command)
            self._asked, self._left, self._heard = True, None, time.monotonic()
        found = lines.read(POLL_S)
        now_ns = time.monotonic_ns()
        rows = [row for line in found if line.strip() for row in self._line(line, now_ns)]
        now = now_ns / 1e9
        if found:
            self._heard = now
        elif now - self._heard > (REST_S if self._left is not None else self._patience_s):
            self._answered()  # the rest is lost; its samples are missed by their times
        if self._repair is None and now - self._sampled > self._patience_s:
            rows.append(_row(Status.TIMEOUT))
            self._repair = self._begin_anew(lines)
        elif self._repair is None and 0 < self._most <= self._taken and not self._asked:
            self._repair = self._begin_anew(lines)  # it measures no more than so many
        return rows

    @property
    def _patience_s(self) -> float:
        return SILENT_CYCLES * self.period_s + ANSWER_S

    def _answered(self) -> None:
        self._asked, self._left = False, None
        self._due = time.monotonic() + self.period_s / POLLS_A_CYCLE

    def _line(self, line: bytes, now_ns: int) -> list[Reading]:
        text = line.decode("ascii", "replace").strip()
        header = HEADER.match(text)
        if header is not None:
            self._left = int(header[1])
            if self._left == 0:
                self._answered()
            return []
        if self._left is None and not text.startswith("Time"):
            # No samples, a refusal, or a damaged header: then its samples follow all the same.
            for refusal, (asked, instead) in NEXT.items():
                if text.startswith(refusal) and self._command == asked:
                    self._command = instead
            if text.startswith(("No ", "Insufficient", "Error", *NEXT)):
                self._answered()
            else:
                self._left = ANY
            return []
        self._left = (ANY if self._left is None else self._left) - 1
        if self._left <= 0:
            self._answered()
        return self._sample(text, now_ns)

    def _sample(self, text: str, now_ns: int) -> list[Reading]:
        sample = parse_sample(text, self._channels)
        if sample is None:
            self._damaged += 1
            return [_row(Status.GARBLED)]
        device_ns, missing = self._clock.place(sample.stamp_ns, now_ns)
        missing = max(0, missing - self._damaged)
        self._damaged = 0
        self._sampled = now_ns / 1e9
        self._taken += 1
        row = Reading(CHANNEL, sample.watts, sample.status, device_ns, now_ns, now_ns)
        return [*(_row(Status.MISSING) for _ in range(missing)), row]

    # ---------------------------------------------------------------- repair

    def _mend(self) -> list[Reading]:
        """Go on with the repair for the time that a read may take."""
        assert self._repair is not None
        try:
            if go_on(self._repair, POLL_S):
                self._repair = None
        except WattproofError as error:
            raise LinkLostError(str(error)) from error
        return []

    def _begin_anew(self, lines: Lines) -> Talk[None]:
        """Start the measurement again: it was stopped by somebody, or the analyser was gone."""
        for _ in range(TRIES):
            yield from lines.drain(QUIET_S, ANSWER_S)
            answer = yield from lines.ask("Hello", ANSWER_S)
            if answer is not None and answer.startswith("Hello"):
                yield from lines.ask("Stop", ANSWER_S)
                yield from self._start(lines)
                return
        raise LinkLostError("it does not answer")

    def _start(self, lines: Lines) -> Talk[None]:
        go = f"Go,{self.period_s * 1000:.0f},0,{self._mark}"
        answer = yield from lines.ask(go, ANSWER_S)
        started = STARTED.match(answer or "")
        if started is None:
            raise WattproofError(
                f"The PTDaemon at {self._where} does not start a measurement ({answer}); check key "
                "'sources.meter.cycle_s', and that its analyser is connected."
            )
        self._taken, self._most = 0, int(started[1])
        self._asked, self._left = False, None
        self._due = self._heard = self._sampled = time.monotonic()

    # ---------------------------------------------------------------- opening

    def _await_sample(self) -> None:
        end = time.monotonic() + self._patience_s
        while not any(row.device_ns is not None for row in self._early) or self._asked:
            if time.monotonic() > end or self._repair is not None:
                raise WattproofError(
                    f"The PTDaemon at {self._where} measures, but hands over no samples; check its "
                    "window, and that its analyser is switched on and connected "
                    "(key 'sources.meter.port')."
                )
            assert self._lines is not None
            self._early += self._take(self._lines)

    def _channel(self, about: Identity, identity: dict[str, Any]) -> Channel:
        return Channel(
            CHANNEL,
            "W",
            "power",
            " ".join(filter(None, (str(identity["model"]), str(identity["serial"])))),
            period_s=self.period_s,
            averaging_s=self.period_s,
            clock="device",
            identity={
                **identity,
                "means": f"mean over the analyser's interval ({about.interval_s:g} s at least)",
                "stamp": "local time of the daemon's machine, as if it were UTC",
            },
        )


def _row(status: Status) -> Reading:
    now = time.monotonic_ns()
    return Reading(CHANNEL, None, status, None, now, now)


def build(settings: Mapping[str, Any], endpoints: Endpoints) -> PtdaemonSource:
    """Make the source from a campaign's settings.

    Raises:
        WattproofError: If the address cannot be one.
    """
    host, tcp_port = parse_tcp(settings["port"], DEFAULT_PORT)
    return PtdaemonSource(
        host,
        tcp_port,
        channels=settings.get("channels"),
        cycle_s=settings.get("cycle_s", 1.0),
        ranges={"V": settings.get("range_v"), "A": settings.get("range_a")},
        mark=settings.get("mark", "wattproof"),
        simulated=endpoints.simulated,
    )
