"""Delimited texts as a manifest describes them, and manifests that are wrong."""

from __future__ import annotations

import pytest
import yaml
from audit_manifest import flags, load, one_log, stamps, values

from wattproof import ingest
from wattproof.errors import WattproofError

CHANNEL = {"column": "P", "channel": "node.ac", "source": "meter"}


def test_decimal_comma_sign_scale_and_status(tmp_path):
    data = one_log(
        tmp_path,
        "delimited",
        "# a plug\nt;P;state\n1714557600,5;-0,075;good\n1714557601,5;-0,080;good\n"
        "1714557602,5;-9,9;bad\n",
        comment="#",
        decimal_comma=True,
        time="t",
        time_format="epoch_s",
        channels=[{**CHANNEL, "unit": "kW", "sign": -1, "status": "state", "ok": "good"}],
    )
    assert values(data, "node.ac") == [75.0, 80.0, None]


def test_stamps_with_a_decimal_comma(tmp_path):
    data = one_log(
        tmp_path,
        "delimited",
        "t;P\n1714557600,5;75,5\n",
        decimal_comma=True,
        time="t",
        time_format="epoch_s",
        channels=[{**CHANNEL, "unit": "W"}],
    )
    assert stamps(data, "node.ac") == [1_714_557_600_500_000_000]


def test_logs_without_stamps_and_units(tmp_path):
    data = one_log(
        tmp_path,
        "delimited",
        "P\n75\n\n80\n",
        step_s=0.5,
        start="2024-05-01T10:00:00Z",
        channels=[{**CHANNEL, "zero_is_missing": True}],
    )
    t0 = 1_714_557_600_000_000_000
    assert stamps(data, "node.ac") == [t0 + 500_000_000, t0 + 10**9]
    assert "inferred_unit" in flags(data)


def test_a_unit_in_the_heading(tmp_path):
    data = one_log(
        tmp_path,
        "delimited",
        "t,E [kWh]\n1714557600,0.5\n1714557601,0.6\n",
        time="t",
        channels=[
            {"column": "E [kWh]", "channel": "node.energy", "source": "meter", "kind": "energy"}
        ],
    )
    assert values(data, "node.energy") == [1.8e6, 2.16e6]
    assert "inferred_unit" not in flags(data)


def test_rows_of_figures(tmp_path):
    data = one_log(
        tmp_path,
        "delimited",
        "net,lr,kwh,s,acc\na,0.1,0.01,100,0.9\nidle,,0.002,100,\n",
        rows="reported",
        reported={
            "network_key": ["net"],
            "duration": {"column": "s", "unit": "s"},
            "idle": {"column": "net", "equals": "idle"},
            "figures": [{"channel": "node.total", "energy": {"column": "kwh", "unit": "kWh"}}],
            "config": ["lr"],
            "metric": ["acc"],
        },
    )
    rows = data.reported.to_pylist()
    assert [(r["energy_j"], r["mean_w"], r["kind"]) for r in rows] == [
        (36_000.0, 360.0, "run"),
        (7_200.0, 72.0, "idle"),
    ]
    assert rows[0]["metric_acc"] == 0.9
    assert rows[1]["metric_acc"] is None


def test_two_logs_of_one_channel_stay_apart(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("t,P\n1714557600,75\n1714557601,75\n")
    entry = {
        "format": "delimited",
        "time": "t",
        "time_format": "epoch_s",
        "channels": [{**CHANNEL, "unit": "W"}],
    }
    data = load(
        tmp_path, [{**entry, "path": "a.csv"}, {**entry, "path": "b.csv", "clock": "other"}]
    )
    listed = {(r["source"], r["clock"]) for r in data.channels.to_pylist()}
    assert listed == {("meter", "host"), ("meter-2", "device")}
    other = [r for r in data.samples.to_pylist() if r["source"] == "meter-2"]
    assert all(r["device_ns"] == r["end_ns"] for r in other)


def test_windows_of_the_manifest(tmp_path):
    (tmp_path / "a.csv").write_text("t,P\n1714557600,75\n1714557601,75\n")
    data = load(
        tmp_path,
        [
            {
                "format": "delimited",
                "path": "a.csv",
                "time": "t",
                "channels": [{**CHANNEL, "unit": "W"}],
            }
        ],
        windows=[
            {"run_id": "a", "start": 1_714_557_600, "end": "2024-05-01T10:00:01Z"},
            {"run_id": "i", "level": "load", "kind": "idle", "start": 1, "end": 2},
        ],
    )
    rows = data.windows.to_pylist()
    assert [(r["run_id"], r["level"], r["setting"]) for r in rows] == [
        ("a", "run", "single"),
        ("i", "load", "calibration"),
    ]
    assert "no_marks" not in flags(data)


GOOD = {"audit": "a", "sets": {"s": {"logs": [{"format": "delimited", "path": "x.csv"}]}}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"audit": None}, "key 'audit' must be text"),
        ({"sets": {}}, "at least 1"),
        ({"setz": {}}, "unknown key 'setz'"),
        ({"sets": {"s": {"logs": [{"format": "delimited", "path": "y.csv"}]}}}, "does not exist"),
        ({"sets": {"s": {"logs": [{"format": "delimitd", "path": "x.csv"}]}}}, "Did you mean"),
        ({"sets": {"s": {"logs": [{"path": "x.csv"}]}}}, "'sets.s.logs.0.format' is missing"),
        (
            {"sets": {"s": {"logs": [{"format": "delimited", "path": "x.csv", "tme": "t"}]}}},
            "unknown key 'sets.s.logs",
        ),
    ],
)
def test_mistakes_in_a_manifest_are_one_sentence(tmp_path, change, words):
    (tmp_path / "x.csv").write_text("t,P\n1714557600,75\n")
    file = tmp_path / "m.yaml"
    file.write_text(yaml.safe_dump({**GOOD, **change}))
    with pytest.raises(WattproofError, match=words) as caught:
        ingest.load_set(ingest.read_manifest(file), "s")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_manifest(tmp_path):
    with pytest.raises(WattproofError, match="does not exist"):
        ingest.read_manifest(tmp_path / "none.yaml")
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"\x80\x81\xff")
    with pytest.raises(WattproofError, match="not a text file"):
        ingest.read_manifest(binary)
    other = tmp_path / "c.yaml"
    other.write_text("campaign: demo\n")
    with pytest.raises(WattproofError, match="no manifest"):
        ingest.read_manifest(other)
