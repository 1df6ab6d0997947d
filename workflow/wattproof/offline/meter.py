"""The wall meter: an LMG450 that is set up by the recorder's commands and then read as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from wattproof import sources, units
from wattproof.errors import WattproofError
from wattproof.offline import timing
from wattproof.offline.base import MISSING, OK, STATUSES, TIMEOUT, Instants, Lane, Scene, Series
from wattproof.sources.base import Description, Status
from wattproof.sources.meters import lmg, lmg450, lmg_settings, lmg_setup
from wattproof.virtual import metered
from wattproof.virtual.meter import Dialect

DRIVER = "lmg450"
SET_UP_NS = 1_000_000_000
"""From opening the port to the first line that is asked for."""
OVERRANGE = STATUSES.index(Status.OVERRANGE)


def lanes(scene: Scene, settings: Mapping[str, Any]) -> Iterator[Lane]:
    """Record node power.

    Raises:
        WattproofError: If the campaign names another meter, or a port.
    """
    if settings.get("driver") != DRIVER or settings.get("port", "auto") != "auto":
        raise WattproofError(
            f"The virtual node has a meter of one kind; set key 'sources.meter.driver' to {DRIVER} "
            "and 'sources.meter.port' to auto, or remove 'meter' from 'sources'."
        )
    chosen = lmg_settings.settings_of(settings, lmg450.SETTINGS)
    if tuple(chosen.channels) != (1,):
        raise WattproofError(
            "The virtual node's meter has one channel; set key 'sources.meter.channels' to [1]."
        )
    source = sources.create("meter", settings, scene.endpoints())
    assert isinstance(source, lmg.LmgSource)
    opened = scene.start_ns + timing.OPENED_NS
    dialect, setup = _set_up(scene, chosen, opened)
    channel = source.channel(setup, lmg450.SCTC)
    description = Description(setup.identity, (channel,), simulated=True)
    until = scene.end_ns - timing.SERIAL_NS
    state = scene.spec.meter
    cycles = metered.cycles(dialect, scene.trace, state.count_start, until)
    lane = Lane("meter", description, source.pacing, source.period_s)
    lane.series.append(_series(cycles, channel.name, source.period_s, opened + SET_UP_NS))
    yield lane


def _set_up(
    scene: Scene, chosen: lmg_settings.Settings, at_ns: int
) -> tuple[Dialect, lmg_setup.SetUp]:
    """Give the simulated meter the commands that `lmg_setup.set_up` gives it."""
    dialect = Dialect(scene.spec, scene.trace, at_ns)
    # The command set and its order are the recorder's; a test compares what comes of it.
    commands = ["CONT OFF", "*cls", *(["*rst"] if chosen.reset else ()), ":SYSTem:LANGuage SHORT"]
    if chosen.range_v is not None:
        commands += ["uam manual", f"urng {chosen.range_v:g}"]
    if chosen.range_a is not None:
        commands += ["iam manual", f"irng {chosen.range_a:g}"]
    commands += [f"CYCL {chosen.cycle_s:g}", "FRMT ASCII", "ACTN;COUNT?;SCTC?;CYCR?;P1?;P1?"]

    def ask(question: str) -> str:
        return dialect.feed(f"{question}\r\n".encode(), at_ns).decode("ascii").strip()

    words = [word.strip() for word in ask("*idn?").split(",")]
    for command in commands:
        dialect.feed(f"{command}\r\n".encode(), at_ns)
    errors = ask("syst:err:all?")
    if not errors.startswith("0"):
        raise WattproofError(
            f"The virtual node's meter refuses a setting ({errors}); change cycle or ranges under "
            "key 'sources.meter'."
        )
    cycle_s = float(ask("CYCL?"))
    range_v = None if chosen.range_v is None else float(ask("urng?"))
    range_a = None if chosen.range_a is None else float(ask("irng?"))
    range_w = None if range_v is None or range_a is None else range_v * range_a
    dialect.feed(b"CONT ON\r\n", at_ns + SET_UP_NS)
    identity = {
        "maker": words[0],
        "model": words[1],
        "serial": words[2],
        "version": words[3],
        "port": "virtual node",
        "channels": list(chosen.channels),
        "range_v": range_v,
        "range_a": range_a,
        "cycle_s": cycle_s,
    }
    if range_w is not None:
        range_w *= len(chosen.channels)
    return dialect, lmg_setup.SetUp(identity, chosen.cycle_s, range_w)


def _series(cycles: metered.Cycles, channel: str, period_s: float, began_ns: int) -> Series:
    """Turn lines into rows as `lmg_lines.Decoder` does: a lost one shows when the next comes."""
    index = np.arange(len(cycles.sent))
    came = index[cycles.sent]
    arrived = cycles.delivery_ns[cycles.sent] + timing.SERIAL_NS
    # Lost cycles before the first line and after the last one are nobody's.
    lost = index[~cycles.sent]
    lost = lost[(lost > came[0]) & (lost < came[-1])] if len(came) else lost[:0]
    noticed = arrived[np.searchsorted(came, lost)]
    quiet = _silences(np.concatenate([[began_ns], arrived]), period_s)
    hz = lmg450.SCTC.hz
    ticks = cycles.ticks[cycles.sent]
    # In two steps: counts of a day times 10^9 do not fit into 64 bits.
    stamps = ticks // hz * units.NS_PER_S + ticks % hz * units.NS_PER_S // hz
    power_w = cycles.power_w[cycles.sent]
    rows = (
        (arrived, power_w, stamps, np.where(np.isnan(power_w), OVERRANGE, OK)),
        (noticed, np.full(len(lost), np.nan), np.full(len(lost), -1), np.full(len(lost), MISSING)),
        (quiet, np.full(len(quiet), np.nan), np.full(len(quiet), -1), np.full(len(quiet), TIMEOUT)),
    )
    at, value, device, status = (np.concatenate(column) for column in zip(*rows, strict=True))
    # Of one instant, the lost cycles come first.
    order = np.lexsort((status == OK, at))
    at = at[order].astype(np.int64)
    return Series(
        channel,
        at,
        at,
        value[order],
        None,
        device[order].astype(np.int64),
        status[order].astype(np.int8),
    )


def _silences(arrived: Instants, period_s: float) -> Instants:
    """Return when the source would have said that nothing comes (`lmg.LmgSource`)."""
    silent_ns = units.s_to_ns(max(lmg.SILENT_S, lmg.SILENT_CYCLES * period_s))
    gaps = np.diff(arrived)
    found = [
        int(arrived[i]) + silent_ns * k
        for i in np.flatnonzero(gaps > silent_ns)
        for k in range(1, int(gaps[i] // silent_ns) + 1)
    ]
    return np.array(found, np.int64)
