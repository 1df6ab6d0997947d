"""Reader of MLPerf Training power submissions: tables in the schemas of wattproof.

A foreign log knows only the wall clock (milliseconds since the epoch). It serves as the clock of
the recording: ``start_ns``, ``end_ns`` and ``mono_ns`` hold the same value as ``wall_ns``. A step
of the host's clock during a run would go unnoticed; the tables' metadata say so.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from wattproof import tables
from wattproof.ingest import mlperf_folder, mlperf_published, published, registers, rules
from wattproof.ingest.base import Ingested, Log
from wattproof.ingest.mlperf_folder import CHANNELS, MlperfFolder, MlperfRun
from wattproof.ingest.mlperf_power import PowerLog
from wattproof.ingest.series import finding
from wattproof.units import ns_to_s

SOURCE = "meter"

SETTINGS: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": {}}

_CLOCK = (
    "Wall clock: a foreign log has no monotonic stamps, so start_ns, end_ns and mono_ns repeat "
    "wall_ns (time_ms of the log); a step of that clock would go unnoticed."
)
_EPOCHS = (
    "Completed epochs. 0 for bert, which counts samples and trains less than one epoch, and for "
    "benchmarks whose way of counting is not known to this reader."
)
_ACCURACY = "Null for dlrm_dcnv2 and unknown benchmarks: their metric is no accuracy."

# MLPerf counts progress and quality differently by benchmark; only these fit our columns.
_COUNTS_EPOCHS = frozenset({"resnet", "dlrm_dcnv2"})
_REACHES_ACCURACY = frozenset({"resnet", "bert"})


def _samples(run: MlperfRun) -> list[dict[str, Any]]:
    return [
        {
            "recording": run.recording,
            "session": 0,
            "source": SOURCE,
            "channel": f"node.{channel}",
            "start_ns": reading.time_ns,
            "end_ns": reading.time_ns,
            "wall_ns": reading.time_ns,
            "value": reading.value_w,
            "status": str(reading.status),
        }
        for channel, log in run.logs.items()
        for reading in log.readings
    ]


def period_s(log: PowerLog) -> float | None:
    """Median step between the good readings of a log; None where there are fewer than two."""
    times, _ = log.good()
    return ns_to_s(float(np.median(np.diff(times)))) if times.size > 1 else None


def _channels(run: MlperfRun, root: Path, system: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "recording": run.recording,
            "session": 0,
            "source": SOURCE,
            "channel": f"node.{channel}",
            "unit": "W",
            "kind": "power",
            "device": f"{system.get('system_name', 'unknown system')}/{log.path.stem}",
            "period_s": period_s(log),
            "averaging_s": 0.0,
            "clock": "host",
            "simulated": False,
            "identity": json.dumps(
                {
                    "file": str(log.path.relative_to(root)),
                    "format": "MLPerf Training power log (:::MLLOG, key power_reading)",
                    "model": None,
                    "serial": None,
                    "register": f"{channel.upper()} power of the node",
                    "period_s": "inferred: median step between good readings",
                    "averaging_s": "unknown to the log; 0 only stands for it",
                    "accuracy": "unknown to the log",
                    "power_measurement_start_ns": log.start_ns,
                    "conversion_efficiency": log.conversion_efficiency,
                },
                sort_keys=True,
            ),
        }
        for channel, log in run.logs.items()
    ]


def _marks(run: MlperfRun) -> list[dict[str, Any]]:
    return [
        {
            "recording": run.recording,
            "session": 0,
            "run_id": run.recording,
            "kind": kind,
            "mono_ns": time_ns,
            "wall_ns": time_ns,
        }
        for kind, time_ns in (("run_begin", run.start_ns), ("run_end", run.stop_ns))
    ]


def _run_row(run: MlperfRun) -> dict[str, Any]:
    counted = run.progress if run.benchmark in _COUNTS_EPOCHS else None
    return {
        "recording": run.recording,
        "session": 0,
        "run_id": run.recording,
        # One training on all eight GPUs of the node.
        "setting": "ddp",
        "status": "ok" if run.succeeded else "failed",
        "reason": "" if run.succeeded else f"runs.csv gives the status '{run.status}'",
        "epochs": None if counted is None else int(counted),
        "duration_s": ns_to_s(run.stop_ns - run.start_ns),
        "val_accuracy": run.eval_metric if run.benchmark in _REACHES_ACCURACY else None,
    }


def _window(run: MlperfRun) -> dict[str, Any]:
    return {
        "recording": run.recording,
        "session": 0,
        "window_id": f"{run.recording}/run",
        "run_id": run.recording,
        "level": "run",
        "kind": "run",
        "setting": "ddp",
        "start_ns": run.start_ns,
        "end_ns": run.stop_ns,
    }


def ingest(root: Path, folder: MlperfFolder | None = None) -> Ingested:
    """Read an MLPerf Training power submission (layout: `wattproof.ingest.mlperf_folder`).

    Each run becomes a recording ``{benchmark}-{run}`` of one session with the channels
    ``node.ac`` and ``node.dc`` of the source ``meter``, one run and one run window. Begin and end
    come from the run's own log where the set has it, else from runs.csv.

    Args:
        root: Folder with runs.csv.
        folder: The same folder if it was read already.

    Returns:
        The tables, with notes on everything odd in the files.

    Raises:
        WattproofError: A file is missing or unusable; one sentence that names it.
    """
    folder = folder or mlperf_folder.read(root)
    system = folder.system
    return Ingested(
        samples=tables.conform([s for run in folder.runs for s in _samples(run)], "samples"),
        channels=tables.conform(
            [c for run in folder.runs for c in _channels(run, root, system)], "channels"
        ),
        marks=tables.conform([m for run in folder.runs for m in _marks(run)], "marks"),
        runs=tables.conform([_run_row(run) for run in folder.runs], "runs"),
        # As in wattproof.energy, a failed run has marks but no window.
        windows=tables.conform([_window(run) for run in folder.runs if run.succeeded], "windows"),
        host=str(system.get("system_name", "")),
        instruments={
            SOURCE: {"model": None, "serial": None, "what": "node power registers, AC and DC"}
        },
        extra={
            "origin": "MLPerf Training",
            "clock": _CLOCK,
            "epochs": _EPOCHS,
            "val_accuracy": _ACCURACY,
        },
        notes=folder.notes,
    )


def _scatter_findings(log: Log, folder: MlperfFolder) -> list[dict[str, Any]]:
    """Findings: benchmarks whose registers agree in energy but not in single samples."""
    rows = []
    first, second = CHANNELS
    for benchmark in dict.fromkeys(run.benchmark for run in folder.runs):
        runs = [r for r in folder.runs if r.benchmark == benchmark and set(r.logs) >= {*CHANNELS}]
        energies = [
            [
                rules.trapezoid_j(
                    *run.logs[c].good(),
                    run.start_ns,
                    run.stop_ns,
                    max_edge_ns=mlperf_published.MAX_EDGE_NS,
                )
                for c in CHANNELS
            ]
            for run in runs
        ]
        ratios = [
            registers.sample_ratios(
                run.logs[first].good(), run.logs[second].good(), run.start_ns, run.stop_ns
            )
            for run in runs
        ]
        found = registers.compare([(a, b) for a, b in energies], ratios)
        if found is None or not found.scatters:
            continue
        rows.append(
            finding(
                log,
                "samples_scatter",
                f"{benchmark}: {second.upper()}/{first.upper()} energy is "
                f"{found.energy_ratio:.3f} ± {found.energy_spread:.3f} over {found.runs} runs, "
                f"while the ratio of single samples scatters by {found.sample_spread:.1%} "
                f"(90 % of {found.pairs} pairs between {found.sample_low:.3f} and "
                f"{found.sample_high:.3f}, the furthest at {found.sample_furthest:.3f}): "
                "energies agree, single samples do not.",
                "Compare the registers by energies of whole runs; take no efficiency from single "
                "samples.",
                severity="note",
                affected=found.pairs,
                value=100 * found.sample_spread,
                unit="%",
            )
        )
    return rows


def read(log: Log) -> Ingested:
    """Read the set that a manifest names, and hold its published energies against its logs.

    Raises:
        WattproofError: The folder does not hold what it should; one sentence names the file.
    """
    folder = mlperf_folder.read(log.path)
    rows = _scatter_findings(log, folder)
    if (log.path / "published.csv").is_file():
        rows = published.findings(log, published.compare(log.path, folder)) + rows
    return replace(ingest(log.path, folder), findings=tables.conform(rows, "findings"))


def published_rows(log: Log) -> list[dict[str, Any]]:
    """Rows of table ``published``; none where the set has no published.csv."""
    if not (log.path / "published.csv").is_file():
        return []
    found: list[dict[str, Any]] = tables.conform(
        published.compare(log.path), "published"
    ).to_pylist()
    return found


def sniff(path: Path, head: bytes) -> float:
    """How sure it is that a folder is an MLPerf Training power submission."""
    if not (path / "runs.csv").is_file():
        return 0.0
    return 0.95 if any(path.glob("*/[ad]c")) else 0.3


def draft(path: Path) -> dict[str, Any]:
    """Settings that a drafted manifest shows: there are none."""
    return {}
