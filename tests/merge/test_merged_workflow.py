"""A merged campaign through the real Snakemake: to the report, and nothing is recorded again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import two_sites

from wattproof import merge, tables

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_report_of_two_sites(tmp_path: Path) -> None:
    results = tmp_path / "results"
    for index, name in ((1, "a"), (2, "b")):
        two_sites.make(results, two_sites.raw(name, index))
    done = merge.merge([results / "a", results / "b"], results / "all")
    sealed = {
        path: path.read_bytes()
        for name in merge.SEALED
        for path in (results / "all" / "recordings").glob(f"*/{name}.parquet")
    }
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    command += ["--snakefile", str(two_sites.ROOT / "Snakefile")]
    command += ["--configfile", str(done.campaign_file)]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-4000:]
    assert "rule recording:" not in made.stderr
    assert {path: path.read_bytes() for path in sealed} == sealed
    place = results / "all" / "tables"
    data = tables.read_frame(place / "dataset.parquet", "dataset")
    assert len(data) == 13
    assert (data["node_energy_by"] == "meter").all()
    table = tables.read_frame(place / "calibration.parquet", "calibration")
    assert {"node", "node a", "node b"} <= set(table["device"])
    assert "SIMULATED" in (results / "all" / "report.html").read_text(encoding="utf-8")
    again = subprocess.run(
        [*command, "--dry-run"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "Nothing to be done" in again.stdout + again.stderr
