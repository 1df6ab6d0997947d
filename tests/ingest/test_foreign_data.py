"""Every folder of ../shared/data through the manifests of docs/audits."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from wattproof import clocks, ingest, quality

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = sorted((ROOT / "docs" / "audits").glob("*.yaml"))
DATA = Path(os.environ.get("WATTPROOF_REAL_DATA", ROOT.parent / "shared" / "data"))

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not DATA.is_dir() and not os.environ.get("WATTPROOF_REQUIRE_REAL_DATA"),
        reason=f"{DATA} is absent",
    ),
]


@pytest.fixture(params=MANIFESTS, ids=lambda path: path.stem)
def manifest(request):
    return ingest.read_manifest(request.param)


def test_every_set_can_be_read(manifest):
    for name in manifest.sets:
        data = ingest.load_set(manifest, name)
        assert data.samples.num_rows or data.reported.num_rows
        for row in data.findings.to_pylist():
            assert row["severity"] == quality.FLAGS[row["flag"]].severity, row["flag"]
        lost = [
            row["evidence"]
            for row in data.findings.to_pylist()
            if row["flag"] == "published_not_reproduced"
        ]
        # The factor of dlrm was never filed; every other published figure comes out.
        assert all(sentence.startswith("dlrm_dcnv2") for sentence in lost)


def of(name):
    manifest = ingest.read_manifest(ROOT / "docs" / "audits" / f"{name}.yaml")
    return {key: ingest.load_set(manifest, key) for key in manifest.sets}


PUBLISHED = {
    "a100x8-bert-offline": ("2.0-081", "BERT-99.0", "Offline"),
    "a100x8-resnet50-server": ("2.0-081", "ResNet", "Server"),
    "a100x4-bert-offline": ("2.0-078", "BERT-99.0", "Offline"),
}
"""Set of the manifest → Public ID, model and scenario in published.csv."""


@pytest.fixture
def published_w():
    with (DATA / "mlperf_inference" / "published.csv").open(encoding="utf-8-sig") as handle:
        rows = [r for r in csv.DictReader(handle) if r["Units"] == "System Power (W)"]
    return {(r["Public ID"], r["Model MLC"], r["Scenario"]): float(r["Result"]) for r in rows}


def test_published_powers_of_mlperf_inference_to_a_microwatt(published_w):
    manifest = ingest.read_manifest(ROOT / "docs" / "audits" / "mlperf_inference.yaml")
    assert set(manifest.sets) == set(PUBLISHED)
    for name, key in PUBLISHED.items():
        data = ingest.load_set(manifest, name)
        row = ingest.published_table(manifest, name, data).to_pylist()[0]
        assert row["published_w"] == pytest.approx(published_w[key], abs=0.0005)
        assert row["recomputed_w"] == pytest.approx(published_w[key], abs=1e-6)
        found = data.findings.to_pylist()
        assert {"published_reproduced", "inferred_time_zone"} <= {r["flag"] for r in found}
        # Both machines logged UTC although their JSON says 28800 s.
        assert [r["value"] for r in found if r["flag"] == "inferred_time_zone"] == [0, 0]
        clock = clocks.align(data.samples, data.channels, data.marks, {}, data.exchanges).iloc[0]
        assert clock["accepted"]
        assert clock["method"] == "exchanged_epochs"
        assert abs(clock["offset_ns"]) < 0.1e9


def test_windows_of_the_tiny_trace_to_two_hundredths_of_a_percent():
    manifest = ingest.read_manifest(ROOT / "docs" / "audits" / "tiny_energy.yaml")
    data = ingest.load_set(manifest, "trace1")
    rows = ingest.published_table(manifest, "trace1", data).to_pylist()
    assert [row["benchmark"] for row in rows] == [f"window-{n}" for n in (2, 4, 6, 8, 10)]
    assert all(abs(row["relative_difference"]) <= 2e-4 for row in rows)
    assert data.windows.num_rows == 5


def test_what_the_mlperf_training_set_shows():
    manifest = ingest.read_manifest(ROOT / "docs" / "audits" / "mlperf_training.yaml")
    found = ingest.load_set(manifest, "v4.0").findings.to_pylist()
    by = {(r["flag"], r["evidence"].split(",")[0].split(":")[0], r["channel"]): r for r in found}
    for benchmark in ("bert", "resnet"):
        for channel in ("node.ac", "node.dc"):
            assert abs(by["published_reproduced", benchmark, channel]["value"]) <= 0.01
    idle = by["idle_in_published_figure", "bert", "node.ac"]
    assert idle["value"] == pytest.approx(20.4, abs=0.1)
    assert "idle time" in idle["evidence"]
    assert ("idle_in_published_figure", "resnet", "node.ac") not in by
    factor = by["published_not_reproduced", "dlrm_dcnv2", "node.ac"]
    assert "1.0162" in factor["evidence"]
    scatter = by["samples_scatter", "bert", ""]
    assert "0.977 ± 0.004" in scatter["evidence"]
    assert scatter["value"] == pytest.approx(6.4, abs=0.1)


def test_kernels_of_powersensor_stand_out_of_idle():
    data = of("powersensor3")["ad4000"]
    windows = data.windows.to_pylist()
    assert len(windows) == 4
    frame = data.samples.to_pandas()
    instant = frame[frame["channel"] == "gpu0.power_instant"]
    for window in windows:
        inside = instant["end_ns"].between(window["start_ns"], window["end_ns"])
        assert instant["value"][inside].median() > 3 * instant["value"].min()


def test_runs_of_code_carbon_are_counted_once():
    path = DATA / "codecarbon_cpu_load" / "emissions_example.csv"
    reader = ingest.reader("codecarbon")
    settings = {key: part["default"] for key, part in reader.SETTINGS["properties"].items()}
    log = ingest.Log("s", path, path.name, settings, "log", main=True)
    data = reader.read(log)
    rows = [r for r in data.reported.to_pylist() if r["channel"] == "node.total"]
    runs = [r for r in rows if r["level"] == "run"]
    assert len(runs) == len({r["run_id"] for r in runs}) == 21
    flushed = [r for r in rows if r["run_id"].startswith("8a1d9822")]
    assert [r["level"] for r in flushed] == ["interval"] * 6 + ["run"]
    total = next(r for r in flushed if r["level"] == "run")
    parts = [r for r in flushed if r["level"] == "interval"]
    assert sum(r["energy_j"] for r in parts) == pytest.approx(total["energy_j"])
    assert total["duration_s"] == pytest.approx(91.82, abs=0.01)
