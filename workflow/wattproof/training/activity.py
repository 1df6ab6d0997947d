"""Telling the virtual node what the workload does at each moment."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Protocol

from wattproof.space.regnet import Network
from wattproof.training.recipe import Recipe
from wattproof.units import NS_PER_S

STEP_INTERVAL_NS = NS_PER_S // 100
"""Steps are published at most this often; the simulated sensors see nothing faster."""

IDLE = "idle"
PHASES = ("input", "train", "precise_bn", "eval", "throughput", "latency")
KINDS = {phase: phase if phase in ("input", "train") else "eval" for phase in PHASES}
"""What the virtual node calls each phase: all that only looks forward is evaluation to it."""


class Load(Protocol):
    """Levels of one phase, each 0 to 1 (`wattproof.virtual.load`)."""

    @property
    def gpu_compute(self) -> float:
        """Share of the GPU's arithmetic."""
        ...

    @property
    def gpu_memory(self) -> float:
        """Share of the GPU's memory bandwidth."""
        ...

    @property
    def cpu_load(self) -> float:
        """Share of the node's CPU."""
        ...

    @property
    def dram_load(self) -> float:
        """Share of the node's memory bandwidth."""
        ...


class Writer(Protocol):
    """Where levels are published: `wattproof.virtual.activity.ActivityWriter`."""

    def publish(
        self,
        slot: int,
        kind: str,
        gpu_compute: float = 0.0,
        gpu_memory: float = 0.0,
        cpu_load: float = 0.0,
        dram_load: float = 0.0,
    ) -> None:
        """Set the levels of a slot until its next publication."""
        ...


class Activity:
    """Publishes the levels of one slot; does nothing on a real node (`writer` None).

    Args:
        writer: Where to publish.
        slot: Index of the slot.
        loads: Levels of each phase of a training.
        host: Whether this process publishes the CPU's and memory's levels, too: of the processes
            of one run, only the first does.
    """

    def __init__(
        self,
        writer: Writer | None,
        slot: int,
        loads: Mapping[str, Load] | None = None,
        host: bool = True,
    ) -> None:
        self._writer = writer
        self._slot = slot
        self._loads = loads or {}
        self._host = float(host)
        self._step_ns: int | None = None

    def step_due(self) -> bool:
        """Whether the phases inside this training step are worth publishing."""
        if self._writer is None:
            return False
        now_ns = time.monotonic_ns()
        if self._step_ns is not None and now_ns - self._step_ns < STEP_INTERVAL_NS:
            return False
        self._step_ns = now_ns
        return True

    def phase(self, name: str) -> None:
        """Publish the levels of one of `PHASES`."""
        if self._writer is not None:
            self._publish(self._writer, KINDS[name], self._loads[name], 1.0)

    def calibration(self, kind: str, level: float) -> None:
        """Publish a calibration load (see `loads`) at a level from 0 to 1; idle at level 0."""
        if self._writer is None:
            return
        if level == 0:
            self.idle()
            return
        from wattproof.virtual.load import CALIBRATION_LOADS

        # The synchronisation pattern switches the same load that `gpu` climbs in stairs.
        load = CALIBRATION_LOADS["gpu" if kind == "sync" else kind]
        self._publish(self._writer, kind, load, level)

    def idle(self) -> None:
        """Publish that nothing is going on."""
        if self._writer is not None:
            self._writer.publish(self._slot, kind=IDLE)

    def _publish(self, writer: Writer, kind: str, load: Load, level: float) -> None:
        writer.publish(
            self._slot,
            kind=kind,
            gpu_compute=level * load.gpu_compute,
            gpu_memory=level * load.gpu_memory,
            cpu_load=level * load.cpu_load * self._host,
            dram_load=level * load.dram_load * self._host,
        )


def open_writer(path: str | None) -> Writer | None:
    """Open the virtual node's activity file; None on a real node."""
    if path is None:
        return None
    from wattproof.virtual.activity import ActivityWriter

    writer: Writer = ActivityWriter(path)
    return writer


def virtual_loads(
    network: Network, recipe: Recipe, activity: str, feed: str = "device", slots: int = 1
) -> dict[str, Load]:
    """Levels of each phase of a training on one of the virtual node's GPUs.

    Args:
        network: What is built, with its resolution.
        recipe: How it is trained: precision, and sizes of the steps of each phase.
        activity: The node's activity file; the node's own description lies beside it.
        feed: device or loader; inference runs on what lies on the device.
        slots: GPUs that share each training step.
    """
    from wattproof.virtual.load import training_load
    from wattproof.virtual.node import NodeSpec

    parameters = NodeSpec.load(os.path.dirname(activity)).parameters
    own = -(-recipe.batch_size // slots)
    forward = {
        "precise_bn": (own, feed),
        "eval": (recipe.eval_batch_size, feed),
        "throughput": (recipe.inference.batch_size, "device"),
        "latency": (1, "device"),
    }
    found: dict[str, Load] = {}
    for phase in PHASES:
        size, fed = forward.get(phase, (recipe.batch_size, feed))
        # Only training steps are shared, and only they compute in mixed precision.
        shared, precision = (1, "fp32") if phase in forward else (slots, recipe.precision)
        found[phase] = training_load(
            network, KINDS[phase], size, parameters, precision, fed, shared
        )
    return found
