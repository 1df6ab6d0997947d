"""Time-stamped events of the workload: one JSON line each, appended by several processes."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

from wattproof.errors import WattproofError


def _finite(value: float | None) -> float | None:
    """Unknown is null: JSON has no NaN, and a diverged loss is not a number."""
    return value if value is None or math.isfinite(value) else None


class MarkWriter:
    """Appends marks to a file; safe with several writers on one file of a local file system.

    Each mark is one write of one line to a descriptor opened for appending, so lines of
    different processes never mix, and what was marked survives the death of the process.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            # A killed writer left half a line: end it, or the next mark would be lost with it.
            os.write(self._fd, b"\n")

    def mark(
        self,
        kind: str,
        run_id: str | None = None,
        name: str | None = None,
        epoch: int | None = None,
        slot: int | None = None,
        **metrics: float | None,
    ) -> int:
        """Write one mark, stamped now.

        Args:
            kind: run_begin, epoch_begin, phase_begin, load_begin, or …_end.
            run_id: Run; None outside runs.
            name: train, precise_bn, eval, test, throughput or latency for phases; the kind of
                load for loads.
            epoch: 0-based epoch.
            slot: Slot of the run.
            **metrics: train_loss, val_accuracy … (columns of table ``marks``); a value that is
                not finite is written as null. ``images`` is a whole number.

        Returns:
            The monotonic stamp in nanoseconds.
        """
        mono_ns, wall_ns = time.monotonic_ns(), time.time_ns()
        record: dict[str, Any] = {
            "kind": kind,
            "run_id": run_id,
            "name": name,
            "epoch": epoch,
            "slot": slot,
            "mono_ns": mono_ns,
            "wall_ns": wall_ns,
        }
        record.update({key: _finite(value) for key, value in metrics.items()})
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        written = os.write(self._fd, line)
        if written != len(line):
            raise WattproofError(
                f"Only {written} of {len(line)} bytes of a mark could be written; free some space "
                "on the disk of the results."
            )
        return mono_ns

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class NoMarks:
    """Stands for a `MarkWriter` in processes of a run that do not mark."""

    def mark(self, *_what: object, **_more: object) -> int:
        """Write nothing; return the monotonic stamp in nanoseconds."""
        return time.monotonic_ns()


def read_marks(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read marks in file order.

    A line that a killed writer left unfinished (it lacks its closing brace) is left out.

    Args:
        path: File of a `MarkWriter`.

    Raises:
        WattproofError: The file does not exist, or a finished line is not a mark.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except FileNotFoundError as error:
        raise WattproofError(f"{path} does not exist: no mark was ever written there.") from error
    marks: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"}"):
            continue
        try:
            mark = json.loads(line)
        except ValueError as error:
            raise WattproofError(
                f"{path}, line {number} is not a mark; the file was changed after it was written: "
                "restore it or delete the recording."
            ) from error
        marks.append(mark)
    return marks
