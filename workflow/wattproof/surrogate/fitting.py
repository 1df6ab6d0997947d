"""Fit the surrogates of a campaign, score them on held-out networks, and store the better ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.surrogate import conformal, models, scoring
from wattproof.surrogate.curves import (
    ACCURACY,
    ENERGY,
    LEARNED,
    TARGETS,
    TIME,
    RunTable,
    accumulate,
    from_scale,
    last,
    tabulate,
    to_scale,
)
from wattproof.surrogate.encoding import Floats, Matrix

if TYPE_CHECKING:
    import pandas as pd

SURROGATE_VERSION = 1
"""Raised when a file of the surrogate changes its meaning."""

GROUPS: dict[str, tuple[str, ...]] = {"accuracy": (ACCURACY,), "cost": (ENERGY, TIME)}
"""Targets whose family is chosen together: power is energy over time of one family."""

Predictions = dict[str, dict[str, Floats]]
"""Held-out increments by family and target, each R × E."""


def fit(
    dataset: pd.DataFrame, curves: pd.DataFrame, settings: Mapping[str, Any], out_dir: Path
) -> pd.DataFrame:
    """Fit, score and store the surrogates.

    Args:
        dataset: Table ``dataset``.
        curves: Table ``curves``.
        settings: ``folds``, ``trees``, ``interval`` (nominal coverage) and ``seed``; ``opaque``
            where the space tells `costs` of its networks: parameters that no model reads.
        out_dir: Gets ``encoding.json``, ``intervals.json``, ``surrogate.json`` and ``models/``.

    Returns:
        Table ``scores``: each target by each model family, on networks that the model had not
        seen. Energies are those of the training's epochs, of the node where they are known.

    Raises:
        WattproofError: The data cannot carry a surrogate: no runs, no energies, or fewer than two
            networks with values.
    """
    table = tabulate(dataset, curves, settings.get("opaque", ()))
    folds, split = scoring.assign_folds(table.networks, settings["folds"], settings["seed"])
    predictions = {
        family: _held_out(table, folds, family, settings["trees"], settings["seed"])
        for family in models.FAMILIES
    }
    noise = scoring.replicate_noise(table)
    level = settings["interval"]
    rows = [
        row
        for family, found in predictions.items()
        for row in scoring.score(table, found, folds, family, split, level, noise)
    ]
    chosen = {
        target: family
        for targets in GROUPS.values()
        for family in [_best_family(table, predictions, targets)]
        for target in targets
    }
    final = {
        target: _fit_target(table, target, family, settings["trees"], settings["seed"])
        for target, family in chosen.items()
    }
    held_out = {target: predictions[family][target] for target, family in chosen.items()}
    _store(table, chosen, final, _intervals(table, held_out, level), out_dir)
    scores = tables.conform(rows, "scores").to_pandas()
    order = {target: rank for rank, target in enumerate(TARGETS)}
    found_scores: pd.DataFrame = scores.sort_values(
        "target", key=lambda names: names.map(order), kind="stable", ignore_index=True
    )
    return found_scores


def _rows_with(
    table: RunTable, target: str
) -> tuple[Matrix, NDArray[np.int64], NDArray[np.int64], Floats]:
    """Rows where a target is known: matrix, run, column, value on the scale of the models."""
    matrix, run, column = table.rows()
    values = to_scale(target, table.increments[target])[run, column]
    known = np.isfinite(values)
    return matrix[known], run[known], column[known], values[known]


def _need_networks(target: str, networks: NDArray[np.int64]) -> None:
    if len(np.unique(networks)) < 2:
        raise WattproofError(
            f"Fewer than 2 networks have known values of '{target}', so no surrogate of it can be "
            "fitted; look for refused windows in table 'energy' and failed runs in table 'runs'."
        )


def _held_out(
    table: RunTable, folds: NDArray[np.int64], family: str, trees: int, seed: int
) -> dict[str, Floats]:
    """Predict every run by models that saw no run of its network."""
    everything, run_all, column_all = table.rows()
    predicted = {}
    for target in LEARNED:
        matrix, run, _, values = _rows_with(table, target)
        _need_networks(target, table.networks[run])
        cells = np.full(table.increments[target].shape, np.nan)
        for fold in np.unique(folds):
            train, test = folds[run] != fold, folds[run_all] == fold
            if not train.any():
                raise WattproofError(
                    f"All known values of '{target}' fall into one fold of the cross-validation; "
                    "raise 'surrogate.folds' or train more networks."
                )
            fitted = models.fit_family(
                family, matrix[train], values[train], table.networks[run[train]], trees, seed
            )
            guess = from_scale(target, fitted.predict(everything[test]))
            cells[run_all[test], column_all[test]] = guess
        predicted[target] = cells
    return predicted


def _fit_target(table: RunTable, target: str, family: str, trees: int, seed: int) -> models.Fitted:
    matrix, run, _, values = _rows_with(table, target)
    return models.fit_family(family, matrix, values, table.networks[run], trees, seed)


def _best_family(table: RunTable, predictions: Predictions, targets: tuple[str, ...]) -> str:
    """Family with the smallest held-out error; the simpler one where they are equal."""
    errors = [
        sum(scoring.held_out_error(target, table, predictions[family]) for target in targets)
        for family in models.FAMILIES
    ]
    return models.FAMILIES[int(np.argmin(errors))]


def _intervals(table: RunTable, held_out: Mapping[str, Floats], level: float) -> dict[str, Any]:
    """Half-widths by epoch, and the residual vectors that noisy draws are made from.

    A half-width at an epoch is set by all runs that got that far; at the end of a training, by all
    runs at their ends. Where an epoch has too few runs, the largest residual of any epoch stands
    in, provided that the runs at their ends suffice.
    """
    actual, model = accumulate(table.increments), accumulate(held_out)
    residuals = {t: to_scale(t, actual[t]) - to_scale(t, model[t]) for t in TARGETS}
    widths: dict[str, Any] = {}
    for target, cells in residuals.items():
        final = last(cells, table.epochs)
        width = conformal.half_width(final, level)
        by_epoch: list[float | None] = []
        for column in range(cells.shape[1]):
            found = conformal.half_width(cells[:, column], level)
            if found is None and width is not None:
                found = float(np.nanmax(np.abs(cells)))
            by_epoch.append(found)
        widths[target] = {
            "kind": "additive" if target == ACCURACY else "factor",
            "final": width,
            "by_epoch": by_epoch,
            "runs": int(np.isfinite(final).sum()),
        }
    draws = np.stack([last(residuals[target], table.epochs) for target in LEARNED], axis=1)
    draws = draws[np.isfinite(draws).all(axis=1)]
    return {"level": level, "targets": widths, "draws": {"of": LEARNED, "rows": draws.tolist()}}


def _store(
    table: RunTable,
    chosen: Mapping[str, str],
    final: Mapping[str, models.Fitted],
    intervals: Mapping[str, Any],
    out_dir: Path,
) -> None:
    encoding = table.encoding
    folder = out_dir / "models"
    folder.mkdir(parents=True, exist_ok=True)
    (out_dir / "encoding.json").write_text(encoding.to_json() + "\n", encoding="utf-8")
    _write_json(out_dir / "intervals.json", intervals)
    described = {}
    for target, fitted in final.items():
        path = folder / f"{target}.onnx"
        path.unlink(missing_ok=True)
        if fitted.booster is not None:
            content = models.to_onnx(fitted.booster, target, encoding.names, encoding.checksum)
            path.write_bytes(content)
        described[target] = {
            "family": chosen[target],
            "linear": fitted.linear.as_dict(),
            "trees": None if fitted.booster is None else f"models/{path.name}",
        }
    _write_json(
        out_dir / "surrogate.json",
        {
            "version": SURROGATE_VERSION,
            "encoding": encoding.checksum,
            "energy_scope": table.scope,
            "epochs": int(table.epochs.max()),
            "runs": len(table.run_ids),
            "networks": len(np.unique(table.networks)),
            "models": described,
        },
    )


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
