"""A published benchmark as searches open it, in each process anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

import wattproof
from wattproof import space as spaces
from wattproof.errors import WattproofError
from wattproof.search.arena import Source
from wattproof.search.demonstration import Settings

_load: Any = wattproof.load


@dataclass(frozen=True)
class Published:
    """Opens a benchmark by each of some sources of energy.

    Attributes:
        path: Folder or archive of the benchmark.
        energies: The sources.
    """

    path: Path
    energies: tuple[str, ...] = ()

    def __call__(self) -> tuple[Any, Mapping[str, Source]]:
        """Return the search space and the benchmark by each source."""
        opened = {name: _load(self.path, energy=name) for name in self.energies}
        return spaces.get(next(iter(opened.values())).space.name), opened

    def limit(self, settings: Settings) -> tuple[Published, Settings, list[str]]:
        """Fit settings to what the benchmark knows.

        Returns:
            What to open, the settings that can be run, and in words what was left out.

        Raises:
            WattproofError: The calibrated source is not there.
        """
        bench = _load(self.path)
        known = tuple(bench.energies)
        if settings.energy not in known:
            raise WattproofError(
                f"{self.path} has no energies by source '{settings.energy}', so no search can be "
                f"scored by it; set 'search.energy' to one of {', '.join(known)}."
            )
        missing = [
            f"The campaign has no energies by source '{name}', so no search believes in it."
            for name in settings.against
            if name not in known
        ]
        against = tuple(name for name in settings.against if name in known)
        limited = replace(settings, against=against)
        return replace(self, energies=(settings.energy, *against)), limited, missing

    @property
    def simulated(self) -> bool:
        """Whether any of its energies come from a virtual node."""
        return bool(_load(self.path).simulated)

    def measured(self) -> pd.DataFrame:
        """Measured runs: table ``dataset``."""
        return _load(self.path).dataset
