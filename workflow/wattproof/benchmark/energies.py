"""Whose energy is answered: the calibrated one, the GPUs' own, or what nvidia-smi says it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof.errors import WattproofError
from wattproof.surrogate.predictor import Answer
from wattproof.surrogate.targets import ENERGY, GPU_ENERGY, POWER, SMI_ENERGY, TIME

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """One of the energies.

    Attributes:
        name: ``node``, ``gpu`` or ``smi``: also the beginning of its column in table ``curves``.
        target: Target of the surrogate that it is.
        scope: Whose energy it is, in words.
    """

    name: str
    target: str
    scope: str


OTHERS = (View("gpu", GPU_ENERGY, "gpu"), View("smi", SMI_ENERGY, "gpu, by nvidia-smi"))


def views(scope: str, targets: Collection[str]) -> dict[str, View]:
    """Energies that a surrogate can answer, by name, the calibrated one first.

    Args:
        scope: Whose energy its target ``energy_j`` is: ``node`` or ``gpu``.
        targets: Its targets.
    """
    found = {scope: View(scope, ENERGY, scope)}
    for view in OTHERS:
        if view.target in targets:
            found.setdefault(view.name, view)
    return found


def choose(wanted: Any, known: Mapping[str, View]) -> View:
    """Return the view of a name; the calibrated one for None.

    Raises:
        WattproofError: The benchmark cannot answer that energy.
    """
    if wanted is None:
        return next(iter(known.values()))
    if wanted not in known:
        raise WattproofError(
            f"energy={wanted!r} is none that this benchmark answers; give "
            f"{' or '.join(map(repr, known))}, or None for the calibrated one."
        )
    return known[wanted]


def seen(answer: Answer, view: View) -> Answer:
    """Let `energy_j` and `power_w` of an answer be those of a view.

    The power's interval takes the errors of energy and time as independent; since a longer training
    also costs more energy, it is rather too wide.
    """
    if view.target == ENERGY:
        return answer
    half = {
        target: np.log(answer.high[target] / answer.low[target]) / 2
        for target in (view.target, TIME)
    }
    middle = {
        target: np.sqrt(answer.high[target] * answer.low[target]) for target in (view.target, TIME)
    }
    factor = np.exp(np.hypot(half[view.target], half[TIME]))
    power = middle[view.target] / middle[TIME]

    def with_energy(values: Mapping[str, Floats], watts: Floats) -> dict[str, Floats]:
        return {**values, ENERGY: values[view.target], POWER: watts}

    def both(spread: Mapping[str, Floats]) -> dict[str, Floats]:
        return with_energy(spread, np.hypot(spread[view.target], spread[TIME]))

    watts = answer.value[view.target] / answer.value[TIME]
    return dataclasses.replace(
        answer,
        value=with_energy(answer.value, watts),
        low=with_energy(answer.low, power / factor),
        high=with_energy(answer.high, power * factor),
        noise=both(answer.noise),
        model=both(answer.model),
    )
