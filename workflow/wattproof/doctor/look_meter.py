"""Power meters: the serial ports of the machine, and the meter that a campaign names."""

from __future__ import annotations

import grp
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wattproof import archive
from wattproof.doctor.findings import Finding, limited, missing, ok
from wattproof.errors import WattproofError
from wattproof.sources import create, real_endpoints
from wattproof.sources.base import Reading, Status

BY_ID = Path("/dev/serial/by-id")
PATTERNS = ("ttyUSB*", "ttyACM*")
"""Ports of adapters; /dev/ttyS0 … exist on every machine, whether anything is there or not."""


def look(request: Mapping[str, Any]) -> list[Finding]:
    """Look at the configured meter, and at serial ports."""
    settings = request.get("sources", {}).get("meter")
    if settings is None:
        return [_none(_ports()), *_port_findings()]
    return [_configured(settings, float(request.get("seconds", 0.0))), *_port_findings()]


def _ports() -> list[Path]:
    return sorted(path for pattern in PATTERNS for path in Path("/dev").glob(pattern))


def _none(ports: list[Path]) -> Finding:
    if ports:
        where = f"port: {_name(ports[0])}"
        hint = "A serial adapter is plugged in; if it is a meter's,"
    else:
        where = "port: /dev/ttyUSB0"
        hint = "To measure at the wall,"
    return missing(
        "meter",
        "configured",
        "Wall meter: none is configured.",
        f"{hint} name it in a campaign file (sources: meter: {{driver: lmg450, {where}}}) and give "
        "the file with --config.",
        facts={"ports": [str(path) for path in ports]},
    )


def _name(port: Path) -> str:
    """Return the name of a port that stays the same when cables are swapped, if there is one."""
    for link in sorted(BY_ID.glob("*")):
        if link.resolve() == port.resolve():
            return str(link)
    return str(port)


def _port_findings() -> list[Finding]:
    found = []
    for port in _ports():
        name = _name(port)
        facts: dict[str, Any] = {"port": str(port), "by_id": name if name != str(port) else None}
        if os.access(port, os.R_OK | os.W_OK):
            found.append(ok("meter", port.name, f"Serial port {name} may be opened.", facts=facts))
            continue
        try:
            group = grp.getgrgid(port.stat().st_gid).gr_name
        except (KeyError, OSError):
            group = "dialout"
        found.append(
            limited(
                "meter",
                port.name,
                f"Serial port {name} may not be opened by you.",
                f"sudo usermod -aG {group} $USER, then log out and in again.",
                facts=facts,
            )
        )
    return found


def _archived(settings: Mapping[str, Any]) -> Finding:
    folder = settings.get("folder")
    facts: dict[str, Any] = {"settings": dict(settings)}
    try:
        archive.check(settings)
    except WattproofError as error:
        return missing("meter", "configured", f"Wall meter (archive): {error}", facts=facts)
    text = f"Wall meter: its archive {folder} is there and being written."
    return ok("meter", "configured", text, facts=facts)


def _configured(settings: Mapping[str, Any], seconds: float) -> Finding:
    driver = settings.get("driver")
    if driver == "archive":
        return _archived(settings)
    source = None
    try:
        source = create("meter", settings, real_endpoints())
        description = source.open()
        readings: list[Reading] = []
        wanted_s = max(seconds, 2.5 * source.period_s) + 0.5
        begun = time.monotonic()
        while time.monotonic() < begun + wanted_s:
            readings += source.read()
        elapsed_s = time.monotonic() - begun
    except WattproofError as error:
        return missing(
            "meter",
            "configured",
            f"Wall meter ({driver}): {error}",
            facts={"settings": dict(settings)},
        )
    finally:
        if source is not None:
            source.close()
    good = [reading for reading in readings if reading.status is Status.OK]
    facts: dict[str, Any] = {
        "settings": dict(settings),
        "identity": description.identity,
        "good": len(good),
        "failed": len(readings) - len(good),
        "rate_hz": len(good) / max(1, len(description.channels)) / elapsed_s,
        "last_w": good[-1].value if good else None,
    }
    model = description.identity.get("model") or driver
    if not good:
        words = sorted({reading.status.value for reading in readings}) or ["silence"]
        return missing(
            "meter",
            "configured",
            f"Wall meter ({model}) answers, but gave no good value in {elapsed_s:.1f} s "
            f"({', '.join(words)}).",
            "Check ranges, wiring and cycle time at the meter.",
            facts=facts,
        )
    text = f"Wall meter ({model}): {good[-1].value:.1f} W, {facts['rate_hz']:.1f} values/s"
    if facts["failed"]:
        return limited("meter", "configured", f"{text}; {facts['failed']} failed.", facts=facts)
    return ok("meter", "configured", f"{text}.", facts=facts)
