"""How a training would go on the virtual node: marks, loads and durations, without training.

Loads and durations of steps are those of `virtual.load`, one model for all spaces: operations,
bytes, launch gaps and the input pipeline of the realised network on the node's GPU. ASSUMED here:
what a process does besides its steps. Accuracies come from `learning`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof import space
from wattproof.offline import learning
from wattproof.offline.base import RunTimeline
from wattproof.offline.programme import load_events, mark, result
from wattproof.plan import PlanRow
from wattproof.training.schedule import kept_epochs
from wattproof.units import ns_to_s, s_to_ns
from wattproof.virtual.activity import DTYPE, KINDS
from wattproof.virtual.load import Load, step, training_load
from wattproof.virtual.presets import Parameters

__all__ = ["load_events", "run_events"]

DDP = "ddp"
THROUGHPUT, LATENCY = "throughput", "latency"

INPUT_SHARE = 0.06
"""At most this share of each step is shown as waiting (ASSUMED): loads of a step are means, and
what its GPU waits beyond this is spread over the step."""
RUN_JITTER, EPOCH_JITTER = 0.01, 0.005
"""Spread of durations from run to run and from epoch to epoch."""

START_S = 2.0
"""Libraries, kernels, memory: the process before its warm-up."""
WARM_UP_S = 0.5
INFERENCE_WARM_UP = 10
"""Steps before a measured inference phase."""
TURN_S = 0.15
"""Between phases: loaders start, the model is saved."""
PUBLISH_S = 0.037
"""Steps shorter than this are published together, as in live mode (there 10 ms), and not in step
with the sensors' 100 ms."""
RECIPE = {"precision": "fp32", "feed": "device", "eval_batch_size": 128}
"""Of rows that say nothing: defaults of the campaign's keys."""
FORWARD = "fp32"
"""Precision of everything but training steps, as in live mode."""


@dataclass(frozen=True, slots=True)
class _Work:
    """One phase: its length without jitter, its steps, and the loads they alternate between."""

    seconds: float
    steps: int
    input_share: float
    waiting: Load
    working: Load

    def hotter(self, factor: float) -> _Work:
        """Return the same work with the GPU's part of its loads multiplied."""
        return replace(
            self, waiting=_hotter(self.waiting, factor), working=_hotter(self.working, factor)
        )


class _Log:
    """Collects records of the activity log for one GPU or for all."""

    def __init__(self, gpus: int) -> None:
        self._slots = range(gpus)
        self._parts: list[NDArray[np.void]] = []

    def add(self, at_ns: NDArray[np.int64], kind: str, load: Load, gpus: int | None = None) -> None:
        """Add records of one load; the host's part is published once, by the first GPU."""
        for slot in self._slots[:gpus]:
            part = np.zeros(len(at_ns), DTYPE)
            part["mono_ns"], part["slot"], part["kind"] = at_ns, slot, KINDS.index(kind)
            part["gpu_compute"], part["gpu_memory"] = load.gpu_compute, load.gpu_memory
            if slot == 0:
                part["cpu_load"], part["dram_load"] = load.cpu_load, load.dram_load
            self._parts.append(part)

    def phase(
        self, begin_ns: int, end_ns: int, kind: str, work: _Work, gpus: int | None = None
    ) -> None:
        """Add a phase: in each step the GPU waits for its input, then works; idle at the end.

        Args:
            begin_ns: Its begin.
            end_ns: Its end.
            kind: Of activity.
            work: What is done.
            gpus: Only the first ones work; None: all.
        """
        together = max(1, math.ceil(PUBLISH_S * work.steps / max(work.seconds, 1e-9)))
        number = max(1, work.steps // together)
        edges = np.linspace(begin_ns, end_ns, number, endpoint=False).astype(np.int64)
        wait_ns = round(work.input_share * (end_ns - begin_ns) / number)
        if wait_ns:
            self.add(edges, "input", work.waiting, gpus)
        self.add(edges + wait_ns, kind, work.working, gpus)
        self.add(np.array([end_ns]), "idle", Load(), gpus)

    def records(self) -> NDArray[np.void]:
        """Return all records in the order of time."""
        found = np.concatenate(self._parts)
        return found[np.argsort(found["mono_ns"], kind="stable")]


def run_events(
    row: PlanRow, parameters: Parameters, start_ns: int, rng: np.random.Generator
) -> RunTimeline:
    """Return what a training of the plan does when it starts at an instant.

    Setting ``ddp`` splits each batch over all GPUs; the run has no slot then (None).

    Args:
        row: Of the plan.
        parameters: Of the node.
        start_ns: When its process starts.
        rng: Of this run: durations and accuracies.
    """
    training, config = row.spec["training"], row.spec["config"]
    of = learning.task(training["dataset"])
    resolution = int(config.get("resolution", training["image_size"]))
    network = space.get(row.spec["space"]).realise(config, resolution, of.classes)
    costs = network.complexity()
    gpus = parameters.gpu.count if row.setting == DDP else 1
    slot = None if row.setting == DDP else 0
    train_images = min(int(training["train_images"] or of.train_images), of.train_images)
    batch = int(config["batch_size"])
    eval_batch = gpus * int(wanted(row, "eval_batch_size"))
    works = {
        "train": _work(row, "train", network, train_images, batch, parameters),
        "eval": _work(row, "eval", network, of.eval_images, eval_batch, parameters),
    }
    curve = learning.curve(costs, config, of, rng)
    speed = 1.0 + RUN_JITTER * float(rng.standard_normal())
    kept = kept_epochs(int(config["epochs"]), int(training.get("shorten", 1)))
    epochs = len(kept)
    jitter = speed * (1.0 + EPOCH_JITTER * rng.standard_normal((epochs, 2)))
    # How this run differs from others of the same configuration (0 spread: by exactly 1).
    spreads = np.array([parameters.runs.power_spread, parameters.runs.inference_spread])
    hotter, slower = np.exp(rng.standard_normal(2) * spreads).tolist()
    works = {name: work.hotter(hotter) for name, work in works.items()}

    log = _Log(gpus)
    marks: list[dict[str, Any]] = []

    def note(kind: str, at_ns: int, name: str | None = None, **more: Any) -> None:
        marks.append(mark(kind, at_ns, row.run_id, name, more.pop("epoch", None), slot, **more))

    def phase(name: str, at_ns: int, seconds: float, epoch: int | None = None) -> int:
        end_ns = at_ns + s_to_ns(seconds)
        kind = "train" if name == "train" else "eval"
        note("phase_begin", at_ns, name, epoch=epoch)
        log.phase(at_ns, end_ns, kind, works[kind])
        note("phase_end", end_ns, name, epoch=epoch)
        return end_ns

    at_ns = start_ns + s_to_ns(START_S)
    log.phase(at_ns, at_ns + s_to_ns(WARM_UP_S), "train", works["train"])
    begin_ns = at_ns = at_ns + s_to_ns(WARM_UP_S + TURN_S)
    note("run_begin", at_ns)
    for epoch in range(epochs):
        note("epoch_begin", at_ns, epoch=epoch)
        at_ns = phase("train", at_ns, works["train"].seconds * jitter[epoch, 0], epoch)
        at_ns += s_to_ns(TURN_S)
        at_ns = phase("eval", at_ns, works["eval"].seconds * jitter[epoch, 1], epoch)
        note(
            "epoch_end",
            at_ns,
            epoch=epoch,
            train_loss=float(curve.train_loss[kept[epoch]]),
            train_accuracy=float(curve.train_accuracy[kept[epoch]]),
            val_loss=float(curve.val_loss[kept[epoch]]),
            val_accuracy=float(curve.val_accuracy[kept[epoch]]),
            learning_rate=float(curve.learning_rate[kept[epoch]]),
        )
        at_ns += s_to_ns(TURN_S)
    at_ns = phase("test", at_ns, works["eval"].seconds * speed)
    note("run_end", at_ns, test_accuracy=curve.test_accuracy)
    outcome = result(
        row,
        ns_to_s(at_ns - begin_ns),
        slot=slot,
        epochs=epochs,
        val_accuracy=float(curve.val_accuracy[-1]),
        test_accuracy=curve.test_accuracy,
        macs=costs.macs,
        params=costs.params,
        activations=costs.activations,
    )
    at_ns = _inference(row, network, parameters, at_ns, log, note, (hotter, slower))
    return RunTimeline(marks, log.records(), at_ns, outcome)


def _hotter(load: Load, factor: float) -> Load:
    return replace(
        load,
        gpu_compute=min(1.0, load.gpu_compute * factor),
        gpu_memory=min(1.0, load.gpu_memory * factor),
    )


def _work(
    row: PlanRow, kind: str, network: space.Network, images: int, batch: int, parameters: Parameters
) -> _Work:
    """Return one pass over some images."""
    gpus = parameters.gpu.count if row.setting == DDP else 1
    precision = wanted(row, "precision") if kind == "train" else FORWARD
    feed = wanted(row, "feed")
    batch = min(batch, images)
    one = step(network, kind, batch, parameters, precision, feed, gpus)
    waiting = training_load(network, "input", batch, parameters, precision, feed, gpus)
    share = min(INPUT_SHARE, 1.0 - one.gpu_s / one.seconds)
    return _Work(
        one.seconds * images / batch,
        math.ceil(images / batch),
        share,
        waiting,
        replace(
            one.load,
            gpu_compute=_rest(one.load.gpu_compute, waiting.gpu_compute, share),
            gpu_memory=_rest(one.load.gpu_memory, waiting.gpu_memory, share),
        ),
    )


def _rest(mean: float, waiting: float, share: float) -> float:
    """Return the level of the rest of a step whose mean is given."""
    return (mean - share * waiting) / (1.0 - share)


def wanted(row: PlanRow, key: str) -> Any:
    """Return a parameter of a run: of its configuration, else of its campaign, else the usual."""
    return {**RECIPE, **row.spec["training"], **row.spec["config"]}[key]


def _inference(
    row: PlanRow,
    network: space.Network,
    parameters: Parameters,
    at_ns: int,
    log: _Log,
    note: Any,
    of_run: tuple[float, float],
) -> int:
    """Add the measured inference phases after a run's end; return when they are over.

    Images lie on the device. In the throughput phase all GPUs of the run work, in the latency phase
    the first one alone; the step in which the time is over is finished. `of_run`: by what this
    run's GPU load and its steps' durations differ from other runs'.
    """
    found = row.spec["training"].get("inference") or {}
    gpus = parameters.gpu.count if row.setting == DDP else 1
    for name, key, batch, at_once in (
        (THROUGHPUT, "seconds", int(found.get("batch_size", 256)), gpus),
        (LATENCY, "latency_seconds", 1, 1),
    ):
        seconds = float(found.get(key, 0.0))
        if not seconds:
            continue
        one = step(network, "eval", batch, parameters, FORWARD, "device")
        step_s = one.seconds * of_run[1]
        steps = math.ceil(seconds / step_s)
        work = _Work(steps * step_s, steps, 0.0, Load(), _hotter(one.load, of_run[0]))
        at_ns += s_to_ns(TURN_S)
        begin_ns = at_ns + s_to_ns(INFERENCE_WARM_UP * step_s)
        end_ns = begin_ns + s_to_ns(work.seconds)
        note("phase_begin", begin_ns, name)
        log.phase(at_ns, end_ns, "eval", work, at_once)
        note("phase_end", end_ns, name, images=at_once * batch * steps)
        at_ns = end_ns
    return at_ns
