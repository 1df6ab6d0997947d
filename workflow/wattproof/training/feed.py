"""Batches for the training loop: chosen, augmented, coloured, on the device. Imports torch.

Two ways: all parts lie on the device and are augmented there ("device"), or worker processes
prepare each batch on the CPU ("loader"). What an image looks like in an epoch depends on the seed,
the epoch and the step alone: not on the way, on the number of workers, or on how many processes
share a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from wattproof.training.augment import apply
from wattproof.training.datasets import Data, Part
from wattproof.training.feed_plan import FeedSettings, Plan, share
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
        total: Images of a training step in all processes together, of an evaluation in this one.
    """

    images: Tensor
    labels: Tensor
    total: int


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
    if settings.kind == "loader":
        from wattproof.training.loader import LoaderFeed

        return LoaderFeed(data, settings, device)
    return Feed(data, settings, device)


def _place(part: Part, device: torch.device) -> tuple[Tensor, Tensor]:
    images, labels = torch.from_numpy(part.images), torch.from_numpy(part.labels)
    return images.to(device), labels.to(device)


def _colour(images: Tensor) -> Tensor:
    """Repeat a grey channel."""
    return images.expand(-1, IMAGE_CHANNELS, -1, -1).contiguous()
