"""What the instruments say at this moment, from the streams that they are writing.

For people who wait: on the instruments' own stamps, without alignment or uncertainty. The analysis
reads the same streams in its own way.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from wattproof.recorder import StreamTail
from wattproof.units import NS_PER_S

NODE = "node.ac"
GPU_SERIES = ("power_instant", "power_average", "power_usage")
"""A GPU's power, best first."""

FRESH_NS = 10 * NS_PER_S
"""A reading that is older is not what it draws now."""
LONGEST_GAP_NS = 5 * NS_PER_S
"""A longer hole between readings adds nothing to the energy so far."""


@dataclass(frozen=True, slots=True)
class Watts:
    """Power now and energy since the session began; None where no instrument tells.

    Attributes:
        node_w: By the meter.
        gpus_w: Of all GPUs, by NVML.
        node_j: See `node_w`.
        gpus_j: See `gpus_w`.
    """

    node_w: float | None = None
    gpus_w: float | None = None
    node_j: float | None = None
    gpus_j: float | None = None


class _Channel:
    """The latest reading of a channel, and its energy so far."""

    def __init__(self) -> None:
        self.t_ns = 0
        self.value = 0.0
        self.energy_j = 0.0

    def add(self, t_ns: Any, value: Any) -> None:
        if self.t_ns:
            t_ns = np.concatenate([[self.t_ns], t_ns])
            value = np.concatenate([[self.value], value])
        step_ns = np.diff(t_ns)
        bridged = (step_ns > 0) & (step_ns <= LONGEST_GAP_NS)
        mean_w = (value[1:] + value[:-1]) / 2
        self.energy_j += float(np.sum(mean_w[bridged] * step_ns[bridged]) / NS_PER_S)
        self.t_ns, self.value = int(t_ns[-1]), float(value[-1])


class Gauge:
    """Follows the streams of a session.

    Args:
        session: Its folder.
    """

    def __init__(self, session: Path) -> None:
        self._streams = session / "streams"
        self._tails: dict[Path, StreamTail] = {}
        self._found: dict[str, _Channel] = {}

    def read(self) -> Watts:
        """Take in what is new and return where things stand."""
        for path in [*self._streams.glob("meter*.arrows"), *self._streams.glob("nvml*.arrows")]:
            if "@" not in path.name:  # counters and rings say the same once more
                self._take(path)
        now_ns = time.monotonic_ns()
        gpus: dict[str, _Channel] = {}
        for series in reversed(GPU_SERIES):
            for name, channel in self._found.items():
                gpu, _, what = name.partition(".")
                if what == series:
                    gpus[gpu] = channel
        node = self._found.get(NODE)
        return Watts(
            _now([node] if node else [], now_ns),
            _now(list(gpus.values()), now_ns),
            None if node is None else node.energy_j,
            sum(one.energy_j for one in gpus.values()) if gpus else None,
        )

    def _take(self, path: Path) -> None:
        tail = self._tails.setdefault(path, StreamTail(path))
        rows = tail.poll()
        if rows is None:
            return
        rows = rows.filter(pc.and_(pc.equal(rows["status"], "ok"), pc.is_valid(rows["value"])))
        for about in tail.channels:
            name = str(about["name"])
            if name != NODE and name.partition(".")[2] not in GPU_SERIES:
                continue
            own = rows.filter(pc.equal(rows["channel"], name))
            if len(own):
                found = self._found.setdefault(name, _Channel())
                found.add(own["end_ns"].to_numpy(), own["value"].to_numpy())


def _now(channels: list[_Channel], now_ns: int) -> float | None:
    """Sum of the latest readings; None unless all are fresh."""
    if not channels or any(now_ns - one.t_ns > FRESH_NS for one in channels):
        return None
    return sum(one.value for one in channels)
