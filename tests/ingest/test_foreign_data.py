"""Every folder of ../shared/data through the manifests of docs/audits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wattproof import clocks, ingest

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
        flags = data.findings.column("flag").to_pylist()
        assert "published_not_reproduced" not in flags


def of(name):
    manifest = ingest.read_manifest(ROOT / "docs" / "audits" / f"{name}.yaml")
    return {key: ingest.load_set(manifest, key) for key in manifest.sets}


def test_published_powers_of_mlperf_inference_to_a_milliwatt():
    for data in of("mlperf_inference").values():
        rows = {r["flag"]: r for r in data.findings.to_pylist()}
        assert abs(rows["published_reproduced"]["value"]) <= 0.001
        assert rows["inferred_time_zone"]["value"] == 0
        clock = clocks.align(data.samples, data.channels, data.marks, {}, data.exchanges).iloc[0]
        assert clock["accepted"]
        assert clock["method"] == "exchanged_epochs"
        assert abs(clock["offset_ns"]) < 0.1e9


def test_windows_of_the_tiny_trace_to_two_hundredths_of_a_percent():
    data = of("tiny_energy")["trace1"]
    row = next(r for r in data.findings.to_pylist() if r["flag"] == "published_reproduced")
    assert (row["affected"], row["of"]) == (5, 5)
    assert abs(row["value"]) <= 0.02
