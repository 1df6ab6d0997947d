"""``python -m wattproof.training SPEC.json``: one run in a process of its own.

Exit status: 0 if the run ended, also as failed (its result says why); 78 with one sentence on
standard error, without a result, if something is wrong that the run is not to blame for, as its
spec or a damaged data set; 143 on SIGTERM, without a result: the run is not finished.
Standard output carries one JSON line for each epoch.

A run over several slots (ddp) starts ``… SPEC.json --rank K --port P`` for each further one; such a
process says on its standard output why it failed, with exit status 3.
"""

from __future__ import annotations

import argparse
import os
import sys

from wattproof.errors import WattproofError
from wattproof.training import loads
from wattproof.training.activity import Activity, open_writer
from wattproof.training.firestarter import Firestarter
from wattproof.training.lifetime import EXIT_MISTAKE, end_with_parent, exit_on_sigterm
from wattproof.training.marks import MarkWriter
from wattproof.training.spec import LoadSpec, Outcome, Spec, TrainSpec, read_spec, write_result
from wattproof.training.work import Crew, usable_threads
from wattproof.units import ns_to_s


def _has_cuda(spec: Spec) -> bool:
    if spec.device == "cpu":
        return False
    from wattproof.training.setup import pick_device

    return pick_device(spec.device).type == "cuda"


def _crew(spec: Spec, work: LoadSpec) -> Crew | Firestarter | None:
    """Who plays a load; None if it needs a GPU and there is none."""
    load = work.load
    if load == "idle":
        return Crew(None, 1, virtual=False)
    if spec.activity is not None:
        return Crew("stress" if load == "stress" else "prime", 1, virtual=True)
    if load in ("gpu", "sync") and _has_cuda(spec):
        # On the virtual node one process publishes for all its slots; here each GPU has its own.
        return Crew("cuda", len(spec.slots), virtual=False)
    if load == "gpu":
        return None
    if load == "stress" and work.program == "firestarter":
        return Firestarter(work.seconds)
    # Without a GPU the pattern is played on the CPU: a meter sees it all the same.
    return Crew("prime" if load == "prime" else "stress", usable_threads(), virtual=False)


def _play(spec: Spec, work: LoadSpec, marks: MarkWriter) -> Outcome:
    crew = _crew(spec, work)
    if crew is None:
        return Outcome("failed", "load 'gpu' needs a CUDA device and there is none")
    writer = open_writer(spec.activity)
    activities = [Activity(writer, slot) for slot in spec.slots]
    steps = loads.programme(work.load, work.seconds, spec.seed)
    with crew:
        begin_ns = marks.mark("load_begin", spec.run_id, work.load, slot=spec.slot)
        loads.play(work.load, steps, crew, activities)
        end_ns = marks.mark("load_end", spec.run_id, work.load, slot=spec.slot)
    return Outcome("ok", duration_s=ns_to_s(end_ns - begin_ns))


def main(arguments: list[str]) -> int:
    """Do one run; see the module's docstring."""
    exit_on_sigterm()
    end_with_parent()
    try:
        if not arguments:
            raise WattproofError("Give one argument: python -m wattproof.training SPEC.json.")
        options = _options(arguments)
        spec = read_spec(options.spec)
        if isinstance(spec.work, TrainSpec):
            from wattproof.training import run

            if options.rank:
                return run.other_process(spec, spec.work, options.rank, options.port)
            run.first_process(spec, spec.work, options.spec)
        else:
            write_result(spec, _play(spec, spec.work, MarkWriter(spec.marks)))
    except WattproofError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_MISTAKE
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m wattproof.training")
    parser.add_argument("spec", help="JSON file that says what the run is")
    parser.add_argument("--rank", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    # Libraries read these when they are loaded; PyTorch's threads are set by the loop.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
