"""NVML's three lanes: the sources open a simulated driver that stands still, arrays do the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from wattproof import sources
from wattproof.offline import timing
from wattproof.offline.base import MISSING, OK, Instants, Lane, Scene, Series
from wattproof.sources.base import Channel, Description, Every
from wattproof.sources.nvml import main
from wattproof.units import NS_PER_S
from wattproof.virtual.sensors import GpuSensor

US = 1000

Values = Callable[[GpuSensor, Any], Any]


def _open(scene: Scene, settings: Mapping[str, Any], lane: str) -> tuple[Any, Description]:
    """Open the recorder's own source on the simulated driver; returns it and what it says."""
    source = sources.create("nvml", settings, scene.endpoints(), lane)
    try:
        return source, source.open()
    finally:
        source.close()


def _sensor(scene: Scene, channel: Channel) -> GpuSensor:
    return GpuSensor(scene.spec, int(channel.identity["index"]))


def lanes(scene: Scene, settings: Mapping[str, Any]) -> Iterator[Lane]:
    """Record what the campaign's settings ask for."""
    makers = {"": _main, "counter": _counter, "ring": _ring}
    for lane, own in sources.lanes("nvml", settings).items():
        yield makers[lane](scene, own)


def watts(milliwatts: Instants) -> tuple[Any, Any]:
    """Value and status of powers: no board draws nothing (`sources.nvml.calls.watts`)."""
    nothing = milliwatts <= 0
    status = np.where(nothing, MISSING, OK).astype(np.int8) if nothing.any() else None
    return np.where(nothing, np.nan, milliwatts / 1e3), status


# ---------------------------------------------------------------------------------- main lane


def _main(scene: Scene, settings: Mapping[str, Any]) -> Lane:
    source, description = _open(scene, settings, "")
    begin = scene.start_ns + timing.OPENED_NS
    gpus = len({channel.device for channel in description.channels})
    cost = gpus * timing.FIELDS_NS
    rng = scene.rng("nvml")
    scheduled, start = timing.deadlines(rng, begin, scene.end_ns, source.period_s, cost)
    reads = _Reads(scene, description, scheduled, start, source.period_s, gpus)
    lane = Lane("nvml", description, source.pacing, source.period_s)
    lane.series.extend(reads.series(channel) for channel in description.channels)
    return lane


class _Reads:
    """The reads of the main lane: power at each deadline, the rest when it is due."""

    def __init__(
        self,
        scene: Scene,
        description: Description,
        scheduled: Instants,
        start: Instants,
        period_s: float,
        gpus: int,
    ) -> None:
        self._scene = scene
        self._scheduled = scheduled
        self._start = start
        slots = sorted({int(channel.slot or 0) for channel in description.channels})
        self._place = {slot: position for position, slot in enumerate(slots)}
        # As in the source: the other calls come after the power of all GPUs, each when due.
        self._asked = start + gpus * timing.FIELDS_NS
        asked = self._asked.tolist()
        intervals = (main.UTILISATION_PERIOD_S, main.STATE_PERIOD_S, main.SLOW_PERIOD_S)
        self._due = {s: _due(Every(s, period_s / 2), asked) for s in intervals}
        self._last: dict[int, tuple[Any, Any]] = {}

    def series(self, channel: Channel) -> Series:
        """Read one channel."""
        sensor, trace = _sensor(self._scene, channel), self._scene.trace
        place = self._place[int(channel.slot or 0)]
        what = channel.name.partition(".")[2]
        if channel.kind == "power":
            start = self._start + place * timing.FIELDS_NS
            of = {"power_instant": sensor.instant_mw, "power_average": sensor.average_mw}[what]
            value, status = watts(of(trace, start))
            stamp = (start + self._scene.wall_offset_ns) // US * US
            end = start + timing.FIELDS_NS
            return Series(channel.name, start, end, value, self._scheduled, stamp, status)
        rest: dict[str, tuple[float, Callable[[Any], Any]]] = {
            "utilisation": (
                main.UTILISATION_PERIOD_S,
                lambda t: sensor.utilisation_percent(trace, t),
            ),
            "memory_utilisation": (
                main.UTILISATION_PERIOD_S,
                lambda t: sensor.utilisation_percent(trace, t, memory=True),
            ),
            "throttle_reasons": (main.STATE_PERIOD_S, lambda t: ~sensor.busy(trace, t)),
            "memory_used": (main.SLOW_PERIOD_S, lambda t: sensor.memory_used_bytes(trace, t)),
            "clock_sm": (main.SLOW_PERIOD_S, lambda t: sensor.clock_sm_mhz(trace, t) * 1e6),
            "temperature": (main.SLOW_PERIOD_S, lambda t: sensor.temperature_c(trace, t)),
        }
        interval_s, ask = rest[what]
        due = self._due[interval_s]
        start = self._asked[due] + place * timing.CALL_NS
        value = np.asarray(ask(start), np.float64)
        end = start + timing.CALL_NS
        return Series(channel.name, start, end, value, self._scheduled[due])


def _due(every: Every, asked: list[int]) -> Any:
    return np.fromiter((every.due(at) for at in asked), np.bool_, len(asked))


# --------------------------------------------------------------------------- counter and ring


def _slow_lane(
    scene: Scene, settings: Mapping[str, Any], name: str, call_ns: int
) -> tuple[Lane, Any, Any]:
    """An empty lane of a sub-source that asks board after board; its deadlines and starts."""
    source, description = _open(scene, settings, name)
    begin = scene.start_ns + timing.OPENED_NS
    cost = len(description.channels) * call_ns
    lane = Lane(f"nvml@{name}", description, source.pacing, source.period_s)
    rng = scene.rng(lane.name)
    return lane, *timing.deadlines(rng, begin, scene.end_ns, source.period_s, cost)


def _counter(scene: Scene, settings: Mapping[str, Any]) -> Lane:
    lane, scheduled, start = _slow_lane(scene, settings, "counter", timing.COUNTER_NS)
    for place, channel in enumerate(lane.description.channels):
        begun = start + place * timing.COUNTER_NS
        joules = _sensor(scene, channel).counter_mj(scene.trace, begun) / 1e3
        end = begun + timing.COUNTER_NS
        lane.series.append(Series(channel.name, begun, end, joules, scheduled))
    return lane


def _ring(scene: Scene, settings: Mapping[str, Any]) -> Lane:
    lane, scheduled, start = _slow_lane(scene, settings, "ring", timing.RING_NS)
    for place, channel in enumerate(lane.description.channels):
        begun = start + place * timing.RING_NS
        sensor = _sensor(scene, channel)
        newest = np.asarray(sensor.ring_stamps(begun), np.int64)
        if not len(newest):
            lane.series.append(Series(channel.name, newest, newest, newest.astype(np.float64)))
            continue
        step = int(np.rint((channel.period_s or 0.0) * NS_PER_S))
        held = channel.identity["ring_samples"]
        # The first drain takes the whole ring; later ones, what came since, as far as it is held.
        stamps = np.arange(newest[0] - (held - 1) * step, newest[-1] + 1, step, dtype=np.int64)
        drain = np.searchsorted(newest, stamps, side="left")
        kept = stamps > newest[drain] - held * step
        stamps, drain = stamps[kept], drain[kept]
        value, status = watts(sensor.ring_mw(scene.trace, stamps))
        shown = (stamps + scene.wall_offset_ns) // US * US
        at, end = begun[drain], begun[drain] + timing.RING_NS
        lane.series.append(Series(channel.name, at, end, value, scheduled[drain], shown, status))
    return lane
