"""The analysis benchmark: a sound recording, and both versions see the same energies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wattproof import tables

BENCH = Path(__file__).resolve().parents[2] / "benchmarks" / "analysis"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute or two of recording, measured."""
    folder = tmp_path_factory.mktemp("analysis")
    out = folder / "page.md"
    subprocess.run(
        [sys.executable, str(BENCH / "run.py"), "--sizes", "2e5", "4e5",
         "--folder", str(folder), "--out", str(out)],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


def test_the_page_has_a_row_for_each_size_with_pandas_beside_it(ran: Path) -> None:
    rows = json.loads((ran / "page.json").read_text())
    assert [round(row["samples"], -5) for row in rows] == [200_000, 400_000]
    for row in rows:
        assert row["ours"]["cpu_s"] > 0
        assert row["pandas"]["cpu_s"] > 0
        assert f"{row['samples']:,}" in (ran / "page.md").read_text()


def test_the_case_is_a_recording_without_a_flag_that_is_simulated(ran: Path) -> None:
    folder = ran / "4e+05"
    assert tables.read_meta(folder / "energy.parquet").simulated
    found = tables.read_frame(folder / "energy.parquet", "energy")
    found = found[found["level"].isin(["run", "epoch"])]
    assert len(found) > 300
    assert found["energy_j"].notna().all()
    assert set(np.concatenate(found["flags"].to_numpy())) <= {"counter_wrap"}
    counters = found[found["channel"].str.match(r"gpu\d\.energy") & (found["energy_j"] > 500)]
    assert (counters["counter_ratio"] - 1).abs().median() < 0.01


def test_counter_ring_and_plain_trapezoids_agree(ran: Path) -> None:
    folder = ran / "4e+05"
    energy = pd.read_parquet(folder / "energy.parquet").set_index(["window_id", "channel"])
    energy = energy[(energy["source"] == "nvml") & (energy["level"] == "epoch")]["energy_j"]
    plain = pd.read_parquet(folder / "pandas.parquet")
    plain = plain[plain["source"] == "nvml"].set_index(["window_id", "channel"])["result"]
    by_ring = energy.xs("gpu0.power_samples", level="channel")
    by_counter = energy.xs("gpu0.energy", level="channel")
    assert (by_ring / by_counter - 1).abs().max() < 0.005
    instant = energy.xs("gpu0.power_instant", level="channel")
    trapezoids = plain.xs("gpu0.power_instant", level="channel").loc[instant.index]
    assert (trapezoids / instant - 1).abs().max() < 0.03
