"""Pilot runs: what trainings of a space drew, and draws that are even over power.

A few runs are measured first. A smooth model of their GPU power (kernel ridge regression over what
is known of a configuration before it runs) then predicts that of many candidates, which are cut
into strata of equal width in watts; draws take from each in turn. The model need not be good: a
wrong prediction puts a run in another stratum, and its power is measured all the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from wattproof.errors import WattproofError

if TYPE_CHECKING:
    from wattproof.space.base import Config, Space, Value

Array = NDArray[np.float64]
Features = Callable[[Mapping[str, Any]], Sequence[float]]

MIN_RUNS = 20
"""Fewer pilot runs cannot say anything about a space of so many axes."""

STRATA = 20

SCALES = (0.5, 1.0, 2.0, 4.0)
"""Lengths over which power changes, in standard deviations of the features; the best is taken."""

RIDGES = (1e-3, 1e-2, 1e-1)
"""Shares of variance that are taken for noise; the best is taken."""

TABLE = Path("tables") / "dataset.parquet"


@runtime_checkable
class Piloted(Protocol):
    """A space whose draws can follow pilot runs."""

    def features(self, config: Mapping[str, Any]) -> list[float]:
        """What a power predictor may know of a configuration before it runs."""
        ...

    def sample(
        self,
        n: int,
        seed: int,
        recipe: Mapping[str, Value | list[Value]] | None = None,
        pilot: Pilot | None = None,
    ) -> list[Config]:
        """Draw configurations, evenly over power where there is a pilot."""
        ...


@dataclass(frozen=True)
class Pilot:
    """Runs that were measured.

    Attributes:
        features: Of each run, shape (runs, features); see `Wide.features`.
        power_w: Mean GPU power of each run, in watts.
        digest: Of configurations and powers: a plan that was drawn by it names it.
    """

    features: Array
    power_w: Array
    digest: str

    def predict(self, features: Sequence[Sequence[float]]) -> Array:
        """Return the power that runs promise, in watts, within a tenth of the pilots' range."""
        model = self._model
        wanted = (np.asarray(features, np.float64) - model.centre) / model.spread
        found = model.mean_w + _kernel(wanted, model.points, model.scale) @ model.weights
        margin = 0.1 * np.ptp(self.power_w)
        return np.clip(found, self.power_w.min() - margin, self.power_w.max() + margin)

    @property
    def error_w(self) -> float:
        """Root mean square of the errors for pilots that were left out, one by one, in watts."""
        return self._model.error_w

    @cached_property
    def _model(self) -> _Model:
        centre, spread = self.features.mean(axis=0), self.features.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        points = (self.features - centre) / spread
        mean_w = float(self.power_w.mean())
        best: _Model | None = None
        for scale in SCALES:
            kernel = _kernel(points, points, scale)
            for ridge in RIDGES:
                inverse = np.linalg.inv(kernel + ridge * np.eye(len(points)))
                weights = inverse @ (self.power_w - mean_w)
                # Errors of leaving one out, in closed form.
                error_w = float(np.sqrt(np.mean((weights / np.diag(inverse)) ** 2)))
                if best is None or error_w < best.error_w:
                    best = _Model(centre, spread, points, weights, scale, mean_w, error_w)
        assert best is not None
        return best


@dataclass(frozen=True, slots=True)
class _Model:
    centre: Array
    spread: Array
    points: Array
    weights: Array
    scale: float
    mean_w: float
    error_w: float


def _kernel(a: Array, b: Array, scale: float) -> Array:
    """Similarity of rows, 0 to 1, with long tails: far from all pilots a trend is left."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2.0 * a @ b.T
    found: Array = 1.0 / (1.0 + np.maximum(squares, 0.0) / a.shape[1] / (2.0 * scale**2))
    return found


def read(path: str | Path, features: Features) -> Pilot:
    """Read the pilot runs of a campaign.

    Args:
        path: Its folder, or its table ``dataset``.
        features: What a predictor may know of a configuration (`Wide.features`).

    Raises:
        WattproofError: There is no such table, or too few of its runs have GPU energy.
    """
    from wattproof import tables

    file = table(path)
    if not file.is_file():
        raise WattproofError(
            f"There are no pilot runs {file}; run their campaign first, e.g. "
            "snakemake --configfile config/campaigns/wide_pilot.yaml."
        )
    known: list[tuple[dict[str, Any], float]] = []
    for row in tables.read(file, "dataset").to_pylist():
        config = {
            name.removeprefix("config_"): value
            for name, value in row.items()
            if name.startswith("config_")
        }
        if row["status"] == "ok" and row["gpu_energy_j"] and row["time_s"]:
            known.append((config, row["gpu_energy_j"] / row["time_s"]))
    return of(known, features, str(file))


def table(path: str | Path) -> Path:
    """Return the table of pilot runs of a campaign's folder, or the file itself."""
    path = Path(path)
    return path if path.suffix == ".parquet" else path / TABLE


def of(runs: Sequence[tuple[dict[str, Any], float]], features: Features, where: str) -> Pilot:
    """Make a pilot of configurations and their mean GPU power in watts.

    Raises:
        WattproofError: They are too few.
    """
    if len(runs) < MIN_RUNS:
        raise WattproofError(
            f"{where} has {len(runs)} run(s) with GPU energy, but a draw over power needs at least "
            f"{MIN_RUNS}; train more pilot runs."
        )
    ordered = sorted((json.dumps(config, sort_keys=True), watts) for config, watts in runs)
    digest = hashlib.sha256(json.dumps(ordered).encode()).hexdigest()[:16]
    rows = [features(json.loads(text)) for text, _ in ordered]
    return Pilot(np.array(rows), np.array([watts for _, watts in ordered]), digest)


def draw(
    space: Space,
    file: str,
    n: int,
    seed: int,
    recipe: Mapping[str, Value | list[Value]] | None = None,
) -> tuple[list[Config], str]:
    """Draw from a space over the power that pilot runs promise, and return the pilot's digest.

    Args:
        space: One that can (`wide`).
        file: As of `read`.
        n: As of `Space.sample`, like the others.
        seed: See there.
        recipe: See there.

    Raises:
        WattproofError: The space cannot; there are no pilot runs; as of `Space.sample`.
    """
    if not isinstance(space, Piloted):
        raise WattproofError(
            f"Draws from space '{space.name}' do not follow pilot runs; remove the pilot, or take "
            "space 'wide'."
        )
    if n == 0:
        return space.sample(0, seed, recipe), ""
    pilot = read(file, space.features)
    return space.sample(n, seed, recipe, pilot), pilot.digest


def stratified(predicted_w: Array, keys: Sequence[str], n: int) -> list[int]:
    """Return which candidates to take so that predicted power is filled evenly.

    Strata of equal width in watts take turns, the scarcest (fewest candidates) first; within one,
    networks come once before any comes again, in the order of the candidates. The first and the
    last stratum begin at their outer ends, so that the draw reaches as far as the space does.

    Args:
        predicted_w: Of each candidate.
        keys: Network of each candidate.
        n: How many; at most all.
    """
    low, high = float(predicted_w.min()), float(predicted_w.max())
    width = max((high - low) / STRATA, 1e-9)
    stratum = np.minimum(((predicted_w - low) / width).astype(int), STRATA - 1)
    queues: list[list[int]] = []
    for index in range(STRATA):
        met: dict[str, int] = {}
        order: list[tuple[int, int]] = []
        inside = np.flatnonzero(stratum == index)
        if index in (0, STRATA - 1):
            outward = predicted_w[inside] if index == 0 else -predicted_w[inside]
            inside = inside[np.argsort(outward, kind="stable")]
        for number, candidate in enumerate(inside.tolist()):
            met[keys[candidate]] = met.get(keys[candidate], 0) + 1
            order.append((met[keys[candidate]], number))
        queues.append([int(inside[number]) for _, number in sorted(order)])
    queues.sort(key=len)
    taken: list[int] = []
    place = 0
    while len(taken) < n:
        for queue in queues:
            if place < len(queue) and len(taken) < n:
                taken.append(queue[place])
        place += 1
    return taken
