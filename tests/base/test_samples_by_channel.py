"""Samples stand by channel in their file: one row group each, rows in their order."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from wattproof import offline, tables
from wattproof.tables.bychannel import KEY, by_channel, stretches

META = tables.Meta("test", simulated=True)


@pytest.fixture(scope="module")
def samples():
    sources = {"nvml": {}, "rapl": {}, "host": {}}
    return offline.simulate("laptop", [("sync", 3.0)], sources).tables["samples"]


def test_any_order_of_channels_becomes_the_same_file(samples, tmp_path):
    tables.write(samples, "samples", tmp_path / "a.parquet", META)
    # As a recorder interleaves them: by time.
    order = np.argsort(samples["end_ns"].to_numpy(), kind="stable")
    shuffled = samples.take(order)
    tables.write(shuffled, "samples", tmp_path / "b.parquet", META)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    again = tables.read(tmp_path / "b.parquet", "samples")
    assert again.num_rows == samples.num_rows
    assert again.equals(by_channel(samples))
    assert not again.equals(shuffled)


def test_a_row_group_is_a_channel(samples, tmp_path):
    tables.write(samples, "samples", tmp_path / "a.parquet", META)
    file = pq.ParquetFile(tmp_path / "a.parquet")
    groups = [file.read_row_group(i) for i in range(file.num_row_groups)]
    keys = [tuple(group.column(name).unique().to_pylist() for name in KEY) for group in groups]
    assert all(len(values) == 1 for key in keys for values in key)
    assert len(set(map(str, keys))) == len(groups) == len(samples["channel"].unique())
    assert keys == sorted(keys)


def test_rows_of_a_channel_keep_their_order(samples):
    for stretch in stretches(by_channel(samples)):
        assert (np.diff(stretch["end_ns"].to_numpy()) >= 0).all()


def test_no_samples_are_a_file_too(tmp_path):
    nothing = tables.empty("samples")
    tables.write(nothing, "samples", tmp_path / "a.parquet", META)
    assert tables.read(tmp_path / "a.parquet", "samples").num_rows == 0
