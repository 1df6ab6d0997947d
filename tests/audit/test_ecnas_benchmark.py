"""EC-NAS-Bench, 1,092 measured trainings: the audit ends with a benchmark, and how good it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_audit_data import ROOT

import wattproof
from wattproof import tables

MANIFEST = Path(__file__).resolve().parents[2] / "docs" / "audits" / "ecnas.yaml"

pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(
        not (ROOT / "ecnas_4v").is_dir() and not os.environ.get("WATTPROOF_REQUIRE_REAL_DATA"),
        reason=f"{ROOT / 'ecnas_4v'} is absent (set WATTPROOF_REAL_DATA)",
    ),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Outputs of ``wattproof audit docs/audits/ecnas.yaml``, as it stands there."""
    folder = tmp_path_factory.mktemp("ecnas")
    text = MANIFEST.read_text().replace("../../../shared/data", str(ROOT))
    (folder / MANIFEST.name).write_text(text)
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from wattproof.cli import main; main()"),
            *("audit", str(folder / MANIFEST.name)),
        ],
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=1400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "The benchmark is in" in done.stdout
    return folder / "results" / "ecnas"


@pytest.fixture(scope="module")
def budgets(results: Path):
    frame = tables.read_frame(results / "tables" / "budgets.parquet", "budgets")
    return frame.set_index(["target", "epochs"])


@pytest.mark.parametrize("epochs", [4, 12, 36, 108])
@pytest.mark.parametrize("target", ["energy_j", "gpu_energy_j"])
def test_energies_of_unseen_networks(budgets, target: str, epochs: int) -> None:
    row = budgets.loc[(target, epochs)]
    assert (row["networks"], row["runs"]) == (91, 273)
    assert row["kendall_tau"] >= 0.90
    assert row["mape"] <= 2 * row["noise"]
    assert row["coverage"] == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize("epochs", [4, 12, 36, 108])
def test_times_of_unseen_networks(budgets, epochs: int) -> None:
    row = budgets.loc[("time_s", epochs)]
    assert row["kendall_tau"] >= 0.90
    assert row["mape"] <= 2 * row["noise"]
    assert row["coverage"] == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize("epochs", [4, 12, 36, 108])
def test_accuracies_are_scored_with_their_intervals(budgets, epochs: int) -> None:
    """What the noise of four epochs leaves: no ranking there, but intervals that say so."""
    for target in ("accuracy", "test_accuracy"):
        row = budgets.loc[(target, epochs)]
        assert row["coverage"] == pytest.approx(0.9, abs=0.04)
        assert 0 < row["width"] < 1
        if epochs == 108:
            assert row["kendall_tau"] > 0.6
            assert row["mae"] < 0.015
            assert row["width"] < 0.08


def test_noise_is_that_of_the_file(budgets) -> None:
    """Median coefficient of variation of three repeats, counted from the file itself."""
    import pandas as pd

    file = pd.read_csv(ROOT / "ecnas_4v" / "energy_4v9e.csv.gz")
    for target, column in (
        ("energy_j", "total_energy_kwh"),
        ("gpu_energy_j", "gpu_energy_j"),
        ("time_s", "total_time_s"),
    ):
        cells = file.groupby(["epochs", "arch_hash"])[column]
        noise = (cells.std() / cells.mean()).groupby("epochs").median()
        for epochs, value in noise.items():
            assert budgets.loc[(target, epochs), "noise"] == pytest.approx(value, rel=1e-9)


def test_the_audit_notices_the_factor_and_the_card_repeats_it(results: Path) -> None:
    findings = tables.read_frame(results / "tables" / "findings.parquet", "findings")
    row = findings[findings["flag"] == "constant_factor"].iloc[0]
    assert row["value"] == pytest.approx(1.59, abs=0.01)
    assert "1.59 (Uptime Institute 2020, Carbontracker)" in row["evidence"]
    assert {"device_names_differ", "energy_before_epochs"} <= set(findings["flag"])
    bench = wattproof.load(results / "benchmark")
    for row in findings[findings["severity"] != "note"].itertuples():
        assert row.evidence in bench.card
    assert "reported by carbontracker" in bench.card
    page = (results / "report.html").read_text(encoding="utf-8")
    assert 'id="budgets"' in page


def test_it_is_queried_like_any_other(results: Path) -> None:
    bench = wattproof.load(results / "benchmark")
    assert bench.licence == "MIT"
    assert not bench.simulated
    assert bench.energies == ("node", "gpu")
    run = bench.dataset.iloc[0]
    config = {
        name.removeprefix("config_"): value
        for name, value in run.items()
        if str(name).startswith("config_")
    }
    answer = bench.query(config)
    assert answer.network_key == run["network_key"]
    assert answer.in_domain
    assert answer.energy_j.value == pytest.approx(run["node_energy_j"], rel=0.1)
    assert answer.time_s.value == pytest.approx(run["time_s"], rel=0.1)
    assert np.isnan(bench.query(config, epoch=1).accuracy.value)
    assert len(bench.measured()) == 364
    assert wattproof.load(results / "ecnas.wattproof.zip").query(config) == answer
