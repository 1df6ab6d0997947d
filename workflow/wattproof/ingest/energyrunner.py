"""Energy traces of MLPerf Tiny (EnergyRunner): one byte, a rate, then microjoules per sample.

The binary holds one byte (format), a little-endian float32 (samples a second) and float32
microjoules per sample. A JSON list beside it holds the stamps (s) at which the device toggled its
pin: the second and third enclose the first measured window, and so on (see results.txt).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.ingest import series as made
from wattproof.ingest import text
from wattproof.ingest.base import Ingested, Log
from wattproof.ingest.series import Series, finding
from wattproof.units import NS_PER_S, uj_to_j

SOURCE, CHANNEL = "energyrunner", "device.energy"
HEADER_BYTES = 5

SETTINGS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "trace": {"type": ["string", "null"], "default": None},
        "timestamps": {"type": ["string", "null"], "default": None},
        "results": {"type": ["string", "null"], "default": None},
    },
}

_WINDOW = re.compile(r"Energy data for window (\d+) at time ([\d.]+) for ([\d.]+) sec")
_ENERGY = re.compile(r"Energy\s+:\s+([\d.]+) uJ")


def _file(log: Log, key: str, pattern: str) -> Path | None:
    """A file of the folder: as the manifest names it, else the only one of its kind."""
    named = log.settings[key]
    if named is not None:
        return log.path / named
    found = sorted(log.path.glob(pattern))
    return found[0] if len(found) == 1 else None


def trace(path: Path) -> tuple[float, np.ndarray]:
    """Rate in samples a second, and joules per sample.

    Raises:
        WattproofError: The file is missing, cut off, or no trace.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WattproofError(f"{path} cannot be read ({error.strerror}); restore it.") from error
    body = data[HEADER_BYTES:]
    if len(body) < 4:
        raise WattproofError(f"{path} is empty or cut off ({len(data)} bytes); restore it.")
    rate = float(np.frombuffer(data[1:HEADER_BYTES], "<f4")[0])
    if not 0.1 <= rate <= 1e7:
        raise WattproofError(
            f"{path} is no trace of EnergyRunner: its rate would be {rate:g} samples a second."
        )
    whole = len(body) // 4
    energy = np.frombuffer(body[: 4 * whole], "<f4").astype(np.float64)
    return rate, np.asarray(uj_to_j(1.0) * energy)


def _stamps(path: Path) -> list[float]:
    try:
        stamps = json.loads(text.read_text(path))
    except ValueError as error:
        raise WattproofError(f"{path} is not readable as JSON ({error}); restore it.") from error
    if not isinstance(stamps, list) or not all(isinstance(s, int | float) for s in stamps):
        raise WattproofError(f"{path} must hold a list of seconds; restore it.")
    return [float(s) for s in stamps]


def published(path: Path) -> dict[int, tuple[float, float, float]]:
    """Windows of results.txt: number → (begin s, length s, energy J)."""
    found: dict[int, tuple[float, float, float]] = {}
    window: tuple[int, float, float] | None = None
    for line in text.read_text(path).splitlines():
        head, energy = _WINDOW.search(line), _ENERGY.search(line)
        if head:
            window = int(head[1]), float(head[2]), float(head[3])
        elif energy and window is not None:
            found[window[0]] = (window[1], window[2], uj_to_j(float(energy[1])))
            window = None
    return found


def read(log: Log) -> Ingested:
    """Read the folder of a trace.

    Raises:
        WattproofError: A file is missing or unreadable; one sentence.
    """
    if not log.path.is_dir():
        raise WattproofError(f"{log.path} is no folder; give the folder of the trace.")
    binary = _file(log, "trace", "*energy.bin")
    if binary is None:
        raise WattproofError(f"{log.path} holds no single *energy.bin; name it as 'trace'.")
    rate, energy_j = trace(binary)
    period_ns = NS_PER_S / rate
    # The k-th value is the energy of the k-th interval, so the counter stands at its end.
    t_ns = np.rint(np.arange(len(energy_j) + 1) * period_ns).astype(np.int64)
    counter = np.concatenate(([0.0], np.cumsum(energy_j)))
    found = [
        Series(SOURCE, CHANNEL, "J", "energy", t_ns, counter, device="device", averaging_s=0.0)
    ]
    stamps_file = _file(log, "timestamps", "*timestamps.json")
    results_file = _file(log, "results", "results.txt")
    findings: list[dict[str, Any]] = []
    edges: list[tuple[int, float, float]] = []
    if stamps_file is not None:
        stamps = _stamps(stamps_file)
        # Between the toggles lie, in turn, waiting and measured windows.
        edges = [(i + 1, stamps[i], stamps[i + 1]) for i in range(1, len(stamps) - 1, 2)]
    name = log.recording
    marks, runs, windows = [], [], []
    for number, begin_s, end_s in edges:
        begin, end = (round(s * NS_PER_S) for s in (begin_s, end_s))
        common = {"recording": name, "session": 0, "run_id": f"window-{number}"}
        marks += [
            {**common, "kind": f"run_{edge}", "mono_ns": t, "wall_ns": t}
            for edge, t in (("begin", begin), ("end", end))
        ]
        runs.append(
            {
                **common,
                "setting": "single",
                "status": "ok",
                "reason": "",
                "duration_s": end_s - begin_s,
            }
        )
        windows.append(
            {
                **common,
                "window_id": f"{name}/window-{number}",
                "level": "run",
                "kind": "run",
                "setting": "single",
                "start_ns": begin,
                "end_ns": end,
            }
        )
    if results_file is not None and results_file.is_file():
        findings += _compare(log, published(results_file), edges, t_ns, counter)
    return Ingested(
        samples=made.samples(log, found),
        channels=made.channels(log, found),
        marks=tables.conform(marks, "marks"),
        runs=tables.conform(runs, "runs"),
        windows=tables.conform(windows, "windows"),
        findings=tables.conform(findings, "findings"),
        instruments={SOURCE: {"rate_hz": rate, "file": binary.name}},
        extra={"clock": "seconds since the start of the trace"},
    )


def _compare(
    log: Log,
    wanted: dict[int, tuple[float, float, float]],
    edges: list[tuple[int, float, float]],
    t_ns: np.ndarray,
    counter: np.ndarray,
) -> list[dict[str, Any]]:
    """Findings: whether the windows of results.txt come out of the trace."""
    if not wanted or not edges:
        return []
    worst, matched = 0.0, 0
    for number, begin_s, end_s in edges:
        known = wanted.get(number)
        if known is None:
            continue
        ours = np.interp(end_s * NS_PER_S, t_ns, counter) - np.interp(
            begin_s * NS_PER_S, t_ns, counter
        )
        matched += 1
        off = (known[2] - float(ours)) / known[2]
        worst = off if abs(off) > abs(worst) else worst
    good = matched > 0 and abs(worst) <= 2e-4
    return [
        finding(
            log,
            "published_reproduced" if good else "published_not_reproduced",
            f"{matched} window energies of results.txt against the trace: largest difference "
            f"{worst:+.4%}.",
            "None." if good else "Look at the edges of the windows.",
            severity="note" if good else "error",
            value=100 * worst,
            unit="%",
            source=SOURCE,
            channel=CHANNEL,
            affected=matched,
            of=len(wanted),
        )
    ]


def sniff(path: Path, head: bytes) -> float:
    """How sure it is that a folder holds a trace of EnergyRunner."""
    return 1.0 if any(path.glob("*energy.bin")) else 0.0


def draft(path: Path) -> dict[str, Any]:
    """Settings that a drafted manifest shows."""
    return {}
