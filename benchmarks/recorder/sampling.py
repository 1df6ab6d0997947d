"""Section "sampling": is every source on time at 100 Hz while both cores are saturated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sampling_worker import PERIOD_S

LANES = {"gpu0.energy": "counter", "gpu0.power_samples": "ring"}
RING_PERIOD_NS = 20_000_000
EDGE_NS = 1_000_000_000


def lane_of(source: str, channel: str) -> str:
    """Name of the process that read a channel, as table ``health`` has it."""
    lane = LANES.get(channel) if source == "nvml" else None
    return source if lane is None else f"{source}@{lane}"


def assess(
    sealed: dict[str, pd.DataFrame], start_ns: int, end_ns: int, wall_offset_ns: int
) -> list[dict[str, Any]]:
    """Return a row for each lane: expected and taken, drift, lateness, CPU."""
    samples = sealed["samples"]
    pairs = [lane_of(s, c) for s, c in zip(samples["source"], samples["channel"], strict=True)]
    samples = samples.assign(lane=pairs)
    health = sealed["health"].set_index("source")
    duration_s = (end_ns - start_ns) / 1e9
    rows = []
    for lane, own in samples.groupby("lane"):
        about = health.loc[lane]
        row: dict[str, Any] = {"lane": lane}
        cpu_s = float(about["cpu_s"]) - float(about["cpu_start_s"] or 0.0)
        row["cpu_percent"] = 100.0 * cpu_s / float(about["duration_s"])
        ticks = own[own["scheduled_ns"].notna()]
        if lane == "nvml@ring":
            device_ns = own["device_ns"].dropna().astype("int64") - wall_offset_ns
            inside = device_ns[(device_ns >= start_ns) & (device_ns < end_ns)]
            row |= {"rate_hz": 50.0, "taken": int(inside.nunique())}
            row |= {"doubles": int(len(inside) - inside.nunique())}
            row["expected"] = round(duration_s * 1e9 / RING_PERIOD_NS)
        elif ticks.empty:  # nvidia-smi's own loop
            inside = own[(own["end_ns"] >= start_ns) & (own["end_ns"] < end_ns)]
            count = inside.groupby("channel").size().max()
            row |= {"rate_hz": 1.0 / PERIOD_S, "taken": int(count)}
            row["expected"] = round(duration_s / PERIOD_S)
        else:
            row |= _deadlines(ticks, start_ns, end_ns)
        row["share"] = row["taken"] / row["expected"]
        row["failed"] = int((own["status"] != "ok").sum())
        rows.append(row)
    return rows


def _deadlines(ticks: pd.DataFrame, start_ns: int, end_ns: int) -> dict[str, Any]:
    # A read of many values is as late as its first.
    first = ticks.groupby("scheduled_ns")["start_ns"].min()
    scheduled = first.index.to_numpy(np.int64)
    late_ns = first.to_numpy(np.int64) - scheduled
    period_ns = float(np.median(np.diff(scheduled)))
    inside = (scheduled >= start_ns) & (scheduled < end_ns)
    at, late = scheduled[inside], late_ns[inside]
    begin, end = late[at < start_ns + EDGE_NS], late[at >= end_ns - EDGE_NS]
    return {
        "rate_hz": 1e9 / period_ns,
        "expected": round((end_ns - start_ns) / period_ns),
        "taken": len(at),
        "drift_ms": float(np.median(end) - np.median(begin)) / 1e6,
        "late_p50_ms": float(np.median(late)) / 1e6,
        "late_p99_ms": float(np.percentile(late, 99)) / 1e6,
        "late_max_ms": float(late.max()) / 1e6,
    }
