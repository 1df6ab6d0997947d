"""Shelly plugs and meters of the second generation on (Plus, Pro, Gen3, Gen4) over HTTP.

Requests: measurement.md 13.4. They are cheap plugs: good to see whether totals are plausible.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wattproof.errors import WattproofError
from wattproof.sources.base import Channel, Description, Pacing, Reading, Status
from wattproof.sources.endpoints import Endpoints
from wattproof.sources.meters.http_json import Answer, HttpJson, number, total
from wattproof.units import wh_to_j

POWER, ENERGY = "node.ac", "node.ac_energy"
NOTE = "cheap plug: only for plausibility of totals"

SETTINGS: dict[str, Any] = {
    "required": ["port"],
    "properties": {
        "port": {
            "type": "string",
            "minLength": 1,
            "description": "address of the device, e.g. http://192.168.1.20",
        },
        "component": {
            "enum": ["switch", "pm1", "em1", "em"],
            "default": "switch",
            "description": "switch: plugs and relays with a meter; pm1: PM Mini; em1: one phase of "
            "an EM; em: all phases of a 3EM",
        },
        "channels": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": 15},
            "minItems": 1,
            "uniqueItems": True,
            "default": [0],
            "description": "ids of the components that are summed",
        },
        "period_s": {
            "type": "number",
            "minimum": 0.5,
            "maximum": 60,
            "default": 1.0,
            "description": "time between two reads; the device has new values seconds apart",
        },
    },
}

OPEN_S = 4.0
SHARE = 0.8
"""All requests of a read together take at most this share of the period."""


@dataclass(frozen=True, slots=True)
class _Component:
    method: str
    power: str
    energy_method: str
    energy: tuple[str, ...]


_COMPONENTS = {
    "switch": _Component("Switch", "apower", "Switch", ("aenergy", "total")),
    "pm1": _Component("PM1", "apower", "PM1", ("aenergy", "total")),
    "em1": _Component("EM1", "act_power", "EM1Data", ("total_act_energy",)),
    "em": _Component("EM", "total_act_power", "EMData", ("total_act",)),
}


class ShellySource:
    """A Shelly device: active power and its energy counter.

    Args:
        device: Its address.
        component: Kind of the component that measures.
        channels: Ids that are summed.
        period_s: Time between two reads.
        simulated: True if a virtual node stands behind it.
    """

    name = "meter"
    pacing = Pacing.DEADLINE

    def __init__(
        self,
        device: HttpJson,
        component: str = "switch",
        channels: Sequence[int] = (0,),
        period_s: float = 1.0,
        simulated: bool = False,
    ) -> None:
        self.period_s = period_s
        self._device = device
        self._kind = component
        self._component = _COMPONENTS[component]
        self._channels = tuple(channels)
        self._simulated = simulated

    def open(self) -> Description:
        """Identify the device and see that it has the components."""
        self._device.find()
        where = self._device.where
        about = self._device.get("/shelly", OPEN_S)
        if about.status is not Status.OK:
            raise WattproofError(
                f"No Shelly answers at {where} ({about.reason}); check key 'sources.meter.port', "
                "that it has power, and that it is on this network."
            )
        if not isinstance(about.body.get("gen"), int) or about.body["gen"] < 2:
            raise WattproofError(
                f"The device at {where} is no Shelly of the second generation or later "
                f"(it says '{about.body.get('type', about.body.get('model', 'nothing'))}'); check "
                "keys 'sources.meter.port' and 'sources.meter.driver'."
            )
        offset_s: float | None = None
        for channel in self._channels:
            answer = self._ask(self._component.method, channel, OPEN_S)
            self._refuse(answer, channel)
            offset_s = _clock_offset_s(answer.body)
        identity = {
            "maker": "Shelly",
            "model": about.body.get("model"),
            "serial": about.body.get("id"),
            "firmware": about.body.get("ver"),
            "generation": about.body["gen"],
            "port": where,
            "component": self._kind,
            "channels": list(self._channels),
            "minute_clock_offset_s": offset_s,
            "note": NOTE,
        }
        return Description(identity, self._describe(identity), self._simulated)

    def read(self) -> Sequence[Reading]:
        """Ask for the present power and the counter; a failure is a reading with its status."""
        component = self._component
        apart = component.energy_method != component.method
        each_s = SHARE * self.period_s / (len(self._channels) * (1 + apart))
        start_ns = time.monotonic_ns()
        powers, energies = [], []
        for channel in self._channels:
            answer = self._ask(component.method, channel, each_s)
            powers.append(_value(answer, (component.power,)))
            if apart:
                answer = self._ask(component.energy_method, channel, each_s)
            energies.append(_value(answer, component.energy))
        end_ns = time.monotonic_ns()
        power, power_status = total(powers)
        wh, energy_status = total(energies)
        energy = None if wh is None else wh_to_j(wh)
        return [
            Reading(POWER, power, power_status, None, start_ns, end_ns),
            Reading(ENERGY, energy, energy_status, None, start_ns, end_ns),
        ]

    def close(self) -> None:
        """Nothing to let go of."""

    def _ask(self, method: str, channel: int, timeout_s: float) -> Answer:
        return self._device.get(f"/rpc/{method}.GetStatus?id={channel}", timeout_s)

    def _refuse(self, answer: Answer, channel: int) -> None:
        where = self._device.where
        if answer.status is Status.NO_PERMISSION:
            raise WattproofError(
                f"The Shelly at {where} wants a password (HTTP {answer.code}), which wattproof "
                "does not send; switch authentication off in its web page (Settings, "
                "Authentication) and keep it on a network of its own (key 'sources.meter.port')."
            )
        if answer.status is Status.ERROR:
            raise WattproofError(
                f"The Shelly at {where} has no component {self._kind}:{channel} ({answer.reason});"
                " check keys 'sources.meter.component' and 'sources.meter.channels'."
            )
        if answer.status is not Status.OK:
            raise WattproofError(
                f"The Shelly at {where} does not tell its power ({answer.reason}); check key "
                "'sources.meter.port'."
            )
        if self._component.power not in answer.body:
            raise WattproofError(
                f"The component {self._kind}:{channel} of the Shelly at {where} has no power meter;"
                " check keys 'sources.meter.component' and 'sources.meter.channels'."
            )

    def _describe(self, identity: dict[str, Any]) -> tuple[Channel, ...]:
        device = str(identity["serial"])
        # The device says neither how often its values are new nor what they average over.
        power = Channel(
            POWER,
            "W",
            "power",
            device,
            identity={
                **identity,
                "means": f"{self._component.power}; new values seconds apart, repeats are kept",
            },
        )
        energy = Channel(
            ENERGY,
            "J",
            "energy",
            device,
            identity={**identity, "means": f"{'.'.join(self._component.energy)} (Wh) in J"},
        )
        return power, energy


def _value(answer: Answer, path: tuple[str, ...]) -> tuple[float | None, Status]:
    if answer.status is not Status.OK:
        return None, answer.status
    if answer.body.get("errors"):  # e.g. ["power_meter"], ["out_of_range:active_power"]
        over = any("range" in str(error) or "over" in str(error) for error in answer.body["errors"])
        return None, Status.OVERRANGE if over else Status.ERROR
    value: Any = answer.body
    for word in path:
        value = value.get(word) if isinstance(value, dict) else None
    return number(value)


def _clock_offset_s(body: dict[str, Any]) -> float | None:
    """This host's clock less the start of the device's minute: 0 to 60 s if both are right."""
    energy = body.get("aenergy")
    minute = energy.get("minute_ts") if isinstance(energy, dict) else None
    if isinstance(minute, bool) or not isinstance(minute, (int, float)) or minute <= 0:
        return None
    return time.time() - minute


def build(settings: Mapping[str, Any], endpoints: Endpoints) -> ShellySource:
    """Make the source from a campaign's settings.

    Raises:
        WattproofError: If the address cannot be one.
    """
    return ShellySource(
        HttpJson(settings["port"]),
        settings.get("component", "switch"),
        settings.get("channels", (0,)),
        settings.get("period_s", 1.0),
        endpoints.simulated,
    )
