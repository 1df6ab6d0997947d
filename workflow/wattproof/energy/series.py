"""The good samples of one channel, on the recording's clock, out of a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from wattproof.clocks import COLUMNS, channel_time
from wattproof.clocks.frames import floats
from wattproof.energy.build import Series
from wattproof.tables import SampleStore
from wattproof.units import NS_PER_S


def load_series(
    store: SampleStore, channel: Mapping[str, Any], found: Mapping[str, Any] | None
) -> Series:
    """Return the good samples of a channel, by time; of several with one stamp, the last row.

    Only the columns that are needed are read, and none whose statistics say it all.

    Args:
        store: The samples.
        channel: The channel's row of table ``channels``.
        found: Its source's row of table ``clocks``; None if there is none.
    """
    key = (channel["recording"], channel["session"], channel["source"], channel["channel"])
    on_device = channel["clock"] == "device"
    refused = on_device and (found is None or not found["accepted"])
    residual = found["residual_ns"] if on_device and found is not None else 0.0
    spread = float("nan") if pd.isna(residual) else float(residual) / NS_PER_S
    if refused or key not in store:
        nothing = np.zeros(0, dtype=np.int64)
        return Series(nothing, nothing.astype(np.float64), on_device, not refused, spread)
    wanted = [*COLUMNS[channel["clock"]], "value"]
    always_ok = store.constant(key, "status") == "ok"
    unscheduled = store.nulls(key, "scheduled_ns")
    told = unscheduled in (0, store.count(key))
    if not always_ok:
        wanted.append("status")
    if not on_device and not told:
        wanted.append("scheduled_ns")
    rows = store.frame(key, wanted)
    t_ns, known = channel_time(rows, channel["clock"], found)
    value = floats(rows, "value")
    usable = known & np.isfinite(value)
    if not always_ok:
        usable &= (rows["status"] == "ok").to_numpy(dtype=bool)
    streamed = on_device
    if not on_device and usable.any():
        if told:
            streamed = unscheduled != 0
        else:
            streamed = not rows["scheduled_ns"].notna().to_numpy(dtype=bool)[usable].any()
    del rows
    if not usable.all():
        t_ns, value = t_ns[usable], value[usable]
    step = np.diff(t_ns)
    if np.any(step < 0):
        order = np.argsort(t_ns, kind="stable")
        t_ns, value = t_ns[order], value[order]
        step = np.diff(t_ns)
    # Two values with one stamp: the later row counts, as it would for a reader of the device.
    if np.any(step == 0):
        last = np.append(step > 0, True)
        t_ns, value = t_ns[last], value[last]
    return Series(t_ns, value, streamed, True, spread)
