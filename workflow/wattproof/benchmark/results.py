"""What a query answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BANNER = "SIMULATED: the energies come from a virtual node, not from a measurement."


@dataclass(frozen=True, slots=True)
class Value:
    """A number with its interval.

    Attributes:
        value: The prediction, or a noisy draw of it.
        low: Lower end of the interval around the prediction; None if none could be set.
        high: Upper end.
        unit: ``1`` (a share from 0 to 1), ``J``, ``s`` or ``W``.
        noise: Standard deviation of repeated trainings: relative for energies, times and powers,
            absolute for accuracies. None where nothing tells it.
        model: Standard deviation of what the models do not know, on the same scale.
    """

    value: float
    low: float | None
    high: float | None
    unit: str
    noise: float | None = None
    model: float | None = None

    def __str__(self) -> str:
        if self.value != self.value:
            return "unknown before the end of the training"
        unit = "" if self.unit == "1" else f" {self.unit}"
        if self.low is None or self.high is None:
            return f"{self.value:.4g}{unit}  (no interval)"
        return f"{self.value:.4g}{unit}  ({self.low:.4g} to {self.high:.4g}{unit})"


UNITS = {
    **{"accuracy": "1", "energy_j": "J", "time_s": "s", "power_w": "W", "gpu_energy_j": "J"},
    **{"idle_energy_j": "J", "test_accuracy": "1", "inference_j_per_image": "J", "latency_s": "s"},
}
"""Units of the values of a result."""


class _Lazy:
    """Makes the values of a result when they are first read: most callers read one or two."""

    __slots__ = ("_rows",)
    _rows: Mapping[str, Sequence[float]]

    def __getattr__(self, name: str) -> Any:
        # Python asks here only for what is not set.
        unit = UNITS.get(name)
        if unit is None:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        row = self._rows.get(name)
        value = None if row is None else value_of(unit, row)
        object.__setattr__(self, name, value)
        return value


@dataclass(frozen=True, slots=True)
class Result(_Lazy):
    """Answer to one query.

    Attributes:
        accuracy: Validation accuracy after the epoch, 0 to 1.
        energy_j: Energy of all epochs so far, in joules; see `energy_scope`.
        time_s: Duration of all epochs so far, in seconds.
        power_w: Mean power so far, in watts.
        epoch: Epochs finished.
        network_key: Network that the configuration really builds.
        in_domain: Whether the configuration lies inside what was trained. Outside of it the
            intervals promise nothing.
        provenance: Where the numbers come from.
        energy_scope: ``node`` or ``gpu``: whose energy and power it is; ``gpu, by nvidia-smi``
            where it is what that tool says.
        level: Nominal coverage of the intervals.
        simulated: Whether any energy behind it comes from a virtual node.
        gpu_energy_j: Energy of the training's own GPUs so far: a part of the node's.
        idle_energy_j: Energy that the machine would have drawn idle meanwhile: a part, too.
        test_accuracy: Test accuracy at the end of the whole training, whatever the epoch.
        inference_j_per_image: Energy of the inference of one image, in large batches.
        latency_s: Time of the inference of one image alone.

    The last five are None where the campaign did not tell them.
    """

    accuracy: Value
    energy_j: Value
    time_s: Value
    power_w: Value
    epoch: int
    network_key: str
    in_domain: bool
    provenance: str
    energy_scope: str
    level: float
    simulated: bool
    gpu_energy_j: Value | None = None
    idle_energy_j: Value | None = None
    test_accuracy: Value | None = None
    inference_j_per_image: Value | None = None
    latency_s: Value | None = None

    def __str__(self) -> str:
        lines = [BANNER] if self.simulated else []
        lines += [
            f"{self.network_key} after {self.epoch} epochs ({self.provenance}, "
            f"{self.level:.0%} intervals)",
            f"  accuracy  {self.accuracy}",
            f"  energy    {self.energy_j}, {self.energy_scope}",
            f"  time      {self.time_s}",
            f"  power     {self.power_w}, {self.energy_scope}",
        ]
        further = {
            "of which GPU energy": self.gpu_energy_j,
            "of which idle": self.idle_energy_j,
            "test accuracy": self.test_accuracy,
            "inference, an image": self.inference_j_per_image,
            "latency": self.latency_s,
        }
        lines += [f"  {name}  {value}" for name, value in further.items() if value is not None]
        if self.provenance == "surrogate" and self.energy_j.low is None:
            lines.append("  no intervals: the campaign was too small to set them")
        if not self.in_domain:
            lines.append("  outside of what was trained: the intervals promise nothing here")
        return "\n".join(lines)


class _ThawedValue:
    """Has the slots of `Value`, so that it can be filled and then become one.

    The constructor of a frozen dataclass goes through `object.__setattr__` field by field; a query
    makes ten objects with some seventy fields, and that alone would be a quarter of its time.
    """

    __slots__ = tuple(Value.__dataclass_fields__)


class _ThawedResult(_Lazy):
    """Has the slots of `Result`; see `_ThawedValue`."""

    __slots__ = tuple(Result.__dataclass_fields__)


def value_of(unit: str, row: Sequence[float]) -> Value:
    """Return a value from its five numbers: value, low, high, noise, model; NaN where unknown."""
    made: Any = _ThawedValue()
    made.value, low, high, noise, model = row
    made.unit = unit
    if low == low and high == high:  # not NaN
        made.low, made.high = low, high
    else:
        made.low = made.high = None
    made.noise = noise if noise == noise else None
    made.model = model if model == model else None
    made.__class__ = Value
    found: Value = made
    return found


def result_of(
    rows: Mapping[str, Sequence[float]],
    epoch: int,
    network_key: str,
    in_domain: bool,
    about: tuple[str, str, float, bool],
) -> Result:
    """Return a result.

    Args:
        rows: For each target known its five numbers, see `value_of`.
        epoch: Epochs finished.
        network_key: Network that the configuration really builds.
        in_domain: Whether the intervals hold.
        about: Provenance, energy_scope, level, and simulated.
    """
    made: Any = _ThawedResult()
    made._rows, made.epoch, made.network_key, made.in_domain = rows, epoch, network_key, in_domain
    made.provenance, made.energy_scope, made.level, made.simulated = about
    made.__class__ = Result
    found: Result = made
    return found
