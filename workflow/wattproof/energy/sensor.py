"""What is known of the sensor behind a channel, and who says so."""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wattproof import sensing
from wattproof.energy.counter import DEFAULT_UPDATE_S
from wattproof.errors import WattproofError
from wattproof.sensing import SensorDescription

Sensors = Mapping[tuple[str, str], SensorDescription]

DESCRIPTION, IDENTITY, SIBLING = "description", "identity", "sibling"


@dataclass(frozen=True, slots=True)
class Sensor:
    """How a channel senses power; None where nobody says.

    Attributes:
        update_s: Time between new values.
        window_s: What a value is the mean of; less than `update_s`: blind for the rest.
        delay_s: From the end of the window to when the value can be read.
        delay_u_s: Its standard uncertainty.
        source: Who says `window_s`: a sensor description, the channel's identity, or a power
            channel of the same device.
    """

    update_s: float | None = None
    window_s: float | None = None
    delay_s: float | None = None
    delay_u_s: float = 0.0
    source: str = ""

    @property
    def part_time(self) -> bool:
        """Whether the sensor is blind for some of the time."""
        return (
            self.update_s is not None
            and self.window_s is not None
            and self.window_s < 0.95 * self.update_s
        )

    @property
    def blind_s(self) -> float:
        """How much of each update period a part-time sensor does not see; 0 for others."""
        if not self.part_time or self.update_s is None or self.window_s is None:
            return 0.0
        return self.update_s - self.window_s


def load_sensors(setting: Any) -> Sensors:
    """Return sensor descriptions from a campaign's ``analysis.sensors``: path, mapping or null."""
    if not setting:
        return {}
    if isinstance(setting, Mapping):
        return setting
    if isinstance(setting, str | os.PathLike):
        return sensing.load(setting)
    raise WattproofError(
        f"Key 'analysis.sensors' is {setting!r}; it must be the path of a file that "
        "'wattproof characterise' wrote, or null."
    )


def identity_of(channel: Mapping[str, Any]) -> dict[str, Any]:
    """Return a channel's identity.

    Raises:
        WattproofError: If it is not JSON.
    """
    try:
        identity = json.loads(channel["identity"] or "{}")
    except json.JSONDecodeError as error:
        raise WattproofError(
            f"Channel '{channel['channel']}' of source '{channel['source']}' has an identity that "
            f"is not JSON ({error}); record it anew or mend the table."
        ) from error
    return identity if isinstance(identity, dict) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and value == value else None


def quantity(channel: Mapping[str, Any]) -> str:
    """Return a channel's name without its device: ``gpu0.energy`` is ``energy``."""
    return str(channel["channel"]).rpartition(".")[2]


def describe(
    channel: Mapping[str, Any], siblings: Sequence[Mapping[str, Any]], sensors: Sensors
) -> Sensor:
    """Return what is known of a channel's sensor.

    A sensor description counts before everything else, as far as it could be found. Then the
    identity of the channel itself.
    A counter and the ring of a board say nothing of their sensor, but the board has one: where the
    instant power of the same device is told to see only part of the time (by the name of the
    board, as measured by others), they are taken to see no more. That may be wrong, for nobody
    has published what the counter of an H100 adds up; it errs on the safe side: intervals become
    wider, values do not change. Evidence in the recording overrules it: a ring with new values
    within an update period (`wattproof.energy.fuse`).

    Args:
        channel: Its row of table ``channels``.
        siblings: Rows of all channels of the session.
        sensors: Sensor descriptions.
    """
    known = _without_description(channel, siblings, sensors)
    told = sensors.get((str(channel["device"]), quantity(channel)))
    if told is None:
        return known
    # What `characterise` could not tell, others may know: a refusal must not make a part-time
    # sensor look like a whole one. A first-order lag's time constant is not a window.
    window_s = told.window_s if told.averaging != "lag" else None
    return Sensor(
        told.update_s or known.update_s,
        known.window_s if window_s is None else window_s,
        told.delay_s,
        float(told.uncertainty.get("delay_s", 0.0)),
        known.source if window_s is None else DESCRIPTION,
    )


def _without_description(
    channel: Mapping[str, Any], siblings: Sequence[Mapping[str, Any]], sensors: Sensors
) -> Sensor:
    """Return what a channel's own identity, or the power channel beside it, says."""
    identity = identity_of(channel)
    update_s = _number(identity.get("update_s"))
    counter = fnmatch.fnmatchcase(str(channel["channel"]), "gpu*.energy")
    if update_s is None and counter:
        update_s = DEFAULT_UPDATE_S
    window_s = _number(identity.get("window_s"))
    if window_s is not None:
        return Sensor(update_s, window_s, source=IDENTITY)
    if counter or channel["clock"] == "wall":
        for other in siblings:
            if other["device"] != channel["device"] or quantity(other) != "power_instant":
                continue
            known = describe(other, (), sensors)
            if known.part_time:
                update_s = update_s if counter else known.update_s
                return Sensor(update_s, known.window_s, source=SIBLING)
    return Sensor(update_s)
