"""One training, from warm-up to test and inference, with a mark at each edge. Imports torch."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch

from wattproof.training import epoch as parts
from wattproof.training import inference
from wattproof.training.activity import Activity
from wattproof.training.datasets import Data
from wattproof.training.failures import EXPECTED, Deadline, RunFailedError, explain
from wattproof.training.schedule import kept_epochs, learning_rate
from wattproof.training.setup import prepare
from wattproof.training.spec import Outcome, TrainSpec
from wattproof.training.state import State, new_state, throwaway
from wattproof.training.team import Team

OnEpoch = Callable[[int, float], None]
"""Called after each epoch with its 0-based number and the validation accuracy."""

Load = Callable[[], Data]
"""Loads the data set."""


class Marks(Protocol):
    """Where edges are marked: `marks.MarkWriter`, or nowhere."""

    def mark(
        self,
        kind: str,
        run_id: str | None = None,
        name: str | None = None,
        epoch: int | None = None,
        slot: int | None = None,
        **metrics: float | None,
    ) -> int:
        """Write one mark, stamped now; return the monotonic stamp in nanoseconds."""
        ...


class Training:
    """One training of this process.

    Args:
        spec: What to train and how.
        marks: Where edges are marked.
        activity: Told what goes on; idle between phases and at the end.
        run_id: Run.
        slot: Slot of the run in marks; None for a run on several.
        seed: Of weights, order and augmentation.
        threads: CPU threads.
        device: Where to train.
        team: The processes of the run.
    """

    def __init__(
        self,
        spec: TrainSpec,
        marks: Marks,
        activity: Activity,
        *,
        run_id: str,
        slot: int | None,
        seed: int,
        threads: int,
        device: torch.device,
        team: Team,
    ) -> None:
        self._spec = spec
        self._recipe = spec.recipe
        self._marks = marks
        self._activity = activity
        self._run_id = run_id
        self._slot = slot
        self._seed = seed
        self._threads = threads
        self._device = device
        self._team = team
        self._deadline = Deadline(spec.time_limit_s)
        self._duration_s: float | None = None
        self._begun = self._over = False
        self._epochs = 0
        self._val_accuracy: float | None = None
        self._test_accuracy: float | None = None

    def go(self, data: Data, on_epoch: OnEpoch | None = None) -> None:
        """Do all of it.

        Raises:
            RunFailedError: The run ends for a reason of its own.
            RuntimeError, MemoryError, OSError, EOFError: The machine could not go on.
        """
        prepare(self._threads, self._recipe.deterministic)
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)
        state = new_state(
            self._spec,
            data,
            self._activity,
            self._deadline,
            self._seed,
            self._device,
            self._team,
        )
        try:
            self._warm_up(state)
            self._deadline.start(self._mark("run_begin"))
            self._begun = True
            for epoch, place in enumerate(kept_epochs(self._recipe.epochs, self._spec.shorten)):
                accuracy = self._epoch(state, epoch, place)
                if on_epoch is not None:
                    on_epoch(epoch, accuracy)
            self._test(state)
            self._end()
            self._infer(state)
        finally:
            self._activity.idle()
            state.feed.close()

    def conclude(self, reason: str) -> Outcome:
        """Close the run's window, if that is still to do, and sum up.

        Args:
            reason: Why the run failed; empty if it did not.
        """
        self._activity.idle()
        self._end()
        return Outcome(
            status="failed" if reason else "ok",
            reason=reason,
            epochs=self._epochs,
            duration_s=self._duration_s,
            val_accuracy=self._val_accuracy,
            test_accuracy=self._test_accuracy,
            complexity=self._spec.network.complexity(),
        )

    def _warm_up(self, state: State) -> None:
        """Do each kind of step once on a copy, outside of all windows."""
        copy = throwaway(state)
        self._activity.phase("train")
        parts.step(copy, state.feed.warm_up(), self._recipe.label_smoothing, self._team.world)
        self._activity.phase("eval")
        copy.model.eval()
        with torch.inference_mode():
            for batch in state.feed.evaluate("validation"):
                copy.model(batch.images)
                break
        state.synchronise()
        del copy
        # What was freed is the device's again: a run's memory is that of the run alone.
        gc.collect()
        self._activity.idle()
        self._team.total([0.0])

    def _epoch(self, state: State, epoch: int, place: int) -> float:
        """Train and validate one epoch; return the validation accuracy.

        Args:
            state: The training.
            epoch: 0-based number of the epoch in this run.
            place: 0-based epoch of the schedule: another one if the training is shortened.
        """
        recipe = self._recipe
        rate = learning_rate(recipe.policy, recipe.lr, place, recipe.epochs, recipe.warmup_epochs)
        for group in state.learner.optimizer.param_groups:
            group["lr"] = rate
        self._mark("epoch_begin", epoch=epoch)
        with self._phase("train", epoch):
            trained = parts.train(state, epoch, place)
        if recipe.precise_bn_images:
            with self._phase("precise_bn", epoch):
                parts.precise_statistics(state, epoch)
        with self._phase("eval", epoch):
            validated = parts.evaluate(state, "validation")
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

    def _test(self, state: State) -> None:
        """Look at the test part, once."""
        with self._phase("test"):
            self._test_accuracy = parts.evaluate(state, "test").accuracy

    def _infer(self, state: State) -> None:
        """Measure inference, after the run's window: its energy is no energy of the training."""
        wanted = self._recipe.inference
        if wanted.seconds:
            size = wanted.batch_size
            inference.measure(state, inference.THROUGHPUT, wanted.seconds, size, self._bare_mark)
        if wanted.latency_seconds:
            inference.measure(state, inference.LATENCY, wanted.latency_seconds, 1, self._bare_mark)

    def _end(self) -> None:
        if self._begun and not self._over:
            self._over = True
            end_ns = self._mark("run_end", test_accuracy=self._test_accuracy)
            self._duration_s = self._deadline.since_s(end_ns)

    @contextmanager
    def _phase(self, name: str, epoch: int | None = None) -> Iterator[None]:
        """Mark a phase; one that fails stays without its end."""
        self._mark("phase_begin", name=name, epoch=epoch)
        yield
        self._activity.idle()
        self._mark("phase_end", name=name, epoch=epoch)

    def _bare_mark(self, kind: str, name: str, **more: int) -> int:
        return self._mark(kind, name=name, **more)

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


def attempt(training: Training, load: Load, on_epoch: OnEpoch | None = None) -> str:
    """Load the data and train; return why that failed, or nothing if it did not.

    Args:
        training: To be done.
        load: Loads the data.
        on_epoch: Called after each epoch.
    """
    try:
        training.go(load(), on_epoch)
    except (RunFailedError, *EXPECTED) as error:
        return explain(error)
    return ""


def train(
    spec: TrainSpec,
    load: Data | Load,
    marks: Marks,
    activity: Activity,
    *,
    run_id: str,
    slot: int | None = 0,
    seed: int = 0,
    threads: int = 1,
    device: torch.device | None = None,
    on_epoch: OnEpoch | None = None,
    team: Team | None = None,
) -> Outcome:
    """Train a network and say how it went.

    One batch is trained and one evaluated on a copy of the network before the mark run_begin, so
    that start-up (libraries, kernels, memory) is outside of all windows. A run that fails leaves
    the epoch it failed in without its end marks, and has its run_end.

    Args:
        spec: What to train and how.
        load: See `datasets.load`: the data, or what loads them; that can end the run as failed.
        marks: Where edges are marked.
        activity: Told what goes on; idle between phases and at the end.
        run_id: Run.
        slot: Slot of the run; None for a run on several.
        seed: Of weights, order and augmentation. Equal seeds give equal runs on one machine.
        threads: CPU threads.
        device: Where to train; None = CPU.
        on_epoch: Called after each epoch.
        team: The processes of the run; None = this one alone.

    Returns:
        The outcome: "failed" with a reason if the loss diverged, memory or time ran out, a
        process died that the run needs, or PyTorch could not go on.
    """
    training = Training(
        spec,
        marks,
        activity,
        run_id=run_id,
        slot=slot,
        seed=seed,
        threads=threads,
        device=device or torch.device("cpu"),
        team=team or Team(),
    )
    reason = attempt(training, load if callable(load) else lambda: load, on_epoch)
    return training.conclude(reason)
