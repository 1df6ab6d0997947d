"""How a network is trained: the parameters of a configuration and the constants of a campaign.

The constants' defaults are those of `config/schema/campaign.schema.json`; what EA-HAS-Bench sets
them to stands in `docs/training.md`. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wattproof.errors import WattproofError
from wattproof.training.checks import NUMBER, SWITCH, WHOLE, choice, get
from wattproof.training.schedule import POLICIES

OPTIMIZERS = ("adam", "adamw", "sgd")
PRECISIONS = ("fp32", "amp")
"""amp: mixed precision in training steps, bf16 or fp16 by device (`precision`)."""


@dataclass(frozen=True, slots=True)
class Inference:
    """The measured inference phases after the test.

    Attributes:
        seconds: Length of the throughput phase; 0 = no such phase.
        latency_seconds: Length of the latency phase, one image at a time; 0 = no such phase.
        batch_size: Images of a step of the throughput phase, in each process.
    """

    seconds: float = 0.0
    latency_seconds: float = 0.0
    batch_size: int = 256


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained.

    Attributes:
        lr: Learning rate of the first epoch.
        optimizer: sgd, adam or adamw.
        policy: Learning-rate schedule, see `schedule.learning_rate`.
        cutout: Side of the hidden square in pixels; 0 = none.
        batch_size: Images of a step, in all processes together.
        epochs: Epochs of the schedule.
        precision: fp32 or amp.
        warmup_epochs: Epochs in which the learning rate climbs to the schedule's.
        label_smoothing: Share of the target that is spread evenly over all classes.
        ema: Whether an exponential moving average of the weights is what comes out.
        precise_bn_images: Images from which batch-norm statistics are computed anew in each
            epoch; 0 = the running statistics of the training are kept.
        drop_last: Leave out the last step of an epoch if it is smaller than the others.
        eval_batch_size: Images of an evaluation step, in each process.
        deterministic: Equal seeds give equal runs on one machine; else cuDNN picks the fastest.
        inference: Measured inference phases.
    """

    lr: float
    optimizer: str
    policy: str
    cutout: int
    batch_size: int
    epochs: int
    precision: str = "fp32"
    warmup_epochs: int = 0
    label_smoothing: float = 0.1
    ema: bool = False
    precise_bn_images: int = 0
    drop_last: bool = False
    eval_batch_size: int = 128
    deterministic: bool = True
    inference: Inference = Inference()


def parse_recipe(config: Mapping[str, Any], training: Mapping[str, Any] | None = None) -> Recipe:
    """Take the recipe out of a configuration and the constants of its campaign.

    Args:
        config: Configuration of a run.
        training: Group ``training`` of the campaign; what it lacks has its default. The
            configuration wins where it has key ``precision``.

    Raises:
        WattproofError: Something is missing or wrong.
    """
    usual = Recipe(lr=0, optimizer="", policy="", cutout=0, batch_size=0, epochs=0)
    constants = {name: getattr(usual, name) for name in _CONSTANTS} | dict(training or {})
    if "precision" in config:
        constants["precision"] = config["precision"]
    smoothing = float(get(constants, "label_smoothing", NUMBER, least=0))
    if smoothing >= 1:
        raise WattproofError(
            f"key 'label_smoothing' must be below 1, but is {smoothing:g}; lower it."
        )
    return Recipe(
        lr=float(get(config, "lr", NUMBER, least=0)),
        optimizer=choice(config, "optimizer", OPTIMIZERS),
        policy=choice(config, "policy", POLICIES),
        cutout=get(config, "cutout", WHOLE, least=0),
        batch_size=get(config, "batch_size", WHOLE, least=2),
        epochs=get(config, "epochs", WHOLE, least=1),
        precision=choice(constants, "precision", PRECISIONS),
        warmup_epochs=get(constants, "warmup_epochs", WHOLE, least=0),
        label_smoothing=smoothing,
        ema=get(constants, "ema", SWITCH),
        precise_bn_images=get(constants, "precise_bn_images", WHOLE, least=0),
        drop_last=get(constants, "drop_last", SWITCH),
        eval_batch_size=get(constants, "eval_batch_size", WHOLE, least=1),
        deterministic=get(constants, "deterministic", SWITCH),
        inference=_parse_inference((training or {}).get("inference") or {}),
    )


_CONSTANTS = (
    "precision",
    "warmup_epochs",
    "label_smoothing",
    "ema",
    "precise_bn_images",
    "drop_last",
    "eval_batch_size",
    "deterministic",
)


def _parse_inference(group: Any) -> Inference:
    if not isinstance(group, Mapping):
        raise WattproofError(f"key 'inference' must be a group of keys, but is {group!r}.")
    usual = Inference()
    found = {
        "seconds": usual.seconds,
        "latency_seconds": usual.latency_seconds,
        "batch_size": usual.batch_size,
        **group,
    }
    return Inference(
        seconds=float(get(found, "seconds", NUMBER, least=0)),
        latency_seconds=float(get(found, "latency_seconds", NUMBER, least=0)),
        batch_size=get(found, "batch_size", WHOLE, least=1),
    )
