"""Samples one channel at a time: the same rows from any file or frame."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from wattproof import offline, tables
from wattproof.errors import WattproofError
from wattproof.tables.bychannel import KEY

META = tables.Meta("test", simulated=True)


@pytest.fixture(scope="module")
def samples():
    sources = {"nvml": {"ring": True}, "rapl": {}, "host": {}, "meter": offline.METER}
    return offline.simulate("laptop", [("sync", 3.0)], sources).tables["samples"]


@pytest.fixture(scope="module")
def stores(samples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    tables.write(samples, "samples", folder / "new.parquet", META)
    by_time = samples.take(np.argsort(samples["end_ns"].to_numpy(), kind="stable"))
    # An older wattproof wrote the rows as they came, in groups of any size.
    written = pq.read_schema(folder / "new.parquet").metadata
    pq.write_table(
        by_time.replace_schema_metadata(written), folder / "old.parquet", row_group_size=1000
    )
    # Several groups for each channel, as of a writer that streams.
    in_order = tables.read(folder / "new.parquet", "samples")
    with pq.ParquetWriter(folder / "streamed.parquet", in_order.schema) as writer:
        for group in range(pq.ParquetFile(folder / "new.parquet").num_row_groups):
            part = pq.ParquetFile(folder / "new.parquet").read_row_group(group)
            writer.write_table(part, row_group_size=7)
    return {
        "new": tables.SampleStore.open(folder / "new.parquet"),
        "old": tables.SampleStore.open(folder / "old.parquet"),
        "streamed": tables.SampleStore.open(folder / "streamed.parquet"),
        "table": tables.SampleStore.of(by_time),
        "frame": tables.SampleStore.of(tables.read_frame(folder / "old.parquet", "samples")),
        "whole": tables.read_frame(folder / "new.parquet", "samples"),
    }


@pytest.mark.parametrize("kind", ["new", "old", "streamed", "table", "frame"])
def test_a_channel_has_the_same_rows_wherever_they_come_from(stores, kind):
    whole, store = stores["whole"], stores[kind]
    expected = {key: part for key, part in whole.groupby(list(KEY), sort=False)}
    assert set(store.keys()) == set(expected)
    assert len(store.keys()) == len(expected) > 5
    for key, part in expected.items():
        found = store.frame(key)
        pd.testing.assert_frame_equal(
            found.reset_index(drop=True), part.reset_index(drop=True), check_dtype=kind != "frame"
        )
        assert store.count(key) == len(part)
        assert key in store
        some = store.frame(key, ["end_ns", "value"])
        assert list(some.columns) == ["end_ns", "value"]
        np.testing.assert_array_equal(some["end_ns"], part["end_ns"])


@pytest.mark.parametrize("kind", ["new", "old", "streamed", "table", "frame"])
def test_what_is_not_there_is_empty(stores, kind):
    store, missing = stores[kind], ("nowhere", 0, "nvml", "gpu9.energy")
    assert missing not in store
    assert store.count(missing) == 0
    assert len(store.frame(missing)) == 0
    assert "value" in store.frame(missing, ["value"])


def test_statistics_answer_without_reading_and_never_guess(stores):
    whole = stores["whole"]
    told = 0
    for key, part in whole.groupby(list(KEY), sort=False):
        for name in ("new", "streamed"):
            for column in ("scheduled_ns", "device_ns", "value"):
                assert stores[name].nulls(key, column) == part[column].isna().sum()
            status = stores[name].constant(key, "status")
            assert status == (part["status"].iloc[0] if part["status"].nunique() == 1 else None)
            told += status is not None
        assert stores["old"].constant(key, "status") is None
        assert stores["old"].nulls(key, "value") is None
    assert told > 5


def test_long_texts_prove_nothing_by_their_statistics(samples, tmp_path):
    word = "x" * 5000
    frame = samples.to_pandas().head(4)
    frame["status"] = [word + "a", word + "a", word + "b", word + "a"]
    frame["channel"], frame["source"] = "c", "s"
    tables.write(frame, "samples", tmp_path / "long.parquet", META)
    store = tables.SampleStore.open(tmp_path / "long.parquet")
    (key,) = store.keys()
    assert store.constant(key, "status") is None
    assert store.frame(key)["status"].nunique() == 2


def test_an_empty_file_and_a_wrong_one(samples, tmp_path):
    tables.write(samples.slice(0, 0), "samples", tmp_path / "none.parquet", META)
    assert tables.SampleStore.open(tmp_path / "none.parquet").keys() == []
    assert tables.SampleStore.of(samples.slice(0, 0).to_pandas()).keys() == []
    tables.write(tables.empty("marks"), "marks", tmp_path / "marks.parquet", META)
    with pytest.raises(WattproofError, match="holds the table 'marks'"):
        tables.SampleStore.open(tmp_path / "marks.parquet")
    with pytest.raises(WattproofError, match="does not exist"):
        tables.SampleStore.open(tmp_path / "nowhere.parquet")
