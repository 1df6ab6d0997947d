"""Cells and files that say something else than the manifest, or nothing that can be trusted."""

from __future__ import annotations

import gzip

import pytest
from audit_manifest import flags, load, one_log, values

from wattproof import ingest
from wattproof.errors import WattproofError
from wattproof.ingest.cells import unit_factor

CHANNEL = {"column": "P", "channel": "node.ac"}


def log(folder, cells, *, delimiter=",", **settings):
    lines = [f"t{delimiter}P"]
    lines += [f"{1714557600 + i}{delimiter}{cell}" for i, cell in enumerate(cells)]
    channel = {**CHANNEL, **settings.pop("channel", {})}
    return one_log(
        folder, "delimited", "\n".join(lines) + "\n", time="t", channels=[channel], **settings
    )


def test_units_that_change_within_a_column(tmp_path):
    data = log(tmp_path, ["900 W", "1.1 kW", "950 W", "3 J", "1 MW"])
    assert values(data, "node.ac") == [900.0, pytest.approx(1100.0), 950.0, None, None]


@pytest.mark.parametrize("cells", [["900 W"], ["900 W", "1.1 kW"]])
def test_a_unit_that_the_file_denies(tmp_path, cells):
    with pytest.raises(WattproofError, match=r"says 'kW' and the file 'W'"):
        log(tmp_path, cells, channel={"unit": "kW"})


@pytest.mark.parametrize("unit", ["MW", "MJ", "MWh"])
def test_mega_is_never_taken_for_milli(unit):
    with pytest.raises(WattproofError, match="mega"):
        unit_factor(unit, "a.csv, column 'P'")
    assert unit_factor("m" + unit[1:], "") == unit_factor(unit.lower(), "")


@pytest.mark.parametrize(("kind", "unit"), [("energy", "W"), ("power", "J"), ("power", "%")])
def test_a_unit_of_another_kind(tmp_path, kind, unit):
    with pytest.raises(WattproofError, match=f"is no unit of {kind}"):
        log(tmp_path, ["900"], channel={"unit": unit, "kind": kind})


def test_decimal_commas_that_nobody_declared(tmp_path):
    with pytest.raises(WattproofError, match="decimal_comma: true"):
        log(tmp_path, ["75,31", "76,31"], delimiter=";", channel={"unit": "W"})


def test_points_in_a_column_of_decimal_commas(tmp_path):
    data = log(
        tmp_path,
        ["1.234,5", "75,5", "1.234", "-12.345.678,25 W", "80"],
        delimiter=";",
        decimal_comma=True,
        channel={"unit": "W"},
    )
    assert values(data, "node.ac") == [1234.5, 75.5, None, -12345678.25, 80.0]


def test_lines_with_too_many_cells_are_counted(tmp_path):
    data = log(tmp_path, ["1", "2,3", "4", "5"], channel={"unit": "W"})
    assert values(data, "node.ac") == [1.0, 4.0, 5.0]
    (row,) = [r for r in data.findings.to_pylist() if r["flag"] == "broken_lines"]
    assert row["evidence"].startswith("1 of 5 lines")
    assert "broken_lines" not in flags(log(tmp_path, ["1", "2", "3"], channel={"unit": "W"}))


@pytest.mark.parametrize("damage", ["cut", "corrupt", "no gzip"])
def test_a_damaged_archive_is_one_sentence(tmp_path, damage):
    good = gzip.compress(b"t,P\n" + b"".join(b"%d,7%d\n" % (i, i % 7) for i in range(2000)))
    data = {
        "cut": good[:-20],
        "corrupt": good[:60] + b"\xff\xff\xff\xff" + good[64:],
        "no gzip": b"hello",
    }[damage]
    (tmp_path / "x.csv.gz").write_bytes(data)
    entry = {"format": "delimited", "path": "x.csv.gz", "time": "t", "channels": [CHANNEL]}
    with pytest.raises(WattproofError, match=r"x\.csv\.gz cannot be read"):
        load(tmp_path, [entry])


def test_columns_without_a_header_are_named_by_number(tmp_path):
    settings = {"rows": "reported", "header": False}
    figure = {"channel": "x", "power": {"column": "1", "unit": "W"}}
    data = one_log(
        tmp_path,
        "delimited",
        "a,75\nb,76\n",
        **settings,
        reported={"figures": [figure], "run_id": ["0"]},
    )
    assert [row["mean_w"] for row in data.reported.to_pylist()] == [75.0, 76.0]


def test_utf16_as_powershell_writes_it_is_recognised(tmp_path):
    path = tmp_path / "smi.csv"
    text = "timestamp, index, power.draw [W]\n2024/05/01 10:00:00.100, 0, 75.31 W\n" * 3
    path.write_text(text, encoding="utf-8")
    narrow = ingest.sniff(path)
    path.write_text(text, encoding="utf-16")
    assert ingest.sniff(path) == narrow
