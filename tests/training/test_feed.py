"""Feeding: what reaches the network, in one process and in several."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import islice

import numpy as np
import psutil
import pytest
import torch
from small_training import RECIPE, curve, go

from wattproof.training.augment import Augmentation
from wattproof.training.datasets import Data, Part
from wattproof.training.feed import PRECISE_BN, open_feed
from wattproof.training.feed_plan import FeedSettings
from wattproof.training.loader import LoaderFeed

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
    return open_feed(DATA, replace(SETTINGS, **changes), CPU)


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
    one, two = list(open_feed(twice, replace(SETTINGS, batch_size=32), CPU).epoch(0))
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


def parts_of_a_run(feeding):
    """What a run takes, in its order, with early ends as precise batch norm makes them."""
    found = [feeding.warm_up(), next(feeding.evaluate("validation"))]
    for number in range(2):
        found += feeding.epoch(number)
        found += islice(feeding.epoch(number, PRECISE_BN), 2)
        found += feeding.evaluate("validation")
    return [*found, *feeding.evaluate("test")]


@pytest.mark.parametrize("shared", [{}, {"rank": 1, "world": 2}])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_loader_feeds_what_the_device_feeds_whatever_its_workers(workers, shared):
    loader = feed(kind="loader", workers=workers, **shared)
    assert isinstance(loader, LoaderFeed)
    try:
        assert loader.steps == feed(**shared).steps
        assert same(parts_of_a_run(loader), parts_of_a_run(feed(**shared)))
    finally:
        loader.close()


def children():
    return {child.pid for child in psutil.Process().children(recursive=True)}


def gone(pids, timeout_s=10.0):
    until = time.monotonic() + timeout_s
    while any(psutil.pid_exists(pid) and alive(pid) for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_workers_start_with_the_warm_up_stay_and_end_with_the_feed():
    before = children()
    loader = feed(kind="loader", workers=2)
    assert children() == before
    loader.warm_up()
    workers = children() - before
    assert len(workers) == 2
    list(loader.epoch(0))
    list(loader.evaluate("test"))
    assert children() - before == workers
    loader.close()
    loader.close()
    assert gone(workers)


def test_workers_end_with_a_training_that_is_killed(tmp_path):
    code = f"""
import sys, time
sys.path[:0] = {sys.path!r}
import psutil, test_feed
loader = test_feed.feed(kind="loader", workers=2)
loader.warm_up()
print(*[child.pid for child in psutil.Process().children()], flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(workers) == 2
    process.kill()
    process.wait()
    process.stdout.close()
    assert gone(workers)


def test_a_worker_that_dies_ends_the_training_with_an_error():
    loader = feed(kind="loader", workers=1)
    before = children()
    loader.warm_up()
    [worker] = children() - before or children()
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="worker"):
        list(loader.epoch(0))
    loader.close()


def test_bytes_are_standardised_by_channel_before_borders_are_put_around():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 3, SIDE, SIDE)).astype(np.uint8)
    labels = np.arange(40)
    mean, deviation = (100.0, 120.0, 140.0), (50.0, 60.0, 70.0)
    coloured = Data(*[Part(images, labels)] * 3, 40, False, mean, deviation)
    plain = replace(SETTINGS, augmentation=Augmentation(pad=0), batch_size=40)
    [batch] = open_feed(coloured, plain, CPU).epoch(0)
    expected = (images[batch.labels] - np.array(mean)[:, None, None]) / np.array(deviation)[
        :, None, None
    ]
    assert np.allclose(batch.images.numpy(), expected, atol=1e-6)
    # A crop brings zeros in, not the value that a black border would have.
    padded = replace(plain, augmentation=Augmentation(pad=SIDE))
    [batch] = open_feed(coloured, padded, CPU).epoch(0)
    assert (batch.images == 0).float().mean() > 0.3


def test_what_lies_on_the_device_is_bytes():
    data = Data(*[Part(np.zeros((10, 3, 4, 4), np.uint8), np.zeros(10, np.int64))] * 3, 1, True)
    for kind in ("device", "loader"):
        feeding = open_feed(data, replace(SETTINGS, kind=kind), CPU)
        assert {images.dtype for images, _ in feeding._parts.values()} == {torch.uint8}


def test_a_training_learns_the_same_however_it_is_fed(tmp_path):
    recipe = replace(RECIPE, precise_bn_images=32, ema=True, drop_last=True)
    before = children()
    _, device = go(tmp_path / "device", recipe=recipe)
    for workers in (0, 2):
        path = tmp_path / f"loader{workers}"
        outcome, marks = go(path, recipe=recipe, feed="loader", workers=workers)
        assert outcome.status == "ok"
        assert curve(marks) == curve(device)
        assert marks[-1]["test_accuracy"] == device[-1]["test_accuracy"]
    assert gone(children() - before)
