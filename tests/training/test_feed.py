"""Feeding: what reaches the network, in one process and in several."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from wattproof.training.augment import Augmentation
from wattproof.training.datasets import Data, Part
from wattproof.training.feed import PRECISE_BN, Feed, FeedSettings

SIDE = 8
CPU = torch.device("cpu")
SETTINGS = FeedSettings(16, 10, Augmentation(pad=1, flip=True, cutout=4), seed=3)


def part(count, first):
    """Image n is n all over, its label n: whatever augmentation does, it can be recognised."""
    numbers = np.arange(first, first + count)
    images = np.broadcast_to(numbers[:, None, None, None], (count, 1, SIDE, SIDE))
    return Part(images.astype(np.float32), numbers.astype(np.int64))


DATA = Data(part(100, 1), part(23, 1001), part(12, 2001), classes=9999, flip=True)


def feed(**changes):
    return Feed(DATA, replace(SETTINGS, **changes), CPU)


def epoch(number=0, stream=0, **changes):
    return list(feed(**changes).epoch(number, stream))


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)
        for a, b in zip(one, other, strict=True)
    )


def test_an_epoch_has_each_image_once_with_its_label_in_another_order():
    batches = epoch()
    assert [len(batch.labels) for batch in batches] == [16] * 6 + [4]
    assert [batch.total for batch in batches] == [16] * 6 + [4]
    assert feed().steps == 7
    labels = torch.cat([batch.labels for batch in batches])
    assert sorted(labels.tolist()) == list(range(1, 101))
    assert labels.tolist() != sorted(labels.tolist())
    for batch in batches:
        assert batch.images.shape[1:] == (3, SIDE, SIDE)
        # Zeros come from the border and the hidden square, all else is the image's number.
        assert torch.equal(batch.images.amax((1, 2, 3)), batch.labels.float())
        assert (batch.images == 0).any()


def test_evaluation_has_each_image_once_in_order_untouched():
    batches = list(feed().evaluate("validation"))
    assert [batch.total for batch in batches] == [10, 10, 3]
    images = torch.cat([batch.images for batch in batches])
    assert torch.equal(images, torch.from_numpy(DATA.validation.images).repeat(1, 3, 1, 1))
    assert feed().images("validation") == 23


def test_seed_epoch_and_stream_decide():
    first = epoch()
    assert same(first, epoch())
    for other in (epoch(seed=4), epoch(1), epoch(stream=PRECISE_BN)):
        assert not torch.equal(first[0].labels, other[0].labels)


def test_an_epoch_does_not_depend_on_earlier_ones():
    used = feed()
    used.warm_up()
    list(used.epoch(0))
    assert same(list(used.epoch(1)), epoch(1))


def test_equal_images_are_augmented_differently_in_each_step():
    twice = Data(
        *[Part(np.ones((64, 1, SIDE, SIDE), np.float32), np.zeros(64, np.int64))] * 3, 1, True
    )
    one, two = list(Feed(twice, replace(SETTINGS, batch_size=32), CPU).epoch(0))
    assert not torch.equal(one.images, two.images)


def test_a_last_smaller_step_can_be_dropped():
    assert [batch.total for batch in epoch(drop_last=True)] == [16] * 6
    # A set smaller than one step would otherwise train nothing at all.
    assert [batch.total for batch in epoch(drop_last=True, batch_size=1024)] == [100]


@pytest.mark.parametrize("world", [2, 3, 4])
def test_processes_that_share_a_batch_have_its_parts(world):
    whole = epoch(2)
    shares = [epoch(2, rank=rank, world=world) for rank in range(world)]
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        assert {part.total for part in parts} == {batch.total}
        assert max(len(p.labels) for p in parts) - min(len(p.labels) for p in parts) <= 1
        assert torch.equal(torch.cat([p.images for p in parts]), batch.images)
        assert torch.equal(torch.cat([p.labels for p in parts]), batch.labels)


def test_a_last_step_with_fewer_images_than_processes_is_left_out():
    assert [len(batch.labels) for batch in epoch(world=5, rank=4, batch_size=33)] == [7, 7, 7]


@pytest.mark.parametrize("world", [2, 4, 30])
def test_processes_share_an_evaluation(world):
    seen = [
        label
        for rank in range(world)
        for batch in feed(rank=rank, world=world).evaluate("test")
        for label in batch.labels.tolist()
    ]
    assert seen == list(range(2001, 2013))
