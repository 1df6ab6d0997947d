"""``python -m wattproof.training SPEC.json``: one run in a process of its own.

Exit status: 0 if the run ended, also as failed (its result says why); 1 with one sentence on
standard error if the spec is wrong; 143 on SIGTERM, without a result: the run is not finished.
Standard output carries one JSON line for each epoch.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys

from wattproof.errors import WattproofError
from wattproof.training import datasets, loads
from wattproof.training.activity import Activity, open_writer, virtual_loads
from wattproof.training.lifetime import end_with_parent, exit_on_sigterm
from wattproof.training.marks import MarkWriter
from wattproof.training.schedule import kept_epochs
from wattproof.training.spec import LoadSpec, Outcome, Spec, TrainSpec, read_spec, write_result
from wattproof.training.work import Crew, usable_threads
from wattproof.units import ns_to_s


def _say(event: dict[str, object]) -> None:
    # Who listens may be gone; that must not end the training.
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


def _train(spec: Spec, work: TrainSpec, marks: MarkWriter) -> Outcome:
    from wattproof.training import loop
    from wattproof.training.setup import pick_device

    device = pick_device(spec.device)
    data = datasets.load(
        work.dataset,
        work.data_dir,
        work.network.resolution,
        work.train_images,
        cache_dir=work.cache_dir,
    )
    writer = open_writer(spec.activity)
    levels = None
    if writer is not None:
        levels = virtual_loads(
            work.network.complexity(),
            work.recipe.batch_size,
            loop.EVAL_BATCH_SIZE,
            work.network.resolution,
        )

    def on_epoch(epoch: int, val_accuracy: float) -> None:
        _say(
            {
                "event": "epoch",
                "run_id": spec.run_id,
                "epoch": epoch,
                "of": len(kept_epochs(work.recipe.epochs, work.shorten)),
                "val_accuracy": val_accuracy,
            }
        )

    return loop.train(
        work,
        data,
        marks,
        Activity(writer, spec.slot, levels),
        run_id=spec.run_id,
        slot=spec.slot,
        seed=spec.seed,
        threads=spec.threads,
        device=device,
        on_epoch=on_epoch,
    )


def _has_cuda(spec: Spec) -> bool:
    if spec.device == "cpu":
        return False
    from wattproof.training.setup import pick_device

    return pick_device(spec.device).type == "cuda"


def _crew(spec: Spec, load: str) -> Crew | None:
    """Who plays a load; None if it needs a GPU and there is none."""
    if load == "idle":
        return Crew(None, 1, virtual=False)
    if spec.activity is not None:
        return Crew("stress" if load == "stress" else "prime", 1, virtual=True)
    if load in ("gpu", "sync") and _has_cuda(spec):
        return Crew("cuda", 1, virtual=False)
    if load == "gpu":
        return None
    # Without a GPU the pattern is played on the CPU: a meter sees it all the same.
    return Crew("prime" if load == "prime" else "stress", usable_threads(), virtual=False)


def _play(spec: Spec, work: LoadSpec, marks: MarkWriter) -> Outcome:
    crew = _crew(spec, work.load)
    if crew is None:
        return Outcome("failed", "load 'gpu' needs a CUDA device and there is none")
    activity = Activity(open_writer(spec.activity), spec.slot)
    steps = loads.programme(work.load, work.seconds, spec.seed)
    with crew:
        begin_ns = marks.mark("load_begin", spec.run_id, work.load, slot=spec.slot)
        loads.play(work.load, steps, crew, activity)
        end_ns = marks.mark("load_end", spec.run_id, work.load, slot=spec.slot)
    return Outcome("ok", duration_s=ns_to_s(end_ns - begin_ns))


def main(arguments: list[str]) -> int:
    """Do one run; see the module's docstring."""
    exit_on_sigterm()
    end_with_parent()
    try:
        if len(arguments) != 1:
            raise WattproofError("Give one argument: python -m wattproof.training SPEC.json.")
        spec = read_spec(arguments[0])
        marks = MarkWriter(spec.marks)
        if isinstance(spec.work, TrainSpec):
            outcome = _train(spec, spec.work, marks)
        else:
            outcome = _play(spec, spec.work, marks)
        write_result(spec, outcome)
    except WattproofError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    # Libraries read these when they are loaded; PyTorch's threads are set by the loop.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
