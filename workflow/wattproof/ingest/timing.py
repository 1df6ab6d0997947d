"""Time stamps of foreign logs: what they may look like, and what they do not say.

A log says "2024/05/01 10:00:00.123" and means the local time of a machine that nobody names. Each
stamp becomes nanoseconds since the epoch; whatever had to be inferred for that is listed, so that
it can be reported: nothing is assumed silently.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof.errors import WattproofError
from wattproof.ingest.zones import UNKNOWN, summer_time, to_epoch
from wattproof.units import NS_PER_S

Int64Array = NDArray[np.int64]

EPOCHS = {"epoch_s": NS_PER_S, "epoch_ms": 10**6, "epoch_us": 10**3, "epoch_ns": 1}
"""Nanoseconds in a unit of the numeric stamps."""

LARGEST_NS = np.iinfo(np.int64).max

FIRST_S, LAST_S = 631_152_000.0, 4_102_444_800.0
"""1990 and 2100: numbers outside are no seconds since the epoch."""

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?")
_DATE = re.compile(
    r"(?P<a>\d{1,4})(?P<sep>[-/.])(?P<b>\d{1,2})(?P=sep)(?P<c>\d{1,4})"
    r"(?:[T ,]+(?P<time>\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?))?\s*(?P<half>[AaPp][Mm])?\s*"
    r"(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2})?"
)


@dataclass
class Stamps:
    """Stamps of a log.

    Attributes:
        t_ns: Nanoseconds since the epoch, `UNKNOWN` where a stamp cannot be read, shape (n,).
        form: How they were read, e.g. ``epoch_ms`` or ``%Y/%m/%d %H:%M:%S.%f``.
        zone: Time zone that they were read in; empty for numbers, which have none.
        inferred: What had to be inferred: flag → sentence.
        folded: Stamps that a change of summer time makes ambiguous or impossible.
    """

    t_ns: Int64Array
    form: str
    zone: str
    inferred: dict[str, str] = field(default_factory=dict)
    folded: int = 0

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which stamps could be read."""
        found: NDArray[np.bool_] = self.t_ns != UNKNOWN
        return found


def _epoch_form(values: NDArray[np.float64], where: str) -> str:
    typical = float(np.nanmedian(np.abs(values)))
    for form, unit_ns in EPOCHS.items():
        if FIRST_S <= typical * unit_ns / NS_PER_S <= LAST_S:
            return form
    raise WattproofError(
        f"{where}: the stamps (around {typical:g}) are no seconds, milli-, micro- or nanoseconds "
        "since 1970; say in the manifest what they are (time_format), or give start and step_s."
    )


def _from_numbers(text: pd.Series, form: str | None, where: str) -> Stamps:
    values = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)
    if not np.isfinite(values).any():
        raise WattproofError(f"{where}: no stamp is a number; correct time_format.")
    inferred = {}
    if form is None:
        form = _epoch_form(values, where)
        unit = form.removeprefix("epoch_")
        inferred["inferred_time_unit"] = f"stamps are taken as {unit} since 1970, by their size"
    unit_ns = EPOCHS[form]
    # Whole part and fraction apart: a float64 of nanoseconds since 1970 is only good to 0.2 µs.
    parts = text.astype("str").str.strip().str.partition(".")
    held = np.isfinite(values) & (np.abs(values) < 0.99 * LARGEST_NS / unit_ns)
    plain = parts[0].str.fullmatch(r"[+-]?\d+").to_numpy(dtype=bool) & held
    plain &= (parts[2].str.fullmatch(r"\d*")).to_numpy(dtype=bool)
    t_ns = np.full(len(values), UNKNOWN, dtype=np.int64)
    if plain.any():
        fraction = pd.to_numeric("0." + parts[2].where(parts[2] != "", "0"), errors="coerce")
        whole = pd.to_numeric(parts[0][plain]).to_numpy(dtype=np.int64)
        # The sign is the text's: -0 has lost it.
        sign = np.where(parts[0][plain].str.startswith("-"), -1, 1)
        small = np.rint(fraction[plain].to_numpy(dtype=np.float64) * unit_ns).astype(np.int64)
        t_ns[plain] = whole * unit_ns + sign * small
    rest = held & ~plain
    t_ns[rest] = np.rint(values[rest] * unit_ns).astype(np.int64)
    return Stamps(t_ns, form, "", inferred)


def _day_order(parts: pd.DataFrame, where: str) -> tuple[str, dict[str, str]]:
    """Return ymd, mdy or dmy for dates in three numbers, and what was inferred."""
    a, b = (pd.to_numeric(parts[name]) for name in ("a", "b"))
    if parts["a"].str.len().max() == 4:
        return "ymd", {}
    if a.max() > 12 and b.max() > 12:
        raise WattproofError(
            f"{where}: the dates are neither day-first nor month-first; give time_format."
        )
    if a.max() > 12:
        return "dmy", {"inferred_day_order": "dates are day-first, by a first number above 12"}
    if b.max() > 12:
        return "mdy", {"inferred_day_order": "dates are month-first, by a second number above 12"}
    if a.nunique() == 1 and b.nunique() == 1 and a.iloc[0] == b.iloc[0]:
        return "mdy", {}
    raise WattproofError(
        f"{where}: dates like {parts['a'].iloc[0]}-{parts['b'].iloc[0]}-{parts['c'].iloc[0]} may "
        "be day-first or month-first; say which (day_first: true or false)."
    )


def _in_ns(naive: pd.Series) -> pd.Series:
    """Dates in nanoseconds; those of years that these cannot hold are no stamps."""
    held = naive.between(pd.Timestamp.min.ceil("s"), pd.Timestamp.max.floor("s"))
    return naive.where(held).astype("datetime64[ns]")


def _from_dates(text: pd.Series, zone: str | None, day_first: bool | None, where: str) -> Stamps:
    found = text.astype("str").str.strip().str.extract(f"^{_DATE.pattern}$")
    read = found["a"].notna().to_numpy(dtype=bool)
    if not read.any():
        example = str(text.iloc[0])[:40]
        raise WattproofError(
            f"{where}: stamps like '{example}' are not known; give time_format (as strptime's)."
        )
    found = found[read]
    inferred: dict[str, str] = {}
    if day_first is None:
        order, inferred = _day_order(found, where)
    else:
        four = found["a"].str.len().max() == 4
        order = "ymd" if four else "dmy" if day_first else "mdy"
    y, m, d = (found[dict(zip(order, "abc", strict=True))[k]] for k in "ymd")
    whole_year = y.str.len() == 4
    if not whole_year.any():
        row = found.iloc[0]
        raise WattproofError(
            f"{where}: dates like {row['a']}{row['sep']}{row['b']}{row['sep']}{row['c']} have no "
            "year of four digits; say what they are (time_format, e.g. %d/%m/%y %H:%M:%S)."
        )
    clock = found["time"].fillna("00:00:00").str.replace(",", ".", regex=False)
    iso = y + "-" + m.str.zfill(2) + "-" + d.str.zfill(2) + " " + clock
    half = found["half"].str.lower()
    iso = iso.where(whole_year)
    naive = _in_ns(pd.to_datetime(iso, format="mixed", errors="coerce"))
    if half.notna().any():
        hour = naive.dt.hour
        move = np.where(
            (half == "pm") & (hour < 12), 12, np.where((half == "am") & (hour == 12), -12, 0)
        )
        naive = naive + pd.to_timedelta(move, unit="h")
    own = found["zone"]
    t_ns = np.full(len(text), UNKNOWN, dtype=np.int64)
    rows = np.flatnonzero(read)
    local, folded = to_epoch(naive, own, zone, where)
    t_ns[rows] = local
    name = zone or ""
    if own.notna().all():
        name = "in each stamp"
    elif zone is None:
        name = "UTC"
        inferred["inferred_time_zone"] = (
            "stamps are local times of an unknown zone; they are read as UTC, and only a "
            "comparison with another source can find whole hours"
        )
    inferred |= summer_time(t_ns, folded, zone, bool(own.notna().all()))
    return Stamps(t_ns, f"date ({order})", name, inferred, folded)


def _plausible(stamps: Stamps) -> Stamps:
    """Stamps before 1990 or after 2100 among others are no times: a clock that was not set."""
    first, last = int(FIRST_S) * NS_PER_S, int(LAST_S) * NS_PER_S
    inside = (stamps.t_ns >= first) & (stamps.t_ns <= last)
    if not inside.any() or inside.all():
        return stamps
    return replace(stamps, t_ns=np.where(inside, stamps.t_ns, UNKNOWN).astype(np.int64))


def parse(
    text: pd.Series,
    where: str,
    *,
    time_format: str | None = None,
    time_zone: str | None = None,
    day_first: bool | None = None,
) -> Stamps:
    """Turn the stamps of a log into nanoseconds since the epoch.

    Stamps before 1990 or after 2100 among others are unknown: no log runs that long.

    Args:
        text: The column as it stands in the file, text or numbers, shape (n,).
        where: File and column, for messages.
        time_format: ``epoch_s``, ``epoch_ms``, ``epoch_us``, ``epoch_ns``, or a pattern of
            strptime; None: by what the stamps look like.
        time_zone: Of stamps that state none: UTC, Europe/Berlin, +08:00 …; None: unknown, so they
            are read as UTC and that is reported.
        day_first: Order of dates like 05-01-2024; None: inferred where possible.

    Raises:
        WattproofError: The stamps cannot be understood, or may be understood in two ways.
    """
    if len(text) == 0:
        return Stamps(np.empty(0, np.int64), time_format or "", time_zone or "")
    return _plausible(_parsed(text, where, time_format, time_zone, day_first))


def _parsed(
    text: pd.Series,
    where: str,
    time_format: str | None,
    time_zone: str | None,
    day_first: bool | None,
) -> Stamps:
    if time_format in EPOCHS:
        return _from_numbers(text, time_format, where)
    if time_format is not None:
        naive = pd.Series(
            pd.to_datetime(text, format=time_format, errors="coerce", utc="%z" in time_format)
        )
        if naive.isna().all():
            raise WattproofError(
                f"{where}: no stamp has the form '{time_format}' (e.g. '{text.iloc[0]}'); "
                "correct time_format."
            )
        if "%z" in time_format:
            t = _in_ns(naive.dt.tz_convert(None))
            t_ns = np.where(t.isna(), UNKNOWN, t.astype("int64"))
            return Stamps(t_ns, time_format, "in each stamp")
        nothing = pd.Series([None] * len(naive), index=naive.index, dtype=object)
        t_ns, folded = to_epoch(_in_ns(naive), nothing, time_zone, where)
        inferred = {}
        if time_zone is None:
            inferred["inferred_time_zone"] = "stamps state no time zone and are read as UTC"
        inferred |= summer_time(t_ns, folded, time_zone, False)
        return Stamps(t_ns, time_format, time_zone or "UTC", inferred, folded)
    first = text.dropna().head(20).astype("str").str.strip()
    if len(first) and first.map(lambda s: bool(_NUMBER.fullmatch(s))).mean() > 0.5:
        return _from_numbers(text, None, where)
    return _from_dates(text, time_zone, day_first, where)


def instant_ns(value: Any, where: str) -> int:
    """One instant of a manifest: a number of seconds since 1970, or a date with its time zone.

    Raises:
        WattproofError: It is no instant, or a date without a zone.
    """
    import datetime

    if isinstance(value, datetime.datetime):
        value = value.isoformat()
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise WattproofError(
                f"{where}: {value} is no instant; write it like 2024-05-01T10:00:00Z."
            )
        # By its decimals: a float64 of seconds since 1970 times 1e9 is off by up to 0.2 µs.
        t_ns = round(Decimal(str(value)) * NS_PER_S)
        if abs(t_ns) > LARGEST_NS:
            raise WattproofError(
                f"{where}: {value} is no number of seconds since 1970 that a log can have; write "
                "the instant like 2024-05-01T10:00:00Z."
            )
        return t_ns
    found = parse(pd.Series([str(value)]), where)
    if "inferred_time_zone" in found.inferred:
        raise WattproofError(f"{where}: '{value}' has no time zone; add one, e.g. a Z for UTC.")
    if not found.known.all():
        raise WattproofError(
            f"{where}: '{value}' is no instant; write it like 2024-05-01T10:00:00Z."
        )
    return int(found.t_ns[0])
