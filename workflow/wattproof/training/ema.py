"""Exponential moving average of the weights, by EA-HAS-Bench's rule. Imports torch."""

from __future__ import annotations

import copy

import torch
from torch import nn

BASE_ALPHA = 2.5e-4
PERIOD = 32
"""Steps from one update to the next."""


def alpha(batch_size: int, epochs: int) -> float:
    """Weight of the newest parameters in an update: 0.16 at batch 1024 and 50 epochs.

    Args:
        batch_size: Images of a step.
        epochs: All epochs of the schedule.
    """
    return min(1.0, BASE_ALPHA * batch_size / epochs * PERIOD)


class Average:
    """The averaged network: a copy whose weights follow the trained one's.

    It is updated at steps 0, 32, 64 … of an epoch and takes the weights as they are during
    warm-up, as in the reference. Two things are ours, because the reference never meets them:
    an epoch of fewer than 32 steps updates at its last step (the first would lag an epoch
    behind), and a training without warm-up begins with the mean of all updates so far (else the
    untrained weights would linger in the average).

    Args:
        model: The network that is trained.
        batch_size: Images of a step.
        epochs: All epochs of the schedule.
        warmup: Epochs of warm-up.
        steps: Steps of an epoch.
    """

    def __init__(
        self, model: nn.Module, batch_size: int, epochs: int, warmup: int, steps: int
    ) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._alpha = alpha(batch_size, epochs)
        self._warmup = warmup
        self._steps = steps
        self._updates = 0

    def due(self, step: int) -> bool:
        """Whether the average is updated after a step (0-based, of its epoch)."""
        return step == self._steps - 1 if self._steps < PERIOD else step % PERIOD == 0

    def update(self, model: nn.Module, place: int) -> None:
        """Mix the trained network in.

        Args:
            model: The network that is trained.
            place: 0-based epoch of the schedule.
        """
        self._updates += 1
        weight = self._alpha
        if place < self._warmup:
            weight = 1.0
        elif not self._warmup:
            weight = max(weight, 1.0 / self._updates)
        newest = model.state_dict()
        with torch.no_grad():
            # Statistics of batch norm, too; their counters are whole numbers and are taken over.
            for name, value in self.model.state_dict().items():
                if value.is_floating_point() and weight < 1.0:
                    value.lerp_(newest[name], weight)
                else:
                    value.copy_(newest[name])
