"""Clean recordings of the virtual node, all instruments, through the true pipeline: no alarm."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wattproof import clocks, energy, offline, quality, tables
from wattproof.quality import series

SETTINGS = {"min_samples": 5, "min_coverage": 0.8, "max_gap_s": 2.0}
SLOW_SMI = {"few_samples", "low_coverage", "sample_ratio_low", "no_samples", "gap"}
"""What a process for each sample truly causes: these are findings, not alarms."""


def findings(made: offline.Simulated) -> pd.DataFrame:
    samples, channels, marks, runs, health = (
        made.frame(name) for name in ("samples", "channels", "marks", "runs", "health")
    )
    found = clocks.align(samples, channels, marks, {})
    windows = energy.cut_windows(marks, runs)
    table = energy.integrate(samples, channels, found, windows, SETTINGS)
    table = quality.flag_windows(table, channels)
    samples["t_ns"] = clocks.to_recording_time(samples, channels, found)
    inspected = quality.inspect(samples, channels, marks, found, windows, health)
    rows = quality.survey(table, channels, tables.empty("reported"), [inspected])
    tables.conform(rows, "findings")
    return rows[rows["severity"] != "note"]


@pytest.mark.parametrize(
    ("preset", "seed"), [("paper", 0), *(("laptop", seed) for seed in (0, 6, 11, 22))]
)
def test_virtual_nodes_raise_no_alarm(preset: str, seed: int) -> None:
    found = findings(offline.simulate(preset, seed=seed))
    alarms = found[(found["source"] != "smi") | ~found["flag"].isin(SLOW_SMI)]
    assert alarms.empty, alarms[["flag", "source", "channel", "evidence"]].values


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("preset", ["paper", "laptop"])
def test_fifty_virtual_recordings_raise_no_alarm(preset: str) -> None:
    for seed in range(100, 150):
        test_virtual_nodes_raise_no_alarm(preset, seed)


def test_a_slow_smi_is_found() -> None:
    """The control of the control: on the same recordings the fault of nvidia-smi is told."""
    found = findings(offline.simulate("paper", seed=1))
    assert "sample_ratio_low" in set(found.loc[found["source"] == "smi", "flag"])


def test_a_board_held_at_its_limit_is_not_clipped() -> None:
    """A sensor without noise shows one highest value as long as a load is steady."""
    programme = [("sync", 6.0), ("idle", 6.0), ("gpu", 20.0), offline.Training(), ("sync", 6.0)]
    found = findings(offline.simulate("paper", programme=programme, seed=3))
    assert "clipped_values" not in set(found["flag"])


def test_a_rare_load_that_is_held_is_no_glitch() -> None:
    """20 s at three times the usual power, once in two hours."""
    n = 72_000
    value = np.random.default_rng(0).normal(900, 20, n)
    value[5000:5200] += 2200
    t = np.arange(n) * 10**8
    ok = np.full(n, "ok")
    about = {"averaging_s": 0.1}

    def names(values: np.ndarray) -> set[str]:
        made = series.Channel("r", "meter", "node.ac", "power", t, t, values, ok, about)
        return {row["flag"] for row in series.glitches(made)}

    assert names(value) == set()
    value[40_000:40_003] = 9000.0
    assert names(value) == {"glitch_values"}


def test_a_file_read_by_channel_says_what_a_frame_says(tmp_path: Path) -> None:
    """Rule inspect never holds all readings; clocks that are refused included."""
    made = offline.simulate("laptop", seed=3)
    samples, channels, marks, runs = (
        made.frame(name) for name in ("samples", "channels", "marks", "runs")
    )
    found = clocks.align(samples, channels, marks, {})
    found.loc[found["source"] == "meter", "accepted"] = False
    found["reason"] = "a test"
    nvml = (samples["channel"] == "gpu0.power_instant").to_numpy()
    samples.loc[nvml & (np.arange(len(samples)) % 7 == 0), "value"] = 0.0
    windows = energy.cut_windows(marks, runs)
    path = tmp_path / "samples.parquet"
    tables.write(samples, "samples", path, tables.Meta("test", simulated=True))
    rest = (channels, marks, found, windows)
    streamed = quality.inspect(tables.SampleStore.open(path), *rest)
    samples["t_ns"] = clocks.to_recording_time(samples, channels, found)
    whole = quality.inspect(samples, *rest)
    assert {"clock_not_proven", "zero_means_missing"} <= set(streamed["flag"])
    order = ["flag", "source", "channel"]
    pd.testing.assert_frame_equal(
        streamed.sort_values(order, ignore_index=True),
        whole.sort_values(order, ignore_index=True),
    )


def test_the_page_about_flags(capsys: pytest.CaptureFixture[str]) -> None:
    """Its example runs, and it names only flags that exist."""
    page = (Path(__file__).parents[2] / "docs" / "quality.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert example is not None
    exec(compile(example.group(1), "docs/quality.md", "exec"), {})
    assert "sample_ratio_low" in capsys.readouterr().out
    table = page.partition("## Flags")[2].partition("A check that")[0]
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", table))
    assert len(named) > 30
    assert named <= set(quality.FLAGS)
