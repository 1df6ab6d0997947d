"""RAPL: is there a powercap tree, may it be read, which domains, what does a read cost."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from wattproof.doctor import machine
from wattproof.doctor.findings import Finding, limited, missing, ok
from wattproof.errors import WattproofError
from wattproof.sources import create, real_endpoints
from wattproof.sources.base import Status
from wattproof.sources.rapl import Domain, find_domains

READS = 50
UDEV_RULE = (
    'SUBSYSTEM=="powercap", ACTION=="add", RUN+="/bin/chmod -R a+r /sys%p"'  # survives a restart
)


def look(request: Mapping[str, Any]) -> list[Finding]:
    """Look at the powercap tree."""
    endpoints = real_endpoints()
    root = endpoints.powercap_root
    domains = find_domains(root)
    if not domains:
        return [_absent(root)]
    closed = [domain for domain in domains if not _readable(domain)]
    names = [domain.label for domain in domains]
    facts: dict[str, Any] = {"root": str(root), "domains": names}
    if closed:
        files = ", ".join(str(domain.folder / "energy_uj") for domain in closed[:2])
        more = f" and {len(closed) - 2} more" if len(closed) > 2 else ""
        why = "may be read by root only" if os.geteuid() else "cannot be read"
        return [
            missing(
                "rapl",
                "permission",
                f"CPU energy (RAPL) is there, but {files}{more} {why} "
                "(Linux closed it after CVE-2020-8694).",
                f"sudo chmod -R a+r {root}/intel-rapl*/   until the next restart; for good: "
                f"echo '{UDEV_RULE}' | sudo tee /etc/udev/rules.d/70-rapl.rules",
                facts=facts | {"closed": [domain.label for domain in closed]},
            )
        ]
    try:
        source = create("rapl", request.get("sources", {}).get("rapl", {}), endpoints)
        channels = source.open().channels
    except WattproofError as error:
        return [missing("rapl", "domains", str(error), facts=facts)]
    try:
        readings = [r for _ in range(READS) for r in source.read()]
    finally:
        source.close()
    wraps = [c.wrap for c in channels if c.wrap]
    costs = [(r.end_ns - r.start_ns) / 1e9 for r in readings if r.end_ns and r.start_ns]
    facts |= {
        "channels": [c.name for c in channels],
        "read_cost_s": statistics.median(costs) if costs else None,
        "wrap_j": min(wraps, default=None),
        "failed": sum(r.status is not Status.OK for r in readings),
    }
    dram = any(name.endswith("dram") for name in names)
    text = f"CPU energy (RAPL): {', '.join(names)}"
    if facts["read_cost_s"] is not None:
        text += f"; a read takes {facts['read_cost_s'] * 1e6:.1f} µs"
    if wraps:
        text += f"; wraps after {min(wraps) / 300 / 60:.0f} min at 300 W, which is undone"
    if facts["failed"]:
        return [
            limited("rapl", "domains", f"{text}; {facts['failed']} reads failed.", "", facts=facts)
        ]
    found = [ok("rapl", "domains", f"{text}.", facts=facts)]
    if request.get("seconds"):
        found += _update(source, float(request["seconds"]), facts)
    if not dram:
        found.append(
            limited(
                "rapl",
                "dram",
                "This CPU does not count the energy of its memory (DRAM).",
                "A wall meter sees it; otherwise it stays unknown.",
            )
        )
    return found


def _update(source: Any, seconds: float, facts: dict[str, Any]) -> list[Finding]:
    """Find how often the counters move."""
    source.open()
    try:
        last: dict[str, float | None] = {}
        stamps: list[int] = []
        end = time.monotonic() + min(0.3, seconds)
        first = None
        while time.monotonic() < end:
            for reading in source.read():
                first = first or reading.channel
                if reading.channel == first and last.get(first) != reading.value:
                    last[first] = reading.value
                    stamps.append(reading.end_ns or 0)
            time.sleep(0.0002)
    finally:
        source.close()
    steps = [(b - a) / 1e9 for a, b in pairwise(stamps[1:])]
    if len(steps) < 3:
        return [
            limited(
                "rapl",
                "update",
                "The counters hardly moved within 0.3 s; if that is so under load as well, they "
                "are frozen.",
                "Look again while the CPU works.",
            )
        ]
    update_s = statistics.median(steps)
    return [
        ok(
            "rapl",
            "update",
            f"A new value about every {update_s * 1e3:.2g} ms.",
            facts={"update_s": update_s},
        )
    ]


def _readable(domain: Domain) -> bool:
    try:
        handle = os.open(domain.folder / "energy_uj", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.pread(handle, 32, 0)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _absent(root: Path) -> Finding:
    facts: dict[str, Any] = {"root": str(root)}
    virtual, container = machine.virtual_machine(), machine.container()
    cpu = machine.cpu_model() or platform.machine()
    if virtual:
        return missing(
            "rapl",
            "domains",
            f"CPU energy (RAPL): {machine.virtual_words(virtual)} has none.",
            "Measure on the machine below it, or with a wall meter.",
            facts=facts,
        )
    if container and not any(root.glob("*")):
        return missing(
            "rapl",
            "domains",
            f"CPU energy (RAPL): hidden in this container ({container}).",
            "Start it with --security-opt systempaths=unconfined, or mount the host's tree and "
            "name it in WATTPROOF_POWERCAP.",
            facts=facts,
        )
    if platform.machine() not in ("x86_64", "i686"):
        return missing(
            "rapl",
            "domains",
            f"CPU energy (RAPL): {cpu} has none, it is a feature of x86.",
            "Measure with a wall meter.",
            facts=facts,
        )
    return missing(
        "rapl",
        "domains",
        f"CPU energy (RAPL): no package under {root} ({cpu}).",
        "sudo modprobe intel_rapl_msr   (AMD needs Linux 5.11 or newer)",
        facts=facts,
    )
