"""Time stamps and windows that are wrong, odd or contradictory: read right, reported or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from audit_manifest import flags, load, one_log, stamps, values

from wattproof import ingest
from wattproof.errors import WattproofError
from wattproof.ingest import timing

S = 10**9
T = 1_714_557_600
CHANNEL = {"column": "P", "channel": "node.ac", "unit": "W"}


def _read(folder: Path, *rows: str, **settings: Any) -> ingest.Ingested:
    content = "\n".join(("t,P", *rows)) + "\n"
    return one_log(folder, "delimited", content, time="t", channels=[CHANNEL], **settings)


def _epoch_ns(text: str) -> int:
    return int(pd.Timestamp(text).value)


@pytest.mark.parametrize("odd", ["0", "-1", "1e30", "99999999999999999999", "nan", "12.5"])
@pytest.mark.parametrize("form", [None, "epoch_s"])
def test_a_stamp_of_no_clock_is_left_out_and_reported(tmp_path, odd, form):
    data = _read(tmp_path, f"{T},1", f"{odd},2", f"{T + 1},3", f"{T + 2},4", time_format=form)
    assert values(data, "node.ac") == [1.0, 3.0, 4.0]
    assert "broken_stamps" in flags(data)


def test_dates_of_a_clock_that_was_not_set_are_left_out_and_reported(tmp_path):
    data = _read(tmp_path, "1970-01-01T00:00:07Z,1", "2024-05-01T10:00:00Z,2")
    assert values(data, "node.ac") == [2.0]
    assert "broken_stamps" in flags(data)


def test_stamps_of_a_clock_of_its_own_stay(tmp_path):
    data = _read(tmp_path, "-5.25,1", "-0.25,2", "0,3", "1.5,4", time_format="epoch_s")
    assert stamps(data, "node.ac") == [-5_250_000_000, -250_000_000, 0, 1_500_000_000]


def test_one_broken_stamp_costs_the_others_no_precision():
    found = timing.parse(pd.Series(["1714557600123456789", "", "1714557600123456790"]), "f")
    assert found.t_ns[[0, 2]].tolist() == [1714557600123456789, 1714557600123456790]
    assert found.known.tolist() == [True, False, True]


def test_years_of_two_digits_are_refused_or_told(tmp_path):
    with pytest.raises(WattproofError, match="no year of four digits; say what they are"):
        _read(tmp_path, "13/05/24 10:00:00,1", "14/05/24 10:00:00,2", time_zone="UTC")
    told = _read(tmp_path, "13/05/24 10:00:00,1", time_zone="UTC", time_format="%d/%m/%y %H:%M:%S")
    assert stamps(told, "node.ac") == [_epoch_ns("2024-05-13 10:00")]


@pytest.mark.parametrize("form", [None, "%Y-%m-%d %H:%M:%S"])
def test_the_end_of_summer_time_is_reported(tmp_path, form):
    rows = ["2024-10-27 02:30:00,1", "2024-10-27 02:00:00,2", "2024-10-27 03:00:00,3"]
    data = _read(tmp_path, *rows, time_zone="Europe/Berlin", time_format=form)
    assert stamps(data, "node.ac") == [
        _epoch_ns(f"2024-10-27 {clock}") for clock in ("00:30", "01:00", "02:00")
    ]
    found = [row for row in data.findings.to_pylist() if row["flag"] == "summer_time"]
    assert [row["severity"] for row in found] == ["warning"]
    assert "2 local stamps" in found[0]["evidence"]


def test_stamps_in_the_hour_left_out_in_spring_are_reported(tmp_path):
    rows = ["2024-03-31 01:59:00,1", "2024-03-31 02:10:00,2", "2024-03-31 02:20:00,3"]
    data = _read(tmp_path, *rows, time_zone="Europe/Berlin")
    assert stamps(data, "node.ac") == [
        _epoch_ns(f"2024-03-31 {clock}") for clock in ("00:59", "01:10", "01:20")
    ]
    assert "summer_time" in flags(data)


def test_a_step_back_of_an_hour_in_an_unknown_zone_is_reported(tmp_path):
    rows = ["2024-10-27 02:59:00,1", "2024-10-27 02:00:00,2", "2024-10-27 02:01:00,3"]
    assert {"summer_time", "inferred_time_zone"} <= flags(_read(tmp_path, *rows))
    assert "summer_time" not in flags(_read(tmp_path, *rows, time_zone="UTC"))


def test_no_summer_time_is_reported_where_none_changes(tmp_path):
    data = _read(tmp_path, "2024-05-01 02:30:00,1", time_zone="Europe/Berlin")
    assert "summer_time" not in flags(data)


@pytest.mark.parametrize("t", ["1714557600.000000123", "1714557600.123456789", "1714557600.1"])
def test_the_window_of_a_log_without_marks_holds_each_reading(tmp_path, t):
    data = _read(tmp_path, f"{t},1", f"{T + 5}.000000001,2")
    [window] = data.windows.to_pylist()
    first, last = stamps(data, "node.ac")
    assert window["start_ns"] == first
    assert last < window["end_ns"] <= last + 1000


def _windows(folder: Path, *windows: dict[str, Any], **more: Any) -> ingest.Ingested:
    (folder / "log.csv").write_text(f"t,P\n{T},1\n{T + 1},2\n{T + 2},3\n")
    log = {"format": "delimited", "path": "log.csv", "time": "t", "channels": [CHANNEL]}
    return load(folder, [log], windows=list(windows), **more)


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan"), 1e30, 10**30, True])
@pytest.mark.parametrize("edge", ["start", "end"])
def test_bounds_that_are_no_instant_are_one_sentence(tmp_path, bad, edge):
    window = {"run_id": "a", "start": T, "end": T + 1, edge: bad}
    with pytest.raises(WattproofError, match=rf"windows\[0\]\.{edge}.*(write|give)"):
        _windows(tmp_path, window)


def test_bounds_in_seconds_are_exact():
    assert timing.instant_ns(1714557600.123457, "f") == 1714557600123457000


def test_doubled_windows_are_refused(tmp_path):
    window = {"run_id": "a", "start": T, "end": T + 1}
    with pytest.raises(WattproofError, match=r"windows\[1\] is the second one with run_id 'a'"):
        _windows(tmp_path, window, window)
    data = _windows(tmp_path, window, {**window, "level": "epoch", "epoch": 0})
    assert data.windows.num_rows == 2


@pytest.mark.parametrize(("start", "end"), [(1, 2), (T - 9, T), (T + 3, T + 9)])
def test_windows_outside_the_log_are_reported(tmp_path, start, end):
    data = _windows(tmp_path, {"run_id": "a", "start": start, "end": end})
    [found] = [row for row in data.findings.to_pylist() if row["flag"] == "no_samples"]
    assert found["severity"] == "error"
    assert "'a'), " in found["evidence"]
    assert "wholly outside the log, 2024-05-01T10:00:00Z to" in found["evidence"]


def test_windows_that_see_some_of_the_log_are_not_reported(tmp_path):
    data = _windows(tmp_path, {"run_id": "a", "start": T - 9, "end": T + 1})
    assert "no_samples" not in flags(data)


def test_a_reference_that_no_log_has_is_refused(tmp_path):
    window = {"run_id": "a", "start": T, "end": T + 1}
    assert _windows(tmp_path, window, reference={"channel": "node.ac"}).windows.num_rows == 1
    for wrong in ({"channel": "node.dc"}, {"source": "meter", "channel": "node.ac"}):
        with pytest.raises(WattproofError, match="which no log of the set has"):
            _windows(tmp_path, window, reference=wrong)


@pytest.mark.parametrize(
    "text", ["audit: a\naudit: b\n", "audit: a\nsets:\n  s: {logs: []}\n  s: {logs: []}\n"]
)
def test_keys_that_stand_twice_are_refused(tmp_path, text):
    file = tmp_path / "m.yaml"
    file.write_text(text)
    with pytest.raises(WattproofError, match="stands twice in one group"):
        ingest.read_manifest(file)
