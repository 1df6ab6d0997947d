"""Looking in processes of their own, so that a driver that hangs cannot hang the doctor."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from wattproof.doctor.findings import Finding, Grade, missing

ABANDON_S = 2.0
"""A process that hangs inside the kernel cannot be waited for; it is left behind after this."""


def look(probe: str, request: Mapping[str, Any], limit_s: float) -> list[Finding]:
    """Run one probe in a process of its own.

    Args:
        probe: Name of a probe (`wattproof.doctor.probes.PROBES`).
        request: What it needs to know.
        limit_s: It is ended after so many seconds.

    Returns:
        Its findings; one that says so if it hung or broke.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "wattproof.doctor", probe],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(json.dumps(request).encode(), limit_s)
    except subprocess.TimeoutExpired:
        _end(process)
        return [
            missing(
                probe,
                "probe",
                f"Looking at '{probe}' did not end within {limit_s:g} s; its driver or device "
                "hangs.",
                "Look into the kernel's messages (dmesg); restarting the driver, or the machine, "
                "usually helps.",
                {"hung": True},
            )
        ]
    except BaseException:
        _end(process)
        raise
    try:
        return [Finding(**{**item, "grade": Grade(item["grade"])}) for item in json.loads(output)]
    except (ValueError, TypeError, KeyError):
        lines = errors.decode(errors="replace").strip().splitlines()
        code = process.returncode
        how = f"signal {-code}" if code < 0 else f"status {code}"
        return [
            missing(
                probe,
                "probe",
                f"Looking at '{probe}' broke off ({': '.join([how, *lines[-1:]])}).",
                "Please report this; everything else was looked at.",
                {"broken": True},
            )
        ]


def look_at_all(
    probes: Sequence[str], request: Mapping[str, Any], limit_s: float
) -> dict[str, list[Finding]]:
    """Run probes side by side, as many at a time as there are CPUs; findings by probe."""
    workers = max(1, min(len(probes), len(os.sched_getaffinity(0)), 4))
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(lambda probe: look(probe, request, limit_s), probes)
        return dict(zip(probes, found, strict=True))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it started; never wait for long."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            # Closing may flush into a pipe that nobody reads; the thread is not waited for.
            threading.Thread(target=_close, args=(stream,), daemon=True).start()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(ABANDON_S)


def _close(stream: Any) -> None:
    with contextlib.suppress(OSError):
        stream.close()
