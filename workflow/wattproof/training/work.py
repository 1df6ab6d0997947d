"""Real work for calibration loads: a sieve, memory traffic with arithmetic, matrix products."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from math import isqrt
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Self

from wattproof.errors import WattproofError
from wattproof.training.lifetime import end_with_parent
from wattproof.units import NS_PER_S, ns_to_s

Quantum = Callable[[], None]
"""A few milliseconds of work."""

Timetable = Sequence[tuple[int, float]]
"""(end in monotonic nanoseconds, level 0 to 1) of each step, one after the other."""

LIGHT = 0.1
"""On the virtual node the worker is busy for this share of a step's level."""

SIEVE_LIMIT = 500_000
STRESS_BYTES = 16 * 1024 * 1024
"""Each of the arrays of `stress`: three of them exceed a core's share of any cache."""

MATRIX_SIDE = 4096
DUTY_PERIOD_NS = NS_PER_S // 10
READY_TIMEOUT_S = 30.0


def count_primes(limit: int) -> int:
    """Count the primes below `limit` with the sieve of Eratosthenes."""
    if limit <= 2:
        return 0
    sieve = bytearray([1]) * limit
    sieve[:2] = b"\0\0"
    for number in range(2, isqrt(limit - 1) + 1):
        if sieve[number]:
            first = number * number
            sieve[first::number] = bytes(len(range(first, limit, number)))
    return sum(sieve)


def _prime(_worker: int) -> Quantum:
    def quantum() -> None:
        count_primes(SIEVE_LIMIT)

    return quantum


def _stress(_worker: int) -> Quantum:
    import numpy as np

    # No BLAS here: its own threads would work outside the share that is meant.
    source = np.linspace(0.0, 1.0, STRESS_BYTES // 8)
    factor = np.full_like(source, 0.5)
    target = np.empty_like(source)
    cached = np.linspace(0.0, 1.0, 4096)

    def quantum() -> None:
        np.multiply(source, factor, out=target)
        np.add(target, source, out=target)
        value = cached
        for _ in range(100):
            value = value * cached + 0.25
        target[: len(value)] = value

    return quantum


def _cuda(worker: int) -> Quantum:
    """Each worker has a GPU of its own."""
    import torch

    device = torch.device("cuda", worker)
    left = torch.randn(MATRIX_SIDE, MATRIX_SIDE, device=device, dtype=torch.float16)
    right = torch.randn_like(left)

    def quantum() -> None:
        torch.mm(left, right)
        torch.cuda.synchronize(device)

    return quantum


_WORK: dict[str, Callable[[int], Quantum]] = {"prime": _prime, "stress": _stress, "cuda": _cuda}


def keep_busy(end_ns: int, duty: float, quantum: Quantum) -> None:
    """Work until an instant, resting between for a share of 1 − `duty` of each 0.1 s.

    Args:
        end_ns: Monotonic nanoseconds; kept to within one quantum of work.
        duty: Share of the time spent working, 0 to 1.
        quantum: The work.
    """
    period_ns = time.monotonic_ns()
    while (now_ns := time.monotonic_ns()) < end_ns:
        period_ns = max(period_ns, now_ns - DUTY_PERIOD_NS)
        busy_until_ns = min(end_ns, period_ns + round(duty * DUTY_PERIOD_NS))
        while duty > 0 and time.monotonic_ns() < busy_until_ns:
            quantum()
        period_ns += DUTY_PERIOD_NS
        time.sleep(max(0.0, ns_to_s(min(end_ns, period_ns) - time.monotonic_ns())))


class Crew:
    """Those who do the work of a load: this process and one more for each thread or GPU.

    Use as a context manager: processes are ready when it is entered, gone when it is left.

    Args:
        work: prime, stress or cuda; None for a load that only waits.
        workers: Processes at work, this one included.
        virtual: Work lightly: on the virtual node only the published levels count.
    """

    def __init__(self, work: str | None, workers: int, virtual: bool) -> None:
        self._work = work
        self._helpers = 0 if work is None else workers - 1
        self._scale = LIGHT if virtual else 1.0
        self._quantum: Quantum | None = None
        self._processes: list[tuple[SpawnProcess, Connection]] = []

    def __enter__(self) -> Self:
        if self._work is None:
            return self
        context = multiprocessing.get_context("spawn")
        try:
            for worker in range(1, self._helpers + 1):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=_help, args=(theirs, self._work, worker), daemon=True
                )
                process.start()
                theirs.close()
                self._processes.append((process, ours))
            self._quantum = _WORK[self._work](0)
            self._quantum()
            self._await_ready()
        except BaseException:
            self._dismiss()
            raise
        return self

    def _await_ready(self) -> None:
        for _, pipe in self._processes:
            try:
                ready = pipe.poll(READY_TIMEOUT_S) and pipe.recv()
            except EOFError:
                ready = False
            if not ready:
                raise WattproofError(
                    f"A worker process of load '{self._work}' did not start; check the limits on "
                    "processes and memory of this job."
                )

    def start(self, timetable: Timetable) -> None:
        """Let the other processes begin."""
        for _, pipe in self._processes:
            pipe.send(list(timetable))

    def work(self, end_ns: int, level: float) -> None:
        """Do this process's share until `end_ns`."""
        if self._quantum is None or level == 0:
            time.sleep(max(0.0, ns_to_s(end_ns - time.monotonic_ns())))
        else:
            keep_busy(end_ns, level * self._scale, self._quantum)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._dismiss()

    def _dismiss(self) -> None:
        for process, pipe in self._processes:
            process.terminate()
            pipe.close()
        for process, _ in self._processes:
            process.join()
        self._processes.clear()


def _help(pipe: Connection, work: str, worker: int) -> None:
    """Work beside the first process; runs in a process of its own."""
    end_with_parent()
    quantum = _WORK[work](worker)
    quantum()
    pipe.send(True)
    try:
        timetable: Timetable = pipe.recv()
    except EOFError:
        return
    for end_ns, level in timetable:
        keep_busy(end_ns, level, quantum)


def usable_threads() -> int:
    """CPU threads that this process may run on."""
    return len(os.sched_getaffinity(0))
