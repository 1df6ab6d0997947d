"""The host of the virtual node: CPU load and memory in use, SIMULATED.

In live mode the source ``host`` measures the machine that plays the node, and says so. Offline no
machine plays it: load follows from the node's own activity, and the channels are marked simulated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from wattproof import units
from wattproof.offline import timing
from wattproof.offline.base import Lane, Scene, Series
from wattproof.sources import host
from wattproof.sources.base import Channel, Description, Every, Pacing
from wattproof.sources.procstat import WINDOW_S

GIB = 2**30
USED_SHARE = 0.05
"""Memory in use: a plausible constant, which nothing is derived from."""


def lanes(scene: Scene, settings: Mapping[str, Any]) -> Iterator[Lane]:
    """Record load and memory."""
    period_s = float(settings.get("period_s", 0.25))
    window_s = max(period_s, WINDOW_S)
    spec = scene.spec
    name = f"SIMULATED {spec.preset} node"
    memory_bytes = round(spec.memory_gib * GIB)
    identity = {"name": name, "kernel": "SIMULATED", "cpus": None, "memory_bytes": memory_bytes}

    def channel(what: str, unit: str, kind: str, means: str, **more: Any) -> Channel:
        facts = {**identity, "means": means}
        return Channel(
            what, unit, kind, device=name, identity=facts, **{"period_s": period_s} | more
        )

    load = channel("cpu.load", "%", "load", "mean over all CPUs", averaging_s=window_s)
    memory = channel(
        *("memory.used", "bytes", "memory", "total less available to programs"),
        period_s=max(period_s, host.MEMORY_PERIOD_S),
    )
    description = Description(identity, (load, memory), simulated=True)
    begin = scene.start_ns + timing.OPENED_NS
    rng = scene.rng("host")
    scheduled, start = timing.deadlines(rng, begin, scene.end_ns, period_s, timing.HOST_NS)
    end = start + timing.HOST_NS
    cpu = spec.parameters.cpu
    package_w = scene.trace.mean_w("cpu0.package", start - units.s_to_ns(window_s), start)
    share = (package_w - cpu.idle_w) / max(cpu.max_w - cpu.idle_w, 1e-9)
    every = Every(host.MEMORY_PERIOD_S, period_s / 2)
    due = np.fromiter((every.due(at) for at in end.tolist()), np.bool_, len(end))
    used = np.full(int(due.sum()), float(round(USED_SHARE * memory_bytes)))
    lane = Lane("host", description, Pacing.DEADLINE, period_s)
    lane.series.append(Series("cpu.load", start, end, np.round(100.0 * share, 2), scheduled))
    asked = end[due]
    lane.series.append(Series("memory.used", asked, asked + timing.HOST_NS, used, scheduled[due]))
    yield lane
