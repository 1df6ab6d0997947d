"""Fit the surrogates of a campaign, score them on held-out networks, and store the better ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wattproof import tables
from wattproof.surrogate import (
    choosing,
    conformal,
    coverage,
    growth,
    heldout,
    models,
    noise,
    novelty,
    outside,
    scoring,
    store,
)
from wattproof.surrogate.cells import HeldOut, Ints, Mask
from wattproof.surrogate.choosing import Trial
from wattproof.surrogate.curves import tabulate
from wattproof.surrogate.learning import Learner, join
from wattproof.surrogate.noise import Noise
from wattproof.surrogate.targets import ALL, GROUPS

if TYPE_CHECKING:
    import pandas as pd

SPLITS = 10
"""Seeded splits by network over which coverage is measured, unless the settings say otherwise."""

ONE_FOLD = 500
"""With so many networks, a fold of a further split tells enough, at a fifth of the time."""

GROWTH_SEEDS = 3
"""Orders of the networks in which the surrogate's own learning curve is measured."""


@dataclass(frozen=True)
class Fit:
    """What a fit says of itself.

    Attributes:
        scores: Table ``scores``: each target by each model, on networks that it had not seen.
        coverage: Table ``coverage``.
        growth: Table ``growth``.
        held_out: Table ``held_out``, of the models in the artefact.
    """

    scores: pd.DataFrame
    coverage: pd.DataFrame
    growth: pd.DataFrame
    held_out: pd.DataFrame


def fit(
    dataset: pd.DataFrame, curves: pd.DataFrame, settings: Mapping[str, Any], out_dir: Path
) -> Fit:
    """Fit, score and store the surrogates.

    Args:
        dataset: Table ``dataset``.
        curves: Table ``curves``.
        settings: ``folds``, ``trees``, ``interval`` (nominal coverage) and ``seed``; ``opaque``
            where the space tells `costs` of its networks: parameters that no model reads; if there,
            ``families`` (models to compare), ``splits`` and ``growth``, see `SPLITS` and
            `GROWTH_SEEDS`.
        out_dir: Gets the files of `wattproof.surrogate.store`.

    Returns:
        The scores. Energies are those of the training's epochs, of the node where they are known.

    Raises:
        WattproofError: The data cannot carry a surrogate: no runs, no energies, or fewer than two
            networks with values.
    """
    table = tabulate(dataset, curves, settings.get("opaque", ()))
    level, seed = settings["interval"], settings["seed"]
    folds, split = scoring.assign_folds(table.networks, settings["folds"], seed)
    learner = Learner(table, settings)
    families = settings.get("families", models.FAMILIES)
    found = {group: choosing.choose(learner, group, folds, families) for group in GROUPS}
    chosen = {group: best for group, (best, _) in found.items()}
    held = join({group: best.held for group, best in chosen.items()}, learner.cells)
    its_noise = noise.estimate(learner.cells, held)
    edges = conformal.lengths(learner.cells)
    intervals = conformal.learn(
        held, its_noise.at(held.cells.epoch, held.cells.epochs), level, edges
    )
    every = np.ones(len(table.epochs), dtype=bool)
    parts = {g: learner.learn(g, best.choice, every) for g, best in chosen.items()}
    inside = novelty.learn(table.static, folds)
    proof = outside.prove(table.static, [one.name for one in table.encoding.features], folds)
    store.write(table, parts, its_noise, intervals, inside, proof, out_dir)
    more = [
        _split(learner, chosen, settings["folds"], s)
        for s in range(seed + 1, seed + settings.get("splits", SPLITS))
    ]
    covered = coverage.measure([held, *more], its_noise, level, edges)
    covered += coverage.leave_out(
        held, partial(_predict, learner, chosen, folds), its_noise, level, edges
    )
    key_of = dict(zip(dataset["run_id"], dataset["network_key"], strict=True))
    keys = [str(key_of[run]) for run in table.run_ids]
    return Fit(
        _scores(found, its_noise, level, split, edges),
        _frame(covered, "coverage"),
        _frame(_growth(learner, chosen, folds, its_noise, settings), "growth"),
        _frame(heldout.rows(held, its_noise, level, table.run_ids, keys, edges), "held_out"),
    )


def _split(learner: Learner, chosen: Mapping[str, Trial], folds: int, seed: int) -> HeldOut:
    """Predict held-out networks of another split: all in turn, or one fold of many networks.

    Halves of the fold then set each other's intervals: models of one fit serve them both.
    """
    networks = learner.table.networks
    fold, _ = scoring.assign_folds(networks, folds, seed)
    if len(np.unique(networks)) >= ONE_FOLD:
        test = fold == 0
        half = np.zeros(len(fold), dtype=np.int64)
        half[test], _ = scoring.assign_folds(networks[test], 2, seed)
        return _predict(learner, chosen, half, ~test, test)
    parts = {g: learner.held_out(g, best.choice, fold)[0] for g, best in chosen.items()}
    return join(parts, learner.cells)


def _scores(
    found: Mapping[str, tuple[Trial, list[Trial]]],
    its_noise: Noise,
    level: float,
    split: str,
    edges: tuple[float, ...],
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for best, trials in found.values():
        for one in trials:
            rows += scoring.rows(
                one.held,
                _noise_of(its_noise, one.held.cells.targets),
                level,
                split,
                one.choice.family,
                one.choice.curve,
                one.operations,
                one is best,
                edges,
            )
    order = {target: rank for rank, target in enumerate(ALL)}
    return _frame(sorted(rows, key=lambda row: order[row["target"]]), "scores")


def _noise_of(whole: Noise, targets: tuple[str, ...]) -> Noise:
    """Noise of some targets alone."""
    some = [whole.targets.index(name) for name in targets]
    return Noise(
        targets,
        tuple(whole.scales[column] for column in some),
        whole.about,
        whole.by_bin[:, some],
        whole.root[np.ix_(some, some)],
        whole.vectors[:, some],
    )


def _growth(
    learner: Learner,
    chosen: Mapping[str, Trial],
    folds: Ints,
    its_noise: Noise,
    settings: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Learning curve of the surrogate: the chosen models, fitted to parts of the networks."""
    table = learner.table
    parts = growth.parts(table.networks, settings.get("growth", GROWTH_SEEDS), settings["seed"])
    seen: dict[bytes, HeldOut] = {}  # all of the networks are the same ones in every order
    held = []
    for part in parts:
        key = part.train.tobytes()  # the test networks are the same for all parts
        if key not in seen:
            seen[key] = _predict(learner, chosen, folds, part.train, part.test)
        held.append(seen[key])
    return growth.rows(parts, held, its_noise, settings["interval"])


def _predict(
    learner: Learner, chosen: Mapping[str, Trial], folds: Ints, train: Mask, test: Mask
) -> HeldOut:
    """Predict some runs by the chosen models, fitted to others."""
    found = {}
    for group, best in chosen.items():
        whole = learner.group_cells(group)
        cells = whole.take(test[whole.run])
        guess, spread = learner.predict(group, learner.learn(group, best.choice, train), cells)
        found[group] = HeldOut(cells, guess, spread, folds[cells.run])
    return join(found, learner.cells.take(test[learner.cells.run]))


def _frame(rows: list[dict[str, Any]], name: str) -> pd.DataFrame:
    found: pd.DataFrame = tables.conform(rows, name).to_pandas()
    return found
