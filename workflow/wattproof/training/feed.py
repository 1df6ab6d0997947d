"""Batches for the training loop: chosen, augmented, coloured, on the device. Imports torch.

Two ways: all parts lie on the device and are augmented there ("device"), or worker processes
prepare each batch on the CPU ("loader"). What an image looks like in an epoch depends on the seed,
the epoch and the step alone: not on the way, on the number of workers, or on how many processes
share a batch.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from wattproof.training.augment import Augmentation, Draws, apply, draw
from wattproof.training.datasets import Data, Part
from wattproof.training.lifetime import end_with_parent
from wattproof.training.regnet import IMAGE_CHANNELS

TRAIN, PRECISE_BN = 0, 1
"""Streams of random numbers: two streams of one epoch share neither order nor augmentation."""

_WARM_UP, _IN_ORDER = 99, -1

Task = tuple[str, int, int, int]
"""One batch for a loader: (part, stream, epoch, step)."""


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


class Feed:
    """Feeds a training from the device's own memory: all parts are put there once, as bytes.

    Args:
        data: See `datasets.load`.
        settings: How to feed.
        device: Where batches go.
    """

    def __init__(self, data: Data, settings: FeedSettings, device: torch.device) -> None:
        self._settings = settings
        self._device = device
        parts = {"train": data.train, "validation": data.validation, "test": data.test}
        self._counts = {name: len(part.labels) for name, part in parts.items()}
        self._plan = Plan(self._counts["train"], data.train.images.shape[-1], settings)
        where = torch.device("cpu") if settings.kind == "loader" else device
        self._standard = _Standard(data, where)
        self._parts = {name: _place(part, where) for name, part in parts.items()}

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self._plan.steps

    def images(self, part: str) -> int:
        """Images of part "train", "validation" or "test", in all processes together."""
        return self._counts[part]

    def epoch(self, epoch: int, stream: int = TRAIN) -> Iterator[Batch]:
        """Yield the training steps of an epoch, `steps` of them.

        Args:
            epoch: 0-based epoch.
            stream: TRAIN, or PRECISE_BN for images of another order and augmentation.
        """
        return self._deliver([("train", stream, epoch, number) for number in range(self.steps)])

    def evaluate(self, part: str) -> Iterator[Batch]:
        """Yield this process's share of a part in order, without augmentation.

        A process's share can be empty where there are fewer images than processes: it then yields
        nothing.

        Args:
            part: train, validation or test.
        """
        first, end = self._mine(part)
        steps = -(-(end - first) // self._settings.eval_batch_size)
        return self._deliver([(part, _IN_ORDER, 0, number) for number in range(steps)])

    def warm_up(self) -> Batch:
        """Return a training batch of full size that no epoch contains, with all in place."""
        return next(self._deliver([("train", _WARM_UP, 0, 0)]))

    def close(self) -> None:
        """End the processes of a loader; safe to call twice."""

    def _deliver(self, tasks: list[Task]) -> Iterator[Batch]:
        for task in tasks:
            yield Batch(*self._prepare(task))

    def _mine(self, part: str) -> tuple[int, int]:
        return share(self._counts[part], self._settings.rank, self._settings.world)

    def _prepare(self, task: Task) -> tuple[Tensor, Tensor, int]:
        """Return images, labels and total of a batch, where the parts are."""
        part, stream, epoch, number = task
        images, labels = self._parts[part]
        if stream == _IN_ORDER:
            first, end = self._mine(part)
            first += number * self._settings.eval_batch_size
            cut = slice(first, min(first + self._settings.eval_batch_size, end))
            return _colour(self._standard(images[cut])), labels[cut], len(labels[cut])
        step = self._plan.step(epoch, stream, number)
        chosen = step.chosen.to(labels.device)
        # Standardised first: what is cropped in and cut out is then 0, the mean, as in the paper.
        batch = apply(self._standard(images[chosen]), self._settings.augmentation, step.draws)
        return _colour(batch), labels[chosen], step.total


class LoaderFeed(Feed):
    """Feeds a training batch by batch from the CPU, where worker processes prepare them.

    The workers start with the first batch, which `warm_up` takes, and stay until `close`. Between
    an epoch and the next nothing is prepared ahead.
    """

    def __init__(self, data: Data, settings: FeedSettings, device: torch.device) -> None:
        super().__init__(data, settings, device)
        self._tasks: list[Task] = []
        workers = settings.workers
        self._loader: DataLoader[Any] | None = DataLoader(
            _Prepared(self),
            batch_size=None,
            sampler=_Tasks(self),
            num_workers=workers,
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
            worker_init_fn=_begin_worker,
            # Forked, so that all share the images; none of them touches the device.
            multiprocessing_context="fork" if workers else None,
        )

    @property
    def tasks(self) -> list[Task]:
        """What the loader is to prepare next."""
        return self._tasks

    def prepare(self, task: Task) -> tuple[Tensor, Tensor, int]:
        """Prepare one batch on the CPU, in a worker or in this process."""
        return self._prepare(task)

    def close(self) -> None:
        """End the workers; safe to call twice."""
        self._loader = None

    def _deliver(self, tasks: list[Task]) -> Iterator[Batch]:
        assert self._loader is not None, "the feed was closed"
        self._tasks = tasks
        for images, labels, total in self._loader:
            yield Batch(
                images.to(self._device, non_blocking=True),
                labels.to(self._device, non_blocking=True),
                int(total),
            )


class _Prepared(Dataset[Any]):
    """What a `DataLoader` calls a data set: here an item is a whole batch, named by its task."""

    def __init__(self, feed: LoaderFeed) -> None:
        self._feed = feed

    def __getitem__(self, task: Task) -> tuple[Tensor, Tensor, int]:
        return self._feed.prepare(task)


class _Tasks(Iterable[Task]):
    """What a `DataLoader` calls a sampler: the tasks of the moment."""

    def __init__(self, feed: LoaderFeed) -> None:
        self._feed = feed

    def __iter__(self) -> Iterator[Task]:
        return iter(self._feed.tasks)

    def __len__(self) -> int:
        return len(self._feed.tasks)


def _begin_worker(_number: int) -> None:
    # A worker that is told to stop has nothing to clean up.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()


class _Standard:
    """Turns bytes into numbers of mean 0 and deviation 1, by channel."""

    def __init__(self, data: Data, device: torch.device) -> None:
        shape = (1, -1, 1, 1)
        self._mean = torch.tensor(data.mean, dtype=torch.float32, device=device).reshape(shape)
        scale = torch.tensor(data.deviation, dtype=torch.float32, device=device).reshape(shape)
        self._deviation = scale

    def __call__(self, images: Tensor) -> Tensor:
        return (images.to(torch.float32) - self._mean) / self._deviation


def open_feed(data: Data, settings: FeedSettings, device: torch.device) -> Feed:
    """Return the feed that the settings ask for."""
    kind = LoaderFeed if settings.kind == "loader" else Feed
    return kind(data, settings, device)


def share(count: int, rank: int, world: int) -> tuple[int, int]:
    """First and past-the-last of `count` things that fall to a process: as even as can be."""
    return rank * count // world, (rank + 1) * count // world


def _place(part: Part, device: torch.device) -> tuple[Tensor, Tensor]:
    images, labels = torch.from_numpy(part.images), torch.from_numpy(part.labels)
    return images.to(device), labels.to(device)


def _generator(seed: int, *place: int) -> Generator:
    """Return a generator on the CPU for a place in a run, unlike those of other places."""
    state = np.random.SeedSequence(seed, spawn_key=place).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def _colour(images: Tensor) -> Tensor:
    """Repeat a grey channel."""
    return images.expand(-1, IMAGE_CHANNELS, -1, -1).contiguous()
