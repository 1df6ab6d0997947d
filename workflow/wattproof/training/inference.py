"""The measured inference phases: as many images a second as can be, and one at a time.

Imports torch.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from wattproof.training.state import State
from wattproof.units import s_to_ns

THROUGHPUT, LATENCY = "throughput", "latency"

WARM_UP_STEPS = 3
"""Steps before a phase begins: kernels are chosen, memory is there."""

AHEAD = 2
"""Steps that a GPU may be told ahead of time in the throughput phase: it never waits for more."""


def measure(
    state: State, name: str, seconds: float, batch_size: int, mark: Callable[..., object]
) -> None:
    """Let the network that is published classify images for a while, between two marks.

    The images lie on the device; they are computed in fp32 like all evaluation. In the throughput
    phase all processes of a run work; one image at a time is for the first one alone, and the
    others rest.

    Args:
        state: The training, which is over.
        name: THROUGHPUT or LATENCY.
        seconds: How long. The step in which it ends is finished.
        batch_size: Images of a step.
        mark: Called with (kind, name) and, at the end, how many images were classified.

    Raises:
        RunFailedError: The time limit is over.
    """
    works = name == THROUGHPUT or state.team.rank == 0
    count = 0
    state.team.total([0.0])  # all begin together
    if works:
        state.activity.phase(name)
    images = _some_images(state, batch_size)
    pace = _Pace(state, AHEAD if name == THROUGHPUT else 0)
    if works:
        _classify(state, images, pace, steps=WARM_UP_STEPS)
    state.team.total([0.0])
    mark("phase_begin", name)
    if works:
        end_ns = time.monotonic_ns() + s_to_ns(seconds)
        count = _classify(state, images, pace, end_ns=end_ns)
        state.activity.idle()
    [everything, late] = state.team.total([count, state.late()])
    mark("phase_end", name, images=round(everything))
    if late:
        raise state.deadline.failure()


def _classify(
    state: State, images: Tensor, pace: _Pace, steps: int | None = None, end_ns: int = 0
) -> int:
    """Classify until the end, or so many steps; return how many images were done."""
    model = state.published.eval()
    done = 0
    with torch.inference_mode():
        while done < steps if steps is not None else not done or time.monotonic_ns() < end_ns:
            if state.late():
                break
            model(images).argmax(1)
            pace.step()
            done += 1
        pace.rest()
    return done * len(images)


def _some_images(state: State, count: int) -> Tensor:
    some = state.feed.warm_up().images
    return some.repeat(math.ceil(count / len(some)), 1, 1, 1)[:count].contiguous()


class _Pace:
    """Keeps a GPU from running far behind the steps that it is told; a CPU never does."""

    def __init__(self, state: State, ahead: int) -> None:
        self._state = state
        self._ahead = ahead
        self._events: deque[torch.cuda.Event] = deque()

    def step(self) -> None:
        if self._state.device.type == "cuda":
            event = torch.cuda.Event()
            event.record()
            self._events.append(event)
            while len(self._events) > self._ahead:
                self._events.popleft().synchronize()

    def rest(self) -> None:
        self._events.clear()
        self._state.synchronise()
