"""From a configuration to the row of numbers that the models read.

Column order, categories and ranges are kept in a JSON file whose checksum is also written into
every model, so that a model can never be fed with columns of another order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wattproof.errors import WattproofError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Matrix = NDArray[np.float32]
Columns = Mapping[str, NDArray[Any]]

COMPLEXITY = ("macs", "params", "activations")
"""Costs of one forward pass of the realised network; the models read their logarithms."""

EPOCHS = "epochs"
"""Length of the training. It is an input even where it is no parameter of the space."""

LOG_SPAN = 5.0
"""Positive parameters whose largest value is this many times the smallest enter as logarithms:
learning rates, batch sizes and widths act by ratios."""

LARGE = 20.0
"""Further costs that get as large as this act by ratios, too; smaller ones (how many convolutions a
cell has) are taken as they are."""


FEWEST_LEVELS, MOST_LEVELS = 3, 8
"""Numeric parameters with so many trained values also enter as one column a value: hardware may
treat a group width of 8 quite differently from one of 4 and one of 16."""

OFTEN = 20
"""… if each value was trained so often: less is learned better from its size alone."""


@dataclass(frozen=True)
class Feature:
    """One column of the matrix.

    Attributes:
        name: Name of the column.
        source: Parameter, cost of the network, or ``epochs``.
        transform: ``raw``, ``log``, ``is`` (1 where the source has this category), or ``level`` (1
            where the number is this one).
        category: The category of an ``is`` column, the number of a ``level`` column.
        floor: Smaller numbers enter a logarithm as this one. No trained value is that small; a
            space may still have a zero that was never trained.
    """

    name: str
    source: str
    transform: str
    category: str | None = None
    floor: float | None = None


@dataclass(frozen=True)
class Encoding:
    """How configurations become numbers.

    Attributes:
        features: Columns that depend on the configuration alone, in order.
        ranges: Smallest and largest value that was trained, of each numeric source.
        categories: Categories that were trained, of each other source, sorted.
        parameters: Parameters of the space, in order.
    """

    features: tuple[Feature, ...]
    ranges: Mapping[str, tuple[float, float]]
    categories: Mapping[str, tuple[str, ...]]
    parameters: tuple[str, ...]
    checksum: str = field(default="")

    def __post_init__(self) -> None:
        digest = hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()
        if self.checksum not in ("", digest):
            raise WattproofError(
                "The encoding's checksum does not fit its content: the file was changed; fetch "
                "the benchmark again."
            )
        object.__setattr__(self, "checksum", digest)

    @property
    def names(self) -> list[str]:
        """Names of all columns of the matrix, in order."""
        return [feature.name for feature in self.features]

    def static(self, columns: Columns) -> Floats:
        """Encode configurations.

        Args:
            columns: One array of length n for each parameter, each cost of `COMPLEXITY` (and of
                the space's `costs`), and `EPOCHS`.

        Returns:
            Matrix n × len(features).
        """
        parts = [_transformed(columns[f.source], f) for f in self.features]
        return np.stack(parts, axis=1)

    def in_domain(self, columns: Columns) -> NDArray[np.bool_]:
        """Whether every number lies in the trained range and every category was trained."""
        sources = (*self.ranges, *self.categories)
        return np.logical_and.reduce([self.trained(one, columns[one]) for one in sources])

    @property
    def sources(self) -> tuple[str, ...]:
        """What the columns are made of: parameters, `EPOCHS`, `COMPLEXITY`, further costs."""
        return tuple(dict.fromkeys(feature.source for feature in self.features))

    def columns(self, source: str) -> list[int]:
        """Columns of the matrix that are made of one source."""
        return [index for index, f in enumerate(self.features) if f.source == source]

    def table(self, source: str, values: Sequence[Any]) -> Floats:
        """Encode single values of a source: one row a value, its `columns` in order."""
        array = np.array(values)
        parts = [_transformed(array, self.features[index]) for index in self.columns(source)]
        return np.stack(parts, axis=1)

    def trained(self, source: str, values: Sequence[Any] | NDArray[Any]) -> NDArray[np.bool_]:
        """Whether each value lies in the trained range, or is a trained category."""
        if source in self.categories:
            return np.isin(np.array(values, dtype=str), self.categories[source])
        low, high = self.ranges[source]
        numbers = np.array(values, dtype=np.float64)
        return np.asarray((numbers >= low) & (numbers <= high))

    def to_json(self) -> str:
        """Return the encoding as JSON text, checksum included."""
        return json.dumps({**self._content(), "checksum": self.checksum}, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Encoding:
        """Read what `to_json` wrote.

        Raises:
            WattproofError: The checksum does not fit.
        """
        content = json.loads(text)
        return cls(
            features=tuple(Feature(**feature) for feature in content["features"]),
            ranges={key: (low, high) for key, (low, high) in content["ranges"].items()},
            categories={key: tuple(some) for key, some in content["categories"].items()},
            parameters=tuple(content["parameters"]),
            checksum=content["checksum"],
        )

    def _content(self) -> dict[str, Any]:
        content = asdict(self)
        content.pop("checksum")
        return {**content, "columns": self.names}


def learn(columns: Columns, parameters: Sequence[str], opaque: Collection[str] = ()) -> Encoding:
    """Learn an encoding from the configurations that were trained.

    Args:
        columns: As in `Encoding.static`; text columns become one column a category. What is
            neither parameter nor `COMPLEXITY` is a further cost of the network.
        parameters: Parameters of the space, in order.
        opaque: Parameters that no model reads, since the network's costs say all about them: many
            of their values build the same network.
    """
    features: list[Feature] = []
    ranges: dict[str, tuple[float, float]] = {}
    categories: dict[str, tuple[str, ...]] = {}
    further = [name for name in columns if name not in (*parameters, EPOCHS, *COMPLEXITY)]
    read = [name for name in parameters if name != EPOCHS and name not in opaque]
    sources = [*read, EPOCHS, *COMPLEXITY, *further]
    for source in sources:
        values = np.asarray(columns[source])
        if values.dtype.kind in "biuf":
            values = values.astype(np.float64)
            low, high = float(values.min()), float(values.max())
            ranges[source] = (low, high)
            wide = low > 0 and high >= LOG_SPAN * low
            # A further cost may be 0 (no pooling): that enters as half of the smallest other one.
            some = float(values[values > 0].min(initial=np.inf))
            costly = source in further and low >= 0 and high >= LARGE
            log = source in COMPLEXITY or source == EPOCHS or wide or costly
            floor = low / 10 if low > 0 else some / 2
            features.append(
                Feature(f"log_{source}", source, "log", floor=floor)
                if log
                else Feature(source, source, "raw")
            )
            if source in read:
                features += _levels(source, values)
        else:
            known = tuple(sorted(set(values.astype(str).tolist())))
            categories[source] = known
            features += [Feature(f"{source}={one}", source, "is", one) for one in known]
    return Encoding(tuple(features), ranges, categories, tuple(parameters))


def _levels(source: str, values: NDArray[Any]) -> list[Feature]:
    """Columns of the single values of a numeric parameter, where it has few and often."""
    levels, often = np.unique(values.astype(np.float64), return_counts=True)
    if not FEWEST_LEVELS <= len(levels) <= MOST_LEVELS or often.min() < OFTEN:
        return []
    return [Feature(f"{source}={one:g}", source, "level", repr(one)) for one in levels.tolist()]


def columns_of(dataset: pd.DataFrame) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Take the models' inputs from a ``dataset`` frame.

    Returns:
        The columns for `Encoding.static`, and the parameters of the space.

    Raises:
        WattproofError: An input is unknown for some run.
    """
    import pandas as pd

    names = [str(name) for name in dataset.columns]
    found, further = (
        {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}
        for prefix in ("config_", "cost_")
    )
    wanted = {**found, **{name: name for name in COMPLEXITY}, **further}
    wanted[EPOCHS] = EPOCHS  # what was trained, which a shortened campaign has less of
    columns: dict[str, NDArray[Any]] = {}
    for source, name in wanted.items():
        values = dataset[name]
        if values.isna().any():
            raise WattproofError(
                f"Column '{name}' of the data set is unknown for run "
                f"{dataset['run_id'][values.isna()].iloc[0]}; a surrogate needs it for every run."
            )
        numeric = pd.api.types.is_numeric_dtype(values)
        columns[source] = values.to_numpy(dtype=np.float64 if numeric else str)
    return columns, list(found)


def _transformed(values: NDArray[Any], feature: Feature) -> Floats:
    if feature.transform == "is":
        return (np.asarray(values, dtype=str) == feature.category).astype(np.float64)
    numbers = np.asarray(values, dtype=np.float64)
    if feature.transform == "level":
        return (numbers == float(feature.category or "nan")).astype(np.float64)
    if feature.transform == "log":
        return np.log(np.maximum(numbers, feature.floor or np.finfo(np.float64).tiny))
    return numbers
