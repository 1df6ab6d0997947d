"""What a user may ask for: configurations, epochs and seeds, one sentence a mistake.

A value is looked up once: in a dictionary of the values that its parameter has. What the surrogate
reads of it hangs on the place found, so that checking costs next to nothing, one at a time or many.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wattproof.errors import WattproofError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    from ConfigSpace import ConfigurationSpace

Places = NDArray[np.int64]

MOST_VALUES = 65_536
"""Values of a parameter, at most: a finer grid of numbers is not looked up."""

_BOOLEANS = frozenset((bool, np.bool_))
"""For Python, True is the number 1; nobody means a group width of True."""


_WHOLE = (int, np.integer)


class Axis:
    """The values of one parameter, in order.

    Attributes:
        name: Name of the parameter.
        values: Its values, as the space states them.
        places: Place of each value; 3, 3.0 and NumPy's 3 are the same one.
        canonical: The values as an array: int64, float64, or objects.
    """

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        self.name = name
        self.values = tuple(values)
        self.places: dict[Any, int] = {value: place for place, value in enumerate(values)}
        self.boolean = any(type(value) in _BOOLEANS for value in values)
        numeric = not any(isinstance(value, str | bool) for value in values)
        self.canonical: NDArray[Any] = np.array(values, dtype=None if numeric else object)
        self._order = np.argsort(self.canonical) if numeric else None
        self._sorted = None if self._order is None else self.canonical[self._order]

    def find(self, values: NDArray[Any]) -> Places:
        """Return the place of each of n values; −1 where it is none of this parameter's."""
        if values.dtype.kind in "iuf" and self._sorted is not None and self._order is not None:
            near = np.minimum(np.searchsorted(self._sorted, values), len(self._sorted) - 1)
            return np.where(self._sorted[near] == values, self._order[near], -1)
        listed = values.tolist()
        if not self.boolean and not _BOOLEANS.isdisjoint(map(type, listed)):
            listed = [None if type(value) in _BOOLEANS else value for value in listed]
        try:
            found = [self.places.get(value, -1) for value in listed]
        except TypeError:  # something unhashable, e.g. a list
            found = [self._place(value) for value in listed]
        return np.array(found, dtype=np.int64)

    def _place(self, value: Any) -> int:
        try:
            return self.places.get(value, -1)
        except TypeError:
            return -1

    def legal(self) -> str:
        """Return the values in words."""
        return ", ".join(map(str, self.values))


class Domain:
    """Parameters of a space, ready for fast checks.

    Attributes:
        names: Parameters, in the order of the ConfigSpace object.
        axes: Values of each.
    """

    def __init__(self, space: ConfigurationSpace) -> None:
        self.names = list(space)
        self.axes = {name: Axis(name, _values(parameter)) for name, parameter in space.items()}
        self._keys = frozenset(self.names)
        self._tables = [(name, self.axes[name].places) for name in self.names]
        self._boolean = any(axis.boolean for axis in self.axes.values())

    def places(self, config: Mapping[str, Any]) -> list[int]:
        """Check one configuration.

        Returns:
            The place of each parameter's value, in the order of `names`.

        Raises:
            WattproofError: Naming the unknown or missing key, or the value out of range.
        """
        try:
            found = [places[config[name]] for name, places in self._tables]
            if len(config) == len(found) and (
                self._boolean or _BOOLEANS.isdisjoint(map(type, config.values()))
            ):
                return found
        except (KeyError, TypeError):
            pass
        return self._complain(config)

    def find(self, frame: pd.DataFrame) -> dict[str, Places]:
        """Check the parameters' columns of a frame.

        Returns:
            The places of the values of each parameter.

        Raises:
            WattproofError: As `places`.
        """
        if not hasattr(frame, "columns"):
            raise WattproofError(
                "Many configurations are a pandas frame with one a row, not "
                f"{type(frame).__name__}; make one with pandas.DataFrame(...)."
            )
        names = [str(name) for name in frame.columns if name != "epoch"]
        self._check_keys(names, "The frame")
        found = {}
        for name in names:
            values = frame[name].to_numpy()
            places = self.axes[name].find(values)
            if len(places) and places.min() < 0:
                self._refuse(name, values[int(np.argmin(places))], "The frame")
            found[name] = places
        return found

    def _check_keys(self, keys: Iterable[str], what: str) -> None:
        given = set(keys)
        for key in sorted(given - self._keys, key=str):
            raise WattproofError(
                f"{what} has the unknown key '{key}'.{did_you_mean(str(key), self.names)} "
                "Correct it or remove it."
            )
        for name in self.names:
            if name not in given:
                raise WattproofError(
                    f"{what} lacks '{name}'; add it, one of {self.axes[name].legal()}."
                )

    def _complain(self, config: Mapping[str, Any]) -> list[int]:
        """Say what is wrong; nothing is, where values of unusual types equal those of the space."""
        if not isinstance(config, Mapping):
            raise WattproofError(
                f"A configuration is a dictionary with a value for each of "
                f"{', '.join(self.names)}, not {type(config).__name__}; give one."
            )
        what = "The configuration"
        self._check_keys(config, what)
        found = []
        for name in self.names:
            value = config[name]
            boxed = np.empty(1, dtype=object)
            boxed[0] = value.item() if isinstance(value, np.generic) else value
            place = int(self.axes[name].find(boxed)[0])
            if place < 0:
                self._refuse(name, value, what)
            found.append(place)
        return found

    def _refuse(self, name: str, value: Any, what: str) -> None:
        if what != "The configuration" and isinstance(value, np.generic):
            value = value.item()
        raise WattproofError(
            f"{what} has {name}={value!r}, which is not in the space; choose "
            f"{self.axes[name].legal()}."
        )


def _values(parameter: Any) -> Sequence[Any]:
    """Values of a parameter of a ConfigSpace object.

    Raises:
        WattproofError: It has no finite list of them.
    """
    listed = getattr(parameter, "sequence", None) or getattr(parameter, "choices", None)
    if listed is not None:
        return tuple(listed)
    if hasattr(parameter, "value"):
        return (parameter.value,)
    low, high = parameter.lower, parameter.upper
    if isinstance(low, int) and isinstance(high, int) and high - low < MOST_VALUES:
        return range(low, high + 1)
    raise WattproofError(
        f"Parameter '{parameter.name}' has values without end ({low} to {high}); a benchmark needs "
        "a space whose parameters have listed values."
    )


def check_epoch(epoch: Any, epochs: int) -> int:
    """Return the epoch as an int; None means the end of the training.

    Raises:
        WattproofError: It is no whole number from 1 to `epochs`.
    """
    if epoch is None:
        return epochs
    whole = isinstance(epoch, _WHOLE) and not isinstance(epoch, bool)
    if not whole or not 1 <= epoch <= epochs:
        raise WattproofError(
            f"epoch={epoch!r} is out of range: this training has epochs 1 to {epochs}; give the "
            "number of finished epochs, or None for all."
        )
    return int(epoch)


def check_epochs(asked: NDArray[Any], epochs: Places) -> Places:
    """Return n epochs as ints; see `check_epoch`.

    Args:
        asked: What was asked for; n values of any type.
        epochs: Length of each training; n.

    Raises:
        WattproofError: One is no whole number from 1 to the length of its training.
    """
    if asked.dtype.kind in "iu":
        wrong = np.flatnonzero((asked < 1) | (asked > epochs))
        if len(wrong):
            check_epoch(int(asked[wrong[0]]), int(epochs[wrong[0]]))
        return asked.astype(np.int64)
    pairs = zip(asked.tolist(), epochs.tolist(), strict=True)
    return np.array([check_epoch(epoch, last) for epoch, last in pairs], dtype=np.int64)


def check_seed(seed: Any) -> int | None:
    """Return the seed as an int, or None.

    Raises:
        WattproofError: It is neither None nor a whole number.
    """
    if seed is None:
        return None
    if not isinstance(seed, _WHOLE) or isinstance(seed, bool):
        raise WattproofError(
            f"seed={seed!r} is no whole number; give one for a noisy draw, or None for the "
            "prediction itself."
        )
    return int(seed)
