"""Which images each step of a training has, and what happens to them. Imports torch.

Both depend on the seed, the epoch and the step alone, so that any process can say them for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from wattproof.training.augment import Augmentation, Draws, draw


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
        kind: device or loader.
        workers: Processes that prepare batches of a loader; 0 = the training does it itself.
    """

    batch_size: int
    eval_batch_size: int
    augmentation: Augmentation
    seed: int = 0
    drop_last: bool = False
    rank: int = 0
    world: int = 1
    kind: str = "device"
    workers: int = 0


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


class Plan:
    """Which images each step of an epoch has, and what happens to them. Holds no images.

    Args:
        count: Images of the training part.
        side: Their height and width, in pixels.
        settings: How to feed.
    """

    def __init__(self, count: int, side: int, settings: FeedSettings) -> None:
        self._count = count
        self._side = side
        self._settings = settings
        self._cuts = list(self._cut())
        self._order: tuple[tuple[int, int], Tensor] | None = None

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return len(self._cuts)

    def step(self, epoch: int, stream: int, number: int) -> Step:
        """Return this process's share of a step, whatever steps were asked for before."""
        settings = self._settings
        chosen = self._ordered(epoch, stream)[self._cuts[number]]
        total = len(chosen)
        generator = _generator(settings.seed, stream, epoch, number)
        draws = draw(total, self._side, settings.augmentation, generator)
        mine = slice(*share(total, settings.rank, settings.world))
        return Step(chosen[mine], draws.part(mine), total)

    def _ordered(self, epoch: int, stream: int) -> Tensor:
        if self._order is None or self._order[0] != (epoch, stream):
            generator = _generator(self._settings.seed, stream, epoch)
            self._order = (epoch, stream), torch.randperm(self._count, generator=generator)
        return self._order[1]

    def _cut(self) -> Iterator[slice]:
        """Yield where the order of an epoch is cut into steps."""
        size = self._settings.batch_size
        for first in range(0, self._count, size):
            cut = slice(first, min(first + size, self._count))
            images = cut.stop - cut.start
            # A set smaller than one step is kept: it would train nothing at all.
            if self._settings.drop_last and images < size and first > 0:
                return
            # A process without an image could not take part in a step.
            if images < self._settings.world and first > 0:
                return
            yield cut


def share(count: int, rank: int, world: int) -> tuple[int, int]:
    """First and past-the-last of `count` things that fall to a process: as even as can be."""
    return rank * count // world, (rank + 1) * count // world


def _generator(seed: int, *place: int) -> Generator:
    """Return a generator on the CPU for a place in a run, unlike those of other places."""
    state = np.random.SeedSequence(seed, spawn_key=place).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
