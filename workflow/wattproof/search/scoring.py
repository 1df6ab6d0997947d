"""Scores of a search: what its front is worth, by what was really spent.

At any moment a search would publish the trained configurations that, *as it saw them*, no other one
beats. Their hypervolume is that of what they are *worth*: test data, calibrated energy, no noise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof.search.arena import Arena
from wattproof.search.atlas import Config, Floats
from wattproof.search.race import Trace

MARGIN = 1.1
"""Where the hypervolume's reference point lies: 1 would be the worst of the reference front."""

BATCH = 10_000
STEPS = 25
"""Checkpoints from nothing to the budget; after it they go on at the same distance."""


@dataclass(frozen=True)
class Reference:
    """The front of many configurations, drawn at random and scored without noise.

    Attributes:
        costs: Objectives of its members; f × m.
        configs: Their configurations.
        networks: Their realised networks.
        energy_j: Calibrated energy of their trainings.
        low: Best of each objective on the front; m.
        high: Worst of each objective on the front; m.
        mean_j: Mean calibrated energy of a training of *all* that were drawn.
        volume: Hypervolume of the front, before it is set to 1.
    """

    costs: Floats
    configs: list[Config]
    networks: list[str]
    energy_j: Floats
    low: Floats
    high: Floats
    mean_j: float
    volume: float

    def hypervolume(self, costs: Floats) -> float:
        """Hypervolume of n points (n × m), as a share of the reference front's."""
        return _volume((costs - self.low) / _span(self.low, self.high)) / self.volume


def reference(arena: Arena, n: int, rng: np.random.Generator) -> Reference:
    """Draw and score `n` configurations and keep the front."""
    costs, configs, networks, energies = [], [], [], []
    total_j, count = 0.0, 0
    for start in range(0, n, BATCH):
        drawn = arena.atlas.decode(arena.atlas.draw(min(BATCH, n - start), rng))
        worth = arena.worth(drawn)
        total_j += float(worth.energy_j[worth.inside].sum())
        count += int(worth.inside.sum())
        inside = np.flatnonzero(worth.inside)
        best = inside[front_of(worth.costs[inside])]
        costs.append(worth.costs[best])
        energies.append(worth.energy_j[best])
        configs += [drawn[i] for i in best]
        networks += [worth.networks[i] for i in best]
    every = np.concatenate(costs)
    keep = front_of(every)
    front = every[keep]
    low, high = front.min(axis=0), front.max(axis=0)
    return Reference(
        costs=front,
        configs=[configs[i] for i in keep],
        networks=[networks[i] for i in keep],
        energy_j=np.concatenate(energies)[keep],
        low=low,
        high=high,
        mean_j=total_j / max(count, 1),
        volume=_volume((front - low) / _span(low, high)),
    )


def checkpoints(traces: list[Trace], budget_j: float) -> Floats:
    """Instants of all searches, in calibrated joules spent: STEPS to the budget, then beyond."""
    step_j = budget_j / STEPS
    longest_j = max(trace.ledger.true_j for trace in traces)
    count = max(STEPS, int(np.ceil(longest_j / step_j - 1e-9)))
    return np.linspace(step_j, step_j * count, count)


def front_of(costs: Floats) -> NDArray[np.int64]:
    """Which of n points (n × m) no other point beats; of equal ones the first."""
    import moocore

    if not len(costs):
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.asarray(moocore.is_nondominated(costs), dtype=bool))


def progress(trace: Trace, grid_j: Floats, against: Reference) -> pd.DataFrame:
    """Score a search at every checkpoint; after its end nothing changes."""
    seen, worth = (np.array(c).reshape(-1, len(against.low)) for c in (trace.seen, trace.worth))
    true_j, spent_j = np.array(trace.true_j), np.array(trace.spent_j)
    rows: list[dict[str, Any]] = []
    before, scores = -1, (0.0, 0.0, 0)
    for index, at_j in enumerate(grid_j):
        done = int(np.searchsorted(true_j, at_j * (1 + 1e-12), side="right"))
        if done != before:
            picks = front_of(seen[:done])
            scores = (
                against.hypervolume(worth[picks]),
                against.hypervolume(seen[picks]),
                len(picks),
            )
            before = done
        rows.append(
            {
                "checkpoint": index,
                "true_j": at_j,
                "reported_j": float(spent_j[done - 1]) if done else 0.0,
                "trained": done,
                "hypervolume": scores[0],
                "hypervolume_reported": scores[1],
                "front": scores[2],
                "ended": bool(at_j >= trace.ledger.true_j),
            }
        )
    return pd.DataFrame(rows)


def picks(trace: Trace, names: tuple[str, ...]) -> pd.DataFrame:
    """The front that a search publishes at its end, as it saw it and as it is."""
    seen, worth = (np.array(c).reshape(-1, len(names)) for c in (trace.seen, trace.worth))
    chosen = front_of(seen)
    true = set(front_of(worth).tolist())
    rows = []
    for i in chosen.tolist():
        rows.append(
            {
                "network_key": trace.networks[i],
                "config": json.dumps(trace.configs[i]),
                "energy_reported_j": trace.seen_j[i],
                "energy_j": trace.worth_j[i],
                "beaten": i not in true,
                **_objectives(names, worth[i]),
                "val_accuracy": _objectives(names, seen[i]).get("test_accuracy"),
            }
        )
    return pd.DataFrame(rows)


def reference_rows(found: Reference, names: tuple[str, ...]) -> pd.DataFrame:
    """The reference front as rows of table ``search_front``."""
    rows = [
        {
            "network_key": network,
            "config": json.dumps(config),
            "energy_j": energy_j,
            "beaten": False,
            **_objectives(names, costs),
        }
        for network, config, energy_j, costs in zip(
            found.networks, found.configs, found.energy_j, found.costs, strict=True
        )
    ]
    return pd.DataFrame(rows)


def _objectives(names: tuple[str, ...], costs: Floats) -> dict[str, float]:
    found = {}
    for name, cost in zip(names, costs.tolist(), strict=True):
        if name == "accuracy":
            found["test_accuracy"] = 1.0 - cost
        elif name != "energy_j":
            found[name] = 10.0**cost
    return found


def _span(low: Floats, high: Floats) -> Floats:
    return np.where(high > low, high - low, 1.0)


def _volume(scaled: Floats) -> float:
    """Hypervolume of points (n × m) whose objectives go from 0 (best) to 1 on the reference."""
    import moocore

    if not len(scaled):
        return 0.0
    return float(moocore.hypervolume(scaled, ref=np.full(scaled.shape[1], MARGIN)))
