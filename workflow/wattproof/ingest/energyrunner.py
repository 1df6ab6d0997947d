"""Energy traces of MLPerf Tiny (EnergyRunner): one byte, a rate, then microjoules per sample.

The binary holds one byte (format), a little-endian float32 (samples a second) and float32
microjoules per sample. A JSON list beside it holds the stamps (s) at which the device toggled its
pin: the second and third enclose the first measured window, and so on (see results.txt).
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.ingest import published, spans, text
from wattproof.ingest import series as made
from wattproof.ingest.base import Ingested, Log
from wattproof.ingest.series import Series
from wattproof.ingest.spans import Span
from wattproof.units import NS_PER_S, uj_to_j

SOURCE, CHANNEL = "energyrunner", "device.energy"
HEADER_BYTES = 5

RULE = "energyrunner_window"
"""Energy of a window: sum of the trace between two toggles of the pin, edges shared linearly."""

TOLERANCE = 2e-4
"""Windows of results.txt come out this well: the stamps are rounded to 1 ms of about 10 s."""

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
    bad = int((~np.isfinite(energy)).sum())
    if bad:
        raise WattproofError(
            f"{path} holds {bad} values that are no numbers, so its energies cannot be added up; "
            "restore the file."
        )
    return rate, np.asarray(uj_to_j(1.0) * energy)


def _stamps(path: Path) -> list[float]:
    try:
        stamps = json.loads(text.read_text(path))
    except ValueError as error:
        raise WattproofError(f"{path} is not readable as JSON ({error}); restore it.") from error
    if not isinstance(stamps, list) or not all(isinstance(s, int | float) for s in stamps):
        raise WattproofError(f"{path} must hold a list of seconds; restore it.")
    if not all(a < b for a, b in pairwise(stamps)):
        raise WattproofError(f"{path} must hold ascending seconds; restore it.")
    return [float(s) for s in stamps]


def results_windows(path: Path) -> dict[int, tuple[float, float, float]]:
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
    return _read(log)[0]


def _read(log: Log) -> tuple[Ingested, list[dict[str, Any]]]:
    """Tables and rows of table ``published``."""
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
    marked = spans.of_log(
        log,
        [
            Span(f"window-{number}", round(begin_s * NS_PER_S), round(end_s * NS_PER_S))
            for number, begin_s, end_s in edges
        ],
        findings,
    )
    figures = _published(log, results_file, edges, t_ns, counter)
    findings += published.findings(log, pd.DataFrame(figures), TOLERANCE) if figures else []
    return (
        Ingested(
            samples=made.samples(log, found),
            channels=made.channels(log, found),
            **marked,
            findings=tables.conform(findings, "findings"),
            instruments={SOURCE: {"rate_hz": rate, "file": binary.name}},
            extra={"clock": "seconds since the start of the trace"},
        ),
        figures,
    )


def _published(
    log: Log,
    results: Path | None,
    edges: list[tuple[int, float, float]],
    t_ns: np.ndarray,
    counter: np.ndarray,
) -> list[dict[str, Any]]:
    """Rows of table ``published``: the windows of results.txt that the stamps enclose."""
    if results is None or not results.is_file():
        return []
    wanted = results_windows(results)
    rows = []
    for number, begin_s, end_s in edges:
        if number not in wanted:
            continue
        figure = wanted[number][2]
        at = np.interp([begin_s * NS_PER_S, end_s * NS_PER_S], t_ns, counter)
        ours = float(at[1] - at[0])
        rows.append(
            {
                "dataset": "mlperf_tiny",
                "benchmark": f"window-{number}",
                "channel": CHANNEL,
                "runs": 1,
                "rule": RULE,
                "published_j": figure,
                "recomputed_j": ours,
                "integrated_j": ours,
                "relative_difference": (figure - ours) / figure,
                "published_w": None,
                "recomputed_w": None,
            }
        )
    return rows


def published_rows(log: Log) -> list[dict[str, Any]]:
    """Rows of table ``published``; none without results.txt."""
    return _read(log)[1]


def sniff(path: Path, head: bytes) -> float:
    """How sure it is that a folder holds a trace of EnergyRunner."""
    return 1.0 if any(path.glob("*energy.bin")) else 0.0


def draft(path: Path) -> dict[str, Any]:
    """Settings that a drafted manifest shows."""
    return {}
