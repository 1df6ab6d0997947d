"""Exponential moving average of the weights, by EA-HAS-Bench's rule. Imports torch."""

from __future__ import annotations

import copy

import torch
from torch import nn

BASE_ALPHA = 2.5e-4
PERIOD = 32
"""Steps from one update to the next."""

MEMORY = 4
"""The average remembers at most a quarter of the updates of a training."""


def updates(steps: int) -> int:
    """How many updates an epoch of so many steps has."""
    return -(-steps // PERIOD)


def alpha(batch_size: int, epochs: int, in_all: int | None = None) -> float:
    """Weight of the newest parameters in an update: 0.16 at batch 1024 and 50 epochs.

    The reference's rule leaves out how many images an epoch has: the average remembers
    1/(2.5e-4 · images) of the training, 8 % on CIFAR-10, but four times all of it on 1,000 images.

    Args:
        batch_size: Images of a step.
        epochs: All epochs of the schedule.
        in_all: Updates of the training after its warm-up, for the bound of `MEMORY`; None = the
            reference's rule alone.
    """
    least = 0.0 if in_all is None else MEMORY / max(in_all, 1)
    return min(1.0, max(BASE_ALPHA * batch_size / epochs * PERIOD, least))


class Average:
    """The averaged network: a copy whose weights follow the trained one's.

    It is updated at steps 0, 32, 64 … of an epoch and takes the weights as they are during
    warm-up, as in the reference. Two things are ours, because the reference never meets them:
    an epoch of fewer than 32 steps updates at its last step (the first would lag an epoch
    behind), and the average of a short training forgets faster (`MEMORY`).

    Args:
        model: The network that is trained.
        weight: Of the newest parameters, see `alpha`.
        warmup: Epochs of warm-up.
        steps: Steps of an epoch.
    """

    def __init__(self, model: nn.Module, weight: float, warmup: int, steps: int) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._weight = weight
        self._warmup = warmup
        self._steps = steps

    def due(self, step: int) -> bool:
        """Whether the average is updated after a step (0-based, of its epoch)."""
        return step == self._steps - 1 if self._steps < PERIOD else step % PERIOD == 0

    def update(self, model: nn.Module, place: int) -> None:
        """Mix the trained network in.

        Args:
            model: The network that is trained.
            place: 0-based epoch of the schedule.
        """
        weight = 1.0 if place < self._warmup else self._weight
        newest = model.state_dict()
        with torch.no_grad():
            # Statistics of batch norm, too; their counters are whole numbers and are taken over.
            for name, value in self.model.state_dict().items():
                if value.is_floating_point() and weight < 1.0:
                    value.lerp_(newest[name], weight)
                else:
                    value.copy_(newest[name])
