"""NVML's return codes and values, translated: never 0 for a failure, never a guessed type."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from wattproof.sources.base import Reading, Status
from wattproof.units import mw_to_w

# Union member of c_nvmlValue_t by NVML_VALUE_TYPE_*.
_UNION = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")

NOT_FOUND = 6
INSUFFICIENT_SIZE = 7

_STATUS = {
    3: Status.NOT_SUPPORTED,
    4: Status.NO_PERMISSION,
    NOT_FOUND: Status.MISSING,
    10: Status.TIMEOUT,
    12: Status.NOT_SUPPORTED,  # library without the function
    13: Status.NOT_SUPPORTED,  # driver without the function
    15: Status.DEVICE_LOST,
    16: Status.DEVICE_LOST,  # needs a reset
    21: Status.MISSING,  # no data
    27: Status.MISSING,  # not ready
    28: Status.DEVICE_LOST,
}


def status_of(code: int) -> Status:
    """Translate an NVML return code other than 0."""
    return _STATUS.get(code, Status.ERROR)


def text(value: str | bytes) -> str:
    """Return a string of NVML's, which older modules give as bytes."""
    return value.decode() if isinstance(value, bytes) else value


def optional(nvml: Any, name: str, *arguments: Any) -> Any:
    """Call a function that a GPU, driver or module may lack; None if it gives nothing."""
    try:
        return getattr(nvml, name)(*arguments)
    except (nvml.NVMLError, AttributeError):
        return None


def number(value: Any, value_type: int) -> float | None:
    """Return the member of NVML's value union that the type names; None for an unknown type."""
    if not 0 <= value_type < len(_UNION):
        return None
    return float(getattr(value, _UNION[value_type]))


def watts(value: Any, value_type: int) -> tuple[float | None, Status]:
    """Return power from a value in mW, or why it is none.

    No board draws nothing: drivers answer 0 when they are asked too often (measurement.md 2.2).
    """
    milliwatts = number(value, value_type)
    if milliwatts is None:
        return None, Status.GARBLED
    if not milliwatts > 0.0:
        return None, Status.MISSING
    return mw_to_w(milliwatts), Status.OK


def timed(
    nvml: Any, channels: Sequence[str], call: Callable[[Any], tuple[float, ...]], handle: Any
) -> list[Reading]:
    """Make a call that yields one value per channel, with stamps of its own."""
    start = time.monotonic_ns()
    try:
        values: tuple[float | None, ...] = call(handle)
        status = Status.OK
    except nvml.NVMLError as error:
        values = (None,) * len(channels)
        status = status_of(error.value)
    end = time.monotonic_ns()
    return [
        Reading(name, value, status, start_ns=start, end_ns=end)
        for name, value in zip(channels, values, strict=True)
    ]
