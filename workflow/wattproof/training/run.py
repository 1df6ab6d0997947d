"""A training run in this process, or in this one and others that it starts. Imports torch."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time

from wattproof.training import datasets, loop
from wattproof.training.activity import Activity, open_writer, virtual_loads
from wattproof.training.datasets import Data
from wattproof.training.marks import MarkWriter, NoMarks
from wattproof.training.ranks import (
    EXIT_FAILED,
    Ranks,
    find_meeting_point,
    meeting_point,
    say_reason,
)
from wattproof.training.schedule import kept_epochs
from wattproof.training.setup import pick_device
from wattproof.training.spec import Spec, TrainSpec, write_result
from wattproof.training.team import Team


def first_process(spec: Spec, work: TrainSpec, path: str) -> None:
    """Train, with other processes if the run has several slots, and write the result.

    Args:
        spec: The run.
        work: What is trained.
        path: File of the spec, which the other processes read, too.
    """
    team = Team(0, len(spec.slots))
    pick_device(spec.device, team.world - 1)  # is there one for each?
    training = _training(spec, work, MarkWriter(spec.marks), team)
    concluding = threading.Lock()
    ranks: Ranks | None = None

    def finish(reason: str) -> None:
        write_result(spec, training.conclude(reason))

    def stuck(reason: str) -> None:
        # The main thread waits inside PyTorch for a process that is gone: nothing wakes it.
        if concluding.acquire(blocking=False):
            finish(reason)
            assert ranks is not None
            ranks.end()
            _idle(spec)
            os._exit(0)

    with contextlib.ExitStack() as stack:
        stack.callback(_idle, spec)

        def load() -> Data:
            nonlocal ranks
            data = _data(work)
            if team.world > 1:
                store = meeting_point(team.world)
                ranks = stack.enter_context(Ranks(path, spec.slots, store.port, stuck))
                stack.callback(team.leave)
                team.join(store, pick_device(spec.device), _waits_s(work))
            return data

        reason = loop.attempt(training, load, _reporter(spec, work))
        if reason and ranks is not None:
            reason = ranks.cause(reason)
        if not concluding.acquire(blocking=False):
            time.sleep(60)  # the other thread is about to end this process
        finish(reason)


def other_process(spec: Spec, work: TrainSpec, rank: int, port: int) -> int:
    """Train as one of the further processes of a run; return the exit status."""
    # There is nothing to clean up, and it may be inside PyTorch, where no handler would run.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    team = Team(rank, len(spec.slots))
    training = _training(spec, work, NoMarks(), team)

    def load() -> Data:
        data = _data(work)
        store = find_meeting_point(port, team.world)
        team.join(store, pick_device(spec.device, rank), _waits_s(work))
        return data

    reason = loop.attempt(training, load)
    if reason:
        say_reason(reason)
        # Without waiting for the others, as leaving the team in order would.
        return EXIT_FAILED
    team.leave()
    return 0


def _training(spec: Spec, work: TrainSpec, marks: loop.Marks, team: Team) -> loop.Training:
    writer = open_writer(spec.activity)
    levels = None
    if writer is not None:
        levels = virtual_loads(work.network, work.recipe, str(spec.activity), work.feed, team.world)
    activity = Activity(writer, spec.slots[team.rank], levels, host=team.rank == 0)
    return loop.Training(
        work,
        marks,
        activity,
        run_id=spec.run_id,
        slot=spec.slot,
        seed=spec.seed,
        threads=spec.threads,
        device=pick_device(spec.device, team.rank),
        team=team,
    )


def _data(work: TrainSpec) -> Data:
    return datasets.load(
        work.dataset,
        work.data_dir,
        work.network.resolution,
        work.train_images,
        cache_dir=work.cache_dir,
    )


def _waits_s(work: TrainSpec) -> float:
    """How long processes wait on purpose: while the first one infers alone."""
    return work.recipe.inference.latency_seconds


def _idle(spec: Spec) -> None:
    """Say for processes that were ended what they could not say: their slots are idle."""
    writer = open_writer(spec.activity)
    if writer is not None:
        for slot in spec.slots:
            writer.publish(slot, kind="idle")


def _reporter(spec: Spec, work: TrainSpec) -> loop.OnEpoch:
    """Return what tells the recording how far the run is: one JSON line an epoch."""
    epochs = len(kept_epochs(work.recipe.epochs, work.shorten))

    def on_epoch(epoch: int, val_accuracy: float) -> None:
        event = {
            "event": "epoch",
            "run_id": spec.run_id,
            "epoch": epoch,
            "of": epochs,
            "val_accuracy": val_accuracy,
        }
        # Who listens may be gone; that must not end the training.
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()

    return on_epoch
