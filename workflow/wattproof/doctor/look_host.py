"""The source ``host``: CPU load, memory, frequency."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from wattproof.doctor.findings import Finding, limited, missing, ok
from wattproof.errors import WattproofError
from wattproof.sources import create, real_endpoints
from wattproof.sources.base import Status


def look(request: Mapping[str, Any]) -> list[Finding]:
    """Look at what psutil tells."""
    try:
        source = create("host", request.get("sources", {}).get("host", {}), real_endpoints())
        description = source.open()
    except WattproofError as error:
        return [missing("host", "source", str(error))]
    readings = [reading for _ in range(5) for reading in source.read()]
    source.close()
    names = [channel.name for channel in description.channels]
    costs = [(r.end_ns - r.start_ns) / 1e9 for r in readings if r.end_ns and r.start_ns]
    facts: dict[str, Any] = {
        "channels": names,
        "read_cost_s": statistics.median(costs),
        "cpus": description.identity.get("cpus"),
        "memory_bytes": description.identity.get("memory_bytes"),
    }
    gib = (facts["memory_bytes"] or 0) / 2**30
    text = (
        f"{', '.join(names)} of {facts['cpus']} CPUs and {gib:.1f} GiB; a read takes "
        f"{facts['read_cost_s'] * 1e6:.0f} µs"
    )
    if any(reading.status is not Status.OK for reading in readings):
        return [limited("host", "source", f"{text}; some reads failed.", facts=facts)]
    if "cpu.frequency" not in names:
        return [
            ok("host", "source", f"{text}; the kernel does not tell the frequency.", facts=facts)
        ]
    return [ok("host", "source", f"{text}.", facts=facts)]
