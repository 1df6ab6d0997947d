"""``wattproof audit`` on every folder of real recordings: a report, in under a minute each."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from wattproof import tables

MANIFESTS = sorted((Path(__file__).resolve().parents[2] / "docs" / "audits").glob("*.yaml"))
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
ROOT = Path(os.environ.get("WATTPROOF_REAL_DATA", DATA))

CPU_S = 100.0
"""On the two cores of a free machine that is under a minute; wall time hangs on who else works."""

FLAGS = {
    "codecarbon_cpu_load": {"zero_means_missing"},
    "ecnas": {"constant_factor"},
    "l40": set(),
    "mlperf_inference": {"published_reproduced"},
    "mlperf_training": {"idle_in_published_figure", "published_not_reproduced", "samples_scatter"},
    "powersensor3": set(),
    "tiny_energy": {"published_reproduced"},
    "zeus": {"energy_time_implausible"},
}


def audited(manifest: Path, folder: Path) -> tuple[Path, float]:
    text = manifest.read_text().replace("../../../shared/data", str(ROOT))
    # Fitting surrogates is not the audit's own time; test_ecnas_benchmark.py does it.
    text = re.sub(r"^benchmark:\n(  .*\n)+", "", text, flags=re.M)
    own = folder / manifest.name
    own.write_text(text)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", "from wattproof.cli import main; main()", "audit", str(own)],
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    name = re.search(r"^audit: (\S+)", text, re.M)
    assert name is not None
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return folder / "results" / name[1], used


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    not ROOT.is_dir() and not os.environ.get("WATTPROOF_REQUIRE_REAL_DATA"),
    reason=f"{ROOT} is absent (set WATTPROOF_REAL_DATA)",
)
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_every_published_set_ends_with_a_report(manifest: Path, tmp_path: Path) -> None:
    folder, used_s = audited(manifest, tmp_path)
    found = tables.read_frame(folder / "tables" / "findings.parquet", "findings")
    assert set(found["flag"]) >= FLAGS[manifest.stem]
    card = json.loads((folder / "scorecard.json").read_text())
    assert card["findings"]["error"] == (found["severity"] == "error").sum()
    page = (folder / "report.html").read_text(encoding="utf-8")
    for row in found.itertuples():
        assert str(row.flag) in page
    serious = set(found.loc[found["severity"] != "note", "flag"])
    drawn = {p.stem.removeprefix("finding-") for p in (folder / "figures").glob("finding-*.svg")}
    assert drawn == serious
    assert used_s < CPU_S
    if manifest.stem == "l40":
        path = folder / "recordings" / "l40" / "agreement.parquet"
        row = tables.read_frame(path, "agreement").iloc[0]
        assert row["n"] == 504
        assert row["intercept"] == pytest.approx(101.2, abs=0.05)
        assert row["slope"] == pytest.approx(1.082, abs=0.0005)
        assert row["pearson"] == pytest.approx(0.994, abs=0.0005)
        assert row["rmse"] == pytest.approx(5.8, abs=0.05)
        assert "1 of l40" in page
