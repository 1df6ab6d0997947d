"""How the lanes of a source did, counted from their samples wherever samples can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wattproof.recorder.loops import LATE_SHARE
from wattproof.recorder.process import RUNNING
from wattproof.recorder.streams import FLUSH_S
from wattproof.sources.base import Pacing, Status
from wattproof.units import NS_PER_S, s_to_ns

GAP_PERIODS = 1.5
"""A distance of more than so many periods means that something is missing in between."""


@dataclass(frozen=True, slots=True)
class Part:
    """One start of a lane: its stream and its health record, either of which may be absent."""

    restart: int
    samples: pa.Table | None
    description: dict[str, Any]
    truncated: bool
    info: dict[str, Any]

    @property
    def health(self) -> dict[str, Any]:
        """Its health record, as far as there is one."""
        found: dict[str, Any] = self.info.get("health", {})
        return found


def _outcome(part: Part) -> str:
    outcome = str(part.health.get("outcome", RUNNING))
    if outcome == RUNNING:
        outcome = "killed"
    if part.truncated:
        outcome += f"; its stream has no end: up to {FLUSH_S:g} s of samples are lost"
    return f"restart {part.restart}: {outcome}" if part.restart else outcome


def _went_well(part: Part) -> bool:
    return not part.truncated and part.health.get("outcome") == "ok"


def device_mono_ns(samples: pa.Table) -> NDArray[np.int64]:
    """Return stamps by the host's wall clock on its monotonic clock; all must be there."""
    device, wall, end = (samples[c].to_numpy() for c in ("device_ns", "wall_ns", "end_ns"))
    found: NDArray[np.int64] = device - wall + end
    return found


def row(
    parts: Sequence[Part], samples: pa.Table, channels: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return the health of a lane, less what identifies it (a row of table ``health``)."""
    info = next((part.info for part in parts if part.info.get("pacing")), {})
    period_s = float(info.get("period_s") or 0.0)
    stamped = [c for c in channels if c["clock"] == "wall" and c["period_s"]]
    if stamped and samples.num_rows:
        counts = _stamped_counts(samples, stamped)
    else:
        counts = _counts(samples, info.get("pacing"), period_s)
        counts["longest_gap_s"] = _longest_gap_s(samples, channels)
        if info.get("pacing") == Pacing.STREAM:
            counts["missed"] += _between(parts, channels)
    duration_s: float | None = None
    if samples.num_rows:
        span_ns = pc.max(samples["end_ns"]).as_py() - pc.min(samples["start_ns"]).as_py()
        duration_s = span_ns / NS_PER_S
    outcomes = [_outcome(part) for part in parts if not _went_well(part)]
    return {
        **counts,
        "late": _late(samples, period_s),
        "cpu_s": _sum(parts, "cpu_s"),
        "cpu_start_s": _sum(parts, "cpu_start_s"),
        "duration_s": duration_s,
        "restarts": max(part.restart for part in parts),
        "hangs": sum(str(part.health.get("outcome", "")).startswith("hung") for part in parts),
        "outcome": " | ".join(outcomes) or "ok",
    }


def _sum(parts: Sequence[Part], key: str) -> float | None:
    known = [part.health[key] for part in parts if part.health.get(key) is not None]
    return sum(known) if known else None


def _counts(samples: pa.Table, pacing: str | None, period_s: float) -> dict[str, Any]:
    """Return reads by outcome, for the channel where it is largest.

    Channels of a source are read at different rates: a read shows in its fastest channel.
    """
    missing = pc.equal(samples["status"], Status.MISSING.value)
    ok = pc.equal(samples["status"], Status.OK.value)

    def most(mask: pa.ChunkedArray) -> int:
        counted = pc.value_counts(samples.filter(mask)["channel"])
        return max((item["counts"] for item in counted.to_pylist()), default=0)

    taken, missed = most(pc.invert(missing)), most(missing)
    expected: int | None = None
    scheduled = samples["scheduled_ns"].drop_null()
    if pacing == Pacing.DEADLINE and len(scheduled):
        span_ns = pc.max(scheduled).as_py() - pc.min(scheduled).as_py()
        expected = round(span_ns / s_to_ns(period_s)) + 1
        taken = pc.count_distinct(scheduled).as_py()
        # From the grid, not from the processes' own counts: so the time between a process and its
        # successor counts as missed too.
        missed = max(0, expected - taken)
    elif pacing == Pacing.PAUSE and samples.num_rows:
        span_ns = pc.max(samples["start_ns"]).as_py() - pc.min(samples["start_ns"]).as_py()
        expected = round(span_ns / s_to_ns(period_s)) + 1
    failed = most(pc.invert(pc.or_(ok, missing)))
    return {"expected": expected, "taken": taken, "failed": failed, "missed": missed}


def _stamped_counts(samples: pa.Table, channels: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Count the samples of a driver's ring by its stamps, for the GPU that lacks most."""
    found: list[dict[str, Any]] = []
    for channel in channels:
        mine = samples.filter(pc.equal(samples["channel"], channel["channel"]))
        stamped = mine.filter(pc.is_valid(mine["device_ns"]))
        ok = stamped.filter(pc.equal(stamped["status"], Status.OK.value))
        steps = np.diff(np.sort(device_mono_ns(ok))) / NS_PER_S
        holes = steps[steps > GAP_PERIODS * channel["period_s"]]
        missed = int(np.maximum(np.rint(holes / channel["period_s"]) - 1, 0).sum())
        # A drain that failed has no stamp, only a status.
        failed = mine.num_rows - stamped.num_rows
        longest = float(steps.max()) if len(steps) else None
        found.append(
            {
                "expected": ok.num_rows + missed,
                "taken": ok.num_rows,
                "failed": failed,
                "missed": missed,
                "longest_gap_s": longest,
            }
        )
    return max(found, key=lambda counts: counts["missed"])


def _longest_gap_s(samples: pa.Table, channels: Sequence[dict[str, Any]]) -> float | None:
    """Return the longest time between good reads among the source's fastest channels."""
    periods = [c["period_s"] for c in channels if c["period_s"] is not None]
    fastest = min(periods, default=None)
    longest: float | None = None
    for channel in channels:
        if channel["period_s"] != fastest:
            continue
        good = pc.and_(
            pc.equal(samples["channel"], channel["channel"]),
            pc.equal(samples["status"], Status.OK.value),
        )
        ends = np.sort(samples.filter(good)["end_ns"].to_numpy())
        if len(ends) > 1:
            gap_s = float(np.diff(ends).max()) / NS_PER_S
            longest = gap_s if longest is None else max(longest, gap_s)
    return longest


def _late(samples: pa.Table, period_s: float) -> int | None:
    """Return how many reads began more than `LATE_SHARE` of a period after their deadline."""
    kept = samples.filter(pc.is_valid(samples["scheduled_ns"]))
    if not kept.num_rows or not period_s:
        return None
    scheduled, start = kept["scheduled_ns"].to_numpy(), kept["start_ns"].to_numpy()
    # The first row of a read was asked for first; rows may stand by read or by channel.
    order = np.argsort(scheduled, kind="stable")
    scheduled, start = scheduled[order], start[order]
    first = np.flatnonzero(np.diff(scheduled, prepend=scheduled[0] - 1))
    begun = np.minimum.reduceat(start, first)
    return int(np.count_nonzero(begun - scheduled[first] > LATE_SHARE * s_to_ns(period_s)))


def _between(parts: Sequence[Part], channels: Sequence[dict[str, Any]]) -> int:
    """Return how many readings of a stream fall between a process and its successor."""
    period_s = min((c["period_s"] for c in channels if c["period_s"]), default=None)
    if period_s is None:
        return 0
    missed, last_ns = 0, None
    for part in parts:
        if part.samples is None or not part.samples.num_rows:
            continue
        ends = part.samples["end_ns"]
        if last_ns is not None:
            gap_s = (pc.min(ends).as_py() - last_ns) / NS_PER_S
            missed += max(0, round(gap_s / period_s) - 1)
        last_ns = pc.max(ends).as_py()
    return missed
