"""From arrays of a log to tables: what all readers of time series share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wattproof import tables
from wattproof.ingest.base import Log
from wattproof.ingest.timing import Stamps
from wattproof.units import NS_PER_S

F64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

OK = "ok"

UNKNOWN_AVERAGING = "unknown to the log; 0 only stands for it"


@dataclass(frozen=True)
class Series:
    """One channel of a log.

    Attributes:
        source: Instrument, e.g. ``smi``.
        channel: Series, e.g. ``gpu0.power``.
        unit: W, J, % …, what `value` is in.
        kind: As in table ``channels``.
        t_ns: Stamps of the log, nanoseconds since the epoch, shape (n,).
        value: Values; NaN where the reading failed, shape (n,).
        status: Why a value is missing, shape (n,) of text; None: ``missing`` where it is NaN.
        device: GPU UUID, serial number … as far as the log knows.
        slot: Number of the GPU; None for the node.
        averaging_s: Each value is the mean of this time before its stamp; None if unknown.
        identity: What else the log says.
        accuracy_reading: Limit of error as a share of the reading; None if unknown.
        accuracy_range_w: Limit of error from the range in watts; None if unknown.
    """

    source: str
    channel: str
    unit: str
    kind: str
    t_ns: Int64Array
    value: F64Array
    status: Sequence[str] | NDArray[Any] | None = None
    device: str = ""
    slot: int | None = None
    averaging_s: float | None = None
    identity: dict[str, Any] = field(default_factory=dict)
    accuracy_reading: float | None = None
    accuracy_range_w: float | None = None


def period_s(t_ns: Int64Array) -> float | None:
    """Median step between stamps; None where there are fewer than two distinct ones."""
    steps = np.diff(np.sort(t_ns))
    steps = steps[steps > 0]
    return float(np.median(steps)) / NS_PER_S if len(steps) else None


def quantum(value: F64Array) -> float | None:
    """Smallest step between the values of a log (its resolution); None where there is none."""
    distinct = np.unique(value[np.isfinite(value)])
    if len(distinct) < 3:
        return None
    steps = np.diff(distinct)
    # Steps that rounding of decimals made are no resolution.
    steps = steps[steps > 1e-9 * max(abs(distinct[0]), abs(distinct[-1]))]
    return float(steps.min()) if len(steps) else None


def samples(log: Log, series: Sequence[Series]) -> pa.Table:
    """Table ``samples`` of a log, one series after the other, by time."""
    schema = tables.schema("samples").arrow()
    parts = []
    for item in series:
        order = np.argsort(item.t_ns, kind="stable")
        t_ns, value, n = item.t_ns[order], item.value[order], len(order)
        good = np.isfinite(value)
        if item.status is None:
            status = pa.array(np.where(good, OK, "missing"), pa.string())
        else:
            status = pa.array(np.asarray(item.status, dtype=object)[order], pa.string())
        stamp = pa.array(t_ns, pa.int64())
        parts.append(
            pa.table(
                {
                    "recording": pa.repeat(pa.scalar(log.recording), n),
                    "session": pa.repeat(pa.scalar(0, pa.int16()), n),
                    "source": pa.repeat(pa.scalar(item.source), n),
                    "channel": pa.repeat(pa.scalar(item.channel), n),
                    "scheduled_ns": pa.nulls(n, pa.int64()),
                    "start_ns": stamp,
                    "end_ns": stamp,
                    "wall_ns": stamp,
                    "device_ns": pa.nulls(n, pa.int64()) if log.main else stamp,
                    "value": pa.array(value, pa.float64(), from_pandas=True),
                    "status": status,
                }
            ).cast(schema)
        )
    return pa.concat_tables(parts) if parts else schema.empty_table()


def channels(log: Log, series: Sequence[Series]) -> pa.Table:
    """Table ``channels`` of a log; what the log does not know is said in the identity."""
    rows = []
    for item in series:
        identity: dict[str, Any] = {"file": log.shown, "clock": log.clock, **item.identity}
        if not log.main:
            identity["arrival"] = False
        if item.averaging_s is None:
            identity.setdefault("averaging_s", UNKNOWN_AVERAGING)
        rows.append(
            {
                "recording": log.recording,
                "session": 0,
                "source": item.source,
                "channel": item.channel,
                "unit": item.unit,
                "kind": item.kind,
                "device": item.device or item.channel.partition(".")[0],
                "slot": item.slot,
                "period_s": period_s(item.t_ns),
                "averaging_s": item.averaging_s or 0.0,
                "clock": "host" if log.main else "device",
                "accuracy_reading": item.accuracy_reading,
                "accuracy_range_w": item.accuracy_range_w,
                "quantum": quantum(item.value),
                "simulated": False,
                "identity": json.dumps(identity, sort_keys=True),
            }
        )
    return tables.conform(rows, "channels")


def finding(
    log: Log,
    flag: str,
    evidence: str,
    remedy: str,
    *,
    severity: str = "note",
    principle: str = "reliable",
    **more: Any,
) -> dict[str, Any]:
    """A row of table ``findings`` about a log's file.

    Args:
        log: The log.
        flag: Name, as in `wattproof.quality.FLAGS`.
        evidence: One sentence with the numbers.
        remedy: One sentence: what to do about it.
        severity: error, warning or note.
        principle: reliable, range, holistic or empty.
        more: Other columns.
    """
    return finding_of(
        log.recording,
        flag,
        evidence,
        remedy,
        severity=severity,
        principle=principle,
        file=log.shown,
        **more,
    )


def finding_of(
    recording: str,
    flag: str,
    evidence: str,
    remedy: str,
    *,
    severity: str = "note",
    principle: str = "reliable",
    **more: Any,
) -> dict[str, Any]:
    """A row of table ``findings`` about a whole recording; arguments as of `finding`."""
    return {
        "recording": recording,
        "flag": flag,
        "severity": severity,
        "principle": principle,
        "source": "",
        "channel": "",
        "file": "",
        "unit": "",
        "evidence": evidence,
        "remedy": remedy,
        **more,
    }


def inferred(log: Log, stamps: Stamps, remedy: str) -> list[dict[str, Any]]:
    """Findings about what had to be inferred of a log's stamps.

    Args:
        log: The log.
        stamps: Its stamps.
        remedy: What the reader's settings can say of them.
    """
    found = []
    for flag, sentence in stamps.inferred.items():
        changed = flag == "summer_time"
        found.append(
            finding(
                log,
                flag,
                f"{log.shown}: {sentence}.",
                "Log in UTC, or give windows outside the hour of the change."
                if changed
                else remedy,
                severity="warning" if changed else "note",
            )
        )
    return found


def left_out(
    log: Log,
    count: int,
    total: int,
    evidence: str,
    remedy: str = "Look at them; a log that was cut off loses its last line.",
    flag: str = "broken_lines",
) -> list[dict[str, Any]]:
    """The finding about parts of a log that were left out; none if none were.

    Args:
        log: The log.
        count: How many were left out.
        total: Of how many.
        evidence: One sentence with the numbers.
        remedy: One sentence: what to do about it.
        flag: Name of the finding.
    """
    if not count:
        return []
    return [finding(log, flag, evidence, remedy, severity="warning", affected=count, of=total)]
