"""Time stamps of foreign logs."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattproof.errors import WattproofError
from wattproof.ingest import timing

S = 10**9
instants = st.integers(10**18, 3 * 10**18)


@given(instants)
def test_epochs_of_every_unit_keep_their_precision(t_ns):
    for unit, digits in (("s", 9), ("ms", 6), ("us", 3)):
        whole, rest = divmod(t_ns, 10**digits)
        found = timing.parse(pd.Series([f"{whole}.{rest:0{digits}d}"]), "f")
        assert found.t_ns.tolist() == [t_ns]
        assert found.form == f"epoch_{unit}"
        assert "inferred_time_unit" in found.inferred
    assert timing.parse(pd.Series([str(t_ns)]), "f").t_ns.tolist() == [t_ns]


@given(instants, st.integers(-14 * 4, 14 * 4))
def test_iso_stamps_of_any_zone(t_ns, quarters):
    t_ns -= t_ns % 1000
    zone = dt.timezone(dt.timedelta(minutes=15 * quarters))
    there = dt.datetime.fromtimestamp(t_ns // S, dt.UTC).astimezone(zone)
    text = there.replace(microsecond=t_ns % S // 1000).isoformat()
    found = timing.parse(pd.Series([text]), "f")
    assert found.t_ns.tolist() == [t_ns]
    assert found.inferred == {}


def test_day_order_is_inferred_refused_or_told():
    first = pd.Series(["13-02-2022 08:00:00.5", "14-02-2022 08:00:00.5"])
    found = timing.parse(first, "f", time_zone="UTC")
    assert "day-first" in found.inferred["inferred_day_order"]
    month = timing.parse(pd.Series(["02-13-2022 08:00:00.5"]), "f", time_zone="UTC")
    assert month.t_ns[0] == found.t_ns[0]
    doubtful = pd.Series(["02-03-2022 08:00:00"])
    with pytest.raises(WattproofError, match="day-first or month-first"):
        timing.parse(doubtful, "f", time_zone="UTC")
    told = timing.parse(doubtful, "f", time_zone="UTC", day_first=True)
    assert told.t_ns[0] == pd.Timestamp("2022-03-02 08:00").value


def test_the_hour_that_comes_twice():
    """Berlin, 27 October 2024: 02:00 to 03:00 comes twice."""
    local = pd.Series(
        [f"2024-10-27 0{h}:{m:02d}:00" for h in (1, 2) for m in (0, 30)]
        + ["2024-10-27 02:00:00", "2024-10-27 02:30:00", "2024-10-27 03:00:00"]
    )
    found = timing.parse(local, "f", time_zone="Europe/Berlin")
    steps = [int(b - a) for a, b in zip(found.t_ns, found.t_ns[1:], strict=False)]
    assert steps == [1800 * S] * 6
    assert found.folded == 4


def test_stamps_that_are_no_time_are_refused():
    with pytest.raises(WattproofError, match="no seconds"):
        timing.parse(pd.Series(["12.5", "13.5"]), "f")
    with pytest.raises(WattproofError, match="are not known"):
        timing.parse(pd.Series(["noon", "later"]), "f")
    with pytest.raises(WattproofError, match="no stamp has the form"):
        timing.parse(pd.Series(["noon"]), "f", time_format="%H:%M")


def test_a_broken_stamp_is_unknown_and_not_a_time():
    found = timing.parse(pd.Series(["2024-05-01T10:00:00Z", "2024-05-"]), "f")
    assert found.known.tolist() == [True, False]


def test_instants_of_a_manifest_need_a_zone():
    assert timing.instant_ns("2024-05-01T10:00:00Z", "f") == 1_714_557_600 * S
    assert timing.instant_ns(1.5, "f") == 1_500_000_000
    with pytest.raises(WattproofError, match="no time zone"):
        timing.instant_ns("2024-05-01 10:00:00", "f")
