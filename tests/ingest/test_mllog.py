"""The parser of MLPerf logs: what others write, and what breaks on the way."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattproof.errors import WattproofError
from wattproof.ingest import mllog
from wattproof.ingest.mllog import Event, Malformed


@pytest.mark.parametrize(
    "text",
    [
        ':::MLLOG {"namespace": "", "time_ms": 1715341080337, "key": "power_reading", "value": 7}',
        ':::MLLOG {"namespace":"","time_ms":1715341080337,"key":"power_reading","value":7}',
        '3: :::MLLOG {"time_ms": 1715341080337, "key": "power_reading", "value": 7}\r',
        ':::MLLOG{"time_ms": 1715341080337, "key": "power_reading", "value": 7, "metadata": ""}',
    ],
)
def test_every_way_of_writing_a_line(text):
    event = mllog.parse_line(4, text)
    assert event == Event(4, 1_715_341_080_337_000_000, "power_reading", 7, {})


def test_metadata_is_kept():
    event = mllog.parse_line(1, ':::MLLOG {"time_ms": 1, "key": "k", "metadata": {"status": "ok"}}')
    assert event == Event(1, 1_000_000, "k", None, {"status": "ok"})


@pytest.mark.parametrize("text", ["", "+ echo hello", '{"time_ms": 1, "key": "k"}', ":::DLPAL x"])
def test_lines_of_other_programs_are_no_events(text):
    assert mllog.parse_line(1, text) is None


@pytest.mark.parametrize(
    ("text", "reason", "time_ns", "key"),
    [
        (':::MLLOG {"time_ms": 12, "key": "power_rea', "JSON", 12_000_000, None),
        (':::MLLOG {"time_ms":12,"key":"power_reading","va', "JSON", 12_000_000, "power_reading"),
        # A number cut off at the end of the line is not the number that was meant.
        (':::MLLOG {"key": "power_reading", "time_ms": 17153', "JSON", None, "power_reading"),
        (":::MLLOG", "JSON", None, None),
        (":::MLLOG [1, 2]", "object", None, None),
        (':::MLLOG {"key": "k"}', "time_ms", None, "k"),
        (':::MLLOG {"time_ms": "12", "key": "k"}', "time_ms", None, "k"),
        (':::MLLOG {"time_ms": 12.5, "key": "k"}', "time_ms", None, "k"),
        (':::MLLOG {"time_ms": true, "key": "k"}', "time_ms", None, "k"),
        (':::MLLOG {"time_ms": -12, "key": "k"}', "time_ms", None, "k"),
        (':::MLLOG {"time_ms": 99999999999999, "key": "k"}', "time_ms", None, "k"),
        (':::MLLOG {"time_ms": 12, "value": 3}', "no key", 12_000_000, None),
        (":::MLLOG " + "[" * 100_000, "JSON", None, None),
    ],
)
def test_malformed_lines_keep_what_can_be_read(text, reason, time_ns, key):
    found = mllog.parse_line(9, text)
    assert isinstance(found, Malformed)
    assert reason in found.reason
    assert (found.line, found.time_ns, found.key) == (9, time_ns, key)


@given(st.text())
def test_any_text_after_the_mark_is_an_event_or_malformed(text):
    assert isinstance(mllog.parse_line(1, ":::MLLOG " + text), Event | Malformed)


@given(
    st.integers(0, mllog.LAST_MS),
    st.text(min_size=1),
    st.one_of(st.none(), st.integers(), st.floats(allow_nan=False), st.text()),
    st.booleans(),
)
def test_what_json_writes_comes_back(time_ms, key, value, ascii_only):
    document = {"time_ms": time_ms, "key": key, "value": value}
    text = ":::MLLOG " + json.dumps(document, ensure_ascii=ascii_only)
    assert mllog.parse_line(1, text) == Event(1, time_ms * 1_000_000, key, value, {})


def test_a_file_accounts_for_every_line(tmp_path):
    path = tmp_path / "log.txt"
    good = ':::MLLOG {"time_ms": 5, "key": "run_start"}'
    path.write_bytes(f"+ echo\n\n{good}\n0: {good}\n:::MLLOG {{\n".encode() + b"\xff\xfe noise\n")
    log = mllog.read(path)
    assert [event.line for event in log.events] == [3, 4]
    assert [line.line for line in log.malformed] == [5]
    assert log.other_lines == 2
    assert log.times_ns("run_start") == [5_000_000, 5_000_000]
    assert log.times_ns("run_stop") == []


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", b"a,b\n1,2\n"])
def test_a_wrong_or_empty_file_is_refused(tmp_path, content):
    path = tmp_path / "log.txt"
    path.write_bytes(content)
    with pytest.raises(WattproofError, match=r"log\.txt is not an MLPerf log") as caught:
        mllog.read(path)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder_are_refused(tmp_path):
    with pytest.raises(WattproofError, match=r"absent\.txt cannot be read"):
        mllog.read(tmp_path / "absent.txt")
    with pytest.raises(WattproofError, match="cannot be read"):
        mllog.read(tmp_path)
