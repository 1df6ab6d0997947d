"""Plugs with the firmware Tasmota over HTTP.

Requests: measurement.md 13.4. They are cheap plugs: good to see whether totals are plausible.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from wattproof.errors import WattproofError
from wattproof.sources.base import Channel, Description, Pacing, Reading, Status
from wattproof.sources.endpoints import Endpoints
from wattproof.sources.meters.http_json import Answer, HttpJson, number, total
from wattproof.units import J_PER_KWH

POWER, ENERGY = "node.ac", "node.ac_energy"
NOTE = "cheap plug: only for plausibility of totals"

SETTINGS: dict[str, Any] = {
    "required": ["port"],
    "properties": {
        "port": {
            "type": "string",
            "minLength": 1,
            "description": "address of the device, e.g. http://192.168.1.21",
        },
        "channels": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": 8},
            "minItems": 1,
            "uniqueItems": True,
            "description": "outlets that are summed, counted from 1; left out: all",
        },
        "user": {"type": "string", "default": "admin", "description": "name for the password"},
        "password_env": {
            "type": "string",
            "minLength": 1,
            "description": "environment variable with the web password: the campaign, which is "
            "published, does not hold it",
        },
        "period_s": {
            "type": "number",
            "minimum": 0.5,
            "maximum": 60,
            "default": 1.0,
            "description": "time between two reads; the device has a new value each second",
        },
    },
}

OPEN_S = 4.0
SHARE = 0.8
STATUS_NEW, STATUS_OLD = "Status 10", "Status 8"
"""Sensors; the second is for old firmware."""
UPDATE_S = 1.0


class TasmotaSource:
    """A plug: active power and its energy counter.

    Args:
        device: Its address.
        channels: Outlets that are summed, from 1; None: all.
        login: ``(user, password)``; None if it has no password.
        period_s: Time between two reads.
        simulated: True if a virtual node stands behind it.
    """

    name = "meter"
    pacing = Pacing.DEADLINE

    def __init__(
        self,
        device: HttpJson,
        channels: Sequence[int] | None = None,
        login: tuple[str, str] | None = None,
        period_s: float = 1.0,
        simulated: bool = False,
    ) -> None:
        self.period_s = period_s
        self._device = device
        self._channels = None if channels is None else tuple(channels)
        self._login = login
        self._simulated = simulated
        self._command = STATUS_NEW
        self._has_energy = True

    def open(self) -> Description:
        """Find the request that this firmware answers, and see what it measures."""
        self._device.find()
        where = self._device.where
        answer = self._ask(STATUS_NEW, OPEN_S)
        if answer.status is Status.OK and "StatusSNS" not in answer.body and not _barred(answer):
            self._command = STATUS_OLD
            answer = self._ask(STATUS_OLD, OPEN_S)
        if _barred(answer):
            raise WattproofError(
                f"The Tasmota at {where} wants its web password: put it into an environment "
                "variable and name that in key 'sources.meter.password_env' (user: key "
                "'sources.meter.user')."
            )
        if answer.status is not Status.OK:
            raise WattproofError(
                f"No Tasmota answers at {where} ({answer.reason}); check key 'sources.meter.port', "
                "that it has power, and that it is on this network."
            )
        energy = _energy(answer)
        if energy is None:
            raise WattproofError(
                f"The device at {where} does not tell a power (no StatusSNS.ENERGY in its answer); "
                "check keys 'sources.meter.port' and 'sources.meter.driver', and that its module "
                "has a meter."
            )
        given = energy.get("Power")
        outlets = len(given) if isinstance(given, list) else 1
        absent = [channel for channel in self._channels or () if channel > outlets]
        if absent:
            raise WattproofError(
                f"Key 'sources.meter.channels' names outlet {absent[0]}, but the Tasmota at "
                f"{where} measures {outlets}."
            )
        every = self._channels is None or len(self._channels) == outlets
        self._has_energy = "Total" in energy and (every or isinstance(energy["Total"], list))
        identity = self._identify(outlets)
        return Description(identity, self._describe(identity, given), self._simulated)

    def read(self) -> Sequence[Reading]:
        """Ask for the present power and the counter; a failure is a reading with its status."""
        answer = self._ask(self._command, SHARE * self.period_s)
        energy = _energy(answer)
        stamp = _stamp_ns(answer.body)
        status = Status.NO_PERMISSION if _barred(answer) else answer.status
        if energy is None and status is Status.OK:
            status = Status.MISSING
        rows = []
        names = (POWER, "Power", 1.0), (ENERGY, "Total", J_PER_KWH)
        for name, word, factor in names if self._has_energy else names[:1]:
            value: float | None = None
            outcome = status
            if energy is not None and status is Status.OK:
                value, outcome = self._sum(energy.get(word))
            value = None if value is None else value * factor
            rows.append(Reading(name, value, outcome, stamp, answer.start_ns, answer.end_ns))
        return rows

    def close(self) -> None:
        """Nothing to let go of."""

    def _sum(self, value: Any) -> tuple[float | None, Status]:
        if not isinstance(value, list):
            return number(value)
        chosen = range(1, len(value) + 1) if self._channels is None else self._channels
        if not value or max(chosen) > len(value):
            return None, Status.MISSING
        return total([number(value[channel - 1]) for channel in chosen])

    def _ask(self, command: str, timeout_s: float) -> Answer:
        login = ""
        if self._login is not None:
            user, password = (quote(word, safe="") for word in self._login)
            login = f"user={user}&password={password}&"
        return self._device.get(f"/cm?{login}cmnd={quote(command)}", timeout_s)

    def _identify(self, outlets: int) -> dict[str, Any]:
        firmware = self._ask("Status 2", OPEN_S).body.get("StatusFWR")
        network = self._ask("Status 5", OPEN_S).body.get("StatusNET")
        return {
            "maker": "Tasmota",
            "model": "Tasmota",
            "serial": network.get("Mac") if isinstance(network, dict) else None,
            "firmware": firmware.get("Version") if isinstance(firmware, dict) else None,
            "port": self._device.where,
            "request": self._command,
            "channels": list(self._channels or range(1, outlets + 1)),
            "note": NOTE,
        }

    def _describe(self, identity: dict[str, Any], power: Any) -> tuple[Channel, ...]:
        device = str(identity["serial"] or identity["port"])
        values = power if isinstance(power, list) else [power]
        whole = all(isinstance(value, int) for value in values)
        stamp = "the device's own stamp has a step of 1 s and is not used as a clock"
        channels = [
            Channel(
                POWER,
                "W",
                "power",
                device,
                period_s=max(UPDATE_S, self.period_s),
                quantum=1.0 if whole else None,
                identity={**identity, "means": "ENERGY.Power, repeats are kept", "stamp": stamp},
            )
        ]
        if self._has_energy:
            channels.append(
                Channel(
                    ENERGY,
                    "J",
                    "energy",
                    device,
                    identity={**identity, "means": "ENERGY.Total (kWh) in J", "stamp": stamp},
                )
            )
        return tuple(channels)


def _barred(answer: Answer) -> bool:
    """Whether it wants a password: by HTTP, or (older firmware) by a warning in an answer."""
    return answer.status is Status.NO_PERMISSION or "WARNING" in answer.body


def _energy(answer: Answer) -> dict[str, Any] | None:
    sensors = answer.body.get("StatusSNS")
    energy = sensors.get("ENERGY") if isinstance(sensors, dict) else None
    return energy if isinstance(energy, dict) else None


def _stamp_ns(body: dict[str, Any]) -> int | None:
    """``StatusSNS.Time``, the device's local time, counted as if it were UTC."""
    sensors = body.get("StatusSNS")
    text = sensors.get("Time") if isinstance(sensors, dict) else None
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)
    except ValueError:
        return None
    return round(moment.timestamp()) * 10**9


def build(settings: Mapping[str, Any], endpoints: Endpoints) -> TasmotaSource:
    """Make the source from a campaign's settings.

    Raises:
        WattproofError: If the address cannot be one, or the password is not in the environment.
    """
    name = settings.get("password_env")
    login = None
    if name is not None:
        if name not in os.environ:
            raise WattproofError(
                f"Key 'sources.meter.password_env' names the environment variable {name}, which is "
                f"not set; write: export {name}=…"
            )
        login = (settings.get("user", "admin"), os.environ[name])
    return TasmotaSource(
        HttpJson(settings["port"]),
        settings.get("channels"),
        login,
        settings.get("period_s", 1.0),
        endpoints.simulated,
    )
