"""Why a training ends as failed. Imports torch."""

from __future__ import annotations

import math
import time

import torch

from wattproof.units import ns_to_s, s_to_ns

ALLOCATOR_WORDS = ("can't allocate memory", "std::bad_alloc", "cannot allocate memory")
"""How PyTorch's messages say that the host's memory is at its end; it has no error of its own."""

LOADER_WORDS = "dataloader worker"

EXPECTED = (RuntimeError, MemoryError, OSError, EOFError)
"""Errors of the machine, not of this code: they end a run as failed, and the next one begins."""


class RunFailedError(Exception):
    """The run ends here for a reason of its own; the message is the reason."""


def explain(error: Exception) -> str:
    """Say in a few words why a run failed.

    Args:
        error: One of `EXPECTED`, or `RunFailedError`.
    """
    if isinstance(error, RunFailedError):
        return str(error)
    first = (str(error).strip().splitlines() or [""])[0]
    said = str(error).lower()
    if isinstance(error, torch.OutOfMemoryError) or any(words in said for words in ALLOCATOR_WORDS):
        return f"out of memory: {first}"
    if isinstance(error, MemoryError):
        return f"out of memory: {first}" if first else "out of memory"
    if LOADER_WORDS in said:
        return f"a process of the data loader died: {first}"
    if isinstance(error, RuntimeError):
        return f"PyTorch: {first or 'no message'}"
    return f"{type(error).__name__}: {first or 'no message'}"


def must_be_finite(loss: float, epoch: int) -> None:
    """Raise if a training has diverged.

    Raises:
        RunFailedError: The loss is not a number, or infinite.
    """
    if not math.isfinite(loss):
        raise RunFailedError(f"the training loss became {loss} in epoch {epoch}")


class Deadline:
    """The time limit of a run.

    Args:
        limit_s: Seconds from `start`.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._begin_ns: int | None = None

    def start(self, now_ns: int) -> None:
        """Let the time run from an instant (monotonic nanoseconds)."""
        self._begin_ns = now_ns

    def passed(self) -> bool:
        """Whether the time is over; never before `start`."""
        begin_ns = self._begin_ns
        return begin_ns is not None and time.monotonic_ns() - begin_ns > s_to_ns(self._limit_s)

    def since_s(self, now_ns: int) -> float | None:
        """Seconds from `start` to an instant; None before it."""
        return None if self._begin_ns is None else ns_to_s(now_ns - self._begin_ns)

    def failure(self) -> RunFailedError:
        """What to raise when it is over."""
        return RunFailedError(f"the time limit of {self._limit_s:g} s was reached")
