"""Searches in processes of their own: ``python -m wattproof.search.worker JOB RESULT``.

Not a pool of `multiprocessing`: that imports the program which started it again, and a rule's
script would run once more in each process.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def spread(function: Callable[[int], T], numbers: Sequence[int], workers: int) -> list[T]:
    """Call a function for each number, in so many processes.

    Args:
        function: Can be pickled; called with one number.
        numbers: What to call it with.
        workers: Processes.

    Returns:
        The results, in the order of the numbers.

    Raises:
        RuntimeError: A process failed; with what it said.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    shares = [numbers[k::workers] for k in range(min(workers, len(numbers)))]
    with tempfile.TemporaryDirectory(prefix="wattproof-search-") as folder:
        started: list[tuple[Path, subprocess.Popen[str]]] = []
        try:
            for k, share in enumerate(shares):
                job, result = Path(folder, f"{k}.job"), Path(folder, f"{k}.result")
                job.write_bytes(pickle.dumps((function, share)))
                command = [sys.executable, "-m", "wattproof.search.worker", str(job), str(result)]
                process = subprocess.Popen(
                    command, env=environment, stderr=subprocess.PIPE, text=True
                )
                started.append((result, process))
            found: dict[int, T] = {}
            for share, (result, process) in zip(shares, started, strict=True):
                said = process.communicate()[1]
                if process.returncode:
                    raise RuntimeError(f"A process of the search failed:\n{said}")
                found |= zip(share, pickle.loads(result.read_bytes()), strict=True)
        finally:
            for _, process in started:
                if process.poll() is None:
                    process.kill()
                    process.wait()
    return [found[number] for number in numbers]


def main(job: str, result: str) -> None:
    """Do a share of the work; both files are of the process that started this one."""
    function, share = pickle.loads(Path(job).read_bytes())
    done: list[Any] = [function(number) for number in share]
    Path(result).write_bytes(pickle.dumps(done))


if __name__ == "__main__":
    main(*sys.argv[1:])
