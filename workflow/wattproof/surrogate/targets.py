"""What the surrogate predicts: one table, in which everything else looks targets up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from wattproof.surrogate.encoding import Floats

ACCURACY, ENERGY, TIME, POWER = "accuracy", "energy_j", "time_s", "power_w"
GPU_ENERGY, SMI_ENERGY = "gpu_energy_j", "smi_energy_j"
TEST_ACCURACY, INFERENCE, LATENCY = "test_accuracy", "inference_j_per_image", "latency_s"

MIN_NETWORKS = 20
"""An optional target that fewer networks have is left out."""


@dataclass(frozen=True)
class Target:
    """A quantity of a training.

    Attributes:
        name: Key of answers, of tables and of files.
        unit: ``1`` (a share), ``J``, ``s`` or ``W``.
        kind: ``curve`` (a value after every epoch) or ``end`` (one number a training).
        scale: ``log`` (residuals are factors, values are positive) or ``unit`` (residuals are
            differences, values lie between 0 and 1).
        direction: ``minimise`` or ``maximise``.
        optional: Left out where fewer than `MIN_NETWORKS` networks have it.
        group: Targets of a group share one model and one way to write curves.
        meaning: In words; ``{scope}`` stands for ``node`` or ``gpu``.
    """

    name: str
    unit: str
    kind: Literal["curve", "end"]
    scale: Literal["log", "unit"]
    direction: Literal["minimise", "maximise"]
    optional: bool
    group: str
    meaning: str


LEARNED: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            *(ACCURACY, "1", "curve", "unit", "maximise", False, "accuracy"),
            "validation accuracy after the epoch, 0 to 1",
        ),
        Target(
            *(TEST_ACCURACY, "1", "end", "unit", "maximise", True, "accuracy"),
            "test accuracy after the training, 0 to 1",
        ),
        Target(
            *(ENERGY, "J", "curve", "log", "minimise", False, "cost"),
            "energy of the {scope}, all epochs so far",
        ),
        Target(
            *(TIME, "s", "curve", "log", "minimise", False, "cost"),
            "duration of all epochs so far",
        ),
        Target(
            *(GPU_ENERGY, "J", "curve", "log", "minimise", True, "cost"),
            "energy of the training's own GPUs, all epochs so far",
        ),
        Target(
            *(SMI_ENERGY, "J", "curve", "log", "minimise", True, "cost"),
            "energy of the training's own GPUs as nvidia-smi says, all epochs so far",
        ),
        Target(
            *(INFERENCE, "J", "end", "log", "minimise", True, "cost"),
            "energy of the inference of one image, in large batches",
        ),
        Target(
            *(LATENCY, "s", "end", "log", "minimise", True, "cost"),
            "time of the inference of one image alone",
        ),
    )
}
"""Targets with a model of their own, by name, in the order of all outputs: groups and, in them,
kinds stand together."""

DERIVED: dict[str, Target] = {
    POWER: Target(
        *(POWER, "W", "curve", "log", "minimise", False, "cost"),
        "mean power of the {scope}, all epochs so far",
    )
}
"""Targets that follow from others: power is energy over time."""

ALL: dict[str, Target] = {**LEARNED, **DERIVED}
GROUPS = ("accuracy", "cost")

STRAIGHT = (SMI_ENERGY,)
"""Costs of which networks learn no more than the line: nvidia-smi fails by faults of its own, which
nothing predicts, and its outliers would spoil what the other costs share with it."""

CORE = (ACCURACY, ENERGY, TIME, POWER)
"""Targets that every benchmark answers."""

COLUMNS: dict[str, str] = {
    ACCURACY: "val_accuracy",
    TIME: "time_s",
    GPU_ENERGY: "gpu_energy_j",
    SMI_ENERGY: "smi_energy_j",
    TEST_ACCURACY: "test_accuracy",
    INFERENCE: "inference_j_per_image",
    LATENCY: "latency_s",
}
"""Columns of table ``curves`` (kind curve) or ``dataset`` (kind end) that hold the targets; that of
`ENERGY` depends on whose energy is known."""


def to_scale(target: str, values: Floats) -> Floats:
    """Bring a target to the scale on which its residuals are taken."""
    return values if ALL[target].scale == "unit" else np.log(values)
