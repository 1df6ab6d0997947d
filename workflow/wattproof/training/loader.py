"""Batches that worker processes prepare on the CPU, by torch's `DataLoader`. Imports torch."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from wattproof.training.datasets import Data
from wattproof.training.feed import Batch, Feed, Task
from wattproof.training.feed_plan import FeedSettings
from wattproof.training.lifetime import end_with_parent


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
