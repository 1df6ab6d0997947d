"""The time of each sample on the recording's clock."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.arrays import IntegerArray

from wattproof.clocks.frames import Int64Array, as_frame, groups, int64, records


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


def to_recording_time(
    samples: pd.DataFrame | pa.Table,
    channels: pd.DataFrame | pa.Table,
    clocks: pd.DataFrame | pa.Table,
) -> IntegerArray:
    """Return the instant of every sample on the recording's monotonic clock.

    Host-clock channels: the midpoint of the read, which is the end stamp for streamed readings
    (their start and end are the same). Device-clock channels: the device's stamp through the
    source's row in `clocks`; null where the clock was refused or the device gave no stamp.
    Averaging windows are *not* subtracted (`wattproof.energy` does that).

    Args:
        samples: Table ``samples``.
        channels: Table ``channels``.
        clocks: Table ``clocks`` (from `align`).

    Returns:
        Nullable Int64 array, one entry per row of `samples`, in nanoseconds.
    """
    frame = as_frame(samples)
    start, _ = int64(frame, "start_ns")
    end, _ = int64(frame, "end_ns")
    instants = start + (end - start) // 2
    unknown = np.zeros(len(frame), dtype=bool)

    listed = as_frame(channels)
    on_device = listed[(listed["clock"] == "device").to_numpy(dtype=bool)]
    if len(on_device) and len(frame):
        device, stamped = int64(frame, "device_ns")
        found = as_frame(clocks)
        rows = {(r["recording"], r["session"], r["source"]): r for r in records(found)}
        by_channel = groups(frame, ("recording", "session", "source", "channel"))
        for item in records(on_device):
            source = (item["recording"], item["session"], item["source"])
            where = by_channel.get((*source, item["channel"]))
            if where is None:
                continue
            row = rows.get(source)
            if row is None or not row["accepted"]:
                unknown[where] = True
                continue
            instants[where] = device_to_mono(
                device[where], int(row["offset_ns"]), float(row["drift_ppm"]), int(row["anchor_ns"])
            )
            unknown[where] = ~stamped[where]
    return pd.arrays.IntegerArray(instants, unknown)
