"""The energy of every window by every power or energy channel of its session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from wattproof import tables
from wattproof.clocks.frames import (
    BoolArray,
    F64Array,
    Int64Array,
    as_frame,
    groups,
    int64,
    records,
)
from wattproof.energy.build import Companion, Series
from wattproof.energy.channel import Result, integrate_channel
from wattproof.energy.flags import FLAGS
from wattproof.energy.fuse import Fused
from wattproof.energy.sensor import Sensors, describe, load_sensors, quantity
from wattproof.energy.series import load_series
from wattproof.tables import SampleStore
from wattproof.units import NS_PER_S

DEFAULTS: dict[str, float] = {
    "min_samples": 5,
    "min_coverage": 0.8,
    "max_gap_s": 2.0,
    "counter_cap_w": 2000.0,
}
"""Settings of `integrate`; keys given by a campaign (``analysis``) take their place.

``min_samples``: fewer good samples in a window are flagged. ``min_coverage``: below it an energy
is refused. ``max_gap_s``: longer holes are not bridged. ``counter_cap_w``: no single device draws
more; a counter that seems to was reset, or read wrongly.
"""


def _results(
    rows: list[dict[str, Any]],
    load: Callable[[dict[str, Any]], Series],
    start_ns: Int64Array,
    end_ns: Int64Array,
    settings: dict[str, float],
    sensors: Sensors,
) -> list[Result]:
    """Integrate the channels of one session, each with what others tell of its device.

    Samples are read device by device and channel by channel, and are gone when the next is read.
    """
    about = [describe(channel, rows, sensors) for channel in rows]
    devices: dict[str, list[int]] = {}
    for index, channel in enumerate(rows):
        devices.setdefault(str(channel["device"]), []).append(index)
    found: dict[int, Result] = {}
    for own in devices.values():
        ring: Companion | None = None
        kept: dict[int, Series] = {}
        for index in own:
            channel = rows[index]
            if channel["clock"] == "wall" and channel["kind"] == "power" and ring is None:
                series = load(channel)
                kept[index] = series
                if len(series.t_ns) > 1:
                    period = channel["period_s"]
                    ring = Companion(
                        series, None if pd.isna(period) else float(period), about[index]
                    )
        told: Fused | None = None
        # Counters first: they tell how the rings are to be read.
        for index in sorted(own, key=lambda i: (rows[i]["kind"] != "energy", i not in kept)):
            channel = rows[index]
            counter = channel["kind"] == "energy" and quantity(channel) == "energy"
            result = integrate_channel(
                channel,
                kept.pop(index) if index in kept else load(channel),
                start_ns,
                end_ns,
                settings,
                about[index],
                ring if counter else None,
                told,
            )
            told = told or result.fused
            found[index] = replace(result, fused=None)
            if not kept and channel["kind"] != "energy":
                ring = None
    return [found[index] for index in range(len(rows))]


def _counter_ratios(listed: list[dict[str, Any]], results: list[Result]) -> list[F64Array]:
    """Counter energy over integral of instant power, for the channels of one device.

    The power channel of the counter's own source is preferred; a power channel of another source
    is compared with the first counter of the device.
    """
    k = len(results[0].energy_j) if results else 0
    ratios = [np.full(k, np.nan) for _ in results]

    def partner(index: int, wanted: list[int]) -> int | None:
        own = [other for other in wanted if listed[other]["device"] == listed[index]["device"]]
        own.sort(key=lambda other: listed[other]["source"] != listed[index]["source"])
        return own[0] if own else None

    counters = [i for i, c in enumerate(listed) if c["kind"] == "energy"]
    powers = [i for i, c in enumerate(listed) if str(c["channel"]).endswith(".power_instant")]
    for here, there in ((counters, powers), (powers, counters)):
        for index in here:
            other = partner(index, there)
            if other is None:
                continue
            counter, power = (index, other) if here is counters else (other, index)
            below = results[power].energy_j
            ratios[index] = np.divide(
                results[counter].energy_j, below, out=np.full(k, np.nan), where=below > 0
            )
    return ratios


def _flag_lists(marks: dict[str, BoolArray], count: int) -> list[list[str]]:
    names = [name for name in FLAGS if name in marks]
    if not names:
        return [[] for _ in range(count)]
    rows = np.stack([marks[name] for name in names], axis=1)
    return [[name for name, on in zip(names, row, strict=True) if on] for row in rows.tolist()]


def _rows(
    windows: pd.DataFrame, duration_s: F64Array, channel: dict[str, Any], result: Result
) -> pd.DataFrame:
    part = windows.copy(deep=False)
    part["source"] = channel["source"]
    part["channel"] = channel["channel"]
    part["device"] = channel["device"]
    part["duration_s"] = duration_s
    part["energy_j"] = result.energy_j
    part["mean_w"] = np.divide(
        result.energy_j, duration_s, out=np.full(len(duration_s), np.nan), where=duration_s > 0
    )
    part["energy_u_j"] = result.energy_u_j
    for name, values in result.parts_u_j.items():
        part[name] = values
    part["samples"] = result.samples
    part["expected"] = result.expected
    part["coverage"] = result.coverage
    part["longest_gap_s"] = result.longest_gap_s
    part["method"] = result.method
    return part


def integrate(
    samples: SampleStore | pd.DataFrame | pa.Table,
    channels: pd.DataFrame | pa.Table,
    clocks: pd.DataFrame | pa.Table,
    windows: pd.DataFrame | pa.Table,
    settings: Mapping[str, Any],
) -> pd.DataFrame:
    """Integrate every power and energy channel over every window of its session.

    Power channels by trapezoids with interpolation at the edges (each value set back by half its
    averaging time), meters by the overlap with their cycles, the driver's sample ring by the time
    each sample stands for, counters by their increments with the ring of the same device as the
    shape in between, channels with ``energy_rule: mean`` in their identity by the mean of the
    samples inside times the duration (EA-HAS-Bench's way). Nothing is scaled up for what was not
    measured: holes lower the coverage, and below ``min_coverage`` the energy is null.

    Args:
        samples: Table ``samples``; as a store, one channel at a time is in memory.
        channels: Table ``channels``.
        clocks: Table ``clocks``.
        windows: Table ``windows``.
        settings: Keys of `DEFAULTS`, and ``sensors``: what `wattproof characterise` found, as the
            path of its file or as `wattproof.sensing.load` returns it. Other keys are ignored.

    Returns:
        Table ``energy``, one row per window × channel; null where unknown.

    Raises:
        WattproofError: If a power channel is not in W, or an energy channel not in J, or there is
            no such sensor description.
    """
    chosen = {key: float(settings.get(key, value)) for key, value in DEFAULTS.items()}
    sensors = load_sensors(settings.get("sensors"))
    store, listed, cut = SampleStore.of(samples), as_frame(channels), as_frame(windows)
    by_session = groups(cut, ("recording", "session"))
    clock_rows = {
        (row["recording"], row["session"], row["source"]): row for row in records(as_frame(clocks))
    }

    def load(channel: dict[str, Any]) -> Series:
        source = (channel["recording"], channel["session"], channel["source"])
        return load_series(store, channel, clock_rows.get(source))

    labels = [name for name in tables.schema("windows").names if not name.endswith("_ns")]

    parts: list[pd.DataFrame] = []
    flag_lists: list[list[str]] = []
    wanted = listed[listed["kind"].isin(["power", "energy"])]
    for key, where in groups(wanted, ("recording", "session")).items():
        if key not in by_session:
            continue
        own = cut.iloc[by_session[key]]
        start_ns, _ = int64(own, "start_ns")
        end_ns, _ = int64(own, "end_ns")
        rows = records(wanted.iloc[where])
        results = _results(rows, load, start_ns, end_ns, chosen, sensors)
        duration_s = (end_ns - start_ns) / NS_PER_S
        ratios = _counter_ratios(rows, results)
        for channel, result, ratio in zip(rows, results, ratios, strict=True):
            part = _rows(own[labels], duration_s, channel, result)
            part["counter_ratio"] = ratio
            parts.append(part)
            flag_lists += _flag_lists(result.marks, len(own))
    if not parts:
        return tables.empty("energy")
    table = pd.concat(parts, ignore_index=True)
    table["flags"] = pd.Series(flag_lists, dtype=object)
    return table
