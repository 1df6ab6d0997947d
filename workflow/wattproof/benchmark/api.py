"""The interface of a published benchmark.

Needs numpy, pandas, pyarrow, ConfigSpace and onnxruntime. Queries are pure functions of
(configuration, epoch, seed): no global state is read or written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from ConfigSpace import ConfigurationSpace, Integer
from numpy.typing import NDArray

from wattproof import space as spaces
from wattproof.benchmark import domain, energies, fronts, kinds, manifest, measured, sources
from wattproof.benchmark.inputs import Inputs, Reader
from wattproof.benchmark.results import Result, result_of
from wattproof.errors import WattproofError
from wattproof.space.quick import Realiser
from wattproof.surrogate.encoding import EPOCHS
from wattproof.surrogate.predictor import Answer
from wattproof.surrogate.single import Row
from wattproof.surrogate.targets import ALL, ENERGY, TIME
from wattproof.training.schedule import trained_epochs

IDLE = "idle_energy_j"
"""Energy that the machine draws idle in the same time: a part of a training's energy."""

POOL = 10_000
"""Configurations that a Pareto front of the space is looked for in, unless told otherwise."""


class Benchmark:
    """A published benchmark: a search space, surrogates of its costs, and the measured runs.

    Epochs count what is finished: 1 is the end of the first epoch. Energy and time are those of
    the epochs (training and validation) so far; start-up and the final test are not in them.

    Attributes:
        space: The search space. Not every point of it builds an allowed network: draw with
            `sample`.
        name: Campaign that it was made by.
        simulated: Whether any of its energies come from a virtual node.
        licence: Licence of the data.
        targets: Unit, meaning and direction of each target.
        energies: What ``energy`` of `wattproof.load` may be: ``node`` or ``gpu`` (the calibrated
            one, first), ``gpu``, ``smi``.
        energy_scope: Whose energy ``energy_j`` is.
        kind: ``surrogate``, ``table`` or ``live``: who answers.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        kind: str = "surrogate",
        energy: str | None = None,
        folder: str | os.PathLike[str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Read and verify a benchmark; see `wattproof.load`."""
        self._manifest, self._files = manifest.read(Path(path))
        self.space = ConfigurationSpace.from_serialized_dict(
            json.loads(self._files["configspace.json"])
        )
        self.name: str = self._manifest["name"]
        self.simulated: bool = self._manifest["simulated"]
        self.licence: str = self._manifest["licence"]
        self.targets: dict[str, dict[str, str]] = self._manifest["targets"]
        self._space = spaces.get(self._manifest["space"])
        if self._space.configspace() != self.space:
            raise WattproofError(
                f"{path} was made with another version of the search space "
                f"'{self._space.name}' ({self._manifest['created_by']}); install that version."
            )
        surrogate = sources.Surrogate(self._files)
        self._predictor = surrogate.predictor
        known = energies.views(self._predictor.energy_scope, self._predictor.targets)
        self._view = energies.choose(energy, known)
        self.energies = tuple(known)
        self.energy_scope = self._view.scope
        self._domain = domain.Domain(self.space)
        self.kind = kind
        self._source: sources.Source = kinds.source(
            *(kind, surrogate, self._view.target, self._domain, self._files, self._frame),
            *(folder, settings),
        )
        self._lengths = self._trainings()
        self._reader = Reader(
            self._domain,
            self._predictor.encoding,
            Realiser(self._space, **self._manifest["input"]),
            self._lengths,
        )

    def __repr__(self) -> str:
        simulated = ", SIMULATED" if self.simulated else ""
        return f"<wattproof benchmark '{self.name}' of {self._space.name}{simulated}>"

    @property
    def card(self) -> str:
        """What was measured, with what, and how far to trust it; Markdown."""
        return self._files["CARD.md"].decode()

    @cached_property
    def dataset(self) -> pd.DataFrame:
        """Measured runs: table ``dataset``."""
        return self._frame("dataset")

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Measured epochs: table ``curves`` (there the first epoch is 0)."""
        return self._frame("curves")

    @cached_property
    def scores(self) -> pd.DataFrame:
        """How good the surrogates are on networks they have not seen: table ``scores``."""
        return self._frame("scores")

    @property
    def fidelity_space(self) -> ConfigurationSpace:
        """The one fidelity: epochs finished, from 1 to the longest training there is.

        A configuration's own training may be shorter: `epochs` tells.
        """
        longest = max(self._lengths.values())
        return ConfigurationSpace({"epoch": Integer("epoch", (1, longest), default=longest)})

    @cached_property
    def target_stats(self) -> pd.DataFrame:
        """Smallest and largest measured value of each target (columns ``min``, ``max``).

        To normalise regret with. Rows are targets; NaN where nothing was measured.
        """
        table = self.measured()
        names = [name for name in measured.OBJECTIVES if name in table]
        return table[names].agg(["min", "max"]).T

    def epochs(self, config: Mapping[str, Any]) -> int:
        """Return how many epochs the training of a configuration has: its last fidelity."""
        return int(self._reader.one(config).epochs[0])

    @overload
    def sample(self, seed: int = 0, n: None = None) -> dict[str, Any]: ...

    @overload
    def sample(self, seed: int = 0, *, n: int) -> pd.DataFrame: ...

    def sample(self, seed: int = 0, n: int | None = None) -> dict[str, Any] | pd.DataFrame:
        """Draw configurations that build allowed networks; equal seeds, equal draws.

        Args:
            seed: From 0 up.
            n: How many, as a frame for `query_many`; None for one, as a dictionary for `query`.
                The rows of a longer draw begin with those of a shorter one.

        Raises:
            WattproofError: Seed or number cannot be drawn with.
        """
        number = domain.check_seed(seed)
        if number is None or number < 0:
            raise WattproofError(f"seed={seed!r} cannot be drawn with; give a number from 0 up.")
        if n is None:
            return self._space.sample(1, number)[0]
        return pd.DataFrame(self._space.sample(n, number), columns=self._domain.names)

    def query(
        self, config: Mapping[str, Any], epoch: int | None = None, seed: int | None = None
    ) -> Result:
        """Predict accuracy, energy, time and power of one configuration.

        Args:
            config: A value for each parameter of `space`.
            epoch: After so many epochs; None for the end of the training.
            seed: None for the prediction itself. A number for a noisy draw: what one new training
                may give, as far off as repeated trainings of the campaign were. The draw depends
                on configuration and seed alone, so the curve of a seed is one curve.

        Returns:
            Values with intervals; the intervals are around the prediction, also of a draw.

        Raises:
            WattproofError: A key is unknown or missing, a value or the epoch is out of range, or
                the configuration builds no allowed network.
        """
        inputs = self._reader.one(config)
        wanted = domain.check_epoch(epoch, int(inputs.epochs[0]))
        rows, inside = self._single(inputs, wanted, domain.check_seed(seed))
        origin = self._source.provenance(inputs, seed)
        about = (origin, self.energy_scope, self._source.level, self.simulated)
        return result_of(rows, wanted, inputs.networks[0], inside, about)

    def query_many(
        self,
        frame: pd.DataFrame,
        epoch: int | None = None,
        seed: int | None = None,
        spread: bool = False,
    ) -> pd.DataFrame:
        """Predict many configurations at once.

        Args:
            frame: One configuration a row, one column a parameter; a column ``epoch`` is allowed.
            epoch: After so many epochs, for all rows; None for the column, or the end.
            seed: As in `query`.
            spread: Whether to tell the standard deviations behind the intervals, too.

        Returns:
            A frame with the same index: each target with ``_low`` and ``_high`` (with `spread`
            also ``_noise`` and ``_model``, see `Value`), ``epoch``, ``network_key``, ``in_domain``.

        Raises:
            WattproofError: As `query`.
        """
        inputs = self._reader.many(frame)
        if epoch is None and "epoch" in frame.columns:
            wanted = domain.check_epochs(frame["epoch"].to_numpy(), inputs.epochs)
        elif epoch is None:
            wanted = inputs.epochs
        else:
            asked = np.full(len(frame), epoch, dtype=None if type(epoch) is int else object)
            wanted = domain.check_epochs(asked, inputs.epochs)
        found = self._answer(inputs, wanted, seed)
        columns: dict[str, Any] = _columns(found, tuple(found.value), spread)
        columns |= {
            "epoch": wanted,
            "network_key": inputs.networks,
            "in_domain": self._source.inside(inputs, found.novelty),
        }
        return pd.DataFrame(columns, index=frame.index)

    def curve(self, config: Mapping[str, Any], seed: int | None = None) -> pd.DataFrame:
        """Predict the whole training of one configuration.

        Returns:
            A row an epoch: ``epoch`` (1 to the end), ``accuracy``, ``energy_j`` and ``time_s``
            (cumulative, rising), ``power_w``, and what else is known by epoch, each with
            ``_low`` and ``_high``.
        """
        inputs = self._reader.one(config)
        wanted = np.arange(1, int(inputs.epochs[0]) + 1)
        found = self._answer(inputs.repeated(len(wanted)), wanted, seed)
        names = tuple(t for t in found.value if t == IDLE or ALL[t].kind == "curve")
        return pd.DataFrame({"epoch": wanted, **_columns(found, names, spread=False)})

    def measured(self) -> pd.DataFrame:
        """Return the measured configurations, replicates averaged (``n`` runs each)."""
        return measured.table(self.dataset, self.curves, self._view.name)

    def pareto(
        self,
        objectives: Sequence[str] = ("accuracy", "energy_j"),
        over: str = "measured",
        n: int = POOL,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Return the configurations that no other one beats.

        Args:
            objectives: Some of accuracy (maximised), energy_j, time_s, power_w (minimised); of the
                space also the surrogate's other targets.
            over: ``measured``: of the measured configurations. ``space``: of `n` configurations of
                the whole space, as predicted, only those inside of what was trained.
            n: How many to draw for ``space``.
            seed: Of that draw.

        Raises:
            WattproofError: An objective is unknown, or `over` is neither.
        """
        if over == "measured":
            wanted = fronts.check_objectives(objectives, measured.OBJECTIVES)
            return fronts.front(self.measured(), wanted)
        if over != "space":
            raise WattproofError(
                f"over={over!r} is unknown; give 'measured' for the front of the measured runs or "
                "'space' for that of predictions."
            )
        wanted = fronts.check_objectives(objectives, self._predictor.targets)
        drawn = self.sample(seed, n=n)
        found = self.query_many(drawn)
        return fronts.front(pd.concat([drawn, found], axis=1)[found["in_domain"]], wanted)

    def _trainings(self) -> dict[Any, int]:
        """Epochs that are trained, by the parameter ``epochs``; under None where there is none."""
        if EPOCHS not in self._domain.axes:
            return {None: self._predictor.longest}
        shorten = int(self._manifest.get("shorten", 1))
        return {e: trained_epochs(int(e), shorten) for e in self._domain.axes[EPOCHS].values}

    def _parquet(self, name: str) -> pq.ParquetFile:
        """Open a table in memory, without Arrow's thread pools.

        Those that read for a Python file object may still be starting when a short process ends,
        which then aborts (apache/arrow issues 34314 and 50482).
        """
        return pq.ParquetFile(pa.BufferReader(self._files[f"{name}.parquet"]))

    def _frame(self, name: str) -> pd.DataFrame:
        table = self._parquet(name).read(use_threads=False)
        frame: pd.DataFrame = table.to_pandas(use_threads=False)
        return frame

    @cached_property
    def _idle_w(self) -> float | None:
        """Typical idle power of the machine (of its GPUs where energies are theirs), in watts."""
        column = "idle_w" if self._view.name == "node" else "gpu_idle_w"
        file = self._parquet("dataset")
        if column not in file.schema_arrow.names:
            return None
        watts = file.read(columns=[column], use_threads=False)[column].to_numpy()
        known = watts[np.isfinite(watts)]
        return float(np.median(known)) if len(known) else None

    def _single(self, inputs: Inputs, wanted: int, seed: int | None) -> tuple[dict[str, Row], bool]:
        """Answer one configuration after its wanted epoch: rows by target, and whether inside."""
        if isinstance(self._source, sources.Surrogate) and self._view.target == ENERGY:
            # The usual question, in plain numbers.
            draws = None if seed is None else self._reader.draws(inputs, seed)
            rows, inside = self._source.one(inputs, wanted, draws)
            if self._idle_w is not None:
                watts = self._idle_w
                value, low, high, noise, model = rows[TIME]
                rows[IDLE] = (value * watts, low * watts, high * watts, noise, model)
            return rows, inside
        rows, novelty = sources.single(self._answer(inputs, np.array([wanted]), seed))
        if not isinstance(self._source, sources.Surrogate):
            # What was not measured is not there; what models do not know yet is NaN.
            rows = {name: row for name, row in rows.items() if row[0] == row[0]}
        return rows, bool(self._source.inside(inputs, novelty)[0])

    def _answer(self, inputs: Inputs, wanted: NDArray[np.int64], seed: int | None) -> Answer:
        """Answer n configurations, each after its wanted epoch."""
        number = domain.check_seed(seed)
        draws = None if number is None else self._reader.draws(inputs, number)
        found = energies.seen(self._source.answer(inputs, wanted, draws, number), self._view)
        if self._idle_w is not None:
            for part in (found.value, found.low, found.high):
                part[IDLE] = part[TIME] * self._idle_w
            for part in (found.noise, found.model):
                part[IDLE] = part[TIME]
        return found


def _columns(found: Answer, names: Sequence[str], spread: bool) -> dict[str, NDArray[np.float64]]:
    parts = [(found.value, ""), (found.low, "_low"), (found.high, "_high")]
    if spread:
        parts += [(found.noise, "_noise"), (found.model, "_model")]
    return {f"{name}{end}": part[name] for name in names for part, end in parts}
