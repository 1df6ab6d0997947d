"""NVML's lanes by the recorder, on the stub driver, through the real nvidia-ml-py."""

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from stub_nvml import PowerScript, StubDriver, StubGpu, loads

from wattproof.recorder import Recorder, read_stream, seal_session

REAL = {"kind": "real", "dir": None}
PERIOD_NS = 20_000_000


def use(driver: StubDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LD_LIBRARY_PATH", "PATH", "WATTPROOF_STUB"):
        monkeypatch.setenv(name, driver.env[name])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def series(sealed: dict[str, pa.Table], name: str) -> pa.Table:
    return sealed["samples"].filter(pc.equal(sealed["samples"]["channel"], name))


@pytest.mark.parametrize(
    "seconds",
    [
        6.0,
        pytest.param(
            600.0, marks=[pytest.mark.slow, pytest.mark.realtime, pytest.mark.timeout(900)]
        ),
    ],
)
def test_every_sample_of_the_ring_once_despite_stalls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Must show 3: the poller is stopped for up to 1.5 s, again and again."""
    driver = StubDriver.build(tmp_path / "driver", [StubGpu()])
    use(driver, monkeypatch)
    script = PowerScript(time.monotonic_ns(), loads.square(seconds + 10, period_s=0.7))
    driver.play(0, script)
    rng = random.Random(3)
    stalls_s: list[float] = []
    with Recorder(tmp_path / "s", {"nvml": {"period_s": 0.5}}, REAL) as running:
        (child,) = [c for c in running._children if c.name == "nvml@ring"]
        assert child.process is not None
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(rng.uniform(0.25, 1.0))  # two stalls in a row would be one longer stall
            begun = time.monotonic()
            os.kill(child.process.pid, signal.SIGSTOP)
            time.sleep(rng.uniform(0.0, 1.5))
            os.kill(child.process.pid, signal.SIGCONT)
            stalls_s.append(time.monotonic() - begun)
            running.check()
        time.sleep(0.6)
    assert len(stalls_s) > seconds / 3
    sealed = seal_session(tmp_path / "s", "rec", 0)
    ring = series(sealed, "gpu0.power_samples")
    stamps = ring["device_ns"].to_numpy()
    assert set(np.diff(stamps).tolist()) == {PERIOD_NS}, "each exactly once, in order"
    assert len(stamps) >= seconds / 0.02
    health = {row["source"]: row for row in sealed["health"].to_pylist()}["nvml@ring"]
    assert (health["failed"], health["restarts"]) == (0, 0)
    assert health["taken"] + health["missed"] == health["expected"] == len(stamps)
    if max(stalls_s) < 1.7:  # else the bench itself was late: what was lost is counted above
        assert health["missed"] == 0
    ring = ring.filter(pc.equal(ring["status"], "ok"))
    assert ring.num_rows == health["taken"]
    stamps = ring["device_ns"].to_numpy()
    # And with the value of its own 20 ms.
    mono = stamps - driver.wall_offset_ns
    truth = [script.energy_j(int(t) - PERIOD_NS, int(t)) / 0.02 for t in mono]
    assert ring["value"].to_numpy() == pytest.approx(truth, abs=0.001)


def test_the_counter_does_not_delay_the_power(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A counter of 60 ms a read beside power at 100 Hz: in one process it would cost each 6th."""
    driver = StubDriver.build(tmp_path / "driver", [StubGpu(counter_cost_s=0.06)])
    use(driver, monkeypatch)
    settings = {"nvml": {"period_s": 0.01, "counter_period_s": 0.1}}
    with Recorder(tmp_path / "s", settings, REAL) as running:
        time.sleep(3.0)
        running.check()
    health = {
        row["source"]: row for row in seal_session(tmp_path / "s", "r", 0)["health"].to_pylist()
    }
    assert health["nvml@counter"]["taken"] >= 25
    # Inside one process, half of the deadlines would be missed; slack for a busy machine.
    assert health["nvml"]["missed"] <= 0.1 * health["nvml"]["expected"]


def test_a_lost_gpu_is_a_status_and_the_other_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = [StubGpu(uuid=f"GPU-0000000{i}-aaaa") for i in range(2)]
    driver = StubDriver.build(tmp_path / "driver", gpus)
    use(driver, monkeypatch)
    with Recorder(tmp_path / "s", {"nvml": {"period_s": 0.05}}, REAL) as running:
        time.sleep(1.0)
        # A moment ahead: a read may take place between the clock and the order to fail.
        lost_ns = time.monotonic_ns() + 10**9 // 5
        driver.fail(gpu=1, call="*", code=15, from_ns=lost_ns)
        time.sleep(1.4)
        running.check()
    sealed = seal_session(tmp_path / "s", "rec", 0)
    for what in ("power_instant", "energy", "power_samples"):
        good = series(sealed, f"gpu0.{what}")
        assert set(good["status"].to_pylist()) == {"ok"}
        assert good["end_ns"].to_numpy().max() > lost_ns + 10**9 * 0.5
        other = series(sealed, f"gpu1.{what}").to_pylist()
        after = [r for r in other if r["start_ns"] > lost_ns]
        assert after
        assert {(r["status"], r["value"]) for r in after} == {("device_lost", None)}
    assert all(row["outcome"] == "ok" for row in sealed["health"].to_pylist())


def test_all_gpus_lost_opens_the_driver_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reset of the only GPU: lost for a second, then there again."""
    driver = StubDriver.build(tmp_path / "driver", [StubGpu()])
    use(driver, monkeypatch)
    with Recorder(tmp_path / "s", {"nvml": {"period_s": 0.05}}, REAL) as running:
        time.sleep(0.8)
        now = time.monotonic_ns()
        driver.fail(gpu=0, call="*", code=15, from_ns=now, until_ns=now + 10**9)
        lanes = ("nvml", "nvml@counter", "nvml@ring")
        end = time.monotonic() + 20

        def good_again(stem: str) -> bool:
            for path in sorted((tmp_path / "s" / "streams").glob(f"{stem}.*.arrows")):
                if read_stream(path)[0].num_rows:
                    return True
            return False

        while not all(good_again(stem) for stem in lanes):
            assert time.monotonic() < end
            running.check()
            time.sleep(0.1)
    sealed = seal_session(tmp_path / "s", "rec", 0)
    for row in sealed["health"].to_pylist():
        assert row["restarts"] >= 1
        assert "All GPUs were lost" in row["outcome"]
    power = series(sealed, "gpu0.power_instant").to_pylist()
    assert "device_lost" in {r["status"] for r in power}
    assert [r["status"] for r in power][-1] == "ok"


def identities(sealed: dict[str, pa.Table]) -> dict[str, dict[str, Any]]:
    rows = sealed["channels"].to_pylist()
    return {row["channel"]: {**json.loads(row["identity"]), **row} for row in rows}


def test_slots_follow_cuda_visible_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training's first GPU is gpu0, whatever its index; the others of the node follow."""
    gpus = [StubGpu(uuid=f"GPU-{i}{i}{i}{i}-stub", idle_w=100.0 + i) for i in range(3)]
    driver = StubDriver.build(tmp_path / "driver", gpus)
    use(driver, monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-2222,0")
    with Recorder(tmp_path / "s", {"nvml": {"period_s": 0.05, "ring": False}}, REAL) as running:
        time.sleep(0.6)
        running.check()
    sealed = seal_session(tmp_path / "s", "rec", 0)
    found = identities(sealed)
    assert [found[f"gpu{i}.power_instant"]["device"][4] for i in range(3)] == ["2", "0", "1"]
    assert [found[f"gpu{i}.power_instant"]["index"] for i in range(3)] == [2, 0, 1]
    assert [found[f"gpu{i}.energy"]["visible"] for i in range(3)] == [True, True, False]
    for slot, watts in enumerate((102.0, 100.0, 101.0)):
        power = series(sealed, f"gpu{slot}.power_instant")["value"].to_numpy()
        assert power == pytest.approx(np.full(len(power), watts))


def test_a_mig_instance_stands_for_its_whole_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = [
        StubGpu(uuid="GPU-0-stub"),
        StubGpu(uuid="GPU-1-stub", mig=("MIG-abcd-1", "MIG-abcd-2")),
    ]
    driver = StubDriver.build(tmp_path / "driver", gpus)
    use(driver, monkeypatch)
    driver.fail(1, "nvmlDeviceGetUtilizationRates", 3)  # as drivers do while MIG is on
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-abcd-2")
    settings = {"nvml": {"period_s": 0.05, "gpus": "visible"}}
    with Recorder(tmp_path / "s", settings, REAL) as running:
        time.sleep(0.8)
        running.check()
    sealed = seal_session(tmp_path / "s", "rec", 0)
    found = identities(sealed)
    assert {c["device"] for c in found.values()} == {"GPU-1-stub"}
    for name in ("gpu0.power_instant", "gpu0.energy", "gpu0.power_samples"):
        assert found[name]["mig"] is True
        assert "whole board" in found[name]["mig_means"]
        assert "ok" in series(sealed, name)["status"].to_pylist()
    assert set(series(sealed, "gpu0.utilisation")["status"].to_pylist()) == {"not_supported"}
