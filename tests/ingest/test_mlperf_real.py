"""Published MLPerf Training v4.0 energies from the raw logs of 8x H100."""

import os
from pathlib import Path

import numpy as np
import pytest

from wattproof import tables
from wattproof.ingest import mlperf_folder, mlperf_training, published, rules

pytestmark = pytest.mark.data

REPOSITORY = Path(__file__).resolve().parents[2]
BENCHMARKS = ("bert", "dlrm_dcnv2", "resnet")


@pytest.fixture(scope="module")
def root():
    base = os.environ.get("WATTPROOF_REAL_DATA")
    folder = Path(base) if base else REPOSITORY.parent / "shared" / "data"
    folder = folder / "mlperf_training"
    if not folder.is_dir():
        pytest.skip(f"the real recordings are not in {folder}; set WATTPROOF_REAL_DATA")
    return folder


@pytest.fixture(scope="module")
def compared(root):
    frame = published.compare(root)
    assert frame.attrs["refused"] == []
    return frame.set_index(["benchmark", "channel"])


# Figures of the results table of MLCommons, in kJ, and of the data's README for dlrm_dcnv2.
@pytest.mark.parametrize(
    ("benchmark", "channel", "kj", "runs"),
    [
        ("bert", "node.ac", 1843.07, 8),
        ("bert", "node.dc", 1793.34, 8),
        ("resnet", "node.ac", 5671.89, 3),
        ("resnet", "node.dc", 5520.38, 3),
        ("dlrm_dcnv2", "node.ac", 1288.95, 3),
        ("dlrm_dcnv2", "node.dc", 1245.25, 3),
    ],
)
def test_energies_to_a_hundredth_of_a_percent(compared, benchmark, channel, kj, runs):
    row = compared.loc[(benchmark, channel)]
    assert row["recomputed_j"] == pytest.approx(1000 * kj, rel=1e-4)
    assert row["runs"] == runs
    if benchmark != "dlrm_dcnv2":
        assert abs(row["relative_difference"]) < 1e-4


def test_the_factor_that_was_not_filed_is_shown(compared):
    # Published 1309.82 and 1265.89 kJ against 1288.95 and 1245.25 kJ.
    for channel, kj in (("node.ac", 1309.82), ("node.dc", 1265.89)):
        row = compared.loc[("dlrm_dcnv2", channel)]
        assert row["published_j"] == pytest.approx(1000 * kj)
        assert row["published_j"] / row["recomputed_j"] == pytest.approx(1.0162, abs=5e-4)
        assert row["relative_difference"] == pytest.approx(0.016, abs=5e-4)


def test_the_official_rule_averages_idle_time_in(compared):
    ratio = compared["integrated_j"] / compared["recomputed_j"]
    assert ratio["bert"].between(1.19, 1.22).all()
    assert ratio["resnet"].between(0.998, 1.0).all()


@pytest.mark.parametrize(
    ("benchmark", "ratio"), [("bert", 0.978), ("dlrm_dcnv2", 0.973), ("resnet", 0.971)]
)
def test_dc_over_ac_inside_the_run_windows(root, benchmark, ratio):
    ratios = []
    for run in mlperf_folder.read(root).runs:
        if run.benchmark == benchmark:
            dc, ac = (
                rules.trapezoid_j(
                    *run.logs[channel].good(),
                    run.start_ns,
                    run.stop_ns,
                    max_edge_ns=published.MAX_EDGE_NS,
                )
                for channel in ("dc", "ac")
            )
            ratios.append(dc / ac)
    assert np.median(ratios) == pytest.approx(ratio, abs=5e-4)


def test_tables(root):
    data = mlperf_training.ingest(root)
    runs = data.runs.to_pandas()
    assert runs["recording"].str.split("-").str[0].value_counts().to_dict() == {
        "bert": 10,
        "dlrm_dcnv2": 5,
        "resnet": 5,
    }
    assert data.channels.num_rows == 40
    assert set(data.samples["status"].to_pylist()) == {"ok"}
    lines = sum(
        (root / b / c / r.split("-", 1)[1] / f"node_{1 if b == 'resnet' else 0}.txt")
        .read_text()
        .count("power_reading")
        for r, b in zip(runs["recording"], runs["recording"].str.split("-").str[0], strict=True)
        for c in ("ac", "dc")
    )
    assert data.samples.num_rows == lines
    assert all(1.9 < period < 2.1 for period in data.channels["period_s"].to_pylist())
    # Five dlrm folders of each register repeat runs under another name.
    assert [note.split(":")[0] for note in data.notes] == ["dlrm_dcnv2/ac", "dlrm_dcnv2/dc"]
    for name in ("samples", "channels", "marks", "runs", "windows"):
        assert tables.conform(data.tables()[name], name).num_rows
