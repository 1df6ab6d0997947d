"""Join the tables of a campaign into its data set, one recording after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from wattproof import tables
from wattproof.dataset import folds, gate, rows
from wattproof.dataset.idle import Idle
from wattproof.dataset.lookup import METER, METER_CHANNEL, SERIES, Lookup, Row, records
from wattproof.errors import WattproofError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.compute as pc

CALIBRATION = "calibration"

ENERGY_COLUMNS = [
    *("recording", "run_id", "session", "level", "kind", "epoch", "source", "channel"),
    *("duration_s", "energy_j", "energy_u_j", "flags"),
]
"""What is used of table ``energy``: of ten thousand runs the rest does not fit into memory."""

FOLDS, SEED = 5, 0
"""Of settings that say nothing: the defaults of the campaign's section ``surrogate``."""


def used() -> pc.Expression:
    """Rows of table ``energy`` that are used: the others need not be read."""
    import pyarrow.compute as pc

    field = pc.field("source")
    wanted = (field == METER) & (pc.field("channel") == METER_CHANNEL)
    for source, series in SERIES.items():
        pattern = rf"^gpu\d+\.({'|'.join(series)})$"
        wanted |= (field == source) & pc.match_substring_regex(pc.field("channel"), pattern)
    return tables.SCORED & wanted


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
        energy: Table ``energy``, at least `ENERGY_COLUMNS` of the rows `used`.
        estimates: Table ``estimates``.
        settings: ``gate`` (the campaign's ``dataset.gate``), ``folds`` and ``seed`` (of its
            ``surrogate``); what is missing is as in the schema of the campaign file.
        shares: Table ``shares``: runs that shared their node are charged with their part of it
            (`wattproof.attribution`) and flagged ``shared``.

    Returns:
        Frames with the schemas ``dataset`` (joules, seconds; runs that failed have null metrics)
        and ``curves`` (finished epochs of runs that did not fail). Calibration loads are left out.

    Raises:
        WattproofError: A run is not in the plan.
    """
    estimators = sorted({str(name) for name in estimates["estimator"].unique()})
    planned = {row["run_id"]: row for row in records(plan)}
    config_columns = [name for name in plan.columns if name.startswith("config_")]
    found: list[Row] = []
    curves: list[pa.Table] = []
    why: dict[str, str] = {}
    for outcomes, lookup, idle in _by_recording(runs, (windows, marks, energy, estimates), shares):
        epochs: list[Row] = []
        for outcome in outcomes:
            run_id = outcome["run_id"]
            if run_id not in planned:
                raise WattproofError(
                    f"Run {run_id} is in table 'runs' but not in the plan, so its "
                    "configuration is unknown; give the plan that it was trained by."
                )
            of_plan, good = planned[run_id], outcome["status"] == "ok"
            node_by = lookup.node_source(run_id) if good else ""
            row = rows.of_run(outcome, of_plan, node_by, estimators, lookup, idle)
            found.append(row | {name: of_plan[name] for name in config_columns})
            why[run_id] = outcome["reason"] or ""
            if good:
                epochs += rows.of_epochs(outcome, of_plan, node_by, lookup)
        if epochs:
            curves.append(tables.conform(epochs, "curves"))
    _judge(found, why, settings)
    found.sort(key=lambda row: str(row["run_id"]))
    dataset = tables.conform(found, "dataset") if found else _empty("dataset")
    curve = (
        pa.concat_tables(curves).sort_by([("run_id", "ascending"), ("epoch", "ascending")])
        if (curves)
        else _empty("curves")
    )
    return _frame(dataset), _frame(curve)


def _by_recording(
    runs: pd.DataFrame, frames: Sequence[pd.DataFrame], shares: pd.DataFrame | None
) -> Iterator[tuple[list[Row], Lookup, Idle]]:
    """Yield the trainings of each recording with what was measured of them.

    One recording at a time is spread out into Python values, which take ten times the memory.
    """
    trainings = runs[runs["setting"] != CALIBRATION]
    parts = [_split(frame) for frame in (*frames, *([] if shares is None else [shares]))]
    for recording, own in trainings.groupby("recording", sort=True):
        outcomes = records(own)
        session = {row["run_id"]: row["session"] for row in outcomes}
        windows, marks, energy, estimates, *shared = (part(str(recording)) for part in parts)
        lookup = Lookup(session, windows, marks, energy, estimates, *(shared or [None]))
        yield outcomes, lookup, Idle(energy)


def _split(frame: pd.DataFrame) -> Any:
    """Return a function that gives the rows of a recording."""
    places = frame.groupby("recording", sort=False).indices
    nowhere = np.zeros(0, dtype=np.int64)

    def of(recording: str) -> pd.DataFrame:
        return frame.iloc[np.asarray(places.get(recording, nowhere))]

    return of


def _judge(found: list[Row], why: Mapping[str, str], settings: Mapping[str, Any]) -> None:
    """Say of each run whether the gate leaves it out, and which fold its network is in."""
    keys = {**gate.KEYS, **settings.get("gate", {})}
    bad = gate.barred(keys)
    for row in found:
        row["excluded"] = gate.reason(row, why[row["run_id"]], keys, bad)
    networks = [row["network_key"] for row in found if not row["excluded"]]
    dealt = folds.deal(networks, settings.get("folds", FOLDS), settings.get("seed", SEED))
    for row in found:
        row["fold"] = dealt.get(row["network_key"])


def _empty(name: str) -> pa.Table:
    return tables.schema(name).arrow().empty_table()


def _frame(table: pa.Table) -> pd.DataFrame:
    import pandas as pd

    nullable = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype()}
    for index, field in enumerate(table.schema):
        if pa.types.is_null(field.type):  # an estimator without a single estimate
            table = table.set_column(index, field.name, table.column(index).cast(pa.float64()))
    null_in = {f.type for i, f in enumerate(table.schema) if table.column(i).null_count}
    frame: pd.DataFrame = table.to_pandas(
        types_mapper=lambda kind: nullable.get(kind) if kind in null_in else None
    )
    return frame
