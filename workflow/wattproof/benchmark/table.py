"""Answers by the measured runs alone: kind ``table``, and what kind ``live`` has just trained."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof.benchmark.domain import Domain
from wattproof.benchmark.inputs import Inputs
from wattproof.dataset import included
from wattproof.errors import WattproofError
from wattproof.surrogate.predictor import Answer
from wattproof.surrogate.targets import ACCURACY, ALL, COLUMNS, CORE, ENERGY, POWER, TIME

LEVEL = 0.9
"""Nominal coverage of the bounds in table ``dataset``."""

Floats = NDArray[np.float64]
Key = tuple[int, ...]
"""Places of a configuration's values (`wattproof.benchmark.domain`)."""

ELSEWHERE = "kind='surrogate' answers it"


@dataclass(frozen=True, slots=True)
class Run:
    """A measured training.

    Attributes:
        run_id: Name.
        seed: Seed.
        curves: By target, the value after each epoch; energies and times summed up.
        ends: By target, the one number a training.
        low: Lower bound of the node's energy over its value.
        high: Upper bound over its value.
    """

    run_id: str
    seed: int
    curves: dict[str, Floats]
    ends: dict[str, float]
    low: float
    high: float


class Table:
    """The measured runs of a benchmark, as a source of answers.

    Args:
        domain: Parameters of the space.
        dataset: Table ``dataset``.
        curves: Table ``curves``.
        targets: What is to be answered.
        scope: ``node`` or ``gpu``: whose energy the target ``energy_j`` is.
        energy: Target of the energy that is asked for: without it there is no answer.
        origin: How the runs came about: ``measured``.
    """

    level = LEVEL

    def __init__(
        self,
        domain: Domain,
        dataset: pd.DataFrame,
        curves: pd.DataFrame,
        targets: Collection[str],
        scope: str,
        energy: str = ENERGY,
        origin: str = "measured",
    ) -> None:
        self._origin = origin
        self._needed = (ACCURACY, TIME, energy)
        self._scope = scope
        self._targets = [name for name in ALL if name in targets or name in CORE]
        good = included(dataset)
        self._why = _left_out(dataset, good)
        names = {f"config_{name}": name for name in domain.names}
        found = domain.find(dataset[list(names)].rename(columns=names))
        places = np.column_stack([found[name] for name in domain.names])
        self._rows: dict[Key, list[int]] = {}
        self._out: dict[Key, int] = {}
        order = np.lexsort([dataset["run_id"].to_numpy(dtype=str), dataset["seed"].to_numpy()])
        for row in order.tolist():
            key = tuple(places[row].tolist())
            if good[row]:
                self._rows.setdefault(key, []).append(row)
            else:
                self._out[key] = row
        self._columns = {str(name): dataset[name].tolist() for name in dataset.columns}
        self._curves = _Curves(curves)
        self._made: dict[int, Run] = {}

    def provenance(self, inputs: Inputs, seed: int | None) -> str:
        """Return where the answer of the first configuration comes from."""
        runs = self._chosen(keys_of(inputs)[0], seed)
        return f"{self._origin}, n={len(runs)}"

    def inside(self, inputs: Inputs, novelty: Floats | float) -> NDArray[np.bool_]:
        """What was measured is inside of what was trained."""
        return np.ones(len(inputs.epochs), dtype=bool)

    def answer(
        self,
        inputs: Inputs,
        epoch: NDArray[np.int64],
        draws: NDArray[np.uint64] | None,
        seed: int | None,
    ) -> Answer:
        """Answer n configurations; see `wattproof.benchmark.sources.Source`.

        `seed` picks the replicate: the run that was trained with it, else, of those in order, the
        one at that place, counted round. None averages them; the interval is then the mean of the
        runs' intervals, since instruments err for all of them alike.

        Raises:
            WattproofError: A configuration was not trained, or an energy is unknown.
        """
        keys = keys_of(inputs)
        n = len(keys)
        parts: list[dict[str, Floats]] = [
            {name: np.full(n, np.nan) for name in self._targets} for _ in range(5)
        ]
        for index, (key, after) in enumerate(zip(keys, epoch.tolist(), strict=True)):
            runs = self._chosen(key, seed)
            for target in self._targets:
                for part, number in zip(parts, self._one(runs, target, after), strict=True):
                    part[target][index] = number
        value, low, high, noise, model = parts
        return Answer(value, low, high, noise, model, np.zeros(n))

    def _one(self, runs: Sequence[Run], target: str, epoch: int) -> tuple[float, ...]:
        """Value, low, high, noise and model of a target after an epoch."""
        if target == POWER:
            joules, low, high, *_ = self._one(runs, ENERGY, epoch)
            seconds, *_ = self._one(runs, TIME, epoch)
            watts = np.array([self._at(r, ENERGY, epoch) / self._at(r, TIME, epoch) for r in runs])
            return joules / seconds, low / seconds, high / seconds, _spread(watts, target), 0.0
        values = np.array([self._at(run, target, epoch) for run in runs])
        if target in self._needed and not np.isfinite(values).all():
            run = runs[int(np.argmin(np.isfinite(values)))]
            raise WattproofError(
                f"Run {run.run_id} has no known '{target}' after epoch {epoch}: it was not "
                f"measured there, or not well enough; {ELSEWHERE}."
            )
        low = high = np.nan
        if target == ENERGY and self._scope == "node":
            low = float(np.mean([v * run.low for v, run in zip(values, runs, strict=True)]))
            high = float(np.mean([v * run.high for v, run in zip(values, runs, strict=True)]))
        return float(values.mean()), low, high, _spread(values, target), 0.0

    def _at(self, run: Run, target: str, epoch: int) -> float:
        if ALL[target].kind == "end":
            return run.ends[target]
        curve = run.curves[target]
        return float(curve[epoch - 1]) if epoch <= len(curve) else np.nan

    def _chosen(self, key: Key, seed: int | None) -> list[Run]:
        rows = self._rows.get(key)
        if rows is None:
            raise WattproofError(self._absent(key))
        runs = [self._run(row) for row in rows]
        if seed is None:
            return runs
        return [next((r for r in runs if r.seed == seed), runs[seed % len(runs)])]

    def _absent(self, key: Key) -> str:
        row = self._out.get(key)
        if row is not None:
            return (
                f"The run of this configuration is left out of the measured ones ({self._why[row]})"
                f", so kind='table' does not answer it; {ELSEWHERE}."
            )
        return (
            "This configuration was not trained, so kind='table' does not answer it; "
            f"{ELSEWHERE}, and Benchmark.measured() lists those that were."
        )

    def _run(self, row: int) -> Run:
        if row not in self._made:
            self._made[row] = self._make(row)
        return self._made[row]

    def _make(self, row: int) -> Run:
        about = {name: values[row] for name, values in self._columns.items()}
        run_id = str(about["run_id"])
        curves: dict[str, Floats] = {}
        ends: dict[str, float] = {}
        for target in self._targets:
            if target == POWER:
                continue
            column = f"{self._scope}_energy_j" if target == ENERGY else COLUMNS[target]
            if ALL[target].kind == "end":
                ends[target] = _number(about.get(column))
                continue
            values = self._curves.of(run_id, column, int(about["epochs"]))
            curves[target] = values if target == ACCURACY else np.cumsum(values)
        joules = _number(about.get("node_energy_j"))
        return Run(
            run_id,
            int(about["seed"]),
            curves,
            ends,
            _number(about.get("node_energy_low_j")) / joules,
            _number(about.get("node_energy_high_j")) / joules,
        )


class _Curves:
    """Table ``curves``, one run at a time."""

    def __init__(self, curves: pd.DataFrame) -> None:
        self._frame = curves.sort_values(["run_id", "epoch"], kind="stable", ignore_index=True)
        runs = self._frame["run_id"].to_numpy(dtype=object)
        edges = np.flatnonzero(runs[1:] != runs[:-1]) + 1
        starts = [0, *edges.tolist()] if len(runs) else []
        ends = [*edges.tolist(), len(runs)]
        self._parts = {runs[a]: slice(a, b) for a, b in zip(starts, ends, strict=False)}
        self._columns: dict[str, Floats] = {}

    def of(self, run_id: str, column: str, epochs: int) -> Floats:
        """Return a column of a run, by epoch; NaN where an epoch is not there."""
        if column not in self._columns:
            known = column in self._frame
            self._columns[column] = (
                self._frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
                if known
                else np.full(len(self._frame), np.nan)
            )
        part = self._parts.get(run_id, slice(0, 0))
        found = np.full(epochs, np.nan)
        at = self._frame["epoch"].to_numpy(dtype=np.int64)[part]
        within = at < epochs
        found[at[within]] = self._columns[column][part][within]
        return found


def keys_of(inputs: Inputs) -> list[Key]:
    """Return the places of each of n configurations; one may stand for all n."""
    columns = [np.atleast_1d(place).tolist() for place in inputs.places]
    keys = list(zip(*columns, strict=True))
    return keys * len(inputs.epochs) if len(keys) == 1 else keys


def _left_out(dataset: pd.DataFrame, good: NDArray[np.bool_]) -> dict[int, str]:
    reasons = dataset["excluded"].fillna("") if "excluded" in dataset else dataset["status"]
    rows = np.flatnonzero(~good).tolist()
    return {row: str(reasons.iloc[row]) or "it was not trained to an end" for row in rows}


def _spread(values: Floats, target: str) -> float:
    """Standard deviation of replicates, on the target's scale; NaN for one run."""
    if len(values) < 2:
        return float("nan")
    spread = float(np.std(values, ddof=1))
    return spread if ALL[target].scale == "unit" else spread / float(values.mean())


def _number(value: object) -> float:
    return float("nan") if value is None or pd.isna(value) else float(value)  # type: ignore[arg-type, call-overload]
