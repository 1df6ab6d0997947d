"""Flags of a window's energy: their names, what they tell a person, and checks across windows.

`wattproof.energy` flags what one channel of one window shows by itself (gaps, counters, clocks);
here are the checks that need other windows or the identity of the device.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
import pandas as pd

FLAGS: dict[str, str] = {
    "no_samples": "The instrument gave no good reading inside the window, "
    "so its energy is unknown.",
    "few_samples": "The instrument gave fewer good readings than analysis.min_samples.",
    "low_coverage": "Good readings cover less of the window than analysis.min_coverage, "
    "so its energy is refused.",
    "gap": "There is a hole between readings longer than analysis.max_gap_s, which is not bridged.",
    "clock_not_proven": "The instrument's clock could not be aligned with the recording's, "
    "so its energy is not compared with others.",
    "short_window": "The window is shorter than five periods of the instrument: "
    "the energy depends on when readings happened to fall.",
    "counter_wrap": "The energy counter passed its maximum inside the window; "
    "this was recognised and corrected.",
    "counter_reset": "The energy counter restarted or jumped inside the window; "
    "what it counted between the two readings is unknown.",
    "counter_ambiguous": "Readings of the energy counter contradict each other or allow more than "
    "one number of wraps inside the window, so some of them were not used.",
    "counter_ring_mismatch": "The energy counter and the driver's own power samples of this device "
    "contradict each other, so the samples were not used to place the counter's energy in time.",
    "energy_outside_limits": "The mean power is below half of the device's idle power or more "
    "than 5 % above its power limit: physically implausible.",
    "sample_ratio_low": "The instrument gave fewer than half of the readings that its period "
    "promises.",
    "constant_meter": "The meter shows the same power in every window of the session: "
    "it is frozen, or its steps are larger than the node's variation.",
}
"""Name of a flag -> one sentence for a person."""

IDLE_SHARE = 0.5
LIMIT_SHARE = 1.05
LOW_SAMPLE_RATIO = 0.5
MIN_METER_WINDOWS = 3
CONSTANT_METER = 1e-6
"""Relative spread of the meter's means below which it counts as constant."""


def describe(flag: str) -> str:
    """Return the sentence of a flag; for an unknown one its name, so that none is ever hidden."""
    return FLAGS.get(flag, f"Flag '{flag}' (no description).")


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


def flag_windows(energy: pd.DataFrame, channels: pd.DataFrame) -> pd.DataFrame:
    """Add the flags that `wattproof.energy` does not set by itself.

    ``energy_outside_limits``: mean power of a GPU channel outside [0.5 · idle, 1.05 · limit],
    each bound only where it is known. ``constant_meter``: the same mean in every one of at least
    three windows of a session. ``sample_ratio_low``: under half of the expected readings.

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
    }
    lists = [list(flags) for flags in flagged["flags"]]
    for name, mask in added.items():
        for row in np.flatnonzero(mask):
            if name not in lists[row]:
                lists[row].append(name)
    flagged["flags"] = pd.Series(lists, index=flagged.index, dtype=object)
    return flagged
