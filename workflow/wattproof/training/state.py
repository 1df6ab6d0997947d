"""What a training holds while it goes on. Imports torch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wattproof.training.activity import Activity
from wattproof.training.augment import Augmentation
from wattproof.training.datasets import Data
from wattproof.training.ema import Average, alpha, updates
from wattproof.training.failures import Deadline
from wattproof.training.feed import Feed, open_feed
from wattproof.training.feed_plan import FeedSettings
from wattproof.training.precision import Precision
from wattproof.training.regnet import build
from wattproof.training.schedule import kept_epochs
from wattproof.training.setup import make_optimizer
from wattproof.training.spec import TrainSpec
from wattproof.training.team import Team

CROP_PAD_SHARE = 8
"""An image is padded by a share of 1/8 of its side: 4 pixels at 32."""


@dataclass(frozen=True, slots=True)
class Mean:
    """Mean loss and accuracy (0 to 1) over images."""

    loss: float
    accuracy: float


@dataclass(slots=True)
class Learner:
    """A network with what trains it.

    Attributes:
        model: The network.
        forward: What training steps call: the network, or what averages its gradients.
        optimizer: Of its parameters.
        precision: Of its training steps.
    """

    model: nn.Module
    forward: Callable[[Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    precision: Precision


@dataclass(slots=True)
class State:
    """A training at work.

    Attributes:
        spec: What is trained and how.
        team: The processes that share it.
        device: Where this process computes.
        activity: Told what goes on.
        deadline: Time limit.
        feed: Source of batches.
        learner: The network that is trained.
        average: Its average; None if there is none.
    """

    spec: TrainSpec
    team: Team
    device: torch.device
    activity: Activity
    deadline: Deadline
    feed: Feed
    learner: Learner
    average: Average | None

    @property
    def published(self) -> nn.Module:
        """The network whose accuracies are reported: the average if there is one."""
        return self.learner.model if self.average is None else self.average.model

    def late(self) -> float:
        """1 if the time is over for this process, else 0: to be summed over all."""
        return float(self.deadline.passed())

    def synchronise(self) -> None:
        """Wait until the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def feed_settings(spec: TrainSpec, data: Data, seed: int, team: Team) -> FeedSettings:
    """Return how a training is fed."""
    recipe = spec.recipe
    augmentation = Augmentation(
        pad=spec.network.resolution // CROP_PAD_SHARE, flip=data.flip, cutout=recipe.cutout
    )
    return FeedSettings(
        batch_size=recipe.batch_size,
        eval_batch_size=recipe.eval_batch_size,
        augmentation=augmentation,
        seed=seed,
        drop_last=recipe.drop_last,
        rank=team.rank,
        world=team.world,
        kind=spec.feed,
        workers=spec.workers,
    )


def new_state(
    spec: TrainSpec,
    data: Data,
    activity: Activity,
    deadline: Deadline,
    seed: int,
    device: torch.device,
    team: Team,
) -> State:
    """Build network, optimizer and feed of a training."""
    feed = open_feed(data, feed_settings(spec, data, seed, team), device)
    model = team.prepare(build(spec.network, seed).to(device))
    average = _average(model, spec, feed.steps) if spec.recipe.ema else None
    learner = _learner(model, spec, device, team)
    return State(spec, team, device, activity, deadline, feed, learner, average)


def _average(model: nn.Module, spec: TrainSpec, steps: int) -> Average:
    recipe = spec.recipe
    places = kept_epochs(recipe.epochs, spec.shorten)
    averaged = sum(place >= recipe.warmup_epochs for place in places)
    weight = alpha(recipe.batch_size, recipe.epochs, averaged * updates(steps))
    return Average(model, weight, recipe.warmup_epochs, steps)


def throwaway(state: State) -> Learner:
    """Return a copy of the learner, with an optimizer of its own: for warm-up."""
    model = copy.deepcopy(state.learner.model)
    return _learner(model, state.spec, state.device, state.team)


def _learner(model: nn.Module, spec: TrainSpec, device: torch.device, team: Team) -> Learner:
    optimizer = make_optimizer(model, spec.recipe)
    return Learner(model, team.wrap(model), optimizer, Precision(spec.recipe.precision, device))
