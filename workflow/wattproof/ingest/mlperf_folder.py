"""Files of an MLPerf Training power submission, read and checked, before any table is made.

Layout below the root::

    runs.csv                                   run windows, times to train, scaling factors, status
    system.json                                the node (optional)
    {benchmark}/scaling.json                   factor of the review committee (optional: 1.0)
    {benchmark}/{ac,dc}/{run}/node_*.txt       node power
    {benchmark}/events/{run}.txt               training log of the run (optional)
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wattproof.errors import WattproofError
from wattproof.ingest import mllog
from wattproof.ingest.mlperf_power import PowerLog, read_power_log

CHANNELS = ("ac", "dc")
_COLUMNS = (
    "benchmark",
    "run",
    "run_start_ms",
    "run_stop_ms",
    "time_to_train_s",
    "scaling_factor",
    "status",
)


@dataclass(frozen=True)
class MlperfRun:
    """One run of the set.

    Attributes:
        benchmark: Name of the benchmark.
        name: Name of the run, unique inside its benchmark.
        start_ns: ``run_start``, by the event log where there is one, else by runs.csv.
        stop_ns: ``run_stop``, likewise.
        time_to_train_s: As in runs.csv.
        scaling_factor: Of the benchmark.
        status: As in runs.csv: success or another word.
        eval_metric: Last value of the benchmark's metric; None if unknown.
        progress: Epochs or samples trained, as the benchmark counts; None if unknown.
        logs: Power logs by register (ac, dc).
    """

    benchmark: str
    name: str
    start_ns: int
    stop_ns: int
    time_to_train_s: float
    scaling_factor: float
    status: str
    eval_metric: float | None
    progress: float | None
    logs: dict[str, PowerLog]

    @property
    def recording(self) -> str:
        """Name of the recording, unique in the set."""
        return f"{self.benchmark}-{self.name}"

    @property
    def succeeded(self) -> bool:
        """Whether the run reached its target."""
        return self.status == "success"


@dataclass(frozen=True)
class MlperfFolder:
    """The whole set: runs in the order of runs.csv, the node, and what was odd."""

    runs: tuple[MlperfRun, ...]
    system: dict[str, Any]
    notes: tuple[str, ...]


def _number(row: dict[str, str], column: str, where: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise WattproofError(
            f"{where}: column '{column}' is '{row[column]}', not a number; correct it."
        )
    return value


def _optional(row: dict[str, str], column: str, where: str) -> float | None:
    return _number(row, column, where) if row.get(column) else None


def _time_ns(row: dict[str, str], column: str, where: str) -> int:
    text = row[column].strip()
    if not text.isdecimal() or int(text) > mllog.LAST_MS:
        raise WattproofError(
            f"{where}: column '{column}' is '{text}', not a time in whole milliseconds; correct it."
        )
    return int(text) * mllog.NS_PER_MS


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WattproofError(f"{path} is not readable as JSON ({error}); restore it.") from error
    if not isinstance(document, dict):
        raise WattproofError(f"{path} must hold a JSON object; restore it.")
    return document


def scaling_factor(folder: Path) -> float:
    """Factor in ``scaling.json`` of a benchmark's folder; 1.0 where there is no such file."""
    path = folder / "scaling.json"
    if not path.exists():
        return 1.0
    factor = _json(path).get("scaling_factor")
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor < math.inf:
        raise WattproofError(f"{path} holds no positive 'scaling_factor'; restore it.")
    return float(factor)


def _node_log(folder: Path) -> Path:
    logs = sorted(folder.glob("node_*.txt"))
    if not logs:
        raise WattproofError(
            f"{folder} holds no power log node_*.txt, but runs.csv names its run; restore it or "
            "take the run out of runs.csv."
        )
    if len(logs) > 1 or any(folder.glob("sw_*.txt")):
        raise WattproofError(
            f"{folder} holds logs of several nodes or of a switch; this reader takes runs on one "
            "node, so take the run out of runs.csv."
        )
    return logs[0]


def _with_events(run: MlperfRun, path: Path) -> tuple[MlperfRun, list[str]]:
    """Take the run's begin and end from its own log where there is one."""
    if not path.exists():
        return run, []
    log = mllog.read(path)
    notes = []
    if log.malformed:
        notes.append(f"{path}: {len(log.malformed)} malformed line(s) were left out.")
    starts, stops = log.times_ns("run_start"), log.times_ns("run_stop")
    if not starts or not stops:
        notes.append(f"{path}: no run_start or no run_stop; the window of runs.csv is used.")
        return run, notes
    if (starts[0], stops[0]) != (run.start_ns, run.stop_ns):
        notes.append(f"{path}: its run window differs from runs.csv; the log's is used.")
    return replace(run, start_ns=starts[0], stop_ns=stops[0]), notes


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle, restval="")
            rows = list(reader)
            missing = [c for c in _COLUMNS if c not in (reader.fieldnames or [])]
    except OSError as error:
        raise WattproofError(
            f"{path} cannot be read ({error.strerror}); give the folder of an MLPerf Training set."
        ) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise WattproofError(f"{path} is not a readable CSV file ({error}); restore it.") from error
    if missing:
        raise WattproofError(f"{path} lacks the column(s) {', '.join(missing)}; restore it.")
    if not rows:
        raise WattproofError(f"{path} names no run; restore it.")
    return rows


def _run(root: Path, row: dict[str, str], where: str) -> tuple[MlperfRun, list[str]]:
    benchmark, name = row["benchmark"].strip(), row["run"].strip()
    for word in (benchmark, name):
        if not word or Path(word).name != word:
            raise WattproofError(f"{where}: '{word}' cannot be the name of a folder; correct it.")
    if row.get("switch_est_w"):
        raise WattproofError(
            f"{where}: the run has a switch estimate; this reader takes runs on one node, so take "
            "the run out of runs.csv."
        )
    folder = root / benchmark
    factor = scaling_factor(folder)
    filed = _number(row, "scaling_factor", where)
    if not math.isclose(factor, filed, rel_tol=1e-9):
        raise WattproofError(
            f"{where}: the scaling factor is {filed}, but {factor} by {folder / 'scaling.json'}; "
            "correct the wrong one."
        )
    notes: list[str] = []
    logs: dict[str, PowerLog] = {}
    for channel in CHANNELS:
        if (folder / channel).is_dir():
            logs[channel], odd = read_power_log(_node_log(folder / channel / name))
            notes += odd
    if not logs:
        raise WattproofError(f"{folder} holds neither 'ac' nor 'dc'; restore the power logs.")
    run = MlperfRun(
        benchmark=benchmark,
        name=name,
        start_ns=_time_ns(row, "run_start_ms", where),
        stop_ns=_time_ns(row, "run_stop_ms", where),
        time_to_train_s=_number(row, "time_to_train_s", where),
        scaling_factor=factor,
        status=row["status"].strip(),
        eval_metric=_optional(row, "eval_accuracy_last", where),
        progress=_optional(row, "epochs_or_samples_last", where),
        logs=logs,
    )
    run, odd = _with_events(run, folder / "events" / f"{name}.txt")
    if run.stop_ns <= run.start_ns:
        raise WattproofError(f"{where}: run '{name}' ends before it begins; correct its window.")
    return run, notes + odd


def _unread(root: Path, runs: list[MlperfRun]) -> list[str]:
    """Say which logs lie in the set without a row in runs.csv."""
    known = {(run.benchmark, run.name) for run in runs}
    notes = []
    for benchmark in sorted({run.benchmark for run in runs}):
        for channel in CHANNELS:
            folder = root / benchmark / channel
            there = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
            unknown = [name for name in there if (benchmark, name) not in known]
            if unknown:
                notes.append(
                    f"{folder}: {len(unknown)} entr{'y' if len(unknown) == 1 else 'ies'} without a "
                    f"row in runs.csv not read: {', '.join(unknown)}."
                )
    return notes


def read(root: Path) -> MlperfFolder:
    """Read the whole set.

    Raises:
        WattproofError: A file is missing or unusable; one sentence that names it.
    """
    path = root / "runs.csv"
    runs: list[MlperfRun] = []
    notes: list[str] = []
    for number, row in enumerate(_rows(path), start=2):
        run, odd = _run(root, row, f"{path}, line {number}")
        if any(run.recording == other.recording for other in runs):
            raise WattproofError(
                f"{path}, line {number}: run '{run.name}' of '{run.benchmark}' is there twice; "
                "remove one."
            )
        runs.append(run)
        notes += odd
    system = _json(root / "system.json") if (root / "system.json").exists() else {}
    notes += _unread(root, runs)
    return MlperfFolder(tuple(runs), system, tuple(n.replace(f"{root}/", "") for n in notes))
