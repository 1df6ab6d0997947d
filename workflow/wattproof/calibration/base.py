"""What an estimator of node energy is given and gives back, and the list of all of them.

A new estimator is one file in this folder with a function that carries `estimator`, plus one
import in ``calibration/__init__.py``::

    @estimator("my_rule", "My rule")
    def my_rule(inputs: Inputs) -> Outcome: ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof.errors import WattproofError
from wattproof.offsocket import OffSocket

F64Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an estimator.

    Attributes:
        value: Its value.
        unit: Its unit; "1" for pure numbers.
        u: Standard uncertainty; None if unknown or if the rule fixes the value.
    """

    value: float
    unit: str
    u: float | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What every estimator may use.

    Attributes:
        targets: Balance (`wattproof.offsocket.node_balance`) of run and epoch windows of
            trainings, index window_id.
        loads: Balance of the calibration loads.
        offsocket: Off-socket power from the calibration loads.
        memory_gib: Memory of the node as its operating system sees it; None if unknown.
        arm: True for an ARM host.
    """

    targets: pd.DataFrame
    loads: pd.DataFrame
    offsocket: OffSocket
    memory_gib: float | None
    arm: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an estimator gives back.

    Attributes:
        energy_j: Estimate for each row of `Inputs.targets`; NaN where it cannot be had.
        lower_j: Lower end of its interval; NaN without one.
        upper_j: Upper end.
        parameters: For the record and for use elsewhere.
        valid_range: ``{quantity: (low, high, unit)}`` of the data that the parameters come from.
        held_out: How data that set parameters were kept apart from data that are scored.
        refused: Why there is no estimate (then all energies are NaN), or why there is no interval.
    """

    energy_j: F64Array
    lower_j: F64Array
    upper_j: F64Array
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    valid_range: Mapping[str, tuple[float, float, str]] = field(default_factory=dict)
    held_out: str = ""
    refused: str = ""


Rule = Callable[[Inputs], Outcome]


@dataclass(frozen=True, slots=True)
class Estimator:
    """A registered estimator: name in tables, label for people, and the rule."""

    name: str
    label: str
    rule: Rule


ESTIMATORS: dict[str, Estimator] = {}
"""All estimators by name, in the order in which they are shown."""


def estimator(name: str, label: str) -> Callable[[Rule], Rule]:
    """Register a rule as an estimator.

    Raises:
        WattproofError: If the name is taken.
    """

    def register(rule: Rule) -> Rule:
        if name in ESTIMATORS:
            raise WattproofError(f"There are two estimators named '{name}'; rename one.")
        ESTIMATORS[name] = Estimator(name, label, rule)
        return rule

    return register


def refuse(inputs: Inputs, reason: str, **more: Any) -> Outcome:
    """Return an outcome without any estimate, with the reason."""
    nothing = np.full(len(inputs.targets), np.nan)
    return Outcome(nothing, nothing, nothing, refused=reason, **more)


def missing_cheap(targets: pd.DataFrame) -> str:
    """Say which cheap channels gave no energy in any target window; empty if all did."""
    parts = {"socket_j": "the CPU packages (rapl)", "gpu_j": "the GPUs (nvml)"}
    lacking = [text for column, text in parts.items() if not targets[column].notna().any()]
    return f"no energy from {' and '.join(lacking)}" if lacking else ""
