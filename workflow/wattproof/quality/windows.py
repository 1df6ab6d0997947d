"""Flags of a window's energy that need other windows, or the identity of the device.

`wattproof.energy` flags what one channel of one window shows by itself (gaps, counters, clocks).
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
import pandas as pd

IDLE_SHARE = 0.5
LIMIT_SHARE = 1.05
LOW_SAMPLE_RATIO = 0.5
MIN_METER_WINDOWS = 3
STILL_S = 5.0
"""A counter that does not move for so long while its device draws power stands still."""
WHOLE = 0.97
RATIO_OFF = 0.1
"""Counter and integral of one device differ by more than this share."""
CONSTANT_METER = 1e-6
"""Relative spread of the meter's means below which it counts as constant."""


def device_limits(channels: pd.DataFrame) -> dict[str, float | None]:
    """Return the power limit of each device from the identities of its channels.

    Args:
        channels: Table ``channels``; the identity's key is ``limit_w``.

    Returns:
        Watts by device; None where the limit changed between sessions. Devices whose channels
        state no limit are absent.
    """
    limits: dict[str, float | None] = {}
    for device, text in zip(channels["device"], channels["identity"], strict=True):
        limit = json.loads(text).get("limit_w") if text else None
        if limit is None:
            continue
        known = limits.setdefault(str(device), float(limit))
        if known != float(limit):
            limits[str(device)] = None
    return limits


def idle_power_w(energy: pd.DataFrame, keys: Iterable[str]) -> pd.Series:
    """Return the mean power of GPU channels over idle calibration windows, by the given columns."""
    idle = energy[
        (energy["level"] == "load")
        & (energy["kind"] == "idle")
        & energy["channel"].str.match(r"gpu\d+\.")
        & energy["mean_w"].notna()
    ]
    return idle.groupby(list(keys))["mean_w"].mean().astype("float64")


def _outside_limits(energy: pd.DataFrame, channels: pd.DataFrame) -> pd.Series:
    """Tell which GPU rows have a mean power that the device cannot have."""
    gpu = energy["channel"].str.match(r"gpu\d+\.")
    power = energy["mean_w"].astype("float64")
    known = {d: w for d, w in device_limits(channels).items() if w is not None}
    upper = LIMIT_SHARE * energy["device"].map(known).astype("float64")
    keys = ["device", "source", "channel"]
    idle = idle_power_w(energy, keys).rename("idle_w").reset_index()
    lower = energy[keys].merge(idle, on=keys, how="left")["idle_w"].to_numpy(dtype=np.float64)
    return gpu & ((power > upper) | (power < IDLE_SHARE * lower))


def _sample_ratio_low(energy: pd.DataFrame) -> pd.Series:
    """Tell which rows have some readings, but under half of those that the period promises."""
    taken = energy["samples"].astype("float64")
    return (taken > 0) & (taken < LOW_SAMPLE_RATIO * energy["expected"].astype("float64"))


def _constant_meter(energy: pd.DataFrame) -> pd.Series:
    """Tell which meter rows belong to a session in which the meter's mean never changes."""
    rows = energy["channel"].str.startswith("node.") & energy["mean_w"].notna()
    groups = energy[rows].groupby(["recording", "session", "source", "channel"])["mean_w"]
    count, low, high = (groups.transform(name) for name in ("count", "min", "max"))
    constant = (count >= MIN_METER_WINDOWS) & (high - low <= CONSTANT_METER * high.abs())
    return constant.reindex(energy.index, fill_value=False).astype(bool)


def _standing_counter(energy: pd.DataFrame) -> pd.Series:
    """Tell which counter rows say that a device drew nothing for a while.

    A device that is on always draws power, so a counter whose last value equals its first one did
    not count (measurement.md, section 2.2: 0 J with 247 W).
    """
    return (
        (energy["method"] == "counter")
        & (energy["energy_j"] == 0.0)
        & (energy["duration_s"] >= STILL_S)
        & (energy["samples"] >= 2)
    )


def _counter_off(energy: pd.DataFrame) -> pd.Series:
    """Tell which counter rows contradict the integral of the same device's power."""
    ratio = energy["counter_ratio"].astype("float64")
    keys = ["window_id", "source", "device"]
    # An integral with holes says less than its counter, which is no contradiction.
    power = energy[energy["method"] != "counter"].groupby(keys)["coverage"].min()
    whole = energy[keys].merge(power.rename("whole").reset_index(), on=keys, how="left")["whole"]
    enough = (energy["duration_s"] >= STILL_S) & (whole.to_numpy(np.float64) >= WHOLE)
    return (energy["method"] == "counter") & enough & ((ratio - 1).abs() > RATIO_OFF)


def flag_windows(energy: pd.DataFrame, channels: pd.DataFrame) -> pd.DataFrame:
    """Add the flags that `wattproof.energy` does not set by itself.

    ``energy_outside_limits``: mean power of a GPU channel outside [0.5 · idle, 1.05 · limit],
    each bound only where it is known. ``constant_meter``: the same mean in every one of at least
    three windows of a session. ``sample_ratio_low``: under half of the expected readings.
    ``counter_stands_still``: 0 J in 5 s and more. ``counter_integral_mismatch``: counter and
    integral of one device differ by more than 10 %.

    Args:
        energy: Table ``energy`` of one or more recordings.
        channels: Table ``channels`` of the same.

    Returns:
        A copy with flags added; flags that are already there stay, none is doubled.
    """
    flagged = energy.reset_index(drop=True)
    if flagged.empty:
        return flagged
    outside = _outside_limits(flagged, channels).to_numpy(dtype=bool)
    constant = _constant_meter(flagged).to_numpy(dtype=bool)
    added = {
        "energy_outside_limits": outside,
        "sample_ratio_low": _sample_ratio_low(flagged).to_numpy(dtype=bool),
        "constant_meter": constant,
        "counter_stands_still": _standing_counter(flagged).to_numpy(dtype=bool),
        "counter_integral_mismatch": _counter_off(flagged).to_numpy(dtype=bool),
    }
    lists = [list(flags) for flags in flagged["flags"]]
    for name, mask in added.items():
        for row in np.flatnonzero(mask):
            if name not in lists[row]:
                lists[row].append(name)
    flagged["flags"] = pd.Series(lists, index=flagged.index, dtype=object)
    return flagged
