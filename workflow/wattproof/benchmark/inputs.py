"""From what a user asks to what the surrogate reads, one configuration or many at once.

Every value of a parameter has a place (`domain`), and everything that depends on that value alone
is computed once, when the benchmark is loaded: its columns for the models, whether it was trained,
its share of the key of noisy draws. Both ways here only gather, so they agree to the last bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wattproof.benchmark.domain import Domain, Places
from wattproof.errors import WattproofError
from wattproof.space.quick import Realiser
from wattproof.surrogate.encoding import EPOCHS, Encoding, Floats

if TYPE_CHECKING:
    import pandas as pd

Keys = NDArray[np.uint64]


@dataclass(slots=True)
class Inputs:
    """What the surrogate reads of n configurations.

    Attributes:
        static: Encoded configurations, without the epoch; n × k.
        epochs: Length of each training; n.
        networks: Key of each realised network; n.
        inside: Whether every value, and every cost of the network, lies in what was trained; n.
        places: Places of the values of each parameter; n each.
    """

    static: Floats
    epochs: Places
    networks: list[str]
    inside: NDArray[np.bool_]
    places: Sequence[Any]

    def repeated(self, times: int) -> Inputs:
        """Return the only configuration several times."""
        return Inputs(
            static=np.repeat(self.static, times, axis=0),
            epochs=np.repeat(self.epochs, times),
            networks=self.networks * times,
            inside=np.repeat(self.inside, times),
            places=self.places,
        )


class Reader:
    """Reads configurations of one benchmark."""

    def __init__(
        self, domain: Domain, encoding: Encoding, realiser: Realiser, lengths: Mapping[Any, int]
    ) -> None:
        """Prepare the tables.

        Args:
            domain: Parameters of the space.
            encoding: How the models want to read configurations.
            realiser: Realises the space's networks for the benchmark's images.
            lengths: Epochs that are trained, by value of the parameter ``epochs``; where the space
                has none, the one length of all trainings under None.

        Raises:
            WattproofError: The encoding reads a parameter that the space lacks, or its columns are
                not in the order of its sources.
        """
        self._domain, self._realiser = domain, realiser
        values = {name: axis.values for name, axis in domain.axes.items()}
        self._at = {name: index for index, name in enumerate(domain.names)}
        self._fixed = EPOCHS not in values
        self._lengths = [lengths[v] for v in ((None,) if self._fixed else values[EPOCHS])]
        self._length_arrays = [_fixed([length]) for length in self._lengths]
        values[EPOCHS] = tuple(self._lengths)
        sources = encoding.sources
        parts = [encoding.columns(source) for source in sources]
        if [column for part in parts for column in part] != list(range(len(encoding.features))):
            raise WattproofError(
                "The encoding's columns are not in the order of their sources; publish the "
                "benchmark again with this version of wattproof."
            )
        read = [source for source in sources if source in values]
        self._costs = _Costs(encoding, sources[len(read) :], realiser.costs)
        self._width = len(encoding.features)
        self._tables = [(self._at.get(s, -1), encoding.table(s, values[s])) for s in read]
        self._trained = [(self._at.get(s, -1), encoding.trained(s, values[s])) for s in read]
        self._rows = [(at, list(map(tuple, table.tolist()))) for at, table in self._tables]
        self._untrained = [
            (at, frozenset(np.flatnonzero(~trained).tolist()))
            for at, trained in self._trained
            if not trained.all()
        ]
        self._shaping = [(self._at[p], domain.axes[p].values) for p in realiser.parameters]
        self._draws = [_keys_of(name, domain.axes[name].values) for name in domain.names]

    def one(self, config: Mapping[str, Any]) -> Inputs:
        """Read one configuration.

        Raises:
            WattproofError: A key is unknown or missing, a value is out of range, or no allowed
                network is built.
        """
        places = self._domain.places(config)
        network = self._realiser.at(tuple([values[places[at]] for at, values in self._shaping]))
        length = places[self._at[EPOCHS]] if not self._fixed else 0
        places.append(0)  # of what is no parameter: the length of all trainings, at −1
        row: list[float] = []
        for at, rows in self._rows:
            row += rows[places[at]]
        _, macs, params, activations, further = network
        encoded, inside = self._costs.encode_one((macs, params, activations, *further))
        row += encoded
        for at, untrained in self._untrained:
            inside &= places[at] not in untrained
        places.pop()
        return Inputs(
            static=np.array([row]),
            epochs=self._length_arrays[length],
            networks=[network[0]],
            inside=_TRUE if inside else _FALSE,
            places=places,
        )

    def many(self, frame: pd.DataFrame) -> Inputs:
        """Read a frame with one configuration a row.

        Raises:
            WattproofError: As `one`.
        """
        found = self._domain.find(frame)
        n = len(frame)
        places = [found[name] for name in self._domain.names]
        none = np.zeros(n, dtype=np.int64)
        shaping = self._realiser.parameters
        built = {name: self._domain.axes[name].canonical[found[name]] for name in shaping}
        networks = self._realiser.many(built)
        if not networks.valid.all():
            row = int(np.argmin(networks.valid))
            self._realiser.at(
                tuple(self._domain.axes[name].values[found[name][row]] for name in shaping)
            )
        own = [networks.macs, networks.params, networks.activations]
        costs = np.column_stack([*own, networks.further]).astype(np.float64, copy=False)
        encoded, inside = self._costs.encode(costs)
        static = np.empty((n, self._width))
        column = 0
        for at, table in self._tables:
            width = table.shape[1]
            static[:, column : column + width] = table[places[at] if at >= 0 else none]
            column += width
        static[:, column:] = encoded
        for at, trained in self._trained:
            inside &= trained[places[at] if at >= 0 else none]
        lengths = np.array(self._lengths, dtype=np.int64)
        return Inputs(
            static=static,
            epochs=lengths[none if self._fixed else found[EPOCHS]],
            networks=networks.keys,
            inside=inside,
            places=places,
        )

    def draws(self, inputs: Inputs, seed: int) -> Keys:
        """A random number for each configuration, fixed by it and the seed on every machine; n."""
        digest = hashlib.sha256(str(seed).encode()).digest()
        mixed = np.full(len(inputs.epochs), int.from_bytes(digest[:8]), dtype=np.uint64)
        for keys, places in zip(self._draws, inputs.places, strict=True):
            mixed += keys[places]
        # The finish of splitmix64: every bit of the sum moves every bit of the result.
        mixed ^= mixed >> np.uint64(30)
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(27)
        mixed *= np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)))


class _Costs:
    """Costs of networks, as the models read them."""

    def __init__(self, encoding: Encoding, read: Sequence[str], told: Sequence[str]) -> None:
        """Prepare.

        Args:
            encoding: How the models want to read configurations.
            read: Costs in the order of its columns.
            told: Costs in the order that the networks tell them.

        Raises:
            WattproofError: A cost that is read is not told.
        """
        unknown = [name for name in read if name not in told]
        if unknown:
            raise WattproofError(
                f"The surrogate reads '{unknown[0]}', which neither the space nor its networks "
                "tell; install the version of wattproof that the benchmark was made with."
            )
        order = [told.index(name) for name in read]
        self._order = None if order == list(range(len(told))) else order
        features = [encoding.features[encoding.columns(name)[0]] for name in read]
        self._log = np.array([feature.transform == "log" for feature in features])
        self._floors = np.array(
            [feature.floor or np.finfo(np.float64).tiny for feature in features]
        )
        self._all_log = bool(self._log.all())
        self._low, self._high = np.array([encoding.ranges[name] for name in read]).T

        self._limits = list(
            zip(self._low.tolist(), self._high.tolist(), self._floors.tolist(), strict=True)
        )

    def encode(self, costs: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the models' columns of n networks, and whether all their costs were trained."""
        if self._order is not None:
            costs = costs[:, self._order]
        inside = ((costs >= self._low) & (costs <= self._high)).all(axis=1)
        logarithms = np.log(np.maximum(costs, self._floors))
        return np.where(self._log, logarithms, costs), inside

    def encode_one(self, costs: tuple[float, ...]) -> tuple[list[float], bool]:
        """As `encode`, of one network."""
        if self._order is not None:
            costs = tuple([costs[index] for index in self._order])
        inside = True
        floored = []
        for cost, (low, high, floor) in zip(costs, self._limits, strict=True):
            inside &= low <= cost <= high
            floored.append(cost if cost > floor else floor)
        logarithms: list[float] = np.log(np.array(floored)).tolist()
        if self._all_log:
            return logarithms, inside
        rows = zip(self._log.tolist(), logarithms, costs, strict=True)
        return [logarithm if log else cost for log, logarithm, cost in rows], inside


def _fixed(values: Sequence[Any]) -> NDArray[Any]:
    """Return an array that nobody can change, to be handed out again and again."""
    array = np.array(values)
    array.flags.writeable = False
    return array


_TRUE, _FALSE = _fixed([True]), _fixed([False])


def _keys_of(name: str, values: Sequence[Any]) -> Keys:
    """A random number for each value of a parameter; 3 and 3.0 are the same value."""
    texts = [repr(float(v)) if isinstance(v, int | float) else str(v) for v in values]
    digests = [hashlib.sha256(f"{name}={text}".encode()).digest()[:8] for text in texts]
    return np.array([int.from_bytes(digest) for digest in digests], dtype=np.uint64)
