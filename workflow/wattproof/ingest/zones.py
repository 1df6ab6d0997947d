"""Local times of foreign logs: their time zones, and what a change of summer time does to them."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof.errors import WattproofError
from wattproof.units import NS_PER_S

Int64Array = NDArray[np.int64]

UNKNOWN = np.iinfo(np.int64).min
"""Stands for a stamp that cannot be read, until its row is dropped."""

STEP_BACK_NS = 60 * NS_PER_S
"""Local stamps that step back by more than this show the end of summer time, no late line."""

HOUR_BACK_NS = (50 * 60 * NS_PER_S, 61 * 60 * NS_PER_S)
"""A step back of local stamps by this much looks like the end of summer time."""


def _zone(name: str | None, where: str) -> ZoneInfo | str | None:
    if name is None:
        return None
    if re.fullmatch(r"[+-]\d{2}:?\d{2}", name):
        return name if ":" in name else f"{name[:3]}:{name[3:]}"
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise WattproofError(
            f"{where}: there is no time zone '{name}'; give one like UTC, Europe/Berlin or +08:00."
        ) from error


def to_epoch(
    naive: pd.Series, own: pd.Series, zone: str | None, where: str
) -> tuple[Int64Array, int]:
    """Nanoseconds since the epoch of local times, and how many summer time makes doubtful."""
    result = np.full(len(naive), UNKNOWN, dtype=np.int64)
    good = naive.notna().to_numpy(dtype=bool)
    base = naive.astype("int64").to_numpy()
    stated = own.notna().to_numpy(dtype=bool)
    if stated.any():
        offset = own.fillna("Z").str.replace(":", "", regex=False)
        seconds = {
            z: 0
            if z in ("Z", "UTC", "GMT")
            else (1 if z[0] == "+" else -1) * (int(z[1:3]) * 3600 + int(z[3:5]) * 60)
            for z in offset.unique()
        }
        shift = offset.map(seconds).to_numpy(dtype=np.int64) * NS_PER_S
        use = good & stated
        result[use] = base[use] - shift[use]
    rest = good & ~stated
    chosen = _zone(zone, where)
    if not rest.any():
        return result, 0
    if chosen is None:
        result[rest] = base[rest]
        return result, 0
    if isinstance(chosen, str):
        sign = 1 if chosen[0] == "+" else -1
        seconds_east = sign * (int(chosen[1:3]) * 3600 + int(chosen[4:6]) * 60)
        result[rest] = base[rest] - seconds_east * NS_PER_S
        return result, 0
    local = pd.DatetimeIndex(naive[rest])
    certain = local.tz_localize(chosen, ambiguous="NaT", nonexistent="NaT")
    doubtful: NDArray[np.bool_] = np.asarray(certain.isna(), dtype=bool)
    if doubtful.any():
        # The hour that comes twice: the first time until the stamps step back, then the second.
        back = np.cumsum(np.diff(local.asi8, prepend=local.asi8[:1]) < -STEP_BACK_NS) == 0
        try:
            sure = local.tz_localize(chosen, ambiguous=back, nonexistent=pd.Timedelta(hours=1))
        except ValueError:  # A zone that leaves out more than an hour.
            sure = local.tz_localize(chosen, ambiguous=back, nonexistent="shift_forward")
        certain = certain.where(~doubtful, sure)
    result[rest] = certain.asi8
    return result, int(doubtful.sum())


def summer_time(t_ns: Int64Array, folded: int, zone: str | None, stated: bool) -> dict[str, str]:
    """What a change of summer time did to local stamps, as far as they show it."""
    if folded:
        return {
            "summer_time": f"{folded} local stamps lie in an hour that a change of summer time "
            f"repeats or leaves out ({zone}); those of a repeated hour count as its first passing "
            "until the stamps step back, and those of an hour left out as if the clock had not "
            "been moved"
        }
    if zone is not None or stated:
        return {}
    steps = np.diff(t_ns[t_ns != UNKNOWN])
    back = int(((-steps >= HOUR_BACK_NS[0]) & (-steps <= HOUR_BACK_NS[1])).sum())
    if not back:
        return {}
    return {
        "summer_time": f"stamps step back by about an hour {back} times, as at the end of summer "
        "time; they are read as UTC as they stand, so an hour lies twice over itself"
    }
