"""Tables between rules: schema, provenance, exact nanoseconds, atomic files."""

import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.tables import files

META = tables.Meta("t", simulated=True, code_version="1", instruments={"meter": {"serial": "x"}})
SAMPLE = {
    "recording": "r",
    "session": 0,
    "source": "meter",
    "channel": "node.ac",
    "scheduled_ns": None,
    "start_ns": 1,
    "end_ns": 2,
    "wall_ns": 3,
    "device_ns": None,
    "value": 1.5,
    "status": "ok",
}


@given(st.lists(st.integers(min_value=1_700_000_000_000_000_000, max_value=2**63 - 1), min_size=1))
def test_nanoseconds_survive_with_nulls_beside_them(stamps: list[int]) -> None:
    """Float64 loses up to 128 ns at the epoch's size (surrogates.md section 14)."""
    rows = [{**SAMPLE, "device_ns": stamp, "wall_ns": stamp} for stamp in stamps]
    table = tables.conform([*rows, SAMPLE], "samples")
    assert table["device_ns"].to_pylist() == [*stamps, None]
    assert table["wall_ns"].to_pylist()[:-1] == stamps


def test_round_trip_keeps_types_nulls_and_provenance(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    stamp = 1_764_042_000_123_456_789
    tables.write([{**SAMPLE, "device_ns": stamp}, SAMPLE], "samples", path, META)
    frame = tables.read_frame(path, "samples")
    assert frame["device_ns"].tolist() == [stamp, pd.NA]
    assert frame["start_ns"].dtype == "int64"
    assert tables.read_meta(path) == META
    assert [p.name for p in tmp_path.iterdir()] == ["samples.parquet"]


def test_unknown_is_null_not_nan() -> None:
    table = tables.conform(pd.DataFrame([{**SAMPLE, "value": float("nan")}]), "samples")
    assert table["value"].null_count == 1


def test_same_rows_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tables.write([SAMPLE] * 50, "samples", tmp_path / name, META)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({**SAMPLE, "watts": 1.0}, "does not know the column"),
        ({k: v for k, v in SAMPLE.items() if k != "status"}, "lacks the column 'status'"),
        ({**SAMPLE, "status": None}, "'status' has 1 null"),
        ({**SAMPLE, "start_ns": "soon"}, "'start_ns'"),
    ],
)
def test_wrong_rows_are_refused(row: dict[str, object], words: str) -> None:
    with pytest.raises(WattproofError, match=words):
        tables.conform([row], "samples")


def test_open_columns_only_where_the_schema_says_so() -> None:
    row = dict.fromkeys(tables.schema("plan").names, "x")
    row |= {"position": 0, "seed": 0, "network_key": None, "config_depth": 3}
    assert tables.conform([row], "plan")["config_depth"].to_pylist() == [3]


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with pytest.raises(WattproofError, match="does not exist"):
        tables.read(path, "samples")
    path.write_bytes(b"no parquet")
    with pytest.raises(WattproofError, match="not a readable Parquet"):
        tables.read(path, "samples")
    pa.parquet.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(WattproofError, match="not written by wattproof"):
        tables.read(path, "samples")
    tables.write([SAMPLE], "samples", path, META)
    with pytest.raises(WattproofError, match="holds the table 'samples', not 'plan'"):
        tables.read(path, "plan")


def test_newer_schema_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    monkeypatch.setattr(files, "SCHEMA_VERSION", tables.SCHEMA_VERSION + 1)
    tables.write([SAMPLE], "samples", path, META)
    monkeypatch.undo()
    with pytest.raises(WattproofError, match="update wattproof"):
        tables.read(path, "samples")


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    tables.write([SAMPLE], "samples", path, META)
    before = path.read_bytes()

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(OSError, match="No space"):
        tables.write([SAMPLE] * 9, "samples", path, META)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]


def test_merged_provenance_is_simulated_if_any_part_is(tmp_path: Path) -> None:
    real = tables.Meta("t", simulated=False, host="n1")
    tables.write([SAMPLE], "samples", tmp_path / "a", real)
    tables.write([SAMPLE], "samples", tmp_path / "b", META)
    merged = tables.merge_meta([tmp_path / "a", tmp_path / "b"])
    assert merged.simulated
    assert merged.instruments == META.instruments
    assert merged.host == "n1"
