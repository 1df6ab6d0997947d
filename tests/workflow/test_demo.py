"""`make demo` from an empty clone, as a newcomer does it (make test-slow; about 12 minutes)."""

import os
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest

from wattproof import tables, verification

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 15 * 60
RERUN_LIMIT_S = 10


def make(clone: Path, target: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run make without the virtual environment of the tests."""
    own = Path(os.environ.get("VIRTUAL_ENV", ROOT / ".venv")) / "bin"
    path = os.pathsep.join(
        p for p in os.environ["PATH"].split(os.pathsep) if p not in (str(own), f"{ROOT}/.venv/bin")
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "MAKEFLAGS")}
    start = time.monotonic()
    done = subprocess.run(
        ["make", target],
        cwd=clone,
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"PATH": path},
    )
    return done, time.monotonic() - start


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone") / "wattproof"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    done, seconds = make(folder, "demo")
    assert done.returncode == 0, done.stderr[-5000:]
    assert "results/demo/report.html" in done.stdout
    assert "epoch" in done.stderr, "make demo must show progress"
    assert seconds < LIMIT_S, f"make demo took {seconds:.0f} s"
    return folder


def test_second_call_reruns_nothing(clone: Path) -> None:
    done, seconds = make(clone, "demo")
    assert done.returncode == 0, done.stderr
    assert "Nothing to be done" in done.stdout + done.stderr
    assert seconds < RERUN_LIMIT_S, f"make demo with nothing to do took {seconds:.1f} s"


def test_clocks_and_energies_against_the_hidden_truth(clone: Path) -> None:
    """Every offset within 100 ms; NVML counter energy within 2 % for at least 95 % of runs."""
    found = verification.verify(clone / "results" / "demo")
    assert len(found.energies) == 26
    assert found.offsets["accepted"].all(), found.offsets
    assert found.offsets["error_s"].max() <= 0.1
    assert (found.energies["nvml_error"].abs() <= 0.02).mean() >= 0.95
    assert found.passed


def test_agreement_has_the_pattern_of_table_one(clone: Path) -> None:
    """SMI poor per epoch and fine per run; NVML good on both; Code Carbon biased low."""
    place = clone / "results" / "demo" / "tables"
    both = [place / "agreement.parquet", place / "estimator_agreement.parquet"]
    table = tables.read_frame(both, "agreement")
    table = table[(table["setting"] == "single")].set_index(["label", "level", "quantity"])

    def cell(label: str, level: str, column: str, quantity: str = "energy") -> float:
        return float(table.loc[(label, level, quantity), column])

    assert cell("SMI", "epoch", "pearson") < 0.95 < cell("SMI", "run", "pearson")
    assert cell("SMI", "epoch", "pearson", "power") < 0.8
    assert cell("SMI (corrected)", "epoch", "pearson") > cell("SMI", "epoch", "pearson")
    for level in ("epoch", "run"):
        assert cell("NVML", level, "pearson") > 0.97
        assert abs(cell("NVML", level, "error_median")) < 0.05
        assert cell("Code Carbon 3.x", level, "error_median") > 0.03
    # On energies: the demo's epochs lie within 18 W of each other, so the distribution of their
    # power also shows that the balance itself, the reference, is 2 % off.
    assert cell("NVML", "epoch", "ks_p") > 0.05
    assert cell("SMI", "epoch", "ks_p") < 0.01
    assert cell("SMI", "epoch", "ks_d") > 0.1 + cell("NVML", "epoch", "ks_d")

    calibration = tables.read_frame(place / "calibration.parquet", "calibration")
    by_name: pd.DataFrame = calibration.set_index("estimator")
    error = by_name["error_median"].abs()
    assert error["regression"] < error["code_carbon"]
    assert error["load_calibrated"] < error["code_carbon"]
