"""The time of each sample on the recording's clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.arrays import IntegerArray

from wattproof.clocks.frames import BoolArray, Int64Array, as_frame, groups, int64, records


def device_to_mono(
    device_ns: Int64Array, offset_ns: int, drift_ppm: float, anchor_ns: int
) -> Int64Array:
    """Map device stamps to the recording's clock.

    ``mono = stamp + offset + drift·1e-6·(stamp − anchor)``; only the *difference* to the anchor
    passes through a float, so no precision is lost whatever the origin of the device's clock.
    """
    correction = np.rint((device_ns - anchor_ns) * (drift_ppm * 1e-6)).astype(np.int64)
    shifted: Int64Array = device_ns + np.int64(offset_ns) + correction
    return shifted


STEP_NS = 5_000_000
"""The wall clock was set if it moved by more than this against the monotonic clock between two
reads; less is slewing (500 ppm at most, a quarter of a millisecond between two drains)."""


def wall_to_mono(
    device_ns: Int64Array, wall_ns: Int64Array, end_ns: Int64Array
) -> tuple[Int64Array, BoolArray]:
    """Bring stamps by the host's wall clock (NVML's sample ring) to the monotonic clock.

    Each row carries a pair of stamps of one instant, ``wall_ns`` and ``end_ns``; their difference
    is the wall clock's offset at that read, and ``device_ns − (wall_ns − end_ns)`` the instant. So
    slewing and steps of the clock move nothing but what was stamped between a step and the read
    before it. In the first read after a step, the rows up to some place still carry the old time:
    it is the place that leaves the most even sequence. Rows that even then would be newer than the
    read that brought them, or older than what was read before, have no time.

    Args:
        device_ns: Stamps since the epoch, of one channel, in the order of the reads, shape (n,).
        wall_ns: Wall clock at the end of the read.
        end_ns: Monotonic clock at the end of the read.

    Returns:
        Instants, and whether they are known.
    """
    offset = wall_ns - end_ns
    instants: Int64Array = device_ns - offset
    known = instants <= end_ns + STEP_NS
    for first in (np.flatnonzero(np.abs(np.diff(offset)) > STEP_NS) + 1).tolist():
        last = int(np.searchsorted(end_ns, end_ns[first], side="right"))
        settled = instants[:first][known[:first]]
        rows = slice(first, last)
        instants[rows], known[rows] = _across_step(
            device_ns[rows] - offset[first - 1],
            instants[rows],
            settled[-1:],
            int(end_ns[first]) + STEP_NS,
        )
    return instants, known


def _across_step(
    old_ns: Int64Array, new_ns: Int64Array, newest_ns: Int64Array, latest_ns: int
) -> tuple[Int64Array, BoolArray]:
    """Join rows by the offset before a step of the clock and rows by the one after it.

    Args:
        old_ns: Instants by the offset before the step, in order, shape (n,).
        new_ns: By the offset after it.
        newest_ns: The newest instant before these, if there is one.
        latest_ns: None can be later.
    """
    joined = [
        np.concatenate((newest_ns, old_ns[:cut], new_ns[cut:])) for cut in range(len(old_ns) + 1)
    ]
    usual = np.median(np.abs(np.diff(new_ns))) if len(new_ns) > 1 else 0.0
    uneven = [
        np.abs(np.diff(each) - usual).sum() + max(int(each[-1]) - latest_ns, 0) for each in joined
    ]
    best: Int64Array = joined[int(np.argmin(uneven))][len(newest_ns) :]
    before = newest_ns[0] if len(newest_ns) else np.iinfo(np.int64).min
    return best, (best > before) & (best <= latest_ns)


COLUMNS = {
    "host": ("start_ns", "end_ns"),
    "device": ("device_ns",),
    "wall": ("end_ns", "wall_ns", "device_ns"),
}
"""What is needed of table ``samples`` to place the readings of a channel, by its clock."""


def channel_time(
    readings: pd.DataFrame, clock: str, found: Mapping[str, Any] | None
) -> tuple[Int64Array, BoolArray]:
    """Return the instants of one channel's readings, and whether they are known.

    Host-clock channels: the midpoint of the read, which is the end stamp for streamed readings
    (their start and end are the same). Wall-clock channels: the device's stamp by the offset of
    the wall clock at the read that brought it (`wall_to_mono`); unknown without a stamp.
    Device-clock channels: the device's stamp through the source's row in table ``clocks``; unknown
    where the clock was refused or the device gave no stamp.

    Args:
        readings: Rows of table ``samples``, of one channel in one session, with `COLUMNS`.
        clock: As in table ``channels``.
        found: The row of table ``clocks``; None if there is none.
    """
    n = len(readings)
    if clock == "device":
        if found is None or not found["accepted"]:
            return np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
        device, stamped = int64(readings, "device_ns")
        line = int(found["offset_ns"]), float(found["drift_ppm"]), int(found["anchor_ns"])
        return device_to_mono(device, *line), stamped
    if clock != "wall":
        start, _ = int64(readings, "start_ns")
        end, _ = int64(readings, "end_ns")
        return start + (end - start) // 2, np.ones(n, dtype=bool)
    device, stamped = int64(readings, "device_ns")
    wall, _ = int64(readings, "wall_ns")
    end, _ = int64(readings, "end_ns")
    rows: Any = slice(None)
    if not stamped.all() or np.any(np.diff(end) < 0):
        rows = np.flatnonzero(stamped)
        rows = rows[np.argsort(end[rows], kind="stable")]
    instants, known = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
    instants[rows], known[rows] = wall_to_mono(device[rows], wall[rows], end[rows])
    return instants, known


def to_recording_time(
    samples: pd.DataFrame | pa.Table,
    channels: pd.DataFrame | pa.Table,
    clocks: pd.DataFrame | pa.Table,
) -> IntegerArray:
    """Return the instant of every sample on the recording's monotonic clock (`channel_time`).

    Averaging windows are *not* subtracted (`wattproof.energy` does that).

    Args:
        samples: Table ``samples``.
        channels: Table ``channels``.
        clocks: Table ``clocks`` (from `align`).

    Returns:
        Nullable Int64 array, one entry per row of `samples`, in nanoseconds.
    """
    frame = as_frame(samples)
    instants, _ = channel_time(frame, "host", None)
    unknown = np.zeros(len(frame), dtype=bool)
    listed = as_frame(channels)
    others = listed[(listed["clock"] != "host").to_numpy(dtype=bool)]
    if len(others) and len(frame):
        rows = {(r["recording"], r["session"], r["source"]): r for r in records(as_frame(clocks))}
        by_channel = groups(frame, ("recording", "session", "source", "channel"))
        for item in records(others):
            source = (item["recording"], item["session"], item["source"])
            where = by_channel.get((*source, item["channel"]))
            if where is None:
                continue
            part = frame[list(COLUMNS[item["clock"]])].iloc[where]
            instants[where], known = channel_time(part, item["clock"], rows.get(source))
            unknown[where] = ~known
    return pd.arrays.IntegerArray(instants, unknown)
