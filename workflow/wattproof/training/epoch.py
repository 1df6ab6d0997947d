"""The parts of an epoch: training steps, batch-norm statistics, evaluation. Imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor, nn

from wattproof.training.batch_norm import PreciseStatistics
from wattproof.training.failures import must_be_finite
from wattproof.training.feed import PRECISE_BN, Batch
from wattproof.training.state import Learner, Mean, State


def train(state: State, epoch: int, place: int) -> Mean:
    """Train one epoch.

    Args:
        state: The training.
        epoch: 0-based number of the epoch in this run.
        place: 0-based epoch of the schedule: another one if the training is shortened.

    Returns:
        Means over the epoch's images, of each step before its update.

    Raises:
        RunFailedError: The loss is not finite, or the time is over.
    """
    learner, team = state.learner, state.team
    learner.model.train()
    loss_sum, right, count = 0.0, 0, 0
    batches = state.feed.epoch(epoch)
    for number in range(state.feed.steps):
        publish = state.activity.step_due()
        if publish:
            state.activity.phase("input")
        batch = next(batches)
        if publish:
            state.activity.phase("train")
        own = step(learner, batch, state.spec.recipe.label_smoothing, team.world)
        loss, hits, late = team.total([*own, state.late()])
        must_be_finite(loss, epoch)
        if late:
            raise state.deadline.failure()
        if state.average is not None and state.average.due(number):
            state.average.update(learner.model, place)
        loss_sum += loss * batch.total
        right += round(hits)
        count += batch.total
    state.synchronise()
    return Mean(loss_sum / count, right / count)


def step(learner: Learner, batch: Batch, smoothing: float, world: int) -> tuple[float, int]:
    """Do one training step.

    Returns:
        This process's part of the mean loss of the whole step, and how many images of its share
        it got right.
    """
    learner.optimizer.zero_grad(set_to_none=True)
    with learner.precision.autocast():
        scores = learner.forward(batch.images)
        summed = nn.functional.cross_entropy(
            scores, batch.labels, reduction="sum", label_smoothing=smoothing
        )
        loss = summed / batch.total
    # Gradients are averaged over processes, but the parts of the loss are to be added.
    learner.precision.descend(loss * world, learner.optimizer)
    hits = (scores.detach().argmax(1) == batch.labels).sum()
    return float(loss.item()), int(hits.item())


def precise_statistics(state: State, epoch: int) -> None:
    """Compute the batch-norm statistics of the network and its average from fresh images.

    The images are augmented as in training, in steps of the training's size, but in fp32.

    Raises:
        RunFailedError: The time is over.
    """
    recipe = state.spec.recipe
    steps = min(state.feed.steps, max(1, round(recipe.precise_bn_images / recipe.batch_size)))
    late = 0.0

    def batches() -> Iterator[tuple[Tensor, int]]:
        nonlocal late
        for batch in islice(state.feed.epoch(epoch, PRECISE_BN), steps):
            # Nobody may stop alone: each batch is an exchange between all processes.
            [late] = state.team.total([state.late()])
            if late:
                return
            yield batch.images, batch.total

    state.activity.phase("precise_bn")
    models = [state.learner.model] + ([] if state.average is None else [state.average.model])
    PreciseStatistics(models).compute(batches())
    state.synchronise()
    if late:
        raise state.deadline.failure()


def evaluate(state: State, part: str) -> Mean:
    """Score the network that is published on a part of the data, in fp32.

    Args:
        state: The training.
        part: validation or test.

    Raises:
        RunFailedError: The time is over.
    """
    state.activity.phase("eval")
    model = state.published.eval()
    loss_sum, right, count, late = 0.0, 0, 0, 0.0
    with torch.inference_mode():
        for batch in state.feed.evaluate(part):
            late = state.late()
            if late:
                break
            scores = model(batch.images)
            # Without label smoothing: the smoothed loss is for learning, not for comparing.
            loss = nn.functional.cross_entropy(scores, batch.labels, reduction="sum")
            loss_sum += float(loss.item())
            right += int((scores.argmax(1) == batch.labels).sum().item())
            count += batch.total
    loss_sum, hits, images, late = state.team.total([loss_sum, right, count, late])
    if late:
        raise state.deadline.failure()
    return Mean(loss_sum / images, round(hits) / images)
