"""Marks that a measured command writes itself, so that its parts get energies of their own.

Outside of ``wattproof record`` everything here does nothing, so it may stay in a program.

Example:
    >>> from wattproof.measure import inside
    >>> for number in range(2):
    ...     with inside.epoch(number):
    ...         with inside.phase("train", number):
    ...             pass
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from wattproof.errors import WattproofError
from wattproof.training.marks import MarkWriter

MARKS = "WATTPROOF_MARKS"
"""Environment variable: the file that marks go to."""
RUN_ID = "WATTPROOF_RUN_ID"
"""Environment variable: the run that the command is."""


def mark(
    kind: str, name: str | None = None, epoch: int | None = None, **metrics: float | None
) -> None:
    """Write one mark, stamped now.

    Args:
        kind: ``epoch_begin``, ``epoch_end``, ``phase_begin``, ``phase_end``, ``load_begin`` or
            ``load_end``.
        name: Name of a phase or load.
        epoch: Number of the epoch.
        **metrics: ``train_loss``, ``val_accuracy`` … (columns of table ``marks``).
    """
    path = os.environ.get(MARKS)
    if not path:
        return
    # A mark that cannot be written (a full disk) must not end a training; it is missed later.
    with contextlib.suppress(OSError, WattproofError), contextlib.closing(MarkWriter(path)) as file:
        file.mark(kind, os.environ.get(RUN_ID), name, epoch, None, **metrics)


@contextlib.contextmanager
def epoch(number: int) -> Iterator[None]:
    """Mark begin and end of an epoch."""
    mark("epoch_begin", epoch=number)
    try:
        yield
    finally:
        mark("epoch_end", epoch=number)


@contextlib.contextmanager
def phase(name: str, epoch: int | None = None) -> Iterator[None]:
    """Mark begin and end of a part: ``train``, ``eval``, or any other name."""
    mark("phase_begin", name, epoch)
    try:
        yield
    finally:
        mark("phase_end", name, epoch)
