"""Published energies of MLPerf Training against the same figures recomputed from the raw logs."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.ingest import mlperf_folder, rules
from wattproof.ingest.mlperf_folder import CHANNELS, MlperfFolder, MlperfRun

DATASET = "mlperf_training"
MAX_EDGE_NS = 5_000_000_000
"""A log may begin so late or end so early; its nearest reading stands for the rest."""

_DROPPED = {"unet3d": 4}
"""Runs left out at each end where it is not one (mlcommons/logging, ``result_summarizer.py``)."""

_J_PER_KJ = 1_000.0


def read_published_j(path: Path) -> dict[tuple[str, str], float]:
    """Read the published energies.

    Args:
        path: ``published.csv``: the results table as exported by MLCommons, one row a figure;
            energies are the rows in kJ, the register is part of the system's name.

    Returns:
        Joules by benchmark and register (ac, dc).

    Raises:
        WattproofError: The file is missing or not the export, or names a figure twice.
    """
    found: dict[tuple[str, str], float] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise WattproofError(f"{path} cannot be read ({error}); restore the file.") from error
    for number, row in enumerate(rows, start=2):
        try:
            units, system, benchmark = row["Units"], row["System Name"], row["Model MLC"]
            text = row["Avg. Result at System Name"]
        except KeyError as error:
            raise WattproofError(
                f"{path} lacks the column {error}; restore the file that MLCommons exports."
            ) from error
        if units != "kJ":
            continue
        channel = next((c for c in CHANNELS if f"-{c}-" in f"-{system.lower()}-"), None)
        if channel is None:
            raise WattproofError(
                f"{path}, line {number}: the system '{system}' names neither AC nor DC, so its "
                "energy cannot be compared; correct or remove the row."
            )
        if (benchmark, channel) in found:
            raise WattproofError(
                f"{path}, line {number}: a second {channel.upper()} energy of '{benchmark}'; "
                "keep one."
            )
        try:
            found[benchmark, channel] = float(text.replace(",", "")) * _J_PER_KJ
        except ValueError as error:
            raise WattproofError(
                f"{path}, line {number}: '{text}' is not a number of kJ; correct it."
            ) from error
    return found


def _energies_j(runs: list[MlperfRun], channel: str) -> list[float]:
    energies = []
    for run in runs:
        log = run.logs[channel]
        times, power = log.good()
        try:
            energy = rules.mlperf_training_energy_j(
                times,
                power,
                run.start_ns,
                run.stop_ns,
                log_start_ns=log.start_ns,
                conversion_efficiency=log.conversion_efficiency,
            )
        except WattproofError as error:
            raise WattproofError(f"{log.path}: {error}") from error
        energies.append(energy)
    return energies


def _integrated_j(runs: list[MlperfRun], channel: str) -> float | None:
    """Mean over the runs of the trapezoid in the run window, scaled; None if one is unknown."""
    total = 0.0
    for run in runs:
        log = run.logs[channel]
        energy = rules.trapezoid_j(*log.good(), run.start_ns, run.stop_ns, max_edge_ns=MAX_EDGE_NS)
        if energy is None:
            return None
        total += energy * log.conversion_efficiency * run.scaling_factor
    return total / len(runs)


def compare(root: Path, folder: MlperfFolder | None = None) -> pd.DataFrame:
    """Recompute the published energies of a set by the official rule.

    The integral inside the run windows uses the same runs and the same factor; it differs from
    the rule because the rule's mean power holds the idle time at both ends of the log.

    Args:
        root: Folder with runs.csv and published.csv.
        folder: The same folder if it was read already.

    Returns:
        Table ``published``, one row a benchmark and register. `runs` are the runs that remain
        after the fastest and the slowest are dropped. What could not be computed is null, and the
        list ``attrs["refused"]`` of the frame says why.

    Raises:
        WattproofError: A file is missing or unusable.
    """
    folder = folder or mlperf_folder.read(root)
    published = read_published_j(root / "published.csv")
    rows = []
    refused = []
    for benchmark in dict.fromkeys(run.benchmark for run in folder.runs):
        all_runs = [run for run in folder.runs if run.benchmark == benchmark]
        good = [run for run in all_runs if run.succeeded]
        failed = len(all_runs) - len(good)
        dropped = _DROPPED.get(benchmark, 1)
        for channel in (c for c in CHANNELS if c in all_runs[0].logs):
            recomputed = integrated = None
            used: list[MlperfRun] = []
            times = [run.time_to_train_s for run in good]
            try:
                kept = rules.mlperf_training_selection(times, failed=failed, dropped=dropped)
                recomputed = rules.mlperf_training_result(
                    _energies_j(good, channel),
                    times,
                    good[0].scaling_factor,
                    failed=failed,
                    dropped=dropped,
                )
                used = [good[i] for i in kept]
                integrated = _integrated_j(used, channel)
                if integrated is None:
                    refused.append(
                        f"{benchmark} {channel.upper()}: a log covers too little of its run window "
                        "to integrate it."
                    )
            except WattproofError as error:
                refused.append(f"{benchmark} {channel.upper()}: {error}")
            figure = published.get((benchmark, channel))
            if figure is None:
                refused.append(f"{benchmark} {channel.upper()}: no published energy to compare.")
            rows.append(
                {
                    "dataset": DATASET,
                    "benchmark": benchmark,
                    "channel": f"node.{channel}",
                    "runs": len(used),
                    "rule": rules.MLPERF_TRAINING,
                    "published_j": figure,
                    "recomputed_j": recomputed,
                    "integrated_j": integrated,
                    "relative_difference": None
                    if figure is None or recomputed is None
                    else (figure - recomputed) / figure,
                }
            )
    frame: pd.DataFrame = tables.conform(rows, "published").to_pandas()
    frame.attrs["refused"] = refused
    return frame
