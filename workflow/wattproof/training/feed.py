"""Batches for the training loop: chosen, augmented, coloured, on the device. Imports torch.

What an image looks like in an epoch depends on the seed, the epoch and the step alone: not on how
the batches are fed, on the number of worker processes, or on how many processes share a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from wattproof.training.augment import Augmentation, Draws, apply, draw
from wattproof.training.datasets import Data, Part
from wattproof.training.regnet import IMAGE_CHANNELS

TRAIN, PRECISE_BN = 0, 1
"""Streams of random numbers: two streams of one epoch share neither order nor augmentation."""

_WARM_UP = 99


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of one step, ready for the network, on the device.

    Attributes:
        images: Shape (n, 3, side, side), float32, standardised; this process's share.
        labels: Shape (n,), 0-based classes.
        total: Images of the step in all processes together.
    """

    images: Tensor
    labels: Tensor
    total: int


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """How a training is fed.

    Attributes:
        batch_size: Images of a training step, in all processes together.
        eval_batch_size: Images of an evaluation step in one process.
        augmentation: What is done to training images.
        seed: Of order and augmentation.
        drop_last: Leave out the last step of an epoch if it would be smaller than the others.
        rank: Number of this process among those that share each batch.
        world: Processes that share each batch.
    """

    batch_size: int
    eval_batch_size: int
    augmentation: Augmentation
    seed: int = 0
    drop_last: bool = False
    rank: int = 0
    world: int = 1


@dataclass(frozen=True, slots=True)
class Step:
    """This process's share of one training step.

    Attributes:
        chosen: Indices into the training part.
        draws: What happens to each of them.
        total: Images of the step in all processes together.
    """

    chosen: Tensor
    draws: Draws
    total: int


class Feed:
    """Feeds a training from the device's own memory: all parts are put there once.

    Args:
        data: See `datasets.load`.
        settings: How to feed.
        device: Where batches go.
    """

    def __init__(self, data: Data, settings: FeedSettings, device: torch.device) -> None:
        self._settings = settings
        self._device = device
        self._side: int = data.train.images.shape[-1]
        parts = {"train": data.train, "validation": data.validation, "test": data.test}
        self._parts = {name: self._place(part) for name, part in parts.items()}

    def _place(self, part: Part) -> tuple[Tensor, Tensor]:
        images, labels = torch.from_numpy(part.images), torch.from_numpy(part.labels)
        return images.to(self._device), labels.to(self._device)

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return len(list(self._cuts()))

    def images(self, part: str) -> int:
        """Images of part "train", "validation" or "test", in all processes together."""
        return len(self._parts[part][1])

    def epoch(self, epoch: int, stream: int = TRAIN) -> Iterator[Batch]:
        """Yield the training steps of an epoch, `steps` of them.

        Args:
            epoch: 0-based epoch.
            stream: TRAIN, or PRECISE_BN for images of another order and augmentation.
        """
        for step in self._plan(epoch, stream):
            images, labels = self._parts["train"]
            chosen = step.chosen.to(self._device)
            batch = apply(images[chosen], self._settings.augmentation, step.draws)
            yield Batch(_colour(batch), labels[chosen], step.total)

    def evaluate(self, part: str) -> Iterator[Batch]:
        """Yield this process's share of a part in order, without augmentation.

        A process's share can be empty where there are fewer images than processes: it then yields
        nothing.

        Args:
            part: train, validation or test.
        """
        images, labels = self._parts[part]
        world, rank = self._settings.world, self._settings.rank
        size = self._settings.eval_batch_size
        mine = slice(*_share(len(labels), rank, world))
        for x, y in zip(images[mine].split(size), labels[mine].split(size), strict=True):
            if len(y):
                yield Batch(_colour(x), y, len(y))

    def warm_up(self) -> Batch:
        """Return a training batch of full size that no epoch contains, with all in place."""
        return next(self.epoch(0, _WARM_UP))

    def close(self) -> None:
        """Give back processes and memory; safe to call twice."""

    def _cuts(self) -> Iterator[slice]:
        """Yield where the order of an epoch is cut into steps."""
        count, size = self.images("train"), self._settings.batch_size
        for first in range(0, count, size):
            cut = slice(first, min(first + size, count))
            images = cut.stop - cut.start
            if self._settings.drop_last and images < size and first > 0:
                return
            # A process without an image could not take part in a step.
            if images < self._settings.world and first > 0:
                return
            yield cut

    def _plan(self, epoch: int, stream: int) -> Iterator[Step]:
        """Yield this process's share of each step of an epoch."""
        settings = self._settings
        count = self.images("train")
        order = torch.randperm(count, generator=_generator(settings.seed, stream, epoch))
        for number, cut in enumerate(self._cuts()):
            chosen = order[cut]
            total = len(chosen)
            generator = _generator(settings.seed, stream, epoch, number)
            draws = draw(total, self._side, settings.augmentation, generator)
            mine = slice(*_share(total, settings.rank, settings.world))
            yield Step(chosen[mine], draws.part(mine), total)


def _share(count: int, rank: int, world: int) -> tuple[int, int]:
    """First and past-the-last of `count` things that fall to a process: as even as can be."""
    return rank * count // world, (rank + 1) * count // world


def _generator(seed: int, *place: int) -> Generator:
    """Return a generator on the CPU for a place in a run, unlike those of other places."""
    state = np.random.SeedSequence(seed, spawn_key=place).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def _colour(images: Tensor) -> Tensor:
    """Repeat a grey channel."""
    return images.expand(-1, IMAGE_CHANNELS, -1, -1).contiguous()
