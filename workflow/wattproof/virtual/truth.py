"""The truth about a virtual node. Read only by checks: no analysis may import this."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import ArrayLike

from wattproof import units
from wattproof.virtual.activity import ActivityReader
from wattproof.virtual.model import PowerTrace
from wattproof.virtual.node import ACTIVITY_FILE, SCTC_HZ, NodeSpec

PPM = 1e-6


class MeterClock(NamedTuple):
    """True relation of the meter's clock to the recording's, in the terms of table ``clocks``.

    ``mono_ns = device_ns + offset_ns + drift_ppm·1e-6·(device_ns − anchor_ns)`` with
    ``device_ns`` = sample counts / `SCTC_HZ`, unwrapped from the first value, which is taken as
    it is.
    """

    offset_ns: int
    drift_ppm: float
    anchor_ns: int


class Truth:
    """True power and energy of every channel of a virtual node.

    Args:
        spec: The node.
        trace: Its power, from the complete event log.
    """

    def __init__(self, spec: NodeSpec, trace: PowerTrace) -> None:
        self.spec = spec
        self.trace = trace

    def energy_j(self, channel: str, start_ns: ArrayLike, end_ns: ArrayLike) -> Any:
        """True energy in joules over [start, end), monotonic ns; arrays or numbers."""
        return self.trace.energy_j(channel, end_ns) - self.trace.energy_j(channel, start_ns)

    def power_w(self, channel: str, t_ns: ArrayLike) -> Any:
        """True power in watts at monotonic instants; arrays or numbers."""
        return self.trace.power_w(channel, t_ns)

    def meter_clock(self) -> MeterClock:
        """True offset and drift of the meter's clock."""
        meter = self.spec.meter
        anchor_ns = round(meter.sctc_start * units.NS_PER_S / SCTC_HZ)
        # A clock that counts too fast gives durations that are too long, hence the sign.
        drift_ppm = (1.0 / (1.0 + meter.rate_ppm * PPM) - 1.0) / PPM
        return MeterClock(self.spec.t0_ns - anchor_ns, drift_ppm, anchor_ns)


def load(truth_dir: Path | str) -> Truth:
    """Read the truth folder of a session.

    Raises:
        WattproofError: There is no virtual node's truth in it.
    """
    spec = NodeSpec.load(truth_dir)
    trace = PowerTrace(spec.parameters, spec.t0_ns)
    # The log lies beside node.json, wherever the results were moved to.
    reader = ActivityReader(Path(truth_dir) / ACTIVITY_FILE)
    try:
        trace.extend(reader.poll())
    finally:
        reader.close()
    return Truth(spec, trace)
