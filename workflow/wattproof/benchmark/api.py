"""The interface of a published benchmark.

Needs numpy, pandas, pyarrow, ConfigSpace and onnxruntime. Queries are pure functions of
(configuration, epoch, seed): no global state is read or written.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from ConfigSpace import ConfigurationSpace
from numpy.typing import NDArray

from wattproof import space as spaces
from wattproof.benchmark import domain, manifest, measured
from wattproof.benchmark.results import Result, Value
from wattproof.errors import WattproofError
from wattproof.surrogate.encoding import COMPLEXITY, EPOCHS
from wattproof.surrogate.predictor import Predictor
from wattproof.surrogate.targets import CORE as TARGETS

UNITS = {"accuracy": "1", "energy_j": "J", "time_s": "s", "power_w": "W"}
CACHE = 65_536
"""Networks whose costs are remembered; more are computed again."""

Network = tuple[Any, ...]
"""Key, multiply-accumulates, parameters, activations, and the space's further `costs`."""


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
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read and verify a benchmark folder; see `wattproof.load`."""
        self._manifest, self._files = manifest.read(Path(path))
        self.space = ConfigurationSpace.from_serialized_dict(
            json.loads(self._files["configspace.json"])
        )
        self.name: str = self._manifest["name"]
        self.simulated: bool = self._manifest["simulated"]
        self.licence: str = self._manifest["licence"]
        self.targets: dict[str, dict[str, str]] = self._manifest["targets"]
        self._input: dict[str, int] = self._manifest["input"]
        self._space = spaces.get(self._manifest["space"])
        if self._space.configspace() != self.space:
            raise WattproofError(
                f"{path} was made with another version of the search space "
                f"'{self._space.name}' ({self._manifest['created_by']}); install that version."
            )
        self._predictor = Predictor(self._files)
        self._domain = domain.Domain(self.space)
        shape = getattr(self._space, "architecture", None)
        self._architecture = list(self._domain.names if shape is None else shape)
        self._networks: dict[tuple[Any, ...], Network] = {}

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

    def sample(self, seed: int = 0) -> dict[str, Any]:
        """Draw a configuration that builds an allowed network; equal seeds, equal draws."""
        number = domain.check_seed(seed)
        if number is None or number < 0:
            raise WattproofError(f"seed={seed!r} cannot be drawn with; give a number from 0 up.")
        return self._space.sample(1, number)[0]

    def query(
        self, config: Mapping[str, Any], epoch: int | None = None, seed: int | None = None
    ) -> Result:
        """Predict accuracy, energy, time and power of one configuration.

        Args:
            config: A value for each parameter of `space`.
            epoch: After so many epochs; None for the end of the training.
            seed: None for the prediction itself. A number for a noisy draw: what one new training
                may give, as far off as a held-out run of the campaign was. The draw depends on
                configuration and seed alone, so the curve of a seed is one curve.

        Returns:
            Values with intervals; the intervals are around the prediction, also of a draw.

        Raises:
            WattproofError: A key is unknown or missing, a value or the epoch is out of range, or
                the configuration builds no allowed network.
        """
        columns, keys = self._single(config)
        epochs = int(columns[EPOCHS][0])
        wanted = np.array([domain.check_epoch(epoch, epochs)])
        found = self._answer(columns, wanted, domain.check_seed(seed))

        def value(target: str) -> Value:
            low, high = (float(found[f"{target}_{end}"][0]) for end in ("low", "high"))
            known = np.isfinite(low) and np.isfinite(high)
            return Value(
                float(found[target][0]),
                low if known else None,
                high if known else None,
                UNITS[target],
            )

        return Result(
            accuracy=value("accuracy"),
            energy_j=value("energy_j"),
            time_s=value("time_s"),
            power_w=value("power_w"),
            epoch=int(wanted[0]),
            network_key=keys[0],
            in_domain=bool(self._predictor.encoding.in_domain(columns)[0]),
            provenance="surrogate",
            energy_scope=self._predictor.energy_scope,
            level=self._predictor.level,
            simulated=self.simulated,
        )

    def query_many(
        self, frame: pd.DataFrame, epoch: int | None = None, seed: int | None = None
    ) -> pd.DataFrame:
        """Predict many configurations at once.

        Args:
            frame: One configuration a row, one column a parameter; a column ``epoch`` is allowed.
            epoch: After so many epochs, for all rows; None for the column, or the end.
            seed: As in `query`.

        Returns:
            A frame with the same index: each target with ``_low`` and ``_high``, ``epoch``,
            ``network_key``, ``in_domain``.

        Raises:
            WattproofError: As `query`.
        """
        names = [str(name) for name in frame.columns if name != "epoch"]
        self._domain.check_keys(names, "The frame")
        for name in names:
            # Objects one by one: for pandas True is 1, and a list is no value at all.
            some = frame[name] if frame[name].dtype == object else pd.unique(frame[name])
            for one in some:
                self._domain.check_value(name, one, "The frame")
        columns, keys = self._columns({name: frame[name].to_numpy() for name in names})
        lengths = columns[EPOCHS].astype(np.int64)
        asked: Sequence[Any]
        if epoch is None and "epoch" in frame.columns:
            asked = frame["epoch"].tolist()
        else:
            asked = [epoch] * len(frame)
        wanted = np.array(
            [domain.check_epoch(e, int(n)) for e, n in zip(asked, lengths, strict=True)],
            dtype=np.int64,
        )
        found: dict[str, Any] = self._answer(columns, wanted, domain.check_seed(seed))
        found |= {
            "epoch": wanted,
            "network_key": keys,
            "in_domain": self._predictor.encoding.in_domain(columns),
        }
        return pd.DataFrame(found, index=frame.index)

    def curve(self, config: Mapping[str, Any], seed: int | None = None) -> pd.DataFrame:
        """Predict the whole training of one configuration.

        Returns:
            Columns ``epoch`` (1 to the end), ``accuracy``, ``energy_j`` (cumulative, rising) and
            ``time_s`` (cumulative, rising).
        """
        columns, _ = self._single(config)
        wanted = np.arange(1, int(columns[EPOCHS][0]) + 1)
        repeated = {name: np.repeat(values, len(wanted)) for name, values in columns.items()}
        found = self._answer(repeated, wanted, domain.check_seed(seed))
        names = ("accuracy", "energy_j", "time_s")
        return pd.DataFrame({"epoch": wanted, **{name: found[name] for name in names}})

    def measured(self) -> pd.DataFrame:
        """Return the measured configurations, replicates averaged (``n`` runs each)."""
        return measured.table(self.dataset, self.curves, self._predictor.energy_scope)

    def pareto(self, objectives: Sequence[str] = ("accuracy", "energy_j")) -> pd.DataFrame:
        """Return the *measured* configurations that no other measured one beats.

        Args:
            objectives: Some of accuracy (maximised), energy_j, time_s, power_w (minimised).

        Raises:
            WattproofError: An objective is unknown.
        """
        return measured.pareto(self.measured(), objectives)

    def _frame(self, name: str) -> pd.DataFrame:
        frame: pd.DataFrame = pq.read_table(BytesIO(self._files[f"{name}.parquet"])).to_pandas()
        return frame

    def _single(self, config: Mapping[str, Any]) -> tuple[dict[str, NDArray[Any]], list[str]]:
        self._domain.check(config)
        return self._columns({name: np.array([config[name]]) for name in self._domain.names})

    def _columns(
        self, parameters: Mapping[str, NDArray[Any]]
    ) -> tuple[dict[str, NDArray[Any]], list[str]]:
        """Add the costs of the realised networks and the length of the training."""
        points = zip(*(parameters[name].tolist() for name in self._architecture), strict=True)
        networks = [self._network(point) for point in points]
        names = (*COMPLEXITY, *self._space.costs)
        costs = np.array([costs for _, *costs in networks], dtype=np.float64)
        costs = costs.reshape(-1, len(names))
        columns = {**parameters, **{name: costs[:, i] for i, name in enumerate(names)}}
        if EPOCHS not in columns:
            columns[EPOCHS] = np.full(len(networks), self._predictor.longest)
        return columns, [key for key, *_ in networks]

    def _network(self, point: tuple[Any, ...]) -> Network:
        if point not in self._networks:
            if len(self._networks) >= CACHE:
                self._networks.clear()
            config = dict(zip(self._architecture, point, strict=True))
            network: Any = self._space.realise(config, **self._input)
            costs = network.complexity()
            further = network.costs() if self._space.costs else ()
            self._networks[point] = (
                *(network.key, costs.macs, costs.params, costs.activations),
                *further,
            )
        return self._networks[point]

    def _answer(
        self, columns: Mapping[str, NDArray[Any]], wanted: NDArray[np.int64], seed: int | None
    ) -> dict[str, NDArray[np.float64]]:
        """Predict n configurations, each after its wanted epoch."""
        epochs = np.asarray(columns[EPOCHS], dtype=np.int64)
        answer = self._predictor.answer(self._predictor.encoding.static(columns), wanted, epochs)
        values = answer.value
        if seed is not None:
            draws = self._picks(columns, seed, len(wanted)).astype(np.uint64)
            values = self._predictor.noisy(values, draws)
        found: dict[str, NDArray[np.float64]] = {}
        for target in TARGETS:
            low, high = answer.low[target], answer.high[target]
            found |= {target: values[target], f"{target}_low": low, f"{target}_high": high}
        return found

    def _picks(self, columns: Mapping[str, NDArray[Any]], seed: int, n: int) -> NDArray[np.int64]:
        """A large number for each configuration, fixed by it and the seed on every machine."""
        texts = [f"{seed}"] * n
        for name in sorted(self._domain.names):
            values = columns[name].tolist()
            # 3 and 3.0 are the same configuration.
            parts = [repr(float(v)) if isinstance(v, int | float) else str(v) for v in values]
            texts = [f"{text}|{part}" for text, part in zip(texts, parts, strict=True)]
        digests = (hashlib.sha256(text.encode()).digest()[:7] for text in texts)
        return np.array([int.from_bytes(digest) for digest in digests], dtype=np.int64)
