"""Lanes: several processes drive one instrument, and the tables show one source."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from wattproof import sources, virtual
from wattproof.errors import WattproofError
from wattproof.recorder import Recorder, seal_session

SETTINGS = {"nvml": {"period_s": 0.047, "counter_period_s": 0.1, "ring": True}}


@pytest.fixture
def node(tmp_path: Path) -> dict[str, Any]:
    virtual.create_node(tmp_path / "node", tmp_path / "truth", "laptop", 7, {})
    return {"kind": "virtual", "dir": str(tmp_path / "node")}


def of_channel(sealed: dict[str, pa.Table], name: str) -> pa.Table:
    return sealed["samples"].filter(pc.equal(sealed["samples"]["channel"], name))


def test_three_processes_are_one_source(tmp_path: Path, node: dict[str, Any]) -> None:
    with Recorder(tmp_path / "s", SETTINGS, node) as running:
        time.sleep(2.0)
        running.check()
    assert [h.source for h in running.stop()] == ["nvml", "nvml@counter", "nvml@ring"]
    stems = {path.stem for path in (tmp_path / "s" / "streams").glob("*.arrows")}
    assert stems == {"nvml", "nvml@counter", "nvml@ring"}

    sealed = seal_session(tmp_path / "s", "rec", 0)
    assert pc.unique(sealed["samples"]["source"]).to_pylist() == ["nvml"]
    assert pc.unique(sealed["channels"]["source"]).to_pylist() == ["nvml"]
    health = {row["source"]: row for row in sealed["health"].to_pylist()}
    assert set(health) == {"nvml", "nvml@counter", "nvml@ring"}
    assert {row["outcome"] for row in health.values()} == {"ok"}
    clocks = {row["channel"]: row["clock"] for row in sealed["channels"].to_pylist()}
    assert clocks["gpu0.power_samples"] == "wall"
    assert {
        c for name, c in clocks.items() if name != "gpu0.power_samples" and "1" not in name
    } == {"host"}

    ring = of_channel(sealed, "gpu0.power_samples")
    steps = np.diff(ring["device_ns"].to_numpy())
    assert set(steps // 1000) == {20_000}, "every 20 ms sample once, in order"
    # From before the start (the driver's ring) up to the last drain.
    assert 150 <= ring.num_rows <= 300
    row = health["nvml@ring"]
    assert (row["expected"], row["taken"], row["missed"]) == (ring.num_rows, ring.num_rows, 0)
    assert row["longest_gap_s"] == pytest.approx(0.02, abs=1e-4)
    # Each row's own stamps bring the driver's to the monotonic clock: not after it was read.
    mono = pc.add(pc.subtract(ring["device_ns"], ring["wall_ns"]), ring["end_ns"]).to_numpy()
    ages = ring["end_ns"].to_numpy() - mono
    assert ages.min() > 0
    assert ages.max() < 3e9
    energy = of_channel(sealed, "gpu0.energy")
    assert energy.num_rows >= 15
    assert health["nvml@counter"]["cpu_start_s"] < health["nvml@counter"]["cpu_s"]


def test_a_killed_ring_is_taken_up_again_without_loss_or_double(
    tmp_path: Path, node: dict[str, Any]
) -> None:
    with Recorder(tmp_path / "s", SETTINGS, node) as running:
        time.sleep(1.5)
        (child,) = [c for c in running._children if c.name == "nvml@ring"]
        assert child.process is not None
        child.process.kill()
        end = time.monotonic() + 20
        while not (tmp_path / "s" / "streams" / "nvml@ring.1.arrows").exists():
            assert time.monotonic() < end
            running.check()
            time.sleep(0.05)
        time.sleep(1.0)
    sealed = seal_session(tmp_path / "s", "rec", 0)
    for slot in (0, 1):
        ring = of_channel(sealed, f"gpu{slot}.power_samples")
        steps = np.diff(np.sort(ring["device_ns"].to_numpy()))
        # A new process of the virtual driver pairs the clocks anew: stamps agree to some µs.
        assert steps.min() > 19_000_000
        assert steps.max() < 21_000_000
    health = {row["source"]: row for row in sealed["health"].to_pylist()}
    assert health["nvml@ring"]["restarts"] == 1
    assert health["nvml@ring"]["outcome"].startswith("killed")
    assert health["nvml@ring"]["missed"] == 0
    assert (health["nvml"]["restarts"], health["nvml"]["outcome"]) == (0, "ok")


def test_what_the_driver_does_not_offer_stops_nothing(
    tmp_path: Path, node: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    lacking = {"nvml": "lacking_nvml:build"}
    with Recorder(tmp_path / "s", SETTINGS, node, "stop", lacking) as running:
        time.sleep(0.5)
        running.check()
    health = {
        row["source"]: row for row in seal_session(tmp_path / "s", "r", 0)["health"].to_pylist()
    }
    assert health["nvml"]["outcome"] == "ok"
    assert health["nvml@ring"]["outcome"].startswith(
        "not offered: The driver keeps no power samples"
    )
    assert health["nvml@ring"]["restarts"] == 0
    assert health["nvml@counter"]["outcome"].startswith("not offered: No GPU here counts")


def test_registry_knows_lanes() -> None:
    assert list(sources.lanes("nvml", {})) == ["", "counter", "ring"]
    assert list(sources.lanes("nvml", {"ring": False})) == ["", "counter"]
    assert sources.lanes("rapl", {"period_s": 0.1}) == {"": {"period_s": 0.1}}
    with pytest.raises(WattproofError, match="Did you mean 'nvml'"):
        sources.lanes("nvm", {})
    nowhere = sources.Endpoints(None, None, Path("/nonexistent"), None, True)
    with pytest.raises(WattproofError, match="no lanes"):
        sources.create("host", {}, nowhere, "ring")
