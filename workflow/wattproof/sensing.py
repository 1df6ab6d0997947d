"""What a power channel really senses: update period, window, delay, averaging.

`wattproof characterise` finds it on a machine and writes it to a file; `wattproof.energy` uses it
to place values in time and to state uncertainties. Facts: arXiv 2312.02741 (measurement.md 5).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wattproof.errors import WattproofError

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class SensorDescription:
    """How one channel of one device senses power; None where it could not be found.

    Attributes:
        device: GPU UUID (as ``channels.device``).
        channel: Name without its device, e.g. ``power_instant``, ``energy``, ``power_samples``.
        update_s: Time between two new values.
        window_s: A value is the mean over this long before its update; less than `update_s`: the
            sensor is blind for the rest of the time; 0: a point sample.
        delay_s: From the end of the window to the instant at which the value can be read; for
            ``power_samples`` to the driver's own stamp.
        averaging: ``boxcar`` (mean over `window_s`), ``lag`` (first-order, time constant
            `window_s`), or ``unknown``.
        uncertainty: Standard uncertainties by name of the attribute, in seconds.
        refused: Why something above is None, in a sentence; empty if nothing is.
    """

    device: str
    channel: str
    update_s: float | None = None
    window_s: float | None = None
    delay_s: float | None = None
    averaging: str = "unknown"
    uncertainty: dict[str, float] = field(default_factory=dict)
    refused: str = ""


def save(path: str | os.PathLike[str], sensors: Sequence[SensorDescription], about: Any) -> None:
    """Write descriptions to a JSON file, whole or not at all.

    Args:
        path: File to write.
        sensors: The descriptions.
        about: Provenance: host, driver, command, time, ``simulated``.
    """
    content = {
        "schema": SCHEMA_VERSION,
        "about": about,
        "sensors": [asdict(sensor) for sensor in sensors],
    }
    target = Path(path)
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(temporary, target)


def load(path: str | os.PathLike[str]) -> dict[tuple[str, str], SensorDescription]:
    """Read descriptions, by (device, channel).

    Raises:
        WattproofError: If the file is not there or not one that `save` wrote.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA_VERSION:
            raise WattproofError(
                f"{path} has schema {content['schema']}, this version reads {SCHEMA_VERSION}; "
                "run 'wattproof characterise' again."
            )
        sensors = [SensorDescription(**sensor) for sensor in content["sensors"]]
    except FileNotFoundError as error:
        raise WattproofError(
            f"There is no sensor description {path}; 'wattproof characterise' writes one."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WattproofError(
            f"{path} is not a sensor description ({error}); 'wattproof characterise' writes one."
        ) from error
    return {(sensor.device, sensor.channel): sensor for sensor in sensors}
