"""RAPL's counters: the source opens a powercap tree once, arrays do the rest."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wattproof import sources, units
from wattproof.offline import timing
from wattproof.offline.base import Lane, Scene, Series
from wattproof.sources.base import Channel
from wattproof.virtual import formula
from wattproof.virtual.powercap import PowercapTree
from wattproof.virtual.sensors import RAPL_CHANNELS, rapl_uj


def lanes(scene: Scene, settings: Mapping[str, Any]) -> Iterator[Lane]:
    """Record the counters of package and memory."""
    with tempfile.TemporaryDirectory(prefix="wattproof-powercap-") as folder:
        root = Path(folder)
        tree = PowercapTree(root, scene.spec, scene.trace)
        tree.write(scene.start_ns)
        source = sources.create("rapl", settings, scene.endpoints(powercap_root=root))
        try:
            description = source.open()
        finally:
            source.close()
            tree.close()
        channels = tuple(_named(channel, root) for channel in description.channels)
    identity = {**description.identity, "root": "powercap"}
    description = dataclasses.replace(description, identity=identity, channels=channels)
    begin = scene.start_ns + timing.OPENED_NS
    rng = scene.rng("rapl")
    cost = len(channels) * timing.CALL_NS
    scheduled, start = timing.deadlines(rng, begin, scene.end_ns, source.period_s, cost)
    parameters = scene.spec.parameters.rapl
    period_ns = units.s_to_ns(parameters.update_period_s)
    latency_ns = units.s_to_ns(parameters.latency_s)
    lane = Lane("rapl", description, source.pacing, source.period_s)
    for place, channel in enumerate(channels):
        begun = start + place * timing.CALL_NS
        written = formula.last_tick_ns(begun, scene.start_ns, period_ns, 0)
        domain = RAPL_CHANNELS.index(channel.name)
        counted = np.asarray(rapl_uj(scene.spec, scene.trace, domain, written - latency_ns))
        end = begun + timing.CALL_NS
        lane.series.append(Series(channel.name, begun, end, counted / 1e6, scheduled))
    yield lane


def _named(channel: Channel, root: Path) -> Channel:
    """Name the counter without the folder of the moment, so that equal seeds give equal bytes."""
    path = Path(channel.identity["path"]).relative_to(root)
    return dataclasses.replace(channel, identity={**channel.identity, "path": f"powercap/{path}"})
