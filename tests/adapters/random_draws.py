"""What random search makes of a benchmark: what an optimiser must beat."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 400


@dataclass(frozen=True)
class RandomSearch:
    """Error, joules and hypervolume of configurations drawn at random."""

    losses: NDArray[np.float64]  # draws × (error, energy_j)

    @property
    def error(self) -> float:
        """Median of one draw."""
        return float(np.median(self.losses[:, 0]))

    def best_error(self, trials: int) -> float:
        """Median of the best of so many draws."""
        return float(np.median(self._groups(trials)[:, :, 0].min(axis=1)))

    def volume(self, losses: Sequence[Sequence[float]] | NDArray[np.float64]) -> float:
        """Hypervolume of a set of losses, of a box that holds nearly all draws."""
        import moocore

        box = np.quantile(self.losses, 0.95, axis=0)
        return float(moocore.hypervolume(np.asarray(losses, dtype=np.float64) / box, ref=[1, 1]))

    def median_volume(self, trials: int) -> float:
        """Median hypervolume of so many draws."""
        return float(np.median([self.volume(group) for group in self._groups(trials)]))

    def _groups(self, trials: int) -> NDArray[np.float64]:
        return self.losses[: DRAWS // trials * trials].reshape(-1, trials, 2)
