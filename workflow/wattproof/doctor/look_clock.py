"""Clocks: is the wall clock disciplined, does it step, what does the kernel count with."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping
from typing import Any

from wattproof.doctor import machine
from wattproof.doctor.findings import Finding, limited, ok
from wattproof.sources.base import wall_offset_ns

SOURCE = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
STA_UNSYNC = 0x0040
"""From <linux/timex.h>."""
STEP_S = 0.005
GOOD_SOURCES = ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "xen")


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def look(request: Mapping[str, Any]) -> list[Finding]:
    """Look at the machine's clocks."""
    return [_synchronised(), _source(), _steps(float(request.get("seconds", 0.0)))]


def _synchronised() -> Finding:
    timex = _Timex()
    try:
        code = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except AttributeError:
        code = -1
    if code < 0:
        return limited("clock", "ntp", "Whether the wall clock is synchronised cannot be told.")
    facts: dict[str, Any] = {
        "synchronised": not timex.status & STA_UNSYNC,
        "max_error_s": timex.maxerror / 1e6,
    }
    if facts["synchronised"]:
        return ok(
            "clock",
            "ntp",
            f"The wall clock is synchronised (error below {facts['max_error_s'] * 1e3:.0f} ms).",
            facts=facts,
        )
    return limited(
        "clock",
        "ntp",
        "The kernel says that the wall clock is not synchronised: recordings of two machines "
        "cannot be matched by it (one machine alone does not need it).",
        "sudo timedatectl set-ntp true, or run chrony; in a virtual machine look at its host.",
        facts=facts,
    )


def _source() -> Finding:
    source = machine.text(SOURCE)
    begun = time.perf_counter_ns()
    for _ in range(1000):
        time.monotonic_ns()
    cost_s = (time.perf_counter_ns() - begun) / 1e12
    facts: dict[str, Any] = {"clocksource": source or None, "read_cost_s": cost_s}
    text = f"Clock source {source or 'unknown'}; a stamp takes {cost_s * 1e9:.0f} ns"
    if source.startswith(GOOD_SOURCES) or cost_s < 5e-7:
        return ok("clock", "source", f"{text}.", facts=facts)
    return limited(
        "clock",
        "source",
        f"{text}: the kernel does not trust the CPU's own counter.",
        "Look for 'clocksource' in dmesg; stamps cost more, but are right.",
        facts=facts,
    )


def _steps(seconds: float) -> Finding:
    first, begun = wall_offset_ns(), time.monotonic()
    time.sleep(min(seconds, 2.0))
    moved_s = (wall_offset_ns() - first) / 1e9
    span_s = time.monotonic() - begun
    facts: dict[str, Any] = {"moved_s": moved_s, "watched_s": span_s}
    if abs(moved_s) > STEP_S:
        return limited(
            "clock",
            "steps",
            f"The wall clock was set by {moved_s:+.3f} s while we looked; energies are not "
            "affected (they use the monotonic clock), stamps for people are.",
            "Let the clock be slewed, not set (chrony: makestep only at start).",
            facts=facts,
        )
    if not seconds:
        return ok("clock", "steps", "Steps of the wall clock were not looked for.", facts=facts)
    return ok(
        "clock",
        "steps",
        f"The wall clock was not set within {span_s:.1f} s of looking.",
        facts=facts,
    )
