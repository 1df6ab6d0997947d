"""wattproof: measure the energy of machine-learning runs honestly, prove it, publish it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from wattproof.benchmark.api import Benchmark

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


def load(path: str | os.PathLike[str]) -> Benchmark:
    """Load a published benchmark.

    Needs the light core only: neither torch nor snakemake.

    Args:
        path: Folder of the benchmark, e.g. ``results/demo/benchmark``.

    Raises:
        WattproofError: It is not a benchmark, a file is missing or changed, or it was written by
            a newer wattproof.

    Example:
        >>> bench = wattproof.load("results/demo/benchmark")  # doctest: +SKIP
        >>> print(bench.query(bench.sample(seed=0)))  # doctest: +SKIP
    """
    from wattproof.benchmark.api import Benchmark

    return Benchmark(path)
