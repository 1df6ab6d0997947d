"""A published benchmark as searches open it, in each process anew; what faulty sources report.

A faulty source is not taken from a surrogate of it. nvidia-smi, for one, tells three trainings of
four rightly and loses half of the energy of the others: a surrogate would learn something between,
and its draws the width of the usual training. So a report is the calibrated energy of the training
times the *ratio that was measured* in a run of the campaign, one of those with about its power.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import wattproof
from wattproof import space as spaces
from wattproof.benchmark.api import Benchmark
from wattproof.errors import WattproofError
from wattproof.search.arena import Reporter
from wattproof.search.atlas import Floats, identity
from wattproof.search.demonstration import Settings

ALIKE = 50
"""Measured runs of about the same power, among which a ratio is drawn."""

FEWEST = 20
"""Measured runs below which a source is left out."""

SMI = "smi"


@dataclass(frozen=True)
class Published:
    """Opens a benchmark and the sources that a search may believe in instead.

    Attributes:
        path: Folder or archive of the benchmark.
        energy: The calibrated source.
        against: The others.
    """

    path: Path
    energy: str | None = None
    against: tuple[str, ...] = ()

    def __call__(self) -> tuple[Any, Benchmark, Mapping[str, Reporter]]:
        """Return the search space, the benchmark and the other sources."""
        bench = self.bench
        runs = bench.dataset
        reporters = {name: Ratios.learn(runs, self.energy, name) for name in self.against}
        return spaces.get(str(bench.space.name)), bench, reporters

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process without the opened benchmark."""
        return Published, (self.path, self.energy, self.against)

    @cached_property
    def bench(self) -> Benchmark:
        """The benchmark by the calibrated source."""
        return wattproof.load(self.path, energy=self.energy)

    def limit(self, settings: Settings) -> tuple[Published, Settings, list[str]]:
        """Fit settings to what the benchmark knows.

        Returns:
            What to open, the settings that can be run, and in words what was left out.

        Raises:
            WattproofError: The calibrated source is not there.
        """
        known = self.bench.energies
        if settings.energy not in known or settings.energy == SMI:
            raise WattproofError(
                f"{self.path} has no calibrated energies by source '{settings.energy}', so no "
                "search can be scored by it; set 'search.energy' to "
                f"{' or '.join(name for name in known if name != SMI)}."
            )
        runs, against, missing = self.bench.dataset, [], []
        for name in settings.against:
            try:
                Ratios.learn(runs, settings.energy, name)
                against.append(name)
            except WattproofError as error:
                missing.append(str(error))
        limited = replace(settings, against=tuple(against))
        return Published(self.path, settings.energy, limited.against), limited, missing


@dataclass(frozen=True)
class Ratios:
    """What a source reported over what was so, in measured runs.

    Attributes:
        power_w: Mean calibrated power of each of r runs, rising.
        ratio: Reported over calibrated energy of each; r.
    """

    power_w: Floats
    ratio: Floats

    @classmethod
    def learn(cls, runs: pd.DataFrame, energy: str | None, name: str) -> Ratios:
        """Read the ratios off the table ``dataset``.

        Args:
            runs: Table ``dataset``.
            energy: ``gpu`` or ``node``, whose energy it is.
            name: ``smi``, or an estimator of the node's energy.

        Raises:
            WattproofError: The source is unknown, of something else, or has too few runs.
        """
        column = "smi_energy_j" if name == SMI else f"energy_j_{name}"
        scope = "gpu" if name == SMI else "node"
        if column not in runs:
            raise WattproofError(
                f"No source '{name}' is known in this campaign, so no search believes in it."
            )
        if scope != energy:
            raise WattproofError(
                f"Source '{name}' tells the energy of the {scope}, but searches are scored by that "
                f"of the {energy} (key 'search.energy'), so none believes in it."
            )
        columns = [column, f"{energy}_energy_j", "time_s"]
        good = runs.loc[runs["status"] == "ok", columns].dropna().to_numpy(dtype=np.float64)
        good = good[(good > 0).all(axis=1)]
        if len(good) < FEWEST:
            raise WattproofError(
                f"Only {len(good)} runs have an energy by source '{name}' ({FEWEST} are needed), "
                "so no search believes in it."
            )
        power_w = good[:, 1] / good[:, 2]
        order = np.argsort(power_w, kind="stable")
        return cls(power_w[order], (good[:, 0] / good[:, 1])[order])

    def report(self, frame: pd.DataFrame, found: pd.DataFrame, seed: int) -> Floats:
        """Return what the source reports of n trainings, see `Reporter`."""
        names = [name for name in frame.columns if name != "epoch"]
        columns = (frame[name].tolist() for name in names)
        draws = [
            _number(f"{seed}|{identity(dict(zip(names, row, strict=True)))}")
            for row in zip(*columns, strict=True)
        ]
        power_w = found["power_w"].to_numpy(dtype=np.float64)
        alike = min(ALIKE, len(self.ratio))
        first = np.searchsorted(self.power_w, power_w) - alike // 2
        first = np.clip(first, 0, len(self.ratio) - alike)
        picked = first + np.array(draws) % alike
        return np.asarray(found["energy_j"].to_numpy(dtype=np.float64) * self.ratio[picked])


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
