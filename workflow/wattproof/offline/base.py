"""What the parts of the offline mode hand to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wattproof.plan import PlanRow
from wattproof.sources.base import Description, Pacing, Status
from wattproof.sources.endpoints import Endpoints
from wattproof.virtual.model import PowerTrace
from wattproof.virtual.node import NodeSpec
from wattproof.virtual.nvml import VirtualNvml
from wattproof.virtual.presets import Parameters

Instants = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RunTimeline:
    """What a run or a load does, from its first to its last moment.

    Attributes:
        marks: As `training.marks.MarkWriter` writes them, in order, without ``wall_ns``: kind,
            run_id, name, epoch, slot, mono_ns, and metrics where they arise.
        activity: Records of the virtual node's log (`virtual.activity.DTYPE`), rising in time; the
            last one leaves the slot idle.
        end_ns: When the next run may begin on its slot.
        result: Columns of table ``runs`` less recording and session (`training.spec.Outcome` with
            run_id, setting and slot).
    """

    marks: list[dict[str, Any]]
    activity: NDArray[np.void]
    end_ns: int
    result: dict[str, Any]


class Events(Protocol):
    """How long everything takes: `timeline.run_events` and `timeline.load_events`."""

    def __call__(
        self, row: PlanRow, parameters: Parameters, start_ns: int, rng: np.random.Generator
    ) -> RunTimeline:
        """Return what a row of the plan does when it starts at `start_ns` on slot 0.

        A run of setting ``ddp`` fills all slots, and its slot in marks and result is None.
        """
        ...


@dataclass(frozen=True, slots=True)
class Scene:
    """What the instruments of one session see.

    Attributes:
        spec: The node.
        trace: Its true power, complete.
        start_ns: Monotonic instant at which the instruments begin.
        end_ns: … and end.
        wall_offset_ns: Wall clock less monotonic clock.
        seed: Of what the host's scheduler does to the reads.
    """

    spec: NodeSpec
    trace: PowerTrace
    start_ns: int
    end_ns: int
    wall_offset_ns: int
    seed: tuple[int, ...]

    def endpoints(self, powercap_root: Path = Path("powercap")) -> Endpoints:
        """Return what stands where the drivers stand: a driver whose clock stands still."""
        nvml = VirtualNvml(self.spec, lambda: self.start_ns, self.trace)
        return Endpoints(nvml, None, powercap_root, "virtual node", simulated=True)

    def rng(self, what: str) -> np.random.Generator:
        """Return random numbers of their own for each purpose."""
        return np.random.default_rng([*self.seed, *what.encode()])


@dataclass(frozen=True, slots=True)
class Series:
    """The readings of one channel, in order.

    Attributes:
        channel: Name.
        start_ns: Before the read.
        end_ns: After it.
        value: NaN where there is none.
        scheduled_ns: Deadline; None for a stream.
        device_ns: The device's stamp; None if the device gives none, -1 where one is lacking.
        status: Index into `STATUSES`; None: all are good.
    """

    channel: str
    start_ns: Instants
    end_ns: Instants
    value: NDArray[np.float64]
    scheduled_ns: Instants | None = None
    device_ns: Instants | None = None
    status: NDArray[np.int8] | None = None


STATUSES = tuple(Status)
OK, MISSING, TIMEOUT = (STATUSES.index(s) for s in (Status.OK, Status.MISSING, Status.TIMEOUT))


@dataclass(frozen=True, slots=True)
class Lane:
    """All that one lane of an instrument recorded.

    Attributes:
        name: ``nvml``, ``nvml@counter`` …
        description: What the source said when it was opened.
        pacing: How it is driven.
        period_s: Its period.
        series: One for each channel.
    """

    name: str
    description: Description
    pacing: Pacing
    period_s: float
    series: list[Series] = field(default_factory=list)
