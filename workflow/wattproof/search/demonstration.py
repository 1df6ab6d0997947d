"""All searches of the demonstration, in processes; the same settings give the same tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from wattproof.errors import WattproofError, did_you_mean
from wattproof.search import scoring
from wattproof.search.arena import OBJECTIVES, Arena, Reporter, Source
from wattproof.search.atlas import Atlas, Enumerable
from wattproof.search.methods import METHODS, POPULATION
from wattproof.search.race import Entry, Task, Trace, run
from wattproof.search.worker import spread

Opener = Callable[[], tuple[Enumerable, Source, Mapping[str, Reporter]]]
"""Returns the space, the benchmark, and the sources that a search may believe in instead; must
survive being sent to a process."""

Job = tuple[str, str, int]
"""Method, source, seed."""


@dataclass(frozen=True)
class Settings:
    """Section ``search`` of a campaign.

    Attributes:
        methods: Names of `METHODS`.
        energy: The calibrated source: it scores, and its joules are the true ones.
        against: Sources that a search may believe in instead.
        objectives: Accuracy, the training's energy, and more of `OBJECTIVES`.
        budget: Nominal energy of a search, in mean trainings of the space.
        seeds: Searches of each method and source.
        reference: Configurations of the reference front.
        seed: Of everything.
    """

    methods: tuple[str, ...] = tuple(METHODS)
    energy: str = "gpu"
    against: tuple[str, ...] = ("smi",)
    objectives: tuple[str, ...] = OBJECTIVES
    budget: float = 60.0
    seeds: int = 10
    reference: int = 100_000
    seed: int = 0

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Settings:
        """Read a campaign's section; other keys (when to run) are not of this module."""
        known = {f.name for f in fields(cls)} & set(section)
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v := section[k], list) else v for k in known
        }
        return cls(**values)

    def __post_init__(self) -> None:
        for name in self.methods:
            if name not in METHODS:
                raise WattproofError(
                    f"Key 'search.methods' names '{name}'.{did_you_mean(name, METHODS)}"
                )
        for name in ("accuracy", "energy_j"):
            if name not in self.objectives:
                raise WattproofError(
                    f"Key 'search.objectives' is {list(self.objectives)}, but a search at equal "
                    f"energy is judged by accuracy and energy_j; add {name}."
                )

    def jobs(self, seed: int) -> list[Job]:
        """Searches of one seed: each method, by each source."""
        return list(product(self.methods, (self.energy, *self.against), (seed,)))


@dataclass(frozen=True)
class Found:
    """What the demonstration found.

    Attributes:
        search: Table ``search``.
        front: Table ``search_front``.
    """

    search: pd.DataFrame
    front: pd.DataFrame


def demonstrate(opener: Opener, settings: Settings, workers: int = 1) -> Found:
    """Run every method with every seed, once for each source that it may believe in.

    Args:
        opener: Opens the benchmark; called once in each process.
        settings: What to run.
        workers: Processes; 1 runs everything in this one.
    """
    arena = _arena(opener, settings)
    against = scoring.reference(
        arena, settings.reference, np.random.default_rng([settings.seed, 1])
    )
    budget_j = settings.budget * against.mean_j
    seeds = range(settings.seeds)
    if workers == 1:
        groups = [_searches(arena, settings, seed, budget_j) for seed in seeds]
    else:
        groups = spread(partial(_remote, opener, settings, budget_j), seeds, workers)
    jobs = [job for seed in seeds for job in settings.jobs(seed)]
    traces = [trace for group in groups for trace in group]
    return _tables(jobs, traces, against, settings, budget_j)


def _arena(opener: Opener, settings: Settings) -> Arena:
    space, source, reporters = opener()
    return Arena(Atlas(space), source, settings.energy, reporters, settings.objectives)


_kept = cache(_arena)


def _remote(opener: Opener, settings: Settings, budget_j: float, seed: int) -> list[Trace]:
    return _searches(_kept(opener, settings), settings, seed, budget_j)


def _searches(arena: Arena, settings: Settings, seed: int, budget_j: float) -> list[Trace]:
    """Run all searches of one seed. They are paired: only method and source differ."""
    entries = []
    for method, source, _ in settings.jobs(seed):
        rng = np.random.default_rng([settings.seed, 2, seed])
        task = Task(
            atlas=arena.atlas,
            start=arena.atlas.draw(POPULATION, rng),
            objectives=len(arena.objectives),
            rng=rng,
            seed=int(rng.integers(2**31)),
        )
        entries.append(Entry(METHODS[method], task, source))
    return run(arena, entries, int(entries[0].task.seed), budget_j)


def _tables(
    jobs: Sequence[Job],
    traces: list[Trace],
    against: scoring.Reference,
    settings: Settings,
    budget_j: float,
) -> Found:
    grid_j = scoring.checkpoints(traces, budget_j)
    search, front = [], [scoring.reference_rows(against, settings.objectives)]
    front[0] = front[0].assign(method="reference", source=settings.energy, seed=settings.seed)
    for (method, source, seed), trace in zip(jobs, traces, strict=True):
        label: dict[str, Any] = {"method": method, "source": source, "seed": seed}
        told: dict[str, Any] = {
            "calibrated": source == settings.energy,
            "budget_j": budget_j,
            "total_j": trace.ledger.true_j,
            "epochs": trace.epochs,
            "refused": trace.refused,
        }
        search.append(scoring.progress(trace, grid_j, against).assign(**label, **told))
        front.append(scoring.picks(trace, settings.objectives).assign(**label))
    return Found(
        pd.concat(search, ignore_index=True),
        pd.concat([f for f in front if len(f)], ignore_index=True),
    )
