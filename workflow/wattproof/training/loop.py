"""One training, from warm-up to test accuracy, with a mark at each edge. Imports torch."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from wattproof.training.activity import Activity
from wattproof.training.augment import Augmentation
from wattproof.training.datasets import Data
from wattproof.training.feed import Batch, Feed, FeedSettings, open_feed
from wattproof.training.marks import MarkWriter
from wattproof.training.regnet import build
from wattproof.training.schedule import kept_epochs, learning_rate
from wattproof.training.setup import make_optimizer, prepare
from wattproof.training.spec import Outcome, TrainSpec
from wattproof.units import ns_to_s, s_to_ns

EVAL_BATCH_SIZE = 128
LABEL_SMOOTHING = 0.1
CROP_PAD_SHARE = 8
"""An image is padded by a share of 1/8 of its side: 4 pixels at 32."""

OnEpoch = Callable[[int, float], None]
"""Called after each epoch with its 0-based number and the validation accuracy."""


class RunFailedError(Exception):
    """The run ends here for a reason of its own; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Mean:
    """Mean loss and accuracy (0 to 1) over images."""

    loss: float
    accuracy: float


def train(
    spec: TrainSpec,
    data: Data,
    marks: MarkWriter,
    activity: Activity,
    *,
    run_id: str,
    slot: int = 0,
    seed: int = 0,
    threads: int = 1,
    device: torch.device | None = None,
    on_epoch: OnEpoch | None = None,
) -> Outcome:
    """Train a network and say how it went.

    One batch is trained and one evaluated on a copy of the network before the mark run_begin, so
    that start-up (libraries, kernels, memory) is outside of all windows. A run that fails leaves
    the epoch it failed in without its end marks, and has its run_end.

    Args:
        spec: What to train and how.
        data: See `datasets.load`.
        marks: Where edges are marked.
        activity: Told what goes on; idle between phases and at the end.
        run_id: Run.
        slot: Slot of the run.
        seed: Of weights, order and augmentation. Equal seeds give equal runs on one machine.
        threads: CPU threads.
        device: Where to train; None = CPU.
        on_epoch: Called after each epoch.

    Returns:
        The outcome: "failed" with a reason if the loss diverged, memory or time ran out, or
        PyTorch could not go on.
    """
    prepare(threads)
    run = _Run(spec, data, marks, activity, run_id, slot, seed, device or torch.device("cpu"))
    reason = ""
    try:
        run.warm_up()
        run.begin()
        for epoch, place in enumerate(kept_epochs(spec.recipe.epochs, spec.shorten)):
            accuracy = run.epoch(epoch, place)
            if on_epoch is not None:
                on_epoch(epoch, accuracy)
        run.test()
    except RunFailedError as error:
        reason = str(error)
    except MemoryError:
        reason = "out of memory"
    except RuntimeError as error:
        reason = _explain(error)
    finally:
        activity.idle()
        run.close()
    return run.end(reason)


def _explain(error: RuntimeError) -> str:
    first = (str(error).strip().splitlines() or ["no message"])[0]
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return f"out of memory: {first}"
    return f"PyTorch: {first}"


class _Run:
    """State of one training."""

    def __init__(
        self,
        spec: TrainSpec,
        data: Data,
        marks: MarkWriter,
        activity: Activity,
        run_id: str,
        slot: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self._spec = spec
        self._recipe = spec.recipe
        self._marks = marks
        self._activity = activity
        self._run_id = run_id
        self._slot = slot
        self._seed = seed
        self._device = device
        self._data = data
        self._feeding = FeedSettings(
            batch_size=self._recipe.batch_size,
            eval_batch_size=EVAL_BATCH_SIZE,
            augmentation=Augmentation(
                pad=spec.network.resolution // CROP_PAD_SHARE,
                flip=data.flip,
                cutout=self._recipe.cutout,
            ),
            seed=seed,
            kind=spec.feed,
            workers=spec.workers,
        )
        self._feed: Feed | None = None
        self._criterion = nn.CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING)
        self._begin_ns: int | None = None
        self._epochs = 0
        self._val_accuracy: float | None = None
        self._test_accuracy: float | None = None

    def warm_up(self) -> None:
        """Put everything in place, and do each kind of step once on a copy."""
        feed = self._feed = open_feed(self._data, self._feeding, self._device)
        self._model = build(self._spec.network, self._seed).to(self._device)
        self._optimizer = make_optimizer(self._model, self._recipe)
        model = copy.deepcopy(self._model)
        optimizer = make_optimizer(model, self._recipe)
        self._activity.phase("train")
        self._step(model, optimizer, feed.warm_up())
        self._activity.phase("eval")
        model.eval()
        with torch.inference_mode():
            model(next(feed.evaluate("validation")).images)
        self._synchronise()
        self._activity.idle()

    def begin(self) -> None:
        """Open the run's window."""
        self._begin_ns = self._mark("run_begin")

    def epoch(self, epoch: int, place: int) -> float:
        """Train and validate one epoch; return the validation accuracy.

        Args:
            epoch: 0-based number of the epoch in this run.
            place: 0-based epoch of the schedule: another one if the training is shortened.
        """
        rate = learning_rate(self._recipe.policy, self._recipe.lr, place, self._recipe.epochs)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._mark("epoch_begin", epoch=epoch)
        self._mark("phase_begin", name="train", epoch=epoch)
        trained = self._train_epoch(epoch)
        self._activity.idle()
        self._mark("phase_end", name="train", epoch=epoch)
        self._mark("phase_begin", name="eval", epoch=epoch)
        validated = self._evaluate("validation")
        self._activity.idle()
        self._mark("phase_end", name="eval", epoch=epoch)
        self._mark(
            "epoch_end",
            epoch=epoch,
            train_loss=trained.loss,
            train_accuracy=trained.accuracy,
            val_loss=validated.loss,
            val_accuracy=validated.accuracy,
            learning_rate=rate,
        )
        self._epochs = epoch + 1
        self._val_accuracy = validated.accuracy
        return validated.accuracy

    def test(self) -> None:
        """Look at the test part, once."""
        self._mark("phase_begin", name="test")
        self._test_accuracy = self._evaluate("test").accuracy
        self._activity.idle()
        self._mark("phase_end", name="test")

    def close(self) -> None:
        """End the processes that feed the training."""
        if self._feed is not None:
            self._feed.close()

    def end(self, reason: str) -> Outcome:
        """Close the run's window and sum up."""
        duration_s = None
        if self._begin_ns is not None:
            end_ns = self._mark("run_end", test_accuracy=self._test_accuracy)
            duration_s = ns_to_s(end_ns - self._begin_ns)
        return Outcome(
            status="failed" if reason else "ok",
            reason=reason,
            epochs=self._epochs,
            duration_s=duration_s,
            val_accuracy=self._val_accuracy,
            test_accuracy=self._test_accuracy,
            complexity=self._spec.network.complexity(),
        )

    def _train_epoch(self, epoch: int) -> Mean:
        self._model.train()
        loss_sum, right, count = 0.0, 0, 0
        assert self._feed is not None
        batches = self._feed.epoch(epoch)
        for _ in range(self._feed.steps):
            self._check_time()
            publish = self._activity.step_due()
            if publish:
                self._activity.phase("input")
            batch = next(batches)
            if publish:
                self._activity.phase("train")
            loss, hits = self._step(self._model, self._optimizer, batch)
            if not math.isfinite(loss):
                raise RunFailedError(f"the training loss became {loss} in epoch {epoch}")
            loss_sum += loss * batch.total
            right += hits
            count += batch.total
        self._synchronise()
        return Mean(loss_sum / count, right / count)

    def _step(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch
    ) -> tuple[float, int]:
        optimizer.zero_grad(set_to_none=True)
        scores = model(batch.images)
        loss = self._criterion(scores, batch.labels)
        loss.backward()
        optimizer.step()
        hits = (scores.detach().argmax(1) == batch.labels).sum()
        return float(loss.item()), int(hits.item())

    def _evaluate(self, part: str) -> Mean:
        self._activity.phase("eval")
        self._model.eval()
        loss_sum, right, count = 0.0, 0, 0
        assert self._feed is not None
        with torch.inference_mode():
            for batch in self._feed.evaluate(part):
                self._check_time()
                scores = self._model(batch.images)
                # Without label smoothing: the smoothed loss is for learning, not for comparing.
                loss = nn.functional.cross_entropy(scores, batch.labels, reduction="sum")
                loss_sum += float(loss.item())
                right += int((scores.argmax(1) == batch.labels).sum().item())
                count += batch.total
        return Mean(loss_sum / count, right / count)

    def _check_time(self) -> None:
        limit_s = self._spec.time_limit_s
        assert self._begin_ns is not None
        if time.monotonic_ns() - self._begin_ns > s_to_ns(limit_s):
            raise RunFailedError(f"the time limit of {limit_s:g} s was reached")

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _mark(
        self,
        kind: str,
        name: str | None = None,
        epoch: int | None = None,
        **metrics: float | None,
    ) -> int:
        return self._marks.mark(
            kind, run_id=self._run_id, name=name, epoch=epoch, slot=self._slot, **metrics
        )
