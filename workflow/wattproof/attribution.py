"""Which part of the node's energy belongs to which of several runs that share the node.

A run's energy is that of its own GPUs, plus, at each instant, an equal share of everything else of
the node (CPUs, memory, off-socket power, idle GPUs) among the runs at work at that instant. So the
energies of all runs, plus what the node drew while none was at work, add up to the node's energy.

The instants at which a run begins or ends cut a session into *parts*, in which the same runs are
at work. `parts` says where the cuts are, `energy.integrate` gives each part its energies as it does
any window, and `shares` adds them up. Runs that are alone on the node need none of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pandas as pd

from wattproof import tables
from wattproof.clocks.frames import as_frame, records
from wattproof.offsocket import CALIBRATION, nvml_by_gpu, usable_energy_j

PACKED = "packed"
PART = "part"
"""Level of the windows that `parts` makes; they appear in no table."""

SESSION = "session"
"""Level of the rows that say what a whole session drew, and what of it belongs to no run."""
WHOLE, NOBODY = "whole", "unattributed"

METER, NODE = "meter", "node.ac"
PHASES = ("throughput", "latency")
"""Phases that have an energy of their own in the data set."""


@dataclass(frozen=True, slots=True)
class _Work:
    """A run at work: from its begin to its end, however it ended."""

    run_id: str
    setting: str
    slot: int | None
    start_ns: int
    end_ns: int


def _at_work(marks: Iterable[Mapping[str, Any]], runs: Mapping[str, str]) -> list[_Work]:
    """Return the trainings of one session, from their marks; `runs` are settings by run.

    One that left no end (it was killed) was at work until its last mark.
    """
    found: dict[str, tuple[int, int]] = {}
    slots: dict[str, int | None] = {}
    for mark in marks:
        run_id = mark["run_id"]
        if run_id not in runs:
            continue
        if mark["kind"] == "run_begin":
            found[run_id] = (int(mark["mono_ns"]), int(mark["mono_ns"]))
            # Of this session: a run that was broken off is trained on another slot later.
            slots[run_id] = None if pd.isna(mark["slot"]) else int(mark["slot"])
        elif run_id in found:
            found[run_id] = (found[run_id][0], int(mark["mono_ns"]))
    return [
        _Work(run_id, runs[run_id], slots[run_id], start_ns, end_ns)
        for run_id, (start_ns, end_ns) in found.items()
        if end_ns > start_ns
    ]


def _sessions(
    windows: pd.DataFrame, marks: pd.DataFrame, runs: pd.DataFrame
) -> list[tuple[tuple[str, int], pd.DataFrame, list[_Work]]]:
    """Return the sessions in which runs are packed: key, windows, runs at work."""
    trainings = {
        str(run["run_id"]): str(run["setting"])
        for run in records(runs)
        if run["setting"] != CALIBRATION
    }
    if PACKED not in trainings.values():
        return []
    found = []
    by_session = marks.sort_values("mono_ns", kind="stable").groupby(["recording", "session"])
    for group, own in by_session:
        key = cast("tuple[str, int]", group)
        here = windows[(windows["recording"] == key[0]) & (windows["session"] == key[1])]
        work = _at_work(records(own), trainings)
        if len(here) and any(one.setting == PACKED for one in work):
            found.append(((str(key[0]), int(key[1])), here, work))
    return found


def _span(windows: pd.DataFrame, work: Sequence[_Work]) -> tuple[int, int]:
    begins = [int(windows["start_ns"].min()), *(one.start_ns for one in work)]
    ends = [int(windows["end_ns"].max()), *(one.end_ns for one in work)]
    return min(begins), max(ends)


def _targets(windows: pd.DataFrame) -> pd.DataFrame:
    """Windows of trainings that get a share, whole runs apart."""
    level, kind = windows["level"], windows["kind"]
    return windows[
        (windows["setting"] != CALIBRATION)
        & ((level == "epoch") | ((level == "phase") & kind.isin(PHASES)))
    ]


def _cut(start_ns: int, end_ns: int, edges: Sequence[int]) -> list[tuple[int, int]]:
    inside = [edge for edge in edges if start_ns < edge < end_ns]
    stops = [start_ns, *inside, end_ns]
    return list(pairwise(stops))


def _edges(work: Sequence[_Work]) -> list[int]:
    return sorted({edge for one in work for edge in (one.start_ns, one.end_ns)})


def _stem(key: tuple[str, int]) -> str:
    return f"{key[0]}/session-{key[1]:03d}"


def parts(
    windows: pd.DataFrame, marks: pd.DataFrame | Any, runs: pd.DataFrame | Any
) -> pd.DataFrame:
    """Return the windows that `shares` needs the energies of; none unless runs are packed.

    Args:
        windows: Table ``windows``.
        marks: Table ``marks``.
        runs: Table ``runs``.

    Returns:
        Rows like those of table ``windows``, with level ``part``: the span of each session, its
        parts, and parts of epochs in which a run begins or ends.
    """
    rows: list[dict[str, Any]] = []
    for key, here, work in _sessions(windows, as_frame(marks), as_frame(runs)):
        edges = _edges(work)
        wanted = {_stem(key): [_span(here, work)]}
        wanted |= {f"{_stem(key)}/part": _cut(*_span(here, work), edges)}
        for row in records(_targets(here)):
            cut = _cut(int(row["start_ns"]), int(row["end_ns"]), edges)
            if len(cut) > 1:
                wanted[str(row["window_id"])] = cut
        for name, intervals in wanted.items():
            rows += [
                {
                    "recording": key[0],
                    "session": key[1],
                    "window_id": f"{name}:{number}",
                    "run_id": None,
                    "level": PART,
                    "kind": PART,
                    "epoch": None,
                    "setting": PACKED,
                    "slot": None,
                    "start_ns": start_ns,
                    "end_ns": end_ns,
                }
                for number, (start_ns, end_ns) in enumerate(intervals)
            ]
    if not rows:
        return tables.empty("windows")
    return tables.conform(rows, "windows").to_pandas()


class _Energies:
    """Energies of windows and parts: the meter's, and each GPU's by NVML, with uncertainties."""

    def __init__(self, energy: pd.DataFrame) -> None:
        meter = energy[(energy["source"] == METER) & (energy["channel"] == NODE)]
        values = usable_energy_j(meter)
        self._meter = {
            window: (value, 0.0 if pd.isna(u) else float(u))
            for window, value, u in zip(
                meter["window_id"], values, meter["energy_u_j"], strict=True
            )
        }
        best = nvml_by_gpu(energy).merge(
            energy[["window_id", "channel", "source", "energy_j", "energy_u_j"]].assign(
                gpu=energy["channel"].str.extract(r"^gpu(\d+)\.")[0].astype("float64")
            ),
            on=["window_id", "gpu", "energy_j"],
        )
        best = best[best["source"] == "nvml"].drop_duplicates(["window_id", "gpu"])
        self._gpus: dict[str, dict[int, tuple[float, float]]] = {}
        for window, gpu, value, u in zip(
            best["window_id"], best["gpu"], best["energy_j"], best["energy_u_j"], strict=True
        ):
            own = self._gpus.setdefault(window, {})
            own[int(gpu)] = (float(value), 0.0 if pd.isna(u) else float(u))

    def node(self, window: str) -> tuple[float, float]:
        """Energy of the node and its standard uncertainty, in joules; NaN if unknown."""
        return self._meter.get(window, (np.nan, np.nan))

    def gpu(self, window: str, gpu: int) -> tuple[float, float]:
        """Energy of a GPU and its standard uncertainty, in joules; NaN if unknown."""
        return self._gpus.get(window, {}).get(gpu, (np.nan, np.nan))


@dataclass
class _Share:
    """Adds up the parts of one run, or of one of its epochs."""

    slot: int
    gpu_j: float = 0.0
    busy_j: float = 0.0
    rest_j: float = 0.0
    seconds: float = 0.0
    seconds_by_runs: float = 0.0
    meter_u_j: float = 0.0

    def __post_init__(self) -> None:
        self._gpu_u_j: dict[int, float] = {}

    def add(self, found: _Energies, window: str, seconds: float, busy: Sequence[int]) -> None:
        """Take in a part: the slots that are at work in it, this one among them."""
        count = len(busy)
        gpus = {slot: found.gpu(window, slot) for slot in busy}
        node_j, node_u_j = found.node(window)
        busy_j = sum(value for value, _ in gpus.values())
        self.gpu_j += gpus[self.slot][0]
        self.busy_j += busy_j
        self.rest_j += (node_j - busy_j) / count
        self.seconds += seconds
        self.seconds_by_runs += seconds / count
        # Errors of an instrument are the same in all parts: they add up, those of several do not.
        self.meter_u_j += node_u_j / count
        for slot, (_, u_j) in gpus.items():
            weight = 1 - 1 / count if slot == self.slot else 1 / count
            self._gpu_u_j[slot] = self._gpu_u_j.get(slot, 0.0) + weight * u_j

    def columns(self) -> dict[str, Any]:
        """Return the columns of table ``shares``."""
        u_j = np.sqrt(self.meter_u_j**2 + sum(u**2 for u in self._gpu_u_j.values()))
        return {
            "gpu_j": self.gpu_j,
            "busy_gpus_j": self.busy_j,
            "share": self.seconds_by_runs / self.seconds if self.seconds else np.nan,
            "energy_j": self.gpu_j + self.rest_j,
            "energy_u_j": float(u_j),
        }


def shares(
    windows: pd.DataFrame,
    marks: pd.DataFrame | Any,
    runs: pd.DataFrame | Any,
    energy: pd.DataFrame,
) -> pd.DataFrame:
    """Return what belongs to each run that shared its node, and to nobody.

    Args:
        windows: Table ``windows``.
        marks: Table ``marks``.
        runs: Table ``runs``.
        energy: Table ``energy`` of these windows and of their `parts`.

    Returns:
        Table ``shares``: a row for each packed run (failed ones, too) and each epoch; for each
        session one for its whole energy and one for what no run is charged with. Null where the
        meter or a GPU gave no energy.
    """
    rows: list[dict[str, Any]] = []
    found = _Energies(energy)
    for key, here, work in _sessions(windows, as_frame(marks), as_frame(runs)):
        edges, span = _edges(work), _span(here, work)
        cut = _cut(*span, edges)
        named = [(f"{_stem(key)}/part:{k}", *interval) for k, interval in enumerate(cut)]
        common = {"recording": key[0], "session": key[1]}
        for one in work:
            inside = [p for p in named if one.start_ns <= p[1] and p[2] <= one.end_ns]
            about = {**common, "run_id": one.run_id, "level": "run", "kind": "run", "epoch": None}
            rows.append(about | _share(found, one, inside, work))
        by_id = {one.run_id: one for one in work}
        for row in records(_targets(here)):
            if row["run_id"] not in by_id:
                continue
            name, start_ns, end_ns = str(row["window_id"]), int(row["start_ns"]), int(row["end_ns"])
            pieces = _cut(start_ns, end_ns, edges)
            listed = (
                [(name, start_ns, end_ns)]
                if len(pieces) == 1
                else [(f"{name}:{k}", *piece) for k, piece in enumerate(pieces)]
            )
            kept = {column: row[column] for column in ("run_id", "level", "kind", "epoch")}
            rows.append(common | kept | _share(found, by_id[row["run_id"]], listed, work))
        nobody = [name for name, start, end in named if not _busy(work, start, end)]
        for kind, names in ((WHOLE, [f"{_stem(key)}:0"]), (NOBODY, nobody)):
            node = [found.node(name) for name in names]
            about = {**common, "run_id": None, "level": SESSION, "kind": kind, "epoch": None}
            sums = {
                "energy_j": sum(value for value, _ in node),
                "energy_u_j": sum(u for _, u in node),
            }
            rows.append(about | sums)
    if not rows:
        return tables.empty("shares")
    return tables.conform(rows, "shares").to_pandas()


def _busy(work: Sequence[_Work], start_ns: int, end_ns: int) -> list[int]:
    """Slots at work throughout a part."""
    return sorted(
        {
            one.slot
            for one in work
            if one.slot is not None and one.start_ns <= start_ns and end_ns <= one.end_ns
        }
    )


def _share(
    found: _Energies,
    one: _Work,
    listed: Sequence[tuple[str, int, int]],
    work: Sequence[_Work],
) -> dict[str, Any]:
    assert one.slot is not None
    share = _Share(one.slot)
    for name, start_ns, end_ns in listed:
        share.add(found, name, (end_ns - start_ns) / 1e9, _busy(work, start_ns, end_ns))
    return share.columns()
