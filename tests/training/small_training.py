"""A tiny training in this process, for tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from wattproof.space.regnet import Network
from wattproof.training import loop
from wattproof.training.activity import Activity
from wattproof.training.datasets import Data, Part
from wattproof.training.marks import MarkWriter, NoMarks, read_marks
from wattproof.training.recipe import Recipe
from wattproof.training.spec import TrainSpec

NETWORK = Network(8, (8, 16), (1, 1), 8, classes=3, resolution=7)
"""At 7 pixels nothing is padded or cropped: what the loop feeds is known exactly."""

RECIPE = Recipe(lr=0.03, optimizer="sgd", policy="cos", cutout=0, batch_size=16, epochs=2)


@dataclass(frozen=True)
class FakeLoad:
    gpu_compute: float
    gpu_memory: float = 0.0
    cpu_load: float = 0.0
    dram_load: float = 0.0


class FakeWriter:
    def __init__(self):
        self.records = []

    def publish(self, slot, kind, gpu_compute=0.0, gpu_memory=0.0, cpu_load=0.0, dram_load=0.0):
        self.records.append((slot, kind, gpu_compute))


def part(count, seed):
    """Class k is brighter in row k: easy to learn."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = rng.normal(0, 0.3, (count, 1, 7, 7)).astype(np.float32)
    images[np.arange(count), 0, 2 * labels] += 2
    return Part(images, labels.astype(np.int64))


DATA = Data(part(96, 1), part(30, 2), part(33, 3), classes=3, flip=False)


def go(
    path,
    *,
    recipe=RECIPE,
    data=DATA,
    seed=0,
    limit_s=100.0,
    shorten=1,
    activity=None,
    on_epoch=None,
    **more,
):
    spec = TrainSpec(NETWORK, recipe, "made up", None, 96, limit_s, shorten, **more)
    outcome = loop.train(
        spec,
        data,
        MarkWriter(path),
        activity or Activity(None, 0),
        run_id="r",
        slot=1,
        seed=seed,
        on_epoch=on_epoch,
    )
    return outcome, read_marks(path)


def edges(marks):
    return [(m["kind"], m["name"], m["epoch"]) for m in marks]


METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate")


def curve(marks):
    return [[m[key] for key in METRICS] for m in marks if m["kind"] == "epoch_end"]


LOADS = {
    "input": FakeLoad(0.1),
    "train": FakeLoad(0.8),
    "precise_bn": FakeLoad(0.6),
    "eval": FakeLoad(0.5),
    "throughput": FakeLoad(0.9),
    "latency": FakeLoad(0.2),
}


def trained_weights(recipe, team, store=None):
    """Train as one process of a team; return what would be published."""
    spec = TrainSpec(NETWORK, recipe, "made up", None, 96, 100.0)
    device = torch.device("cpu")
    kept = []

    class Watched(loop.Training):
        def _infer(self, state):
            kept.append({k: v.clone() for k, v in state.published.state_dict().items()})

    training = Watched(
        spec,
        NoMarks(),
        Activity(None, 0),
        run_id="r",
        slot=None,
        seed=0,
        threads=1,
        device=device,
        team=team,
    )
    if store is not None:
        team.join(store, device)
    reason = loop.attempt(training, lambda: DATA)
    team.leave()
    assert reason == ""
    return kept[0]
