"""NVML: driver, GPUs, which calls work and what they cost, how often values are new."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from wattproof.doctor import machine
from wattproof.doctor.findings import Finding, limited, missing, ok
from wattproof.errors import WattproofError
from wattproof.sources import create, real_endpoints
from wattproof.sources.base import Channel, NotOfferedError, Reading, Source, Status

POLL_S = 0.004
LEAST_CHANGES = 3
"""So many new values are wanted before an update period is told."""


def look(request: Mapping[str, Any]) -> list[Finding]:
    """Look at the NVIDIA driver and its GPUs."""
    endpoints = real_endpoints()
    settings = request.get("sources", {}).get("nvml", {})
    try:
        source = create("nvml", settings, endpoints)
        description = source.open()
    except NotOfferedError as error:
        return [missing("nvml", "driver", str(error))]
    except WattproofError as error:
        return [_absent(endpoints.nvml, str(error))]
    try:
        gpus = _by_gpu(description.channels)
        found = [_driver(description.identity, gpus)]
        seconds = float(request.get("seconds", 0.0))
        readings = _poll(source, seconds / 2) if seconds else []
        for name, channels in gpus.items():
            found += _gpu(name, channels, readings)
    finally:
        source.close()
    if seconds:
        found.append(_counter(settings))
        found.append(_ring(settings))
    return found


def _by_gpu(channels: Sequence[Channel]) -> dict[str, list[Channel]]:
    found: dict[str, list[Channel]] = {}
    for channel in channels:
        found.setdefault(channel.name.partition(".")[0], []).append(channel)
    return found


def _absent(nvml: Any, sentence: str) -> Finding:
    """Say why NVML does not work, and what would help on this very machine."""
    vendors = machine.gpu_vendors()
    facts: dict[str, Any] = {"gpus_on_pci": vendors}
    if nvml is None:
        return missing(
            "nvml",
            "driver",
            "NVIDIA GPUs: the Python module of NVML is not installed.",
            "pip install nvidia-ml-py",
            facts=facts,
        )
    try:
        nvml.nvmlInit()
        nvml.nvmlShutdown()
    except nvml.NVMLError as error:
        code = int(getattr(error, "value", 999))
        facts["nvml_code"] = code
        if code == getattr(nvml, "NVML_ERROR_LIBRARY_NOT_FOUND", 12):
            return _no_library(vendors, facts)
        if code == 18:  # NVML_ERROR_LIB_RM_VERSION_MISMATCH
            return missing(
                "nvml",
                "driver",
                "NVIDIA GPUs: the driver in the kernel and its library are of different versions.",
                "Restart the machine: the driver was updated without it.",
                facts=facts,
            )
        return missing(
            "nvml",
            "driver",
            f"NVIDIA GPUs: the driver does not work ({error}).",
            "Run nvidia-smi and look at the kernel's messages (dmesg | grep -i nvrm).",
            facts=facts,
        )
    return missing("nvml", "driver", f"NVIDIA GPUs: {sentence}", facts=facts)


def _no_library(vendors: dict[str, int], facts: dict[str, Any]) -> Finding:
    if "NVIDIA" in vendors:
        remedy = "Install NVIDIA's driver (Debian: apt install nvidia-driver)."
        if machine.container():
            remedy = (
                "Start the container with its GPUs (docker run --gpus all, apptainer exec --nv)."
            )
        return missing(
            "nvml",
            "driver",
            f"NVIDIA GPUs: {vendors['NVIDIA']} on the PCI bus, but no driver library "
            "(libnvidia-ml.so.1).",
            remedy,
            facts=facts,
        )
    if vendors.get("AMD"):
        return missing(
            "nvml",
            "driver",
            "NVIDIA GPUs: none. The AMD display device here cannot be read by wattproof.",
            "Measure with a wall meter.",
            facts=facts,
        )
    return missing(
        "nvml", "driver", "NVIDIA GPUs: none on the PCI bus, and no driver.", facts=facts
    )


def _driver(identity: Mapping[str, Any], gpus: Mapping[str, Sequence[Channel]]) -> Finding:
    lost = identity.get("lost") or []
    plural = "GPU" if len(gpus) == 1 else "GPUs"
    sentence = f"Driver {identity.get('driver')} works and shows {len(gpus)} {plural}"
    facts: dict[str, Any] = {
        "driver": identity.get("driver"),
        "uuids": identity.get("uuids"),
        "lost": lost,
    }
    if lost:
        return limited(
            "nvml",
            "driver",
            f"{sentence}; GPU number {', '.join(map(str, lost))} has fallen off the bus.",
            "Restart the machine.",
            facts=facts,
        )
    return ok("nvml", "driver", f"{sentence}.", facts=facts)


def _gpu(name: str, channels: Sequence[Channel], readings: Sequence[Reading]) -> list[Finding]:
    identity = channels[0].identity
    facts: dict[str, Any] = {
        "uuid": channels[0].device,
        "channels": [channel.name.partition(".")[2] for channel in channels],
        **{
            key: identity.get(key)
            for key in ("name", "generation", "limit_w", "persistence_mode", "mig", "visible")
        },
        "unsupported": identity.get("unsupported"),
    }
    limit = identity.get("limit_w")
    words = [f"{identity.get('name')} ({channels[0].device})"]
    words.append("power limit unknown" if limit is None else f"power limit {limit:g} W")
    worse: list[str] = []
    remedies: list[str] = []
    if identity.get("mig"):
        worse.append("MIG is on: power is that of the whole board, shared by its instances")
        remedies.append("Compare jobs only when the board is theirs alone.")
    if identity.get("persistence_mode") is False:
        worse.append("persistence mode is off: the energy counter may begin anew between jobs")
        remedies.append("sudo nvidia-smi -pm 1")
    if identity.get("visible") is False:
        words.append("not in CUDA_VISIBLE_DEVICES (recorded all the same)")
    powers = [c for c in channels if c.kind == "power"]
    if not powers:
        worse.append("the driver tells no power")
        remedies.append("Update the driver.")
    make = limited if worse else ok
    found = [make("nvml", name, "; ".join(words + worse) + ".", " ".join(remedies), facts=facts)]
    found += [_power(channel, readings) for channel in powers[:2] if readings]
    return found


def _power(channel: Channel, readings: Sequence[Reading]) -> Finding:
    mine = [r for r in readings if r.channel == channel.name]
    good = [r for r in mine if r.status is Status.OK]
    cost_s = _median_cost_s(mine)
    changes = [b.end_ns for a, b in pairwise(good) if a.value != b.value]
    steps = [(b - a) / 1e9 for a, b in pairwise(changes) if a and b]
    update_s = statistics.median(steps) if len(steps) >= LEAST_CHANGES else None
    facts: dict[str, Any] = {
        "read_cost_s": cost_s,
        "update_s": update_s,
        "reads": len(mine),
        "failed": len(mine) - len(good),
        "last_w": good[-1].value if good else None,
        "means": channel.identity.get("means"),
    }
    cost = "unknown" if cost_s is None else f"{cost_s * 1e6:.0f} µs"
    item = channel.name
    if not good:
        words = sorted({str(r.status.value) for r in mine})
        return limited(
            "nvml", item, f"{item}: no read succeeded ({', '.join(words)}).", facts=facts
        )
    what = item.partition(".")[2]
    text = f"{what}: {good[-1].value:.1f} W; a read takes {cost}"
    text += (
        "; the value changed too seldom to tell its update period"
        if update_s is None
        else f"; a new value about every {update_s * 1e3:.0f} ms"
    )
    if len(good) < len(mine):
        text += f"; {len(mine) - len(good)} of {len(mine)} reads failed"
        return limited("nvml", item, text + ".", facts=facts)
    return ok("nvml", item, text + ".", facts=facts)


def _median_cost_s(readings: Sequence[Reading]) -> float | None:
    costs = [
        (r.end_ns - r.start_ns) / 1e9
        for r in readings
        if r.end_ns is not None and r.start_ns is not None
    ]
    return statistics.median(costs) if costs else None


def _poll(source: Source, seconds: float) -> list[Reading]:
    readings: list[Reading] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            readings += source.read()
        except WattproofError:
            break
        time.sleep(POLL_S)
    return readings


def _counter(settings: Mapping[str, Any]) -> Finding:
    source = create("nvml", settings, real_endpoints(), "counter")
    try:
        source.open()
        readings = [reading for _ in range(8) for reading in source.read()]
    except WattproofError as error:
        return limited("nvml", "counter", f"Energy counter: {error}")
    finally:
        source.close()
    good = [r for r in readings if r.status is Status.OK]
    cost_s = _median_cost_s(readings)
    facts: dict[str, Any] = {
        "read_cost_s": cost_s,
        "reads": len(readings),
        "failed": len(readings) - len(good),
    }
    if not good or cost_s is None:
        return limited("nvml", "counter", "Energy counter: no read succeeded.", facts=facts)
    text = f"Energy counter: a read takes {cost_s * 1e3:.2g} ms (it has a process of its own)"
    if len(good) < len(readings):
        return limited("nvml", "counter", f"{text}; {facts['failed']} reads failed.", facts=facts)
    return ok("nvml", "counter", f"{text}.", facts=facts)


def _ring(settings: Mapping[str, Any]) -> Finding:
    source = create("nvml", settings, real_endpoints(), "ring")
    try:
        channels = source.open().channels
        begun = time.monotonic()
        source.read()
        cost_s = time.monotonic() - begun
    except WattproofError as error:
        return limited("nvml", "ring", f"Sample ring: {error}")
    finally:
        source.close()
    period_s = channels[0].period_s
    count = channels[0].identity.get("ring_samples")
    facts: dict[str, Any] = {"period_s": period_s, "samples": count, "drain_cost_s": cost_s}
    if not period_s or not count:
        return limited("nvml", "ring", "Sample ring: it is empty.", facts=facts)
    return ok(
        "nvml",
        "ring",
        f"Sample ring: {count} samples {period_s * 1e3:.0f} ms apart ({count * period_s:.1f} s); "
        f"a drain takes {cost_s * 1e3:.2g} ms.",
        facts=facts,
    )
