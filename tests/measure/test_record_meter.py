"""`wattproof record` and `wattproof doctor` with a wall meter: a simulated LMG450 on a pty."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sources"))

from lmg_device import Device
from lmg_simulator import LmgSimulator
from record_process import WATTPROOF, environment, record, summary

from wattproof import tables


def campaign(folder: Path, port: str) -> Path:
    path = folder / "node.yaml"
    path.write_text(
        "sources:\n"
        f"  meter: {{driver: lmg450, port: {port}, cycle_s: 0.1, range_v: 250, range_a: 5}}\n"
        "  host: {}\n",
        encoding="utf-8",
    )
    return path


def test_the_wall_is_measured_though_nothing_tells_the_meters_clock(tmp_path: Path) -> None:
    with LmgSimulator(Device(), tmp_path / "tty") as meter:
        path = campaign(tmp_path, meter.port)
        arguments = ("--config", str(path), "--require", "meter", "--out", "wall")
        found = record(tmp_path, *arguments, "--", "sleep", "2")
    assert found.returncode == 0, found.stderr
    told = summary(tmp_path / "wall")
    (wall,) = told["energy"]
    assert wall["channel"] == "node.ac"
    assert wall["mean_w"] == pytest.approx(100.0, rel=2e-3)
    assert wall["energy_j"] == pytest.approx(100.0 * told["duration_s"], rel=2e-3)
    assert wall["coverage"] == pytest.approx(1.0, abs=1e-3)
    assert wall["flags"] == ["clock_by_arrival"]
    assert wall["u90_j"] > 0
    clocks = tables.read_frame(tmp_path / "wall" / "clocks.parquet", "clocks")
    row = clocks[clocks["source"] == "meter"].iloc[0]
    assert row["method"] == "arrival"
    assert row["reason"]  # why it was not aligned
    assert "placed by when they arrived" in " ".join(found.stderr.split())
    assert told["not_measured"] == []


def test_a_meter_that_is_not_there_stops_before_the_command(tmp_path: Path) -> None:
    path = campaign(tmp_path, str(tmp_path / "no-tty"))
    found = record(tmp_path, "--config", str(path), "--", "touch", "started")
    assert found.returncode == 125
    assert "There is no serial port" in found.stderr
    assert not (tmp_path / "started").exists()


@pytest.mark.slow
def test_doctor_opens_and_reads_the_meter_of_a_campaign(tmp_path: Path) -> None:
    with LmgSimulator(Device(), tmp_path / "tty") as meter:
        path = campaign(tmp_path, meter.port)
        command = [WATTPROOF, "doctor", "--json", "--config", str(path), "--seconds", "1"]
        found = subprocess.run(
            command, env=environment(tmp_path), capture_output=True, text=True, timeout=90
        )
    assert found.returncode == 0, found.stdout + found.stderr
    told = json.loads(found.stdout)
    assert told["needed"] == ["meter", "host"]
    findings = {(f["subject"], f["item"]): f for f in told["findings"]}
    wall = findings["meter", "configured"]
    assert wall["grade"] == "ok"
    assert wall["facts"]["last_w"] == pytest.approx(100.0, rel=2e-3)
    assert wall["facts"]["rate_hz"] == pytest.approx(10.0, rel=0.35)
    assert findings["trial", "meter"]["grade"] == "ok"
