"""Samples channel by channel, from a file, give what a frame in memory gives, to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wattproof import clocks, energy, tables, usage
from wattproof.offline import Simulated, simulate


@pytest.fixture(scope="module")
def made() -> Simulated:
    return simulate("paper", seed=2)


@pytest.mark.parametrize("spoilt", [False, True], ids=["as recorded", "failed reads, out of order"])
def test_a_file_and_a_frame_give_the_same_bits(
    made: Simulated, tmp_path: Path, spoilt: bool
) -> None:
    read, listed, marks, runs = (
        made.frame(name) for name in ("samples", "channels", "marks", "runs")
    )
    if spoilt:
        rng = np.random.default_rng(0)
        read = read.iloc[rng.permutation(len(read))].reset_index(drop=True)
        failed = rng.random(len(read)) < 0.02
        read["value"] = read["value"].mask(failed)
        read["status"] = read["status"].mask(failed, "error: test")
    found = clocks.align(read, listed, marks, {})
    cut = energy.cut_windows(marks, runs)
    tables.write(read, "samples", tmp_path / "samples.parquet", tables.Meta("test", True))
    store = tables.SampleStore.open(tmp_path / "samples.parquet")
    by_frame, by_store = (energy.integrate(x, listed, found, cut, {}) for x in (read, store))
    pd.testing.assert_frame_equal(by_frame, by_store, check_exact=True)
    assert by_store["energy_j"].notna().mean() > 0.5
    placed = read.assign(t_ns=clocks.to_recording_time(read, listed, found))
    pd.testing.assert_frame_equal(
        usage.utilisation_by_window(placed, listed, cut),
        usage.utilisation_by_window(store, listed, cut, found),
        check_exact=True,
    )
