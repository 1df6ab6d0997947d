"""Silent failures of other tools (measurement.md section 8) that concern sampling and reading.

Our recorder gets the same input, with real processes on the stub driver or on an nvidia-smi of our
own; what came out wrong elsewhere must be the truth here, or a flagged gap. The arithmetic of
energies (F1 to F4, F6 to F12, F20, F22, F24 to F26, F28) has its oracles in tests/energy.
"""

import json
import os
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from faulty_sources import FACTORY
from stub_nvml import PowerScript, StubDriver, StubGpu, compiler

from wattproof import config, plan
from wattproof.recorder import Recorder, seal_session
from wattproof.session import Paths, record

REAL = {"kind": "real", "dir": None}
ROOT = Path(__file__).resolve().parents[2]
needs_gcc = pytest.mark.skipif(compiler() is None, reason="no gcc here")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def use(driver: StubDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LD_LIBRARY_PATH", "PATH", "WATTPROOF_STUB"):
        monkeypatch.setenv(name, driver.env[name])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def rows_of(sealed: dict[str, pa.Table], channel: str) -> list[dict[str, Any]]:
    mine = sealed["samples"].filter(pc.equal(sealed["samples"]["channel"], channel))
    return list(mine.to_pylist())


def between(rows: list[dict[str, Any]], start_ns: int, end_ns: int) -> list[dict[str, Any]]:
    return [row for row in rows if start_ns <= row["start_ns"] and row["end_ns"] <= end_ns]


@needs_gcc
def test_f5_f14_f16_nvml_fails_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F5: perun stores a failed read as 0 W. F14: in jpwr, any exception ends the sampler.

    F16: a counter that restarts makes Alumet add 2^64. Here: 300 W, all calls fail for a while,
    and then the counter has begun anew.
    """
    driver = StubDriver.build(tmp_path / "driver", [StubGpu()])
    use(driver, monkeypatch)
    driver.play(0, PowerScript(time.monotonic_ns() - 10**10, [(1.0, 300.0)], then=300.0))
    with Recorder(tmp_path / "s", {"nvml": {"period_s": 0.02}}, REAL) as running:
        time.sleep(1.0)
        fail_ns = time.monotonic_ns()
        good_ns = fail_ns + 600_000_000
        for call in ("nvmlDeviceGetFieldValues", "nvmlDeviceGetTotalEnergyConsumption"):
            driver.fail(0, call, 999, fail_ns, good_ns)
        driver.fail(0, "nvmlDeviceGetTotalEnergyConsumption", 0, good_ns, value=5_000)
        time.sleep(1.6)
        running.check()
    sealed = seal_session(tmp_path / "s", "rec", 0)
    assert [row["restarts"] for row in sealed["health"].to_pylist()] == [0, 0, 0]
    power = rows_of(sealed, "gpu0.power_instant")
    failed = between(power, fail_ns, good_ns)
    assert failed
    assert {(row["value"], row["status"]) for row in failed} == {(None, "error")}
    good = [row["value"] for row in power if row["status"] == "ok"]
    assert set(good) == {300.0}, "0 is never a value, and nothing is repeated into the hole"
    assert between(power, good_ns, time.monotonic_ns()), "the sampler lives on"
    main = {row["source"]: row for row in sealed["health"].to_pylist()}["nvml"]
    # The read that crosses an edge of the fault may fall on either side.
    assert len(failed) <= main["failed"] <= len(failed) + 2
    assert main["longest_gap_s"] >= 0.55, "the hole is known"
    counter = rows_of(sealed, "gpu0.energy")
    values = [row["value"] for row in counter if row["status"] == "ok"]
    assert values[-1] == 5.0, "a counter that restarted is recorded as it stands"
    assert any(b < a for a, b in pairwise(values))
    channels = {row["channel"]: row for row in sealed["channels"].to_pylist()}
    assert channels["gpu0.energy"]["wrap"] is None, "so that nobody can take it for a wrap"
    # F27: what is recorded of the node is recorded once, whoever trains on it.
    assert len(channels) == sealed["channels"].num_rows


def test_f13_one_row_for_each_deadline(tmp_path: Path) -> None:
    """F13: jpwr took 101 rows in place of 51, in pairs 0.1 ms apart."""
    sources = {"a": {"period_s": 0.02}}
    with Recorder(tmp_path, sources, REAL, factories={"a": FACTORY}) as running:
        time.sleep(1.2)
        running.check()
    sealed = seal_session(tmp_path, "rec", 0)
    rows = rows_of(sealed, "count")
    ticks = [row["scheduled_ns"] for row in rows]
    assert len(set(ticks)) == len(ticks)
    span = (ticks[-1] - ticks[0]) // 20_000_000 + 1
    (health,) = sealed["health"].to_pylist()
    assert len(rows) == span - health["missed"]
    assert all((tick - ticks[0]) % 20_000_000 == 0 for tick in ticks)
    assert all(row["start_ns"] >= row["scheduled_ns"] for row in rows)


SMI = """#!{python} -SE
import sys, time
how = open("{state}").read()
def report(section, draw):
    print("<nvidia_smi_log><driver_version>1</driver_version><gpu><uuid>GPU-0</uuid>"
          "<product_name>GPU</product_name><utilization><gpu_util>9 %</gpu_util></utilization>"
          f"<{{section}}><{{draw}}>250.00 W</{{draw}}></{{section}}></gpu></nvidia_smi_log>")
if how == "slow":
    time.sleep(0.3)
if how in ("ok", "slow"):
    report("power_readings", "power_draw")
if how == "renamed":
    report("gpu_power_readings", "future_power_draw")
if how == "broken":
    sys.exit(9)
"""


def test_f17_f18_f19_nvidia_smi_changes_slows_down_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F17: a new tag, F19: an error, made 0 W. F18: a slow call counted into the wrong epoch."""
    state, tool = tmp_path / "state", tmp_path / "nvidia-smi"
    state.write_text("ok")
    tool.write_text(SMI.format(python=sys.executable, state=state))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    edges: dict[str, tuple[int, int]] = {}
    with Recorder(tmp_path / "s", {"smi": {"mode": "spawn", "period_s": 0.05}}, REAL) as running:
        for how in ("ok", "renamed", "broken", "slow"):
            (tmp_path / "next").write_text(how)
            os.replace(tmp_path / "next", state)
            begin = time.monotonic_ns()
            time.sleep(1.3 if how == "slow" else 0.7)
            edges[how] = (begin, time.monotonic_ns())
            running.check()
    sealed = seal_session(tmp_path / "s", "rec", 0)
    power = rows_of(sealed, "gpu0.power")
    found = {how: between(power, *edge) for how, edge in edges.items()}
    told = {how: {(r["value"], r["status"]) for r in rows} for how, rows in found.items()}
    assert told == {
        "ok": {(250.0, "ok")},
        "renamed": {(None, "missing")},
        "broken": {(None, "error")},
        "slow": {(250.0, "ok")},
    }
    # When a sample was asked for and when it came are both known, so that one that came after the
    # end of an epoch is never taken for one of it.
    for row in found["slow"]:
        assert row["end_ns"] - row["start_ns"] >= 300_000_000
    assert len(found["slow"]) <= 3
    for before, after in pairwise(power):
        assert after["start_ns"] >= before["end_ns"]


@needs_gcc
def test_a_loop_of_nvidia_smi_that_dies_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = StubDriver.build(tmp_path / "driver", [StubGpu()], smi_cost_s=0.0)
    use(driver, monkeypatch)
    with Recorder(tmp_path / "s", {"smi": {"mode": "loop", "period_s": 0.05}}, REAL) as running:
        time.sleep(0.6)
        now = time.monotonic_ns()
        driver.fail(None, "nvidia-smi", 15, now, now + 200_000_000)
        end = time.monotonic() + 15
        while not (tmp_path / "s/streams/smi.1.arrows").exists():
            assert time.monotonic() < end
            running.check()
            time.sleep(0.05)
        time.sleep(0.6)
    sealed = seal_session(tmp_path / "s", "rec", 0)
    rows = rows_of(sealed, "gpu0.power")
    statuses = [row["status"] for row in rows]
    assert statuses.count("device_lost") == 1
    assert {row["value"] for row in rows if row["status"] == "ok"} == {75.0}
    at = statuses.index("device_lost")
    assert "ok" in statuses[:at]
    assert "ok" in statuses[at + 1 :]
    (health,) = sealed["health"].to_pylist()
    assert health["restarts"] == 1
    assert health["missed"] >= 1, "the time without a loop is counted"


def test_f21_whatever_happens_to_the_samplers_the_training_goes_on(tmp_path: Path) -> None:
    """F21: an internal error in carbontracker's meter ends the training with exit status 70."""
    schema = json.loads((ROOT / "config/schema/campaign.schema.json").read_text())
    raw = {
        "campaign": "f21",
        "node": {"kind": "real"},
        # No machine has this GPU, so this source fails; the meter's port is not there either.
        "sources": {
            "nvml": {"gpus": ["GPU-of-nobody"]},
            "meter": {"driver": "lmg450", "port": str(tmp_path / "no-port")},
            "host": {"period_s": 0.05},
        },
        "on_missing_source": "continue",
    }
    chosen = config.validate(raw, schema, "f21.yaml")
    rows = [plan._load_row(chosen, "rec", 0, "idle", 1.0)]
    paths = Paths(tmp_path / "raw", tmp_path / "truth")
    record("rec", rows, chosen, paths, lambda _line: None)
    (result,) = paths.runs.glob("*.json")
    assert json.loads(result.read_text())["status"] == "ok"
    sealed = seal_session(tmp_path / "raw/session-000", "rec", 0)
    health = {row["source"]: row for row in sealed["health"].to_pylist()}
    assert health["host"]["outcome"] == "ok"
    for name in ("nvml", "nvml@counter", "nvml@ring", "meter"):
        assert health[name]["outcome"].startswith("failed: ")
        assert health[name]["taken"] == 0
    node_wide = sealed["channels"].filter(pc.equal(sealed["channels"]["source"], "host"))
    # F27: what belongs to the node has no slot, so no run can be given it for its own.
    assert set(node_wide["slot"].to_pylist()) == {None}
