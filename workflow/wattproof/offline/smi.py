"""nvidia-smi, a process a sample or its loop: calls follow each other, and some of them stall.

When a call begins depends on when the one before it ended, so the calls are walked through one by
one; what they return is computed for all of them at once. The INJECTED fault is that of the
simulated executable (`virtual.smi`), by the same formula from the same seed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from wattproof import units
from wattproof.errors import WattproofError
from wattproof.offline import timing
from wattproof.offline.base import MISSING, OK, TIMEOUT, Instants, Lane, Scene, Series
from wattproof.sources import smi_loop, smi_spawn, smi_tool
from wattproof.sources.base import Channel, Status
from wattproof.virtual import formula, smi
from wattproof.virtual.sensors import GpuSensor

COMMAND = ("nvidia-smi (SIMULATED)",)
BLOCK = 4096


@dataclasses.dataclass(frozen=True, slots=True)
class Calls:
    """Calls in order: deadline (none in the loop), begin, question to the driver, stall, end."""

    scheduled: Instants | None
    start: Instants
    asked: Instants
    stalled: Any
    end: Instants
    timeout: Any


def lanes(scene: Scene, settings: Mapping[str, Any]) -> Iterator[Lane]:
    """Record what the campaign's settings ask for."""
    mode, period_s = settings.get("mode", "spawn"), settings.get("period_s", 0.1)
    if mode not in ("spawn", "loop"):
        raise WattproofError(f"Key 'sources.smi.mode' is '{mode}'; it must be 'spawn' or 'loop'.")
    kind = _Spawn if mode == "spawn" else _Loop
    source = kind(COMMAND, period_s, True)
    source.report = smi.xml(smi.Node(dataclasses.asdict(scene.spec)).idle_rows()).encode()
    description = smi_tool.Smi.open(source)
    calls = _spawned(scene, period_s) if mode == "spawn" else _looped(scene, period_s)
    lane = Lane("smi", description, source.pacing, source.period_s)
    lane.series.extend(_series(scene, channel, calls) for channel in description.channels)
    yield lane


class _Told:
    """The tool's first answer, which says what there is, without a process."""

    report = b""

    def _call(self) -> tuple[bytes | None, Status]:
        return self.report, Status.OK


class _Spawn(_Told, smi_spawn.SmiSpawnSource):
    pass


class _Loop(_Told, smi_loop.SmiLoopSource):
    pass


def _stalls(scene: Scene) -> Any:
    """Return the fault as a function of the instant of a call: ns that it stalls."""
    fault, t0_ns, seed = scene.spec.parameters.smi, scene.spec.t0_ns, scene.spec.smi_seed

    def stall_ns(now_ns: int) -> int:
        stall_s = formula.stall_s(
            now_ns, t0_ns, seed, fault.hold_s, fault.stall_probability, fault.stall_s
        )
        return math.ceil(stall_s * 1e9)

    return stall_ns


def _draws(scene: Scene) -> Iterator[tuple[int, int]]:
    """Yield, without end, how late a process wakes up and how long one of the tool takes."""
    rng = scene.rng("smi")
    while True:
        late = timing.lateness_ns(rng, BLOCK).tolist()
        yield from zip(late, rng.integers(*timing.SPAWN_NS, BLOCK).tolist(), strict=True)


def _spawned(scene: Scene, period_s: float) -> Calls:
    """Sleep, spawn, wait, parse: EA-HAS-Bench's loop."""
    stall_ns, period_ns = _stalls(scene), units.s_to_ns(period_s)
    limit_ns = units.s_to_ns(smi_tool.CALL_LIMIT_S)
    rows: list[tuple[int, int, int, int, int]] = []
    now = scene.start_ns + timing.OPENED_NS
    for late, spawn in _draws(scene):
        scheduled = now + period_ns
        start = scheduled + late
        asked = start + int(timing.SPAWN_ASKS * spawn)
        stall = stall_ns(asked)
        now = min(start + spawn + stall, start + limit_ns)
        if now >= scene.end_ns:  # interrupted: it leaves no row
            break
        rows.append((scheduled, start, asked, stall, now))
    columns = np.array(rows, np.int64).reshape(-1, 5).T
    start, end = columns[1], columns[4]
    return Calls(columns[0], start, columns[2], columns[3] > 0, end, end - start >= limit_ns)


def _looped(scene: Scene, period_s: float) -> Calls:
    """Ask, print, sleep: the tool's own loop. A line is stamped when it arrives."""
    stall_ns, period_ns = _stalls(scene), round(units.s_to_ns(period_s) / 1e6) * 1_000_000
    rows: list[tuple[int, int, int]] = []
    asked = scene.start_ns + timing.OPENED_NS + timing.SPAWN_NS[0]
    for late, _ in _draws(scene):
        stall = stall_ns(asked)
        printed = asked + stall + timing.LOOP_NS
        if printed >= scene.end_ns:
            break
        rows.append((asked, stall, printed))
        asked = printed + period_ns + late
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    end = columns[2]
    return Calls(None, end, columns[0], columns[1] > 0, end, np.zeros(len(end), np.bool_))


def _series(scene: Scene, channel: Channel, calls: Calls) -> Series:
    sensor = GpuSensor(scene.spec, int(channel.identity["index"]))
    good, value = ~calls.stalled, np.zeros(len(calls.end))
    if channel.kind == "power":
        parameters = scene.spec.parameters
        low_w = formula.low_power_w(
            parameters.gpu.idle_w, parameters.gpu.limit_w, parameters.smi.low_power_share
        )
        value[good] = sensor.average_w(scene.trace, calls.asked[good])
        value[~good] = sensor.stale_w(scene.trace, calls.asked[~good], low_w)
        value = np.rint(np.maximum(value, 0.0) * 100) / 100
        nothing = value == 0.0  # no board draws nothing (`smi_xml.watts`)
    else:
        value[good] = sensor.utilisation_percent(scene.trace, calls.asked[good])
        nothing = np.zeros(len(value), np.bool_)
    status = np.where(nothing, MISSING, OK)
    status = np.where(calls.timeout, TIMEOUT, status).astype(np.int8)
    value[status != OK] = np.nan
    return Series(channel.name, calls.start, calls.end, value, calls.scheduled, None, status)
