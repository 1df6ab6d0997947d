"""The data set of a campaign: one row a run, one row an epoch, with energies by every estimator.

Nothing is computed here that another room computes: the rows of plan, runs, marks, energy and
estimates are joined, and for each run it is decided once which instrument its node energy comes
from, so that no curve mixes instruments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from wattproof import tables, units
from wattproof.errors import WattproofError

if TYPE_CHECKING:
    import pandas as pd

COPIED = ("run_id", "setting", "recording", "status", "epochs", "macs", "params", "activations")
"""Columns of table ``runs`` that are known of failed runs, too."""

CALIBRATION = "calibration"
METER, METER_CHANNEL = "meter", "node.ac"
NVML = "nvml"
SHARED = "shared"
"""Flag of runs that were not alone on their node."""
CLOCK_NOT_PROVEN = "clock_not_proven"
"""Flag of windows whose source could not be aligned; its energy is not used as the node's."""

ENERGY_COLUMNS = [
    *("run_id", "session", "level", "kind", "epoch", "source", "channel"),
    *("energy_j", "energy_u_j", "flags"),
]
"""What is used of table ``energy``: of ten thousand runs the rest does not fit into memory."""

NODE_ESTIMATORS = ("load_aware", "regression", "load_calibrated", "idle_calibrated")
"""Who may stand in for the meter, best first. All are calibrated against it; the uncalibrated
rules (``code_carbon`` …) only appear in their own ``energy_j_`` columns."""

Z_90 = 1.645
"""Half-width of the central 90 % of a normal distribution, in standard deviations."""

THROUGHPUT, LATENCY = "throughput", "latency"
"""Inference phases: as many images as can be, and one at a time."""

Key = tuple[str, int | str | None]
"""Run and 0-based epoch or name of an inference phase; None for the run as a whole."""


def build(
    plan: pd.DataFrame,
    runs: pd.DataFrame,
    windows: pd.DataFrame,
    marks: pd.DataFrame,
    energy: pd.DataFrame,
    estimates: pd.DataFrame,
    settings: Mapping[str, Any],
    shares: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join the tables of a campaign into its data set.

    Args:
        plan: Table ``plan``; its ``config_`` columns are kept.
        runs: Table ``runs``. Of each run only the session named here counts: an earlier session
            may hold the beginning of the same run, cut off.
        windows: Table ``windows``.
        marks: Table ``marks``; ``epoch_end`` carries losses and accuracies, ``phase_end`` of an
            inference phase its images.
        energy: Table ``energy``, at least `ENERGY_COLUMNS`.
        estimates: Table ``estimates``.
        settings: No keys are used.
        shares: Table ``shares``: runs that shared their node are charged with their part of it
            (`wattproof.attribution`) and flagged ``shared``.

    Returns:
        Frames with the schemas ``dataset`` (joules, seconds; runs that failed have null metrics)
        and ``curves`` (finished epochs of runs that did not fail). Calibration loads are left out.

    Raises:
        WattproofError: A run is not in the plan.
    """
    planned = {row["run_id"]: row for row in _records(plan)}
    outcomes = sorted(
        (row for row in _records(runs) if row["setting"] != CALIBRATION),
        key=lambda row: str(row["run_id"]),
    )
    for outcome in outcomes:
        if outcome["run_id"] not in planned:
            raise WattproofError(
                f"Run {outcome['run_id']} is in table 'runs' but not in the plan, so its "
                "configuration is unknown; give the plan that it was trained by."
            )
    estimators = sorted({str(row["estimator"]) for row in _records(estimates)})
    session = {row["run_id"]: row["session"] for row in outcomes}
    lookup = _Lookup(session, windows, marks, energy, estimates, shares)
    config_columns = [name for name in plan.columns if name.startswith("config_")]
    rows: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    for outcome in outcomes:
        found = planned[outcome["run_id"]]
        config = {name: found[name] for name in config_columns}
        node_by = lookup.node_source(outcome["run_id"]) if outcome["status"] == "ok" else ""
        rows.append({**_run_row(outcome, found, node_by, estimators, lookup), **config})
        if outcome["status"] == "ok":
            curves += _curve_rows(outcome, found, node_by, lookup)
    return _frame(rows, "dataset"), _frame(curves, "curves")


class Node(NamedTuple):
    """Energy of the node in joules, its 90 % bounds, and flags."""

    energy_j: float | None
    low_j: float | None
    high_j: float | None
    flags: list[str]


class _Lookup:
    """Rows of the long tables by run and epoch, restricted to the session that counts."""

    def __init__(
        self,
        session: Mapping[str, int],
        windows: pd.DataFrame,
        marks: pd.DataFrame,
        energy: pd.DataFrame,
        estimates: pd.DataFrame,
        shares: pd.DataFrame | None,
    ) -> None:
        def counting(frame: pd.DataFrame) -> Iterable[dict[str, Any]]:
            return (
                row for row in _records(frame) if session.get(row["run_id"], -1) == row["session"]
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
        self.energy = {
            (_key(row), row["source"], row["channel"]): row
            for row in counting(whole(energy[energy["source"].isin([METER, NVML])]))
        }
        self.gpu_numbers: dict[str, set[int]] = {}
        for (run_id, _), source, channel in self.energy:
            if source == NVML and (number := _gpu_number(channel)) is not None:
                self.gpu_numbers.setdefault(run_id, set()).add(number)
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

    def gpus(self, key: Key, slot: int | None) -> tuple[float | None, list[str]]:
        """Energy of the run's own GPUs, and flags: of its slot, or of all GPUs without one.

        All means each GPU that NVML has recorded: if the energy of one is unknown, so is the sum.
        """
        there = self.gpu_numbers.get(key[0], set())
        own = sorted(there if slot is None else there & {slot})
        found = [self._gpu(key, number) for number in own]
        flags = sorted({flag for row in found if row is not None for flag in row["flags"]})
        known = [row["energy_j"] for row in found if row is not None]
        return (sum(known) if known and len(known) == len(found) else None), flags

    def _gpu(self, key: Key, number: int) -> dict[str, Any] | None:
        """Row of a GPU's counter, else of the integral of its power."""
        for what in ("energy", "power_instant", "power_usage"):
            row = self.energy.get((key, NVML, f"gpu{number}.{what}"))
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

    def estimate_j(self, key: Key, estimator: str) -> float | None:
        """Energy by an estimator, in joules."""
        found = self.estimate(key, estimator)
        return None if found is None else found.energy_j

    def node_source(self, run_id: str) -> str:
        """Where the node energy of a run comes from; empty if from nowhere."""
        if self.meter((run_id, None)) is not None:
            return METER
        for estimator in NODE_ESTIMATORS:
            if self.estimate_j((run_id, None), estimator) is not None:
                return estimator
        return ""

    def node(self, key: Key, by: str) -> Node:
        """Node energy by the source of the run."""
        found = self.meter(key) if by == METER else self.estimate(key, by)
        return found or Node(None, None, None, [])


def _gpu_number(channel: str) -> int | None:
    device, _, _ = channel.partition(".")
    number = device.removeprefix("gpu")
    return int(number) if device != number and number.isdecimal() else None


def _run_row(
    outcome: dict[str, Any],
    planned: dict[str, Any],
    node_by: str,
    estimators: list[str],
    lookup: _Lookup,
) -> dict[str, Any]:
    key: Key = (outcome["run_id"], None)
    row: dict[str, Any] = {
        "network_key": planned["network_key"],
        "seed": planned["seed"],
        "node_energy_by": node_by,
        "flags": [],
        **{name: outcome[name] for name in COPIED},
        **{f"energy_j_{name}": None for name in estimators},
    }
    if outcome["status"] != "ok":
        return row
    gpu_j, gpu_flags = lookup.gpus(key, outcome["slot"])
    node_j, low_j, high_j, node_flags = lookup.node(key, node_by)
    seconds = lookup.seconds(key)
    return row | {
        "time_s": outcome["duration_s"] if seconds is None else seconds,
        "val_accuracy": outcome["val_accuracy"],
        "test_accuracy": outcome["test_accuracy"],
        "gpu_energy_j": gpu_j,
        "node_energy_j": node_j,
        "node_energy_low_j": low_j,
        "node_energy_high_j": high_j,
        **_inference(outcome["run_id"], node_by, lookup),
        "flags": sorted({*node_flags, *gpu_flags}),
        **{f"energy_j_{name}": lookup.estimate_j(key, name) for name in estimators},
    }


def _inference(run_id: str, node_by: str, lookup: _Lookup) -> dict[str, float | None]:
    """Energy and time of inference; null where the phase was not run or its energy is unknown."""
    images, alone = (lookup.images.get((run_id, name)) for name in (THROUGHPUT, LATENCY))
    seconds, alone_s = (lookup.seconds((run_id, name)) for name in (THROUGHPUT, LATENCY))
    node_j = lookup.node((run_id, THROUGHPUT), node_by).energy_j
    return {
        "inference_j_per_image": node_j / images if node_j is not None and images else None,
        "inference_images_hz": images / seconds if images and seconds else None,
        "latency_s": alone_s / alone if alone and alone_s is not None else None,
    }


def _curve_rows(
    outcome: dict[str, Any], planned: dict[str, Any], node_by: str, lookup: _Lookup
) -> list[dict[str, Any]]:
    rows = []
    for epoch in range(outcome["epochs"]):
        key: Key = (outcome["run_id"], epoch)
        mark = lookup.marks.get(key, {})
        gpu_j, gpu_flags = lookup.gpus(key, outcome["slot"])
        node_j, _, _, node_flags = lookup.node(key, node_by)
        seconds = lookup.seconds(key)
        rows.append(
            {
                "run_id": outcome["run_id"],
                "network_key": planned["network_key"],
                "epoch": epoch,
                "train_loss": mark.get("train_loss"),
                "val_accuracy": mark.get("val_accuracy"),
                "time_s": seconds,
                "gpu_energy_j": gpu_j,
                "node_energy_j": node_j,
                "gpu_power_w": _power_w(gpu_j, seconds),
                "node_power_w": _power_w(node_j, seconds),
                "flags": sorted({*node_flags, *gpu_flags}),
            }
        )
    return rows


def _power_w(energy_j: float | None, seconds: float | None) -> float | None:
    return energy_j / seconds if energy_j is not None and seconds else None


def _key(row: dict[str, Any]) -> Key:
    part = {"epoch": row["epoch"], "phase": row["kind"]}.get(row["level"])
    return row["run_id"], part


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries of Python values; every kind of missing value is None."""
    import pyarrow as pa

    rows: list[dict[str, Any]] = pa.Table.from_pandas(frame, preserve_index=False).to_pylist()
    return rows


def _frame(rows: list[dict[str, Any]], name: str) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    table = tables.conform(rows, name) if rows else tables.schema(name).arrow().empty_table()
    nullable = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype()}
    for index, field in enumerate(table.schema):
        if pa.types.is_null(field.type):  # an estimator without a single estimate
            table = table.set_column(index, field.name, table.column(index).cast(pa.float64()))
    null_in = {f.type for i, f in enumerate(table.schema) if table.column(i).null_count}
    frame: pd.DataFrame = table.to_pandas(
        types_mapper=lambda kind: nullable.get(kind) if kind in null_in else None
    )
    return frame
