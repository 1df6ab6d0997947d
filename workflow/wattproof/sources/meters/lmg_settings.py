"""Settings of the LMG meters: what a campaign may say, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wattproof.errors import WattproofError
from wattproof.sources.endpoints import Endpoints


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings that all models share.

    Attributes:
        channels: Channels that are summed, e.g. one for each power supply.
        cycle_s: Cycle asked for; the device rounds it to whole mains periods.
        range_v: Voltage range, fixed; None: automatic.
        range_a: Current range, fixed; None: automatic.
        accuracy_reading: Limit of error as a share of the reading; None: unknown.
        accuracy_range: Limit of error as a share of the range; None: unknown.
        reset: Bring the device into a known state at opening.
    """

    channels: tuple[int, ...] = (1,)
    cycle_s: float = 0.1
    range_v: float | None = None
    range_a: float | None = None
    accuracy_reading: float | None = None
    accuracy_range: float | None = None
    reset: bool = True


def settings_schema(
    most_channels: int,
    accuracy: tuple[float, float] | None = None,
    **own: Mapping[str, Any],
) -> dict[str, Any]:
    """Return `SETTINGS` of a model.

    Args:
        most_channels: Channels of the largest model.
        accuracy: Limits of error as shares of reading and range, if the reference names them.
        own: Further keys.
    """
    share = {"type": "number", "minimum": 0, "maximum": 0.1}
    reading: dict[str, Any] = {
        **share,
        "description": "limit of error as a share of the reading, from the data sheet: 0.0007 is "
        "0.07 %; absent: unknown",
    }
    of_range: dict[str, Any] = {**share, "description": "the same, as a share of the range"}
    if accuracy is not None:
        reading["default"], of_range["default"] = accuracy
    properties: dict[str, Any] = {**own}
    if most_channels > 1:
        properties["channels"] = {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": most_channels},
            "minItems": 1,
            "uniqueItems": True,
            "default": [1],
            "description": "channels that are summed, one for each power supply",
        }
    properties |= {
        "cycle_s": {"type": "number", "minimum": 0.05, "maximum": 60, "default": 0.1},
        "range_v": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "voltage range; absent: automatic, which loses samples",
        },
        "range_a": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "current range; absent: automatic, which loses samples",
        },
        "accuracy_reading": reading,
        "accuracy_range": of_range,
        "reset": {
            "type": "boolean",
            "default": True,
            "description": "reset the meter at the start; false keeps what was set at its front "
            "panel, e.g. scale factors of current transformers",
        },
    }
    return {"properties": properties}


def settings_of(settings: Mapping[str, Any], schema: Mapping[str, Any]) -> Settings:
    """Return the settings that all models share, completed by the schema's defaults."""
    properties = schema["properties"]
    known = {
        key: settings.get(key, properties[key].get("default"))
        for key in ("cycle_s", "range_v", "range_a", "accuracy_reading", "accuracy_range", "reset")
    }
    return Settings(channels=tuple(settings.get("channels", (1,))), **known)


def port_of(settings: Mapping[str, Any], endpoints: Endpoints, example: str) -> str:
    """Return the port of a campaign.

    Raises:
        WattproofError: If it is to be found by itself and there is none.
    """
    port = str(settings.get("port", "auto"))
    if port != "auto":
        return port
    if endpoints.meter_port is None:
        raise WattproofError(
            "Key 'sources.meter.port' is 'auto', which only the virtual node can answer; give the "
            f"port of your meter, e.g. {example}."
        )
    return endpoints.meter_port
