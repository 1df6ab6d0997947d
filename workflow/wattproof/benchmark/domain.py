"""Checks of what a user asks for: configurations, epochs and seeds, one sentence a mistake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from wattproof.errors import WattproofError, did_you_mean

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace


class Domain:
    """Parameters of a space, ready for fast checks.

    Attributes:
        names: Parameters, in the order of the ConfigSpace object.
    """

    def __init__(self, space: ConfigurationSpace) -> None:
        self.names = list(space)
        self._parameters: dict[str, Any] = dict(space)
        self._finite: dict[str, frozenset[Any]] = {}
        for name, parameter in space.items():
            values = getattr(parameter, "sequence", None) or getattr(parameter, "choices", None)
            if values is not None:
                self._finite[name] = frozenset(values)

    def check_keys(self, keys: Iterable[str], what: str) -> None:
        """Check that exactly the parameters of the space are there."""
        given = set(keys)
        for key in sorted(given - set(self.names)):
            raise WattproofError(
                f"{what} has the unknown key '{key}'.{did_you_mean(str(key), self.names)} "
                "Correct it or remove it."
            )
        missing = [name for name in self.names if name not in given]
        if missing:
            raise WattproofError(
                f"{what} lacks '{missing[0]}'; add it, one of {self._legal(missing[0])}."
            )

    def check_value(self, name: str, value: Any, what: str) -> None:
        """Check that a value lies in the space."""
        if not self._is_legal(name, value):
            raise WattproofError(
                f"{what} has {name}={value!r}, which is not in the space; choose "
                f"{self._legal(name)}."
            )

    def check(self, config: Mapping[str, Any]) -> None:
        """Check one configuration.

        Raises:
            WattproofError: Naming the unknown or missing key, or the value out of range.
        """
        self.check_keys(config, "The configuration")
        for name in self.names:
            self.check_value(name, config[name], "The configuration")

    def _is_legal(self, name: str, value: Any) -> bool:
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, bool):  # True == 1, but nobody means a group width of True
            finite = self._finite.get(name, frozenset())
            return any(one is value for one in finite)
        try:
            if name in self._finite:
                return value in self._finite[name]
            return isinstance(value, int | float) and bool(
                self._parameters[name].legal_value(value)
            )
        except TypeError:  # unhashable, e.g. a list
            return False

    def _legal(self, name: str) -> str:
        parameter = self._parameters[name]
        values = getattr(parameter, "sequence", None) or getattr(parameter, "choices", None)
        if values is not None:
            return ", ".join(map(str, values))
        return f"{parameter.lower} to {parameter.upper}"


def check_epoch(epoch: Any, epochs: int) -> int:
    """Return the epoch as an int; None means the end of the training.

    Raises:
        WattproofError: It is no whole number from 1 to `epochs`.
    """
    if epoch is None:
        return epochs
    whole = isinstance(epoch, int | np.integer) and not isinstance(epoch, bool)
    if not whole or not 1 <= epoch <= epochs:
        raise WattproofError(
            f"epoch={epoch!r} is out of range: this training has epochs 1 to {epochs}; give the "
            "number of finished epochs, or None for all."
        )
    return int(epoch)


def check_seed(seed: Any) -> int | None:
    """Return the seed as an int, or None.

    Raises:
        WattproofError: It is neither None nor a whole number.
    """
    if seed is None:
        return None
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool):
        raise WattproofError(
            f"seed={seed!r} is no whole number; give one for a noisy draw, or None for the "
            "prediction itself."
        )
    return int(seed)
