"""wattproof: measure the energy of machine-learning runs honestly, prove it, publish it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Any

    from wattproof.benchmark.api import Benchmark

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


def load(
    path: str | os.PathLike[str],
    kind: str = "surrogate",
    energy: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Benchmark:
    """Load a published benchmark and verify every byte of it.

    Needs the light core only: neither torch nor snakemake (but kind ``live``, which trains).

    Args:
        path: Archive (``.wattproof.zip``) or folder of the benchmark, e.g.
            ``results/demo/benchmark``.
        kind: Who answers. ``surrogate``: the published models. ``table``: the measured runs alone;
            what was not trained has no answer. ``live``: a training here, by the campaign's own
            recipe and instruments.
        energy: Whose energy is answered: ``node``, ``gpu``, ``smi`` (see `Benchmark.energies`);
            None for the calibrated one.
        folder: Where kind ``live`` trains and keeps its trainings; None for a temporary one.
        settings: Keys of the campaign that are other ones here, for kind ``live``, e.g.
            ``{"training": {"data_dir": "/data"}}``.

    Raises:
        WattproofError: It is not a benchmark, a file is missing or changed, it was written by a
            newer wattproof, or it cannot answer that kind or energy.

    Example:
        >>> bench = wattproof.load("results/demo/benchmark")  # doctest: +SKIP
        >>> print(bench.query(bench.sample(seed=0)))  # doctest: +SKIP
    """
    from wattproof.benchmark.api import Benchmark

    return Benchmark(path, kind, energy, folder, settings)
