"""Rows of the long tables by run and epoch, restricted to the session that counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from wattproof import units

if TYPE_CHECKING:
    import pandas as pd

METER, METER_CHANNEL = "meter", "node.ac"
NVML, SMI = "nvml", "smi"
SERIES: Mapping[str, tuple[str, ...]] = {
    NVML: ("energy", "power_instant", "power_usage"),
    SMI: ("power",),
}
"""What tells the energy of a GPU, by source and best first: the counter, else an integral."""

SHARED = "shared"
"""Flag of runs that were not alone on their node."""
CLOCK_NOT_PROVEN = "clock_not_proven"
"""Flag of windows whose source could not be aligned; its energy is not used as the node's."""

NODE_ESTIMATORS = ("load_aware", "regression", "load_calibrated", "idle_calibrated")
"""Who may stand in for the meter, best first. All are calibrated against it; the uncalibrated
rules (``code_carbon`` …) only appear in their own ``energy_j_`` columns."""

Z_90 = 1.645
"""Half-width of the central 90 % of a normal distribution, in standard deviations."""

THROUGHPUT, LATENCY = "throughput", "latency"
"""Inference phases: as many images as can be, and one at a time."""

Key = tuple[str, int | str | None]
"""Run and 0-based epoch or name of an inference phase; None for the run as a whole."""

Row = dict[str, Any]


class Node(NamedTuple):
    """Energy of the node in joules, its 90 % bounds, and flags."""

    energy_j: float | None
    low_j: float | None
    high_j: float | None
    flags: list[str]


NOTHING = Node(None, None, None, [])


class Lookup:
    """Answers of one recording, or of several: windows, energies, marks.

    Args:
        session: Of each run the session that counts.
        windows: Table ``windows``.
        marks: Table ``marks``.
        energy: Table ``energy``, at least `join.ENERGY_COLUMNS`.
        estimates: Table ``estimates``.
        shares: Table ``shares``, if there is one.
    """

    def __init__(
        self,
        session: Mapping[str, int],
        windows: pd.DataFrame,
        marks: pd.DataFrame,
        energy: pd.DataFrame,
        estimates: pd.DataFrame,
        shares: pd.DataFrame | None,
    ) -> None:
        def counting(frame: pd.DataFrame) -> Iterable[Row]:
            return (
                row for row in records(frame) if session.get(row["run_id"], -1) == row["session"]
            )

        def whole(frame: pd.DataFrame) -> pd.DataFrame:
            inference = (frame["level"] == "phase") & frame["kind"].isin([THROUGHPUT, LATENCY])
            return frame[frame["level"].isin(["run", "epoch"]) | inference]

        self.windows = {_key(row): row for row in counting(whole(windows))}
        self.marks = {
            (row["run_id"], row["epoch"]): row
            for row in counting(marks[marks["kind"] == "epoch_end"])
        }
        phases = (marks["kind"] == "phase_end") & marks["name"].isin([THROUGHPUT, LATENCY])
        self.images = {
            (row["run_id"], row["name"]): row.get("images") for row in counting(marks[phases])
        }
        energy = energy[energy["source"].isin([METER, *SERIES])]
        self.energy = {
            (_key(row), row["source"], row["channel"]): row for row in counting(whole(energy))
        }
        self.gpu_numbers: dict[tuple[str, str], set[int]] = {}
        for (run_id, _), source, channel in self.energy:
            if (number := gpu_number(channel)) is not None:
                self.gpu_numbers.setdefault((run_id, source), set()).add(number)
        self.estimates = {(_key(row), row["estimator"]): row for row in counting(whole(estimates))}
        self.shares = {} if shares is None else {_key(row): row for row in counting(shares)}

    def seconds(self, key: Key) -> float | None:
        """Length of the window, in seconds."""
        row = self.windows.get(key)
        return None if row is None else units.ns_to_s(row["end_ns"] - row["start_ns"])

    def meter(self, key: Key) -> Node | None:
        """Energy by the meter, if it is known and on a proven clock."""
        row = self.energy.get((key, METER, METER_CHANNEL))
        if row is None or row["energy_j"] is None or CLOCK_NOT_PROVEN in row["flags"]:
            return None
        flags, share = row["flags"], self.shares.get(key)
        if share is not None:
            row, flags = share, [*flags, SHARED]
        value, u_j = row["energy_j"], row["energy_u_j"]
        if value is None:
            return None
        if u_j is None:
            return Node(value, None, None, flags)
        return Node(value, value - Z_90 * u_j, value + Z_90 * u_j, flags)

    def gpus(
        self, key: Key, slot: int | None, source: str = NVML
    ) -> tuple[float | None, list[str]]:
        """Energy of the run's own GPUs, and flags: of its slot, or of all GPUs without one.

        All means each GPU that the source has recorded: if the energy of one is unknown, so is
        the sum.
        """
        there = self.gpu_numbers.get((key[0], source), set())
        found = [self._gpu(key, number, source) for number in own_gpus(there, slot)]
        flags = sorted({flag for row in found if row is not None for flag in row["flags"]})
        return total(None if row is None else row["energy_j"] for row in found), flags

    def _gpu(self, key: Key, number: int, source: str) -> Row | None:
        """Row of the first series of a GPU that has an energy."""
        for what in SERIES[source]:
            row = self.energy.get((key, source, f"gpu{number}.{what}"))
            if row is not None and row["energy_j"] is not None:
                return row
        return None

    def estimate(self, key: Key, estimator: str) -> Node | None:
        """Energy by an estimator, if it has one.

        An estimator tells the node's energy. Of runs that share it, each is charged with its own
        GPU and its share of the rest, as if that rest had been even over the run's time.
        """
        row = self.estimates.get((key, estimator))
        if row is None or row["energy_j"] is None:
            return None
        values = [row["energy_j"], row["lower_j"], row["upper_j"]]
        share = self.shares.get(key)
        if share is None:
            return Node(values[0], values[1], values[2], [])
        own_j, busy_j, part = share["gpu_j"], share["busy_gpus_j"], share["share"]
        if own_j is None or busy_j is None or part is None:
            return None
        charged = [None if v is None else own_j + (v - busy_j) * part for v in values]
        assert charged[0] is not None
        return Node(charged[0], charged[1], charged[2], [SHARED])

    def node_source(self, run_id: str) -> str:
        """Where the node energy of a run comes from; empty if from nowhere."""
        key: Key = (run_id, None)
        if self.meter(key) is not None:
            return METER
        return next((name for name in NODE_ESTIMATORS if self.estimate(key, name)), "")

    def node(self, key: Key, by: str) -> Node:
        """Node energy by the source of the run."""
        found = self.meter(key) if by == METER else self.estimate(key, by)
        return found or NOTHING


def gpu_number(channel: str) -> int | None:
    """Number of the GPU that a channel belongs to."""
    device, _, _ = channel.partition(".")
    number = device.removeprefix("gpu")
    return int(number) if device != number and number.isdecimal() else None


def own_gpus(there: set[int], slot: int | None) -> list[int]:
    """GPUs of a run among those there are: that of its slot, or all of them without one."""
    return sorted(there if slot is None else there & {slot})


def total(values: Iterable[float | None]) -> float | None:
    """Sum of some values; None where there are none, or one of them is unknown."""
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) if known and len(known) == len(found) else None


def _key(row: Row) -> Key:
    part = {"epoch": row["epoch"], "phase": row["kind"]}.get(row["level"])
    return row["run_id"], part


def records(frame: pd.DataFrame) -> list[Row]:
    """Rows as dictionaries of Python values; every kind of missing value is None."""
    import pyarrow as pa

    rows: list[Row] = pa.Table.from_pandas(frame, preserve_index=False).to_pylist()
    return rows
