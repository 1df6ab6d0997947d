"""Answers by training: kind ``live``."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof.benchmark import train
from wattproof.benchmark.domain import Domain
from wattproof.benchmark.inputs import Inputs
from wattproof.benchmark.table import LEVEL, Key, Table, keys_of
from wattproof.surrogate.predictor import Answer

Floats = NDArray[np.float64]
LOG = logging.getLogger(__name__)
"""Told how a training goes on."""


class Live:
    """Trains what it is asked, once, by the recipe of the benchmark's campaign.

    On the node that the campaign had: a virtual one is simulated again, a real one is this machine
    with its own instruments.

    Args:
        domain: Parameters of the space.
        campaign: Content of ``campaign.json``.
        targets: What is to be answered.
        scope: ``node`` or ``gpu``: whose energy the target ``energy_j`` is.
        energy: Target of the energy that is asked for.
        folder: Where it trains; what lies there is not trained again. None for a folder that goes
            when the benchmark is not used any more.
        settings: Keys of the campaign that are other ones here.

    Raises:
        WattproofError: The benchmark has no recipe, or a key is unknown.
    """

    level = LEVEL

    def __init__(
        self,
        domain: Domain,
        campaign: Mapping[str, Any],
        targets: Collection[str],
        scope: str,
        energy: str,
        folder: Path | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._domain, self._targets = domain, targets
        self._scope, self._energy = scope, energy
        self._recipe = train.recipe(campaign, settings)
        self._folder = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._tables: dict[tuple[Key, int], Table] = {}

    def provenance(self, inputs: Inputs, seed: int | None) -> str:
        """Return where the answer comes from."""
        return "live"

    def inside(self, inputs: Inputs, novelty: Floats | float) -> NDArray[np.bool_]:
        """What was just measured needs no model."""
        return np.ones(len(inputs.epochs), dtype=bool)

    def answer(
        self,
        inputs: Inputs,
        epoch: NDArray[np.int64],
        draws: NDArray[np.uint64] | None,
        seed: int | None,
    ) -> Answer:
        """Train n configurations, one after the other; see `Source.answer`.

        `seed` is that of the training; None for 0.

        Raises:
            WattproofError: Something is missing here, or a training failed.
        """
        keys = keys_of(inputs)
        number = 0 if seed is None else seed
        found = {key: self._table(key, number) for key in dict.fromkeys(keys)}
        if len(found) == 1:
            return found[keys[0]].answer(inputs, epoch, draws, None)
        parts = [
            found[key].answer(_only(inputs, index), epoch[index : index + 1], None, None)
            for index, key in enumerate(keys)
        ]
        return _joined(parts)

    def _table(self, key: Key, seed: int) -> Table:
        if (key, seed) not in self._tables:
            names = self._domain.names
            axes = self._domain.axes
            chosen = {name: axes[name].values[at] for name, at in zip(names, key, strict=True)}
            dataset, curves = train.train(self._recipe, chosen, seed, self._place(), LOG.info)
            self._tables[key, seed] = Table(
                self._domain, dataset, curves, self._targets, self._scope, self._energy, "live"
            )
        return self._tables[key, seed]

    def _place(self) -> Path:
        if self._folder is not None:
            return self._folder
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="wattproof-live-")
        return Path(self._temporary.name)


def _only(inputs: Inputs, index: int) -> Inputs:
    """Return one of several configurations."""
    at = slice(index, index + 1)
    return Inputs(
        static=inputs.static[at],
        epochs=inputs.epochs[at],
        networks=inputs.networks[at],
        inside=inputs.inside[at],
        places=[np.atleast_1d(place)[at] for place in inputs.places],
    )


def _joined(parts: list[Answer]) -> Answer:
    def join(what: str) -> dict[str, NDArray[np.float64]]:
        first: dict[str, NDArray[np.float64]] = getattr(parts[0], what)
        return {name: np.concatenate([getattr(p, what)[name] for p in parts]) for name in first}

    names = ("value", "low", "high", "noise", "model")
    return Answer(**{name: join(name) for name in names}, novelty=np.zeros(len(parts)))
