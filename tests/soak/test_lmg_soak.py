"""A simulated LMG450 with faults: twenty seconds in `make test`, half an hour in `test-slow`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("lmg_soak.py")
FULL_S = float(os.environ.get("WATTPROOF_LMG_SOAK_S", "1800"))


def soak(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    out = tmp_path / "result.json"
    command = [sys.executable, str(SCRIPT), "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert out.exists(), done.stderr
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    assert found["wrong"] == []
    assert done.returncode == 0
    return found


def test_short_soak(tmp_path: Path) -> None:
    found = soak(tmp_path, "--seconds", "22", "--cycle", "0.05", "--short")
    assert found["good"] > 200
    assert len(found["faults"]) == 15


@pytest.mark.slow
@pytest.mark.realtime
@pytest.mark.timeout(FULL_S + 120)
def test_half_an_hour_with_twenty_faults(tmp_path: Path) -> None:
    found = soak(tmp_path, "--seconds", str(FULL_S), "--cycle", "0.1")
    assert len(found["faults"]) == 20
    assert found["good"] > 8 * (FULL_S - 120)
